"""
Writes options and their values as text: effective values, and files to begin with.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from kgd.config.options import OWN
from kgd.config.resolve import Resolution
from kgd.config.table import Option, Table

_WIDTH = 100
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def render_toml(resolved: Resolution) -> str:
    """
    :return: A configuration file with the effective values and the source of each. Values of which
        a secret part is left out are comments, so that asterisks do not become a token.
    """
    lines = []
    for (option, shown, where), (_, value) in zip(
        _effective(resolved), resolved.values, strict=True
    ):
        is_secret = value is not None and option.show is not None and option.show(value) != value
        lines.append(f"{'#' * is_secret}{option.name} = {to_toml(shown)}  # {where}")
    return "\n".join(lines) + "\n"


def render_json(resolved: Resolution) -> str:
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
        yield option, option.to_file_value(value), resolved.where.get(option.name, "default")


def config_file(table: Table) -> str:
    """
    :return: A configuration file with every option as a comment.
    """
    lines = _comment(
        "Options of kgd. Remove the # before those that you want to change. The command line and "
        "variables like KGD_PORT win over them. Names may have dashes or underscores; sizes are "
        'numbers of bytes or text like "32MiB", times are in seconds.'
    )
    for option, described in _described(table):
        lines += described
        lines.append(f"#{option.name} = {to_toml(option.to_file_value(option.default))}")
    return "\n".join(lines) + "\n"


def environment_file() -> str:
    """
    :return: A file with every variable as a comment, for systemd or a container.
    """
    lines = _comment(
        "Options of kgd as variables. Remove the # before those that you want to change; an empty "
        "variable counts as not set. The prefix may also be KG_ instead of KGD_."
    )
    for option, described in _described(OWN):
        lines += described
        lines.append(f"#{option.environment[0]}={option.default_text}")
    lines += ["", *_comment("File with options, which is read instead of those that are found.")]
    lines.append("#KGD_CONFIG=")
    return "\n".join(lines) + "\n"


def _described(table: Table) -> Iterator[tuple[Option, list[str]]]:
    """
    :return: The options that have an effect, each with comments to put before it.
    """
    for group, options in table.groups().items():
        heading = ["", f"# ----- {group} -----"]
        for option in options:
            if not option.no_effect:
                text = f"{option.help} {option.type.accepted_sentence}"
                yield option, [*heading, "", *_comment(text)]
                heading = []


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def to_toml(value: Any) -> str:
    """
    :param value: A string, number, truth value, list, or mapping of these.
    :return: The value in TOML, on one line.
    """
    if isinstance(value, Mapping):
        pairs = (f"{_key(name)} = {to_toml(each)}" for name, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, except for one character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else to_toml(name)
