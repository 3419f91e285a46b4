"""
Links to kernels' connection files in Jupyter's runtime directory, in which ``jupyter console
--existing`` and other clients on this machine look for kernels.

The files themselves stay in the gateway's private directory. So that whoever removes that directory
can remove the links, too, it has a link to the directory in which they are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from kgd.observability.logs import make_logger

#: The name of the link to the directory of links; ``watchdog_process.py`` knows it, too.
POINTER = "links"
_PRIVATE_MODE = 0o700


class ConnectionFileLinks:
    """
    The links of one gateway. A file or link of another program is never replaced.

    :param directory: Where to make them; by default, Jupyter's runtime directory.
    """

    _log = make_logger()

    def __init__(self, directory: Path | None = None) -> None:
        self._given = directory
        self._directory: Path | None = None

    def open(self, runtime: Path) -> None:
        """
        Begin to make links. When that cannot be done, there are none, and the log says why.

        :param runtime: The gateway's private directory.
        """
        directory = (self._given or Path(jupyter_runtime_dir())).absolute()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_MODE)
            (runtime / POINTER).symlink_to(directory)
        except OSError as error:
            self._warn(directory, error)
        else:
            self._directory = directory

    def add(self, file: Path) -> None:
        """
        Make the link to a connection file, unless it exists.
        """
        if self._directory is None:
            return
        link = self._directory / file.name
        try:
            link.symlink_to(file)
        except FileExistsError:
            if _target_of(link) != str(file):
                self._log.warn(
                    "{link} belongs to another kernel, so `jupyter console --existing` finds that "
                    "one; give it the path {file} instead",
                    link=str(link),
                    file=str(file),
                )
        except OSError as error:
            self._warn(self._directory, error)

    def remove(self, file: Path) -> None:
        """
        Remove the link to a connection file, if there is one.
        """
        if self._directory is not None:
            _remove_if(self._directory / file.name, str(file))

    def close(self, runtime: Path) -> None:
        """
        Remove the links to files that do not exist any longer.
        """
        directory, self._directory = self._directory, None
        if directory is not None:
            remove_links(directory, runtime)

    def _warn(self, directory: Path, error: OSError) -> None:
        self._log.warn(
            "connection files cannot be linked in {directory}: {error}; set JUPYTER_RUNTIME_DIR to "
            "a directory that can be written to, or use --no-link-connection-files",
            directory=str(directory),
            error=error.strerror,
        )


def directory_of_links(runtime: Path) -> Path | None:
    """
    :param runtime: The private directory of any gateway.
    :return: Where its links are, if it makes any.
    """
    target = _target_of(runtime / POINTER)
    return Path(target) if target else None


def remove_links(directory: Path, runtime: Path) -> None:
    """
    Remove the links to files that a gateway's private directory does not have any longer.

    :param directory: Where the links are.
    """
    with contextlib.suppress(OSError):
        # Gateways may spell the same directory in several ways.
        real = os.path.realpath(runtime)
        for link in directory.glob("kernel-*.json"):
            target = _target_of(link)
            is_gone = target and not os.path.lexists(target)
            if is_gone and os.path.realpath(os.path.dirname(target)) == real:
                _remove_if(link, target)


def _target_of(link: Path) -> str:
    """
    :return: What it links to, or nothing if it is not a link.
    """
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _remove_if(link: Path, target: str) -> None:
    if _target_of(link) == target:
        with contextlib.suppress(OSError):
            link.unlink()
