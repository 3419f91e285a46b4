"""
The tools for the files in a kernel's working directory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from kgd.interfaces import IGateway, IKernel
from kgd.mcp.content import IMAGES, Content, ImageContent, TextContent, ToolResult, plain_result
from kgd.mcp.sessions import Sessions
from kgd.mcp.toolbox import (
    DESTROYS,
    READS,
    Caller,
    KernelChoice,
    KernelId,
    Tool,
    ToolFailure,
)
from kgd.protocol.timestamps import timestamp
from kgd.web.confined import ConfinedDirectory, FileInfo, Listing
from kgd.web.downloads import in_thread, media_type_of

# Bytes of a picture that is shown whole.
_MAX_IMAGE = 4 * 1024 * 1024
_MAX_READ = 1024 * 1024
# The bytes of a character in UTF-8 that may be missing at the end of a piece.
_MAX_MISSING = 3


class ReadFile(Struct, forbid_unknown_fields=True):
    """
    The arguments of ``read_file``.
    """

    path: Annotated[str, Meta(description="A file, relative to the kernel's working directory")]
    kernel_id: KernelId = None
    offset: Annotated[int, Meta(ge=0, description="The byte to begin at")] = 0
    max_bytes: Annotated[
        int, Meta(ge=4, le=_MAX_READ, description="How many bytes are returned at most")
    ] = 100_000


class WriteFile(Struct, forbid_unknown_fields=True):
    """
    The arguments of ``write_file``.
    """

    path: Annotated[
        str,
        Meta(
            description="A file, relative to the kernel's working directory; directories on the "
            "way are made"
        ),
    ]
    content: Annotated[str, Meta(description="All that is to be in the file")]
    encoding: Annotated[
        Literal["utf-8", "base64"], Meta(description="base64 for bytes that are not text")
    ] = "utf-8"
    kernel_id: KernelId = None


class ListFiles(Struct, forbid_unknown_fields=True):
    """
    The arguments of ``list_files``.
    """

    path: Annotated[
        str,
        Meta(description="A directory, relative to the kernel's working directory; empty for that"),
    ] = ""
    kernel_id: KernelId = None


class FileContent(Struct, kw_only=True):
    """
    The result of ``read_file``.
    """

    kernel_id: str
    path: str
    size: Annotated[int, Meta(description="Bytes in the file")]
    encoding: Literal["utf-8", "base64"]
    content: Annotated[str, Meta(description="Empty for a picture, which is an image instead")]
    next_offset: Annotated[
        int | None, Meta(description="Where to go on, if that is not all of the file")
    ]


class WrittenFile(Struct, kw_only=True):
    """
    The result of ``write_file``.
    """

    kernel_id: str
    new_kernel: Annotated[bool, Meta(description="Whether the kernel was started for this call")]
    path: str
    size: int
    created: Annotated[bool, Meta(description="Whether there was no such file before")]


class FileEntry(Struct, kw_only=True):
    """
    A file in a directory.
    """

    name: str
    type: Literal["file", "directory", "link", "other"]
    size: int
    modified: str


class Files(Struct, kw_only=True):
    """
    The result of ``list_files``.
    """

    kernel_id: str
    path: str
    entries: list[FileEntry]
    complete: Annotated[bool, Meta(description="Whether that is all that is in there")]


class FileTools:
    """
    Tools for files, with the same bounds as over HTTP.
    """

    def __init__(self, gateway: IGateway, sessions: Sessions) -> None:
        self._reactor: Any = gateway.reactor
        self._max_size = gateway.settings.max_file_size
        self._rights = gateway.as_kernel_user
        self._sessions = sessions
        self._choice = KernelChoice(gateway.kernels, sessions)

    def tools(self) -> Iterable[Tool]:
        """
        :return: The tools.
        """
        yield Tool(
            name="read_file",
            title="Read a file",
            description="Read a file in a kernel's working directory. Text comes as it is, a "
            "picture as an image, other files in base64.",
            arguments=ReadFile,
            result=FileContent,
            run=self.read_file,
            hints=READS,
        )
        yield Tool(
            name="write_file",
            title="Write a file",
            description="Write a file in a kernel's working directory, over one that is there. "
            "Without a kernel, one is started.",
            arguments=WriteFile,
            result=WrittenFile,
            run=self.write_file,
            hints=DESTROYS,
        )
        yield Tool(
            name="list_files",
            title="List files",
            description="List a kernel's working directory, or a directory in it.",
            arguments=ListFiles,
            result=Files,
            run=self.list_files,
            hints=READS,
        )

    async def read_file(self, caller: Caller, arguments: ReadFile) -> ToolResult:
        """
        ``read_file``.
        """
        kernel = self._choice.find(caller, arguments.kernel_id)
        with self._sessions.using(self._sessions.owner_of(kernel.kernel_id)):
            path = _relative(kernel.working_directory, arguments.path)
            return await in_thread(self._reactor, self._read, kernel, path, arguments)

    def _read(self, kernel: IKernel, path: str, arguments: ReadFile) -> ToolResult:
        opened = self._directory(kernel).open(path)
        if isinstance(opened, Listing):
            raise ToolFailure(f"path: {arguments.path} is a directory; use list_files")
        try:
            size = opened.info.size
            kind = media_type_of(path)
            is_image = kind in IMAGES and not arguments.offset and size <= _MAX_IMAGE
            data = opened.read(arguments.offset, _MAX_IMAGE if is_image else arguments.max_bytes)
        finally:
            opened.close()
        if is_image:
            encoding, text, used = "base64", "", len(data)
            content: Content = ImageContent(base64.b64encode(data).decode(), kind)
        else:
            encoding, text, used = _as_text(data)
            content = TextContent(text or "[kgd: nothing]")
        end = arguments.offset + used
        result = FileContent(
            kernel_id=kernel.kernel_id,
            path=path,
            size=size,
            encoding=encoding,  # type: ignore[arg-type]
            content=text,
            next_offset=end if used and end < size else None,
        )
        blocks = [content]
        if result.next_offset is not None:
            blocks.append(TextContent(f"[kgd: go on with offset {end} of {size}]"))
        return ToolResult(blocks, result)

    async def write_file(self, caller: Caller, arguments: WriteFile) -> ToolResult:
        """
        ``write_file``.
        """
        data = _as_bytes(arguments)
        if self._max_size and len(data) > self._max_size:
            raise ToolFailure(f"content: a file may have at most {self._max_size} bytes")
        if not arguments.path.startswith("/"):
            # No kernel is started for a path that cannot be.
            _relative("", arguments.path)
        kernel, is_new = await self._choice.make(caller, arguments.kernel_id)
        with self._sessions.using(self._sessions.owner_of(kernel.kernel_id)):
            path = _relative(kernel.working_directory, arguments.path)
            if not path:
                raise ToolFailure("path: name a file")
            directory = self._directory(kernel)
            info, created = await in_thread(self._reactor, directory.write, path, data, _allow)
        result = WrittenFile(
            kernel_id=kernel.kernel_id,
            new_kernel=is_new,
            path=path,
            size=info.size,
            created=created,
        )
        return plain_result(result)

    async def list_files(self, caller: Caller, arguments: ListFiles) -> ToolResult:
        """
        ``list_files``.
        """
        kernel = self._choice.find(caller, arguments.kernel_id)
        with self._sessions.using(self._sessions.owner_of(kernel.kernel_id)):
            path = _relative(kernel.working_directory, arguments.path)
            return await in_thread(self._reactor, self._list, kernel, path)

    def _list(self, kernel: IKernel, path: str) -> ToolResult:
        opened = self._directory(kernel).open(path)
        if not isinstance(opened, Listing):
            opened.close()
            raise ToolFailure(f"path: {path} is a file; use read_file")
        result = Files(
            kernel_id=kernel.kernel_id,
            path=path,
            entries=[
                FileEntry(
                    name=name,
                    type=info.type,  # type: ignore[arg-type]
                    size=info.size,
                    modified=timestamp(info.modified),
                )
                for name, info in opened.entries.items()
            ],
            complete=opened.is_complete,
        )
        return plain_result(result)

    def _directory(self, kernel: IKernel) -> ConfinedDirectory:
        if not kernel.working_directory:
            raise ToolFailure("The kernel's files are not on the gateway's machine")
        return ConfinedDirectory(kernel.working_directory, self._rights)


def _allow(present: FileInfo | None) -> None:
    """
    What is there may be replaced.
    """


def _relative(root: str, path: str) -> str:
    """
    :param root: The kernel's working directory.
    :return: A path in there, which may be given as an absolute one, too.
    """
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) + 1 :]
    path = path.removeprefix("./").removesuffix("/")
    if path in ("", "."):
        return ""
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise ToolFailure("path must be below the kernel's working directory, without . and ..")
    return path


def _as_text(data: bytes) -> tuple[str, str, int]:
    """
    :return: The encoding, the text in it, and how many bytes that is.
    """
    for missing in range(_MAX_MISSING + 1):
        whole = data[: len(data) - missing]
        try:
            text = whole.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.end < len(whole) or missing == _MAX_MISSING:
                break
        else:
            if "\0" in text or not (text or not data):
                break
            return "utf-8", text, len(whole)
    return "base64", base64.b64encode(data).decode(), len(data)


def _as_bytes(arguments: WriteFile) -> bytes:
    if arguments.encoding == "utf-8":
        return arguments.content.encode("utf-8", "replace")
    try:
        return base64.b64decode("".join(arguments.content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ToolFailure("content must be base64, as encoding says") from None
