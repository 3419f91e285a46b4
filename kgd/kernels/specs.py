"""
Finds the kernelspecs that are installed on this machine.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_core.paths import jupyter_path
from twisted.logger import LogLevel
from zope.interface import implementer

from kgd.errors import JSON_ERRORS, NoSuchKernelSpec, UnusableKernelSpec, describe_read_error
from kgd.interfaces import KERNEL_FILE, IKernelSpecs, KernelSpec
from kgd.observability.logs import make_logger

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpecManager

_PYTHON_NAME = re.compile(r"(python|pypy)[0-9.]*")
_IPYKERNEL_MODULES = ("ipykernel", "ipykernel_launcher")


def is_ipykernel(argv: Sequence[str]) -> bool:
    """
    Whether a command starts ipykernel directly, not through another program.
    """
    return (
        bool(argv)
        and _PYTHON_NAME.fullmatch(Path(argv[0]).name) is not None
        and any(flag == "-m" and module in _IPYKERNEL_MODULES for flag, module in pairwise(argv))
    )


_log = make_logger()
_ALIASES = {"python": "python3"}
_SCRIPTS = ("kernel.js", "kernel.css")
# In nanoseconds. Files that changed this shortly before they were read may change again without a
# change of their times: some file systems count in units of two seconds.
_TIMESTAMP_RESOLUTION = 2_000_000_000

_FileState = tuple[int, ...] | None


class _LogForwarder(logging.Handler):
    """
    Forwards jupyter_client's log messages to the gateway's log.
    """

    def emit(self, record: logging.LogRecord) -> None:
        level = LogLevel.warn if record.levelno >= logging.WARNING else LogLevel.debug
        _log.emit(level, "{text}", text=_as_text(record.getMessage()))


_jupyter_log = logging.getLogger(__name__)
_jupyter_log.propagate = False
_jupyter_log.addHandler(_LogForwarder())


def search_path() -> list[str]:
    """
    :return: The directories that hold kernelspecs, strongest first.
    """
    # jupyter_client adds the last one itself, but imports all of IPython for it.
    ipython = os.environ.get("IPYTHONDIR") or os.path.join("~", ".ipython")
    return [*jupyter_path("kernels"), os.path.join(os.path.expanduser(ipython), "kernels")]


@implementer(IKernelSpecs)
class InstalledKernelSpecs:
    """
    Reads kernelspecs where Jupyter looks for them. Every call checks their directories, and reads
    them again when something there has changed.

    :param path: The directories to look in; by default :py:func:`search_path`.
    :param allowed: The names of the only kernelspecs to offer; if empty, all.
    :param native: Whether to offer a kernelspec of this Python, ``python3``, when ipykernel can be
        imported, even if none is installed.
    """

    def __init__(
        self,
        path: Sequence[str] | None = None,
        allowed: Iterable[str] = (),
        *,
        native: bool = True,
    ) -> None:
        self._native = native
        self._path = path
        self._allowed = frozenset(_canonical_name(name) for name in allowed)
        self._specs: Mapping[str, KernelSpec] = {}
        # By name, why others cannot be used.
        self._unusable: Mapping[str, str] = {}
        self._file_states: dict[str, _FileState] | None = None

    def all(self) -> Mapping[str, KernelSpec]:
        """
        :return: Name to spec, by name; the same object as last time if nothing has changed.
        """
        if self._file_states is None or any(
            _file_state(path) != state for path, state in self._file_states.items()
        ):
            self._read()
        return self._specs

    def find(self, name: str) -> KernelSpec:
        key = _canonical_name(name)
        try:
            return self.all()[key]
        except KeyError:
            if key in self._unusable:
                raise UnusableKernelSpec(
                    f"The kernelspec {key} cannot be used: {self._unusable[key]}"
                ) from None
            raise NoSuchKernelSpec(f"No such kernel: {name}") from None

    def has(self, name: str) -> bool:
        key = _canonical_name(name)
        if self._allowed and key not in self._allowed:
            return False
        if self._native and key == "python3" and importlib.util.find_spec("ipykernel") is not None:
            return True
        return any(
            key == each.lower() for path in self._search_path() for each in _list_directory(path)
        )

    def _search_path(self) -> Sequence[str]:
        if self._path is None:
            self._path = search_path()
        return self._path

    def _read(self) -> None:
        searched = self._search_path()
        now = time.time_ns()
        # Taken before the files are read, so that a change in between is noticed next time.
        states = {path: _file_state(path) for path in _watched_paths(searched)}
        found = {
            name: spec
            for name, spec in _read_installed(searched, self._native)
            if not self._allowed or name in self._allowed
        }
        self._specs = MappingProxyType(
            {name: spec for name, spec in found.items() if isinstance(spec, KernelSpec)}
        )
        self._unusable = {name: why for name, why in found.items() if isinstance(why, str)}
        for spec in self._specs.values():
            # A kernelspec that jupyter_client found elsewhere.
            states.setdefault(str(spec.directory), _file_state(str(spec.directory)))
        newest = max((max(state[-2:]) for state in states.values() if state), default=0)
        self._file_states = states if newest < now - _TIMESTAMP_RESOLUTION else None


def _canonical_name(name: str) -> str:
    key = name.lower()
    return _ALIASES.get(key, key)


def _file_state(path: str) -> _FileState:
    """
    :return: Values that change when the file or directory does; the times come last.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _watched_paths(path: Iterable[str]) -> Iterator[str]:
    """
    :return: All files and directories on which the found kernelspecs depend.
    """
    for directory in path:
        yield directory
        for name in _list_directory(directory):
            yield os.path.join(directory, name)
            yield os.path.join(directory, name, KERNEL_FILE)


