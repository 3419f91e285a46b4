"""
Which source has its way, and what the settings are then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kgd.config.options import Option
from kgd.config.sources import ON_COMMAND_LINE, ConfigSource, SourcedValue, wrong
from kgd.config.table import Table
from kgd.config.types import names, origins
from kgd.personalities.loader import normalized
from kgd.settings import CORS, Settings

_OPTION = re.compile(r"--([a-z][a-z-]*)")


@attrs.frozen
class Resolution:
    """
    The outcome.

    :ivar values: Of every option that changes something.
    :ivar where: By option, where its value comes from; those that have their default are missing.
    :ivar remarks: What the operator should know, one line each.
    """

    settings: Settings
    values: Sequence[tuple[Option, Any]]
    where: Mapping[str, str]
    remarks: Sequence[str]


def with_origins(text: str, where: Mapping[str, str]) -> str:
    """
    :param text: What is wrong with some options, which are in it like ``--ip``.
    :param where: As in :py:class:`Resolution`.
    :return: The same, and who has set those that do not stand on the command line.
    """
    named = dict.fromkeys(_OPTION.findall(text))
    origins = [
        f"--{name} is set {where[name]}"
        for name in named
        if where.get(name, ON_COMMAND_LINE) != ON_COMMAND_LINE
    ]
    return f"{text} ({', '.join(origins)})" if origins else text


def resolve(table: Table, *sources: ConfigSource) -> Resolution:
    """
    :param table: The options that there are.
    :param sources: The strongest first.
    :raises UsageError: for a value that will not do; it says which, and from where.
    """
    values: dict[str, Any] = {}
    # By personality.
    of_others: dict[str, dict[str, Any]] = {}
    where: dict[str, str] = {}
    remarks = []
    for option in table.rows:
        given = next((source[option.name] for source in sources if option.name in source), None)
        if given is None:
            continue
        value = _read(option, given)
        where[option.name] = given.where
        if option.idle:
            remarks.append(f"--{option.name} changes nothing ({given.where}): {option.idle}")
        elif option.owner:
            of_others.setdefault(option.owner, {})[option.own_name] = value
        else:
            values[option.field] = value
    cors = {
        field.name: values.pop(field.name) for field in attrs.fields(CORS) if field.name in values
    }
    # Whoever wants none in particular gets the usual one.
    if not values.get("default_kernel_name", "python3"):
        del values["default_kernel_name"]
    values.setdefault("root_dir", os.getcwd())
    settings = Settings(cors=CORS(**cors), **values)
    chosen = of_others.get(normalized(settings.api), {})
    effective = [
        (
            option,
            of_others.get(option.owner, {}).get(option.own_name, option.default)
            if option.owner
            else option.value_in(settings),
        )
        for option in table.rows
        if not option.idle
    ]
    return Resolution(attrs.evolve(settings, personality_options=chosen), effective, where, remarks)


def _read(option: Option, given: SourcedValue) -> Any:
    """
    Once for each time that the option is given; then they are joined, or the last one counts.
    """
    read = []
    for text in given.texts:
        try:
            read.append(option.read(text))
        except ValueError:
            raise wrong(option, text, given.where) from None
    if not option.many:
        return read[-1]
    if option.read is names:
        return frozenset().union(*read)
    if option.read is origins:
        return ",".join(filter(None, read))
    if option.is_table:
        return {name: value for each in read for name, value in each.items()}
    # One that is empty is none.
    return tuple(each for each in read if each != "")
