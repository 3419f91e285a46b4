"""
Finds and reads configuration files.

kgd's own are called ``kgd.toml``. Those of the Jupyter Kernel Gateway are read, too, and are
weaker. Both are looked for in Jupyter's configuration directories.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from twisted.python.usage import UsageError

from kgd.config.sources import ConfigSource, from_mapping
from kgd.config.table import Table

FILE_NAME = "kgd.toml"
_JUPYTER_SUFFIXES = (".py", ".json")


@attrs.frozen
class ConfigFiles:
    """
    The sources in the files that were read.

    :ivar sources: The strongest first.
    :ivar remarks: Warnings for the operator, one line each.
    """

    sources: Sequence[ConfigSource] = ()
    remarks: Sequence[str] = ()


def read_files(chosen: str, environ: Mapping[str, str], table: Table) -> ConfigFiles:
    """
    :param chosen: The file to read instead of those that would be found, except for
        ``jupyter_config``, or the empty string.
    :param environ: If it has ``JUPYTER_NO_CONFIG``, no files are looked for.
    :raises UsageError: for a file that cannot be read, or has a value that is not valid.
    """
    directories: list[Path] = []
    remarks: list[str] = []
    sources: list[ConfigSource] = []
    for directory in [] if environ.get("JUPYTER_NO_CONFIG") else _directories():
        own = directory / FILE_NAME
        try:
            is_there = own.is_file()
        except OSError as error:
            # For example root's home, if HOME still names it for another user.
            remarks.append(f"cannot read configuration from {directory}: {error.strerror}")
            continue
        directories.append(directory)
        if is_there and not chosen:
            sources.append(read_toml(own, table))
    named = True
    if chosen and Path(chosen).suffix not in _JUPYTER_SUFFIXES:
        sources.append(read_toml(Path(chosen), table))
        named = False
    # Importing traitlets takes time; few gateways need it.
    candidates = [each for each in directories if any(each.glob("jupyter*_config.*"))]
    if not (candidates or (chosen and named)):
        return ConfigFiles(sources, remarks)
    from kgd.config.jupyter import read_jupyter_files

    jupyter = read_jupyter_files(candidates, Path(chosen) if chosen else None, table)
    return ConfigFiles([*sources, jupyter.source], [*remarks, *jupyter.remarks])


def _directories() -> list[Path]:
    from jupyter_core.paths import jupyter_config_path

    return [Path(each).absolute() for each in jupyter_config_path()]


def default_path() -> Path:
    """
    :return: The path of the user's own file.
    """
    from jupyter_core.paths import jupyter_config_dir

    return Path(jupyter_config_dir()) / FILE_NAME


def read_toml(path: Path, table: Table) -> ConfigSource:
    """
    :raises UsageError: if the file cannot be read, or has a key that is not an option.
    """
    try:
        # Some editors write a byte order mark.
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    return from_mapping(content, table, f"{path} has", f"in {path}")
