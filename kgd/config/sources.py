"""
What somebody says about an option, and where they say it.
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

from kgd.config.options import Option
from kgd.config.table import Table
from kgd.config.types import as_it_is, port_number

ON_COMMAND_LINE = "on the command line"
_ADDRESS_OF_SERVICE = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


@attrs.frozen
class SourcedValue:
    """
    :ivar texts: As they would stand on the command line, one for each time that the option is
        given; none at all for an empty list. Not printed, for they may be secret.
    :ivar where: To go behind "is x".
    """

    texts: tuple[str, ...] = attrs.field(repr=False)
    where: str


#: What one source says, by the name of the option.
ConfigSource = Mapping[str, SourcedValue]


def wrong(option: Option, value: object, where: str) -> UsageError:
    """
    :return: The error for a value that will not do.
    """
    shown = repr(value) if option.show is as_it_is else "not what it should be"
    takes = option.takes.rstrip(".")
    return UsageError(
        f"--{option.name} is {shown} {where}, which will not do; it takes: "
        f"{takes[0].lower()}{takes[1:]}"
    )


def from_environment(environ: Mapping[str, str], table: Table) -> ConfigSource:
    """
    :param environ: A variable that is empty counts as not set.
    """
    found = {}
    for option in table.rows:
        said = [name for name in option.environment if environ.get(name)]
        if option.read is port_number:
            # In its containers, Kubernetes sets KGD_PORT for a service that is called kgd.
            said = [name for name in said if not _ADDRESS_OF_SERVICE.fullmatch(environ[name])]
        variable = next(iter(said), None)
        if variable is not None:
            found[option.name] = SourcedValue((environ[variable],), f"in the variable {variable}")
    return found


def from_mapping(content: Mapping[str, Any], table: Table, has: str, where: str) -> ConfigSource:
    """
    :param content: Values by the name of the option, with dashes or underscores.
    :param has: Who has them, to go before what is wrong.
    :param where: To go behind it.
    :raises UsageError: for a name that is no option, and for a value of another kind than the
        option takes.
    """
    source: dict[str, SourcedValue] = {}
    for key, value in content.items():
        option = table.option_named(key)
        if option is None:
            raise UsageError(f"{has} the key {key!r}, which is no option{_maybe(key, table)}")
        if option.name in source:
            raise UsageError(f"{has} {option.name} twice, once as {key!r}; remove one of them")
        source[option.name] = from_value(option, value, f"as {key} {where}")
    return source


def _maybe(key: str, table: Table) -> str:
    near = difflib.get_close_matches(key.replace("_", "-"), table.by_name, 1)
    return f"; is {near[0]!r} meant?" if near else "; docs/options.md has all of them"


def from_value(option: Option, value: Any, where: str) -> SourcedValue:
    """
    :param value: A value from a file: text, a number, a truth value, or a list or a mapping of
        such.
    :raises UsageError: for a value of another kind than the option takes.
    """
    try:
        return SourcedValue(tuple(_texts(option, value)), where)
    except ValueError:
        raise wrong(option, value, where) from None


def _texts(option: Option, value: Any) -> Sequence[str]:
    if isinstance(value, Mapping):
        if not option.is_table:
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
