"""
Resolves the sources of option values, in order of precedence, to the settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kgd.config.sources import ON_COMMAND_LINE, ConfigSource, SourcedValue, value_error
from kgd.config.table import Option, Table
from kgd.personalities.loader import normalize_api_name
from kgd.settings import CORS, Settings

_OPTION = re.compile(r"--([a-z][a-z-]*)")


@attrs.frozen
class Resolution:
    """
    The settings, and the source of each value.

    :ivar values: The value of each option that has an effect.
    :ivar where: The place of each value, by option; options with their default are missing.
    :ivar remarks: Warnings for the operator, one line each.
    """

    settings: Settings
    values: Sequence[tuple[Option, Any]]
    where: Mapping[str, str]
    remarks: Sequence[str]


def with_origins(text: str, where: Mapping[str, str]) -> str:
    """
    :param text: An error that names options, like ``--ip``.
    :param where: As in :py:class:`Resolution`.
    :return: The text, followed by the place of each option that is not set on the command line.
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
    :param table: All options.
    :param sources: The strongest first.
    :raises UsageError: for a value that is not valid; it names the value and its place.
    """
    values: dict[str, Any] = {}
    # By personality.
    by_personality: dict[str, dict[str, Any]] = {}
    where: dict[str, str] = {}
    remarks = []
    for option in table.rows:
        given = next((source[option.name] for source in sources if option.name in source), None)
        if given is None:
            continue
        value = _read(option, given)
        where[option.name] = given.where
        if option.no_effect:
            remarks.append(f"--{option.name} has no effect ({given.where}): {option.no_effect}")
        elif option.owner:
            by_personality.setdefault(option.owner, {})[option.own_name] = value
        else:
            values[option.field] = value
    cors = {
        field.name: values.pop(field.name) for field in attrs.fields(CORS) if field.name in values
    }
    # An empty name means the default, as for the Jupyter Kernel Gateway.
    if not values.get("default_kernel_name", "python3"):
        del values["default_kernel_name"]
    values.setdefault("root_dir", os.getcwd())
    settings = Settings(cors=CORS(**cors), **values)
    chosen = by_personality.get(normalize_api_name(settings.api), {})
    effective = [
        (
            option,
            by_personality.get(option.owner, {}).get(option.own_name, option.default)
            if option.owner
            else option.value_in(settings),
        )
        for option in table.rows
        if not option.no_effect
    ]
    return Resolution(attrs.evolve(settings, personality_options=chosen), effective, where, remarks)


def _read(option: Option, given: SourcedValue) -> Any:
    values = []
    for text in given.texts:
        try:
            values.append(option.type.read(text))
        except ValueError as error:
            raise value_error(option, text, given.where, error) from None
    return option.joined(values)