def _list_directory(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read_installed(path: Iterable[str], native: bool) -> Iterator[tuple[str, KernelSpec | str]]:
    """
    :return: Names, each with its kernelspec or with the reason why that cannot be used.
    """
    # This imports all of jupyter_client, also its asyncio clients; no narrower import works. A
    # gateway that has no clients yet saves those megabytes.
    from jupyter_client.kernelspec import KernelSpec as JupyterKernelSpec
    from jupyter_client.kernelspec import KernelSpecManager

    class LenientKernelSpec(JupyterKernelSpec):
        """
        Reads a file as :py:func:`read_kernel_file` does.
        """

        @classmethod
        def from_resource_dir(cls, resource_dir: str) -> LenientKernelSpec:
            fields = read_kernel_file(Path(resource_dir, KERNEL_FILE))
            return cls(resource_dir=resource_dir, **fields)

    # A new manager each time is cheap. It fails on directories that cannot be read, so these are
    # left out.
    readable = [each for each in path if os.access(each, os.R_OK | os.X_OK)]
    manager = KernelSpecManager(
        kernel_dirs=readable,
        log=_jupyter_log,
        ensure_native_kernel=native,
        kernel_spec_class=LenientKernelSpec,
    )
    found = manager.find_kernel_specs()
    for name in sorted(found):
        try:
            yield name, _read_spec(manager, name)
        except Exception as error:
            # One broken kernel.json must not make the others unavailable.
            own = isinstance(error, UnusableKernelSpec)
            what = str(error) if own else f"{type(error).__name__}: {error}"
            reason = _as_text(f"{os.path.join(found[name], KERNEL_FILE)}: {what}")
            _log.warn(
                "the kernelspec {name} is left out, as it cannot be used: {error}",
                name=_as_text(name),
                error=reason,
            )
            yield name, reason
    # Directories that jupyter_client passes over without a word.
    for directory in readable:
        for name in _list_directory(directory):
            if name.lower() not in found and os.path.isdir(os.path.join(directory, name)):
                file = os.path.join(directory, name, KERNEL_FILE)
                found[name.lower()] = directory
                yield name.lower(), _as_text(f"{file}: {_why_no_file(file)}")


def _why_no_file(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return describe_read_error(error)
    return f"this is a {'directory' if stat.S_ISDIR(mode) else 'special file'}, and must be a file"


_TEXTS = ("display_name", "language", "interrupt_mode", "kernel_protocol_version")


def read_kernel_file(path: Path) -> dict[str, Any]:
    """
    Read a ``kernel.json``. Fields that are ``null`` count as missing, numbers in ``env`` as text,
    and a byte order mark may be there, as editors on Windows write it. Format:
    https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs

    :return: The fields that a kernelspec has.
    :raises kgd.errors.UnusableKernelSpec: with the reason, which does not name the file.
    """
    try:
        # This finds out the encoding, as RFC 4627 says.
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UnusableKernelSpec(describe_read_error(error)) from None
    except UnicodeDecodeError as error:
        raise UnusableKernelSpec(
            f"the byte at {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    except RecursionError:
        raise UnusableKernelSpec("this is nested too deeply") from None
    except ValueError as error:
        raise UnusableKernelSpec(
            f"this is not valid JSON, {error}; JSON has neither comments nor a comma after the "
            "last entry"
        ) from None
    if not isinstance(content, dict):
        raise UnusableKernelSpec('this must be an object, like {"argv": [...], ...}')
    fields = {
        name: content[name]
        for name in ("argv", "env", "metadata", *_TEXTS)
        if content.get(name) is not None
    }
    for name in _TEXTS:
        if not isinstance(fields.get(name, ""), str):
            raise UnusableKernelSpec(f"{name} must be a text, in quotation marks")
    if not isinstance(fields.get("metadata", {}), dict):
        raise UnusableKernelSpec('metadata must be an object, like {"debugger": true}')
    fields["argv"] = _read_argv(fields.get("argv", []))
    fields["env"] = _read_env(fields.get("env", {}))
    try:
        # Clients get it in this form; all others would be hidden from them with this one.
        msgspec.json.encode(fields)
    except (*JSON_ERRORS, ValueError, OverflowError) as error:
        raise UnusableKernelSpec(f"no JSON can be made of the fields again: {error}") from None
    return fields


def _read_argv(argv: Any) -> list[str]:
    if not isinstance(argv, list) or not all(_is_word(word) for word in argv):
        raise UnusableKernelSpec(
            'argv must be a list of texts, like ["python3", "-m", "ipykernel_launcher", "-f", '
            '"{connection_file}"]'
        )
    return argv


def _read_env(env: Any) -> dict[str, str]:
    if not isinstance(env, dict):
        raise UnusableKernelSpec('env must be an object, like {"NAME": "value"}')
    found = {}
    for name, given in env.items():
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        value = str(given) if is_number else given
        if not name or "=" in name or not _is_word(name):
            raise UnusableKernelSpec(f"env has {name!r}, which cannot be the name of a variable")
        if not _is_word(value):
            raise UnusableKernelSpec(f"the value of {name} in env must be a text or a number")
        found[name] = value
    return found


def _is_word(word: Any) -> bool:
    """
    Whether a process can have this as an argument or in its environment.
    """
    return isinstance(word, str) and "\0" not in word


def _read_spec(manager: KernelSpecManager, name: str) -> KernelSpec:
    found = manager.get_kernel_spec(name)
    if _as_text(name) != name:
        # A name of a file may hold any bytes, but no response can.
        raise UnusableKernelSpec("the name of the directory is not UTF-8; rename it")
    return KernelSpec(
        name=name,
        argv=tuple(found.argv),
        env=dict(found.env),
        display_name=found.display_name,
        language=found.language,
        interrupt_mode=found.interrupt_mode.lower(),
        metadata=found.metadata,
        kernel_protocol_version=found.kernel_protocol_version,
        directory=Path(found.resource_dir),
        resources=_resources(found.resource_dir),
    )


def _resources(directory: str) -> dict[str, str]:
    names = [name for name in _list_directory(directory) if _is_unicode(name)]
    scripts = {name: name for name in names if name in _SCRIPTS}
    return scripts | {os.path.splitext(name)[0]: name for name in names if name.startswith("logo-")}


def _as_text(text: str) -> str:
    """
    :param text: May hold a file's name, which need not be Unicode.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_unicode(name: str) -> bool:
    """
    Whether the name of a file is Unicode, so that a URL and JSON can hold it.
    """
    return not any("\ud800" <= character <= "\udfff" for character in name)
