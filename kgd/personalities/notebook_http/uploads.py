"""
Stores the files of a request where the kernel can read them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool

from kgd.errors import Unavailable
from kgd.notebook.api import StoredFile, Upload

# Bytes that are read or written in the reactor's thread; more would delay all other requests.
MAX_INLINE_SIZE = 1024 * 1024
# Many libraries need it. The rest of a client's file name is not used.
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


class UploadDirectory:
    """
    Files of requests, each in a directory that is removed with its request.

    :param make_directory: Returns the directory in which to make one for each request.
    :param hand_over: Makes files and directories accessible to kernels.
    :ivar max_inline_size: Bytes that may be read or written in the reactor's thread.
    """

    def __init__(
        self,
        reactor: Any,
        make_directory: Callable[[], Path],
        hand_over: Callable[..., None],
        max_inline_size: int = MAX_INLINE_SIZE,
    ) -> None:
        self.max_inline_size = max_inline_size
        self._reactor = reactor
        self._make_directory = make_directory
        self._hand_over = hand_over

    async def store(self, uploads: Sequence[Upload]) -> tuple[Path, list[StoredFile]]:
        """
        :return: The directory of this request, for :py:meth:`remove`, and the files.
        :raises kgd.errors.Unavailable: when they cannot be written.
        """
        try:
            if sum(len(upload.content) for upload in uploads) <= self.max_inline_size:
                return self._store(self._make_directory(), uploads)
            return await deferToThreadPool(
                self._reactor,
                self._reactor.getThreadPool(),
                self._store,
                self._make_directory(),
                uploads,
            )
        except OSError as error:
            raise Unavailable(
                f"the files of this request cannot be stored: {error.strerror}; try again later",
                60,
            ) from None

    def _store(self, parent: Path, uploads: Sequence[Upload]) -> tuple[Path, list[StoredFile]]:
        directory = Path(tempfile.mkdtemp(prefix="request-", dir=parent))
        stored = []
        try:
            for number, upload in enumerate(uploads, 1):
                suffix = _SUFFIX.search(upload.name)
                path = directory / f"{number}{suffix[0] if suffix else ''}"
                path.write_bytes(upload.content)
                stored.append(
                    StoredFile(
                        field=upload.field,
                        path=str(path),
                        name=upload.name,
                        type=upload.type,
                        size=len(upload.content),
                    )
                )
            self._hand_over(*directory.iterdir(), directory)
        except OSError:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return directory, stored

    def remove(self, directory: Path) -> None:
        """
        Remove the files of a request that has ended.
        """
        shutil.rmtree(directory, ignore_errors=True)
