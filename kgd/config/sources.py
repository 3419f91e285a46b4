"""
Sources of option values: variables and mappings, with the place where each value is set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import attrs
from twisted.python.usage import UsageError

from kgd.config.table import Option, Table
from kgd.settings import OutOfRange

ON_COMMAND_LINE = "on the command line"
_UNQUOTED = re.compile(r"[^\s'\"]+")


@attrs.frozen
class SourcedValue:
    """
    The texts that one source has for an option.

    :ivar texts: As on the command line, one for each time that the option is given; none for an
        empty list. They may be secret, so they are not printed.
    :ivar where: The place, like "in the variable KGD_PORT".
    """

    texts: tuple[str, ...] = attrs.field(repr=False)
    where: str


#: The values that one source has, by the name of the option.
ConfigSource = Mapping[str, SourcedValue]


def value_error(
    option: Option, value: object, where: str, error: ValueError | None = None
) -> UsageError:
    """
    :param error: What the type of the option has raised.
    :return: The error for a value that is not valid.
    """
    problem = "is out of range" if isinstance(error, OutOfRange) else "is not valid"
    accepted = option.type.accepted
    if option.is_switch and where.startswith(ON_COMMAND_LINE):
        accepted = f"{', '.join(f'--{flag}' for flag in option.flags)}, or {accepted}"
    # A value on the command line is in sight.
    place = "" if where == ON_COMMAND_LINE else f" (set {where})"
    shown = f"={_quoted(value)}" if option.show is None else ""
    return UsageError(f"--{option.name}{shown}{place} {problem}; use {accepted}")


def _quoted(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and _UNQUOTED.fullmatch(value):
        return value
    return repr(value)


def from_environment(environ: Mapping[str, str], table: Table) -> ConfigSource:
    """
    :param environ: An empty variable counts as not set.
    """
    found = {}
    for option in table.rows:
        for name in option.environment:
            text = environ.get(name)
            if text and not option.type.is_foreign(text):
                found[option.name] = SourcedValue((text,), f"in the variable {name}")
                break
    return found


def from_mapping(content: Mapping[str, Any], table: Table, has: str, where: str) -> ConfigSource:
    """
    :param content: Values by the name of the option, with dashes or underscores.
    :param has: The start of an error, like "kgd.toml has".
    :param where: The place of the values, like "in kgd.toml".
    :raises UsageError: for a name that is not an option, and for a value of a kind that the option
        does not accept.
    """
    source: dict[str, SourcedValue] = {}
    for key, value in content.items():
        option = table.option_named(key)
        if option is None:
            raise UsageError(f"{has} the key {key!r}, which is not an option; {_hint(key, table)}")
        if option.name in source:
            raise UsageError(f"{has} {option.name} twice, once as {key!r}; remove one of them")
        source[option.name] = from_value(option, value, f"as {key} {where}")
    return source


def _hint(key: str, table: Table) -> str:
    near = difflib.get_close_matches(key.replace("_", "-"), table.by_name, 1)
    return f"did you mean {near[0]!r}?" if near else "kgd --help-all lists all options"


def from_value(option: Option, value: Any, where: str) -> SourcedValue:
    """
    :param value: A value from a file: text, a number, a truth value, or a list or mapping of
        these.
    :raises UsageError: for a value of a kind that the option does not accept.
    """
    try:
        return SourcedValue(tuple(_texts(option, value)), where)
    except ValueError:
        raise value_error(option, value, where) from None


def _texts(option: Option, value: Any) -> Sequence[str]:
    if isinstance(value, Mapping):
        if not option.type.is_table:
            raise ValueError
        return [f"{_text(name or '')}={_text(each)}" for name, each in value.items()]
    if isinstance(value, list | tuple | AbstractSet):
        if not option.many:
            raise ValueError
        return [_text(each) for each in value]
    return [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str | int | float | PurePath):
        return str(value)
    raise ValueError
