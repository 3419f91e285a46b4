"""
What somebody says about an option, and where they say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import attrs
from twisted.python.usage import UsageError

from kgd.options import OPTIONS, Option, as_it_is

BY_NAME: Mapping[str, Option] = {
    name: option for option in OPTIONS for name in (option.name, *option.aliases)
}
ON_COMMAND_LINE = "on the command line"


@attrs.frozen
class Given:
    """
    :ivar texts: As they would stand on the command line, one for each time that the option is
        given; none at all for an empty list. Not printed, for they may be secret.
    :ivar where: To go behind "is x".
    """

    texts: tuple[str, ...] = attrs.field(repr=False)
    where: str


#: What one source says, by the name of the option.
Source = Mapping[str, Given]


def option_named(name: str) -> Option | None:
    """
    :param name: With dashes or underscores; an alias will do.
    """
    return BY_NAME.get(name.replace("_", "-"))


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


def from_environment(environ: Mapping[str, str]) -> Source:
    """
    :param environ: A variable that is empty counts as not set.
    """
    found = {}
    for option in OPTIONS:
        variable = next((name for name in option.environment if environ.get(name)), None)
        if variable is not None:
            found[option.name] = Given((environ[variable],), f"in the variable {variable}")
    return found


def from_value(option: Option, value: Any, where: str) -> Given:
    """
    :param value: A value from a file: text, a number, a truth value, or a list or a mapping of
        such.
    :raises UsageError: for a value of another kind than the option takes.
    """
    try:
        return Given(tuple(_texts(option, value)), where)
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
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError
