"""
Options and their values, written down.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from kgd.config.options import OPTIONS, Option
from kgd.config.resolve import Resolution
from kgd.config.table import Table

_WIDTH = 100
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def shown_as_toml(resolved: Resolution) -> str:
    """
    :return: A file that means what is effective, with the origin of each value. What is not shown
        as it is, because it is secret, is commented out, so that nobody gets asterisks for a token.
    """
    lines = []
    for (option, shown, where), (_, value) in zip(
        _effective(resolved), resolved.values, strict=True
    ):
        is_secret = value is not None and option.show(value) != value
        lines.append(f"{'#' * is_secret}{option.name} = {toml(shown)}  # {where}")
    return "\n".join(lines) + "\n"


def shown_as_json(resolved: Resolution) -> str:
    """
    :return: An object with ``value`` and ``from`` for each option.
    """
    found = {
        option.name: {"value": value, "from": where}
        for option, value, where in _effective(resolved)
    }
    return json.dumps(found, indent=2) + "\n"


def _effective(resolved: Resolution) -> Iterator[tuple[Option, Any, str]]:
    for option, value in resolved.values:
        yield option, option.written(value), resolved.where.get(option.name, "default")


def config_file(table: Table) -> str:
    """
    :return: A file with every option, commented out.
    """
    lines = _comment(
        "Options of kgd. Remove the # before those that you want to change. They are weaker than "
        "the command line and than variables like KGD_PORT. Names may have dashes or underscores; "
        'sizes are numbers of bytes or text like "32MiB", times are in seconds.'
    )
    for option in table.rows:
        if option.idle:
            continue
        lines += ["", *_comment(f"{option.help} {option.takes}")]
        lines.append(f"#{option.name} = {toml(option.written(option.default))}")
    return "\n".join(lines) + "\n"


def environment_file() -> str:
    """
    :return: A file with every variable, commented out, for systemd or a container.
    """
    lines = _comment(
        "Options of kgd as variables. Remove the # before those that you want to change; one that "
        "is empty counts as not set. KG_ instead of KGD_ will do."
    )
    for option in OPTIONS:
        if option.idle:
            continue
        lines += ["", *_comment(f"{option.help} {option.takes}")]
        lines.append(f"#{option.environment[0]}={option.default_text}")
    lines += ["", *_comment("File with options, which is read instead of those that are found.")]
    lines.append("#KGD_CONFIG=")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def toml(value: Any) -> str:
    """
    :param value: A string, a number, a truth value, a list, or a mapping of such.
    :return: It as TOML has it, on one line.
    """
    if isinstance(value, Mapping):
        pairs = (f"{_key(name)} = {toml(each)}" for name, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for one character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml(name)
