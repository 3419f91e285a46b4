"""
Reads the configuration files of the Jupyter Kernel Gateway with traitlets' loaders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from traitlets.config.loader import (
    Config,
    FileConfigLoader,
    JSONFileConfigLoader,
    LazyConfigValue,
    PyFileConfigLoader,
)
from twisted.python.usage import UsageError

from kgd.config.sources import ConfigSource, SourcedValue, from_value
from kgd.config.table import Option, Table

_SHARED_STEM = "jupyter_config"
_OWN_STEM = "jupyter_kernel_gateway_config"
# The weaker one first.
_LOADERS: dict[str, type[FileConfigLoader]] = {
    ".py": PyFileConfigLoader,
    ".json": JSONFileConfigLoader,
}


@attrs.frozen
class JupyterConfig:
    """
    The options in all files together.

    :ivar remarks: Warnings about entries that are not known or have no effect, one line each.
    """

    source: ConfigSource
    remarks: Sequence[str]


def read_jupyter_files(
    directories: Sequence[Path], chosen: Path | None, table: Table
) -> JupyterConfig:
    """
    :param directories: The directories to look in, the strongest first.
    :param chosen: The file to read instead of those that would be found, except for
        ``jupyter_config``. One of another kind is not read here.
    :raises UsageError: if a file cannot be read, or raises an exception.
    """
    merged = Config()
    origins: dict[tuple[str, str], Path] = {}
    remarks: list[str] = []
    for path in _paths(directories, chosen):
        config = _load(path)
        if path.stem != _SHARED_STEM:
            # The Jupyter Kernel Gateway ignores it, too; but it was probably meant to do something.
            remarks += [
                f"{path} sets {name}, which is not a class with options and has no effect"
                for name, section in config.items()
                if not isinstance(section, Config)
            ]
        for name, trait in _entries(config):
            origins[name, trait] = path
            if not any(table.trait_aliases_of(name, trait)) and (
                table.has_class(name) or path.stem != _SHARED_STEM
            ):
                remarks.append(f"{path} sets {name}.{trait}, which kgd does not know")
        merged.merge(config)
    source: dict[str, SourcedValue] = {}
    for aliases in table.trait_aliases:
        for trait in (*aliases.options, *aliases.no_effect):
            class_name = next((name for name in aliases.classes if (name, trait) in origins), None)
            if class_name is None:
                continue
            path = origins[class_name, trait]
            if trait in aliases.no_effect:
                remarks.append(
                    f"{path} sets {class_name}.{trait}, which has no effect: "
                    f"{aliases.no_effect[trait]}"
                )
                continue
            option = table.option_named(aliases.options[trait])
            if option is None or option.name in source:
                continue
            value = _resolve_lazy(merged[class_name][trait], option)
            # In a file of Jupyter's, None is the default.
            if value is not None:
                source[option.name] = from_value(
                    option, value, f"as {class_name}.{trait} in {path}"
                )
    return JupyterConfig(source, remarks)


def _paths(directories: Sequence[Path], chosen: Path | None) -> Iterator[Path]:
    """
    :return: The files that exist, the weakest first.
    """
    yield from _present(directories, _SHARED_STEM)
    if chosen is None:
        yield from _present(directories, _OWN_STEM)
    elif chosen.suffix in _LOADERS:
        yield chosen


def _present(directories: Sequence[Path], stem: str) -> Iterator[Path]:
    for directory in reversed(directories):
        for suffix in _LOADERS:
            path = directory / f"{stem}{suffix}"
            if path.is_file():
                yield path


def _load(path: Path) -> Config:
    loader = _LOADERS[path.suffix](path.name, str(path.parent))
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return loader.load_config()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be read: {_describe_error(error)}") from None


def _describe_error(error: BaseException) -> str:
    """
    :return: The error, with the line of the file if that is known.
    """
    if isinstance(error, json.JSONDecodeError):
        return f"it is not valid JSON, {error}"
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})"
    trace, line = error.__traceback__, None
    while trace is not None:
        # The innermost frame of the file itself, not of the loader that executes it.
        if trace.tb_frame.f_globals.get("get_config") is not None:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if line is None else f"{text} (line {line})"


def _entries(config: Config) -> Iterable[tuple[str, str]]:
    for name, section in config.items():
        if isinstance(section, Config):
            for trait in section:
                yield name, trait


def _resolve_lazy(value: Any, option: Option) -> Any:
    """
    :return: The value, with recorded operations like ``append`` applied to the default.
    """
    if not isinstance(value, LazyConfigValue):
        return value
    if not value.to_dict():
        # The file has only read it.
        return None
    initial = option.to_file_value(option.default) or ({} if option.type.is_table else [])
    if isinstance(initial, list) and isinstance(value.to_dict().get("update"), set):
        return value.get_value(set(initial))
    return value.get_value(initial)
