"""
A file with the ports and sockets that the gateway listens on, for the program that started it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from kgd.errors import ConfigurationError


class PortFile:
    """
    A file that exists while the gateway answers, and is never incomplete.

    Format: one line for each port or socket, with the port's number or the socket's path.

    :param path: Its path; empty for no file.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._written_identity: tuple[int, int] | None = None

    def remove_stale(self) -> None:
        """
        Remove a file that a killed gateway has left.

        :raises ConfigurationError: when that is not possible.
        """
        if self._path is None:
            return
        try:
            self._path.unlink(missing_ok=True)
            # Find out before anything is started whether the file can be written.
            with NamedTemporaryFile(dir=self._path.parent):
                pass
        except OSError as error:
            raise self._cannot_write(error) from None

    def write(self, ports_and_paths: Sequence[str]) -> None:
        """
        Write the file.

        :raises ConfigurationError: when that is not possible.
        """
        if self._path is None:
            return
        try:
            with NamedTemporaryFile(
                dir=self._path.parent, prefix=f".{self._path.name}.", delete=False
            ) as file:
                # Paths need not be UTF-8.
                file.writelines(
                    os.fsencode(f"{port_or_path}\n") for port_or_path in ports_and_paths
                )
                # The program that waits for it may run as another user.
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                self._written_identity = _identity(os.fstat(file.fileno()))
            os.replace(file.name, self._path)
        except OSError as error:
            raise self._cannot_write(error) from None

    def remove(self) -> None:
        """
        Remove the file, unless another gateway has replaced it.
        """
        written, self._written_identity = self._written_identity, None
        if self._path is not None and written is not None:
            try:
                if _identity(self._path.stat()) == written:
                    self._path.unlink()
            except FileNotFoundError:
                return

    def _cannot_write(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"--port-file={self._path} cannot be written: {error.strerror}; choose another path"
        )


def _identity(found: os.stat_result) -> tuple[int, int]:
    """
    :return: What tells a file from one that has replaced it; inode numbers alone are reused.
    """
    return found.st_ino, found.st_mtime_ns
