"""
``/api/kernels/<kernel_id>/files``: the files in a kernel's working directory.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any
from urllib.parse import quote

from kgd import errors
from kgd.interfaces import IGateway, IKernel
from kgd.web.body_sink import BodySink
from kgd.web.confined import Check, ConfinedDirectory, FileInfo, Listing
from kgd.web.downloads import in_thread, media_type_of, send_file
from kgd.web.models import directory_model, file_model
from kgd.web.mounted import base_url
from kgd.web.responses import empty_answer, json_answer, parse_tags
from kgd.web.routes import Route

#: The route of one file.
ONE = "/api/kernels/<kernel_id>/files/<path:file>"


class FilesAPI:
    """
    Files over HTTP, with the rights of the kernel's user, and read and written in threads.
    """

    def __init__(self, gateway: IGateway) -> None:
        self._reactor = gateway.reactor
        self._max_size = gateway.settings.max_file_size
        self._kernels = gateway.kernels
        self._rights = gateway.as_kernel_user

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        read, write = "contents:read", "contents:write"
        top = "/api/kernels/<kernel_id>/files"
        return [
            Route(top, ("GET",), self.show, summary="List a kernel's files", scope=read),
            Route(ONE, ("GET",), self.show, summary="Get a file, or list a directory", scope=read),
            Route(
                ONE,
                ("PUT",),
                self.write,
                summary="Write a file",
                scope=write,
                open_body=self.open_body,
            ),
            Route(ONE, ("DELETE",), self.remove, summary="Delete a file", scope=write),
        ]

    async def show(self, request: Any, kernel_id: str, file: str = "") -> bytes:
        """
        ``GET /api/kernels/<kernel_id>/files/<path:file>``, and without a path.
        """
        directory = self._directory(self._kernels.get(kernel_id))
        opened = await in_thread(self._reactor, directory.open, file)
        if isinstance(opened, Listing):
            return json_answer(request, directory_model(file, opened))
        return await send_file(self._reactor, request, opened, media_type_of(file))

    async def write(self, request: Any, kernel_id: str, file: str) -> bytes:
        """
        ``PUT /api/kernels/<kernel_id>/files/<path:file>``.
        """
        only_new = request.getHeader(b"if-none-match") == b"*"
        sink = getattr(request, "sink", None) or self._take_content(request, kernel_id, file)
        try:
            new = await sink.finished()
            info, is_new = await in_thread(self._reactor, new.finish, only_new=only_new)
        finally:
            sink.abort()
        location = f"{base_url(request)}/api/kernels/{kernel_id}/files/{quote(file)}"
        request.setHeader(b"Location", location.encode("ascii"))
        request.setHeader(b"ETag", info.tag.encode("ascii"))
        return json_answer(request, file_model(file, info), 201 if is_new else 200)

    def open_body(self, request: Any, kernel_id: str, file: str) -> BodySink:
        """
        Take the body of ``PUT`` as it arrives. What is wrong is said before that.
        """
        directory = self._directory(self._kernels.claim(kernel_id))
        if request.requestHeaders.hasHeader(b"content-range"):
            raise errors.InvalidRequest("Content-Range: send the whole file, without this header")
        begin = partial(directory.begin, file, check_conditions(request, file))
        return BodySink(self._reactor, begin, self._max_size, "--max-file-size")

    def _take_content(self, request: Any, kernel_id: str, file: str) -> BodySink:
        """
        Take a body that is there already: a small one, or that of a request to another server, in
        which the gateway is mounted.
        """
        size = request.content.seek(0, os.SEEK_END)
        sink = self.open_body(request, kernel_id, file)
        error = sink.check_size(size)
        if error is not None:
            sink.abort()
            raise error
        request.content.seek(0)
        if size:
            sink.received(request.content.read())
        return sink

    async def remove(self, request: Any, kernel_id: str, file: str) -> bytes:
        """
        ``DELETE /api/kernels/<kernel_id>/files/<path:file>``.
        """
        directory = self._directory(self._kernels.claim(kernel_id))
        check = check_conditions(request, file)
        await in_thread(self._reactor, directory.remove, file, check)
        return empty_answer(request)

    def _directory(self, kernel: IKernel) -> ConfinedDirectory:
        root = kernel.working_directory
        if not root:
            raise errors.NotSupported("The kernel's files are not on the gateway's machine")
        return ConfinedDirectory(root, self._rights)


def check_conditions(request: Any, path: str) -> Check:
    """
    :return: Raises unless the file is as ``If-Match`` and ``If-None-Match`` of a request want it.
    """
    wanted, unwanted = (
        b",".join(request.requestHeaders.getRawHeaders(name, ())).strip()
        for name in (b"if-match", b"if-none-match")
    )

    def matches(given: bytes, present: FileInfo | None) -> bool:
        if present is None:
            return False
        return given == b"*" or present.tag.encode("ascii") in parse_tags(given)

    def check(present: FileInfo | None) -> None:
        if wanted and not matches(wanted, present):
            raise errors.PreconditionFailed(
                f"If-Match: {path} has changed, or is gone; get it again, with its present ETag"
            )
        if unwanted and matches(unwanted, present):
            raise errors.PreconditionFailed(f"If-None-Match: there is a file {path} already")

    return check
