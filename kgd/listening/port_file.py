"""
A file that says where the gateway listens, for whoever has started it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from kgd.errors import ConfigurationError


class PortFile:
    """
    A file that is there as long as the gateway answers, whole or not at all.

    It has a line for each thing that is listened on: the number of a port, or the path of a socket.

    :param path: Where; nothing is no file.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._written: tuple[int, int] | None = None

    def clear(self) -> None:
        """
        Remove what a gateway has left that was killed: it is no longer true.

        :raises ConfigurationError: when that is not possible.
        """
        if self._path is None:
            return
        try:
            self._path.unlink(missing_ok=True)
            # Whether it will be possible to write is better known before anything is started.
            with NamedTemporaryFile(dir=self._path.parent):
                pass
        except OSError as error:
            raise self._trouble(error) from None

    def write(self, places: Sequence[str]) -> None:
        """
        Say where.

        :raises ConfigurationError: when that is not possible.
        """
        if self._path is None:
            return
        try:
            with NamedTemporaryFile(
                dir=self._path.parent, prefix=f".{self._path.name}.", delete=False
            ) as file:
                # Paths need not be UTF-8.
                file.writelines(os.fsencode(f"{place}\n") for place in places)
                # Whoever waits for it may be another user.
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                self._written = _identity(os.fstat(file.fileno()))
            os.replace(file.name, self._path)
        except OSError as error:
            raise self._trouble(error) from None

    def remove(self) -> None:
        """
        Remove the file, unless it is another gateway's by now.
        """
        written, self._written = self._written, None
        if self._path is not None and written is not None:
            try:
                if _identity(self._path.stat()) == written:
                    self._path.unlink()
            except FileNotFoundError:
                return

    def _trouble(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"--port-file={self._path} cannot be written: {error.strerror}; choose another place"
        )


def _identity(found: os.stat_result) -> tuple[int, int]:
    """
    :return: What tells a file from one that has taken its place; a number alone is used again.
    """
    return found.st_ino, found.st_mtime_ns
