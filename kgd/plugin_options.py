"""
Options of the personalities that other distributions bring along.

They are known only where kgd runs, so the manual does not have them; ``--help`` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kgd.interfaces import IPersonalityMaker, PersonalityOption
from kgd.options import Option, Options, install, read_value
from kgd.personalities.loader import normalized, option_rows


def _option(maker: IPersonalityMaker, row: PersonalityOption) -> Option:
    prefix = maker.name.replace("_", "-")
    return Option(f"{prefix}-{row.name}", row.help, row.read)


def _values(
    maker: IPersonalityMaker, given: Mapping[str, Sequence[str]], environ: Mapping[str, str]
) -> dict[str, Any]:
    """
    :return: What was said, by the names that the maker has for its options.
    :raises twisted.python.usage.UsageError: for a value that will not do.
    """
    values = {}
    for row in option_rows(maker):
        option = _option(maker, row)
        if option.name in given:
            values[row.name] = read_value(option, given[option.name][-1], f"--{option.name}")
            continue
        variable = next((name for name in option.environment if environ.get(name)), None)
        if variable is not None:
            values[row.name] = read_value(option, environ[variable], variable)
    return values


def options_with(makers: Iterable[IPersonalityMaker]) -> Options:
    """
    :return: The command line of kgd, with the options that these makers have.
    """
    # One without a name is refused when somebody asks for it, and stops nobody else.
    known = [maker for maker in makers if isinstance(getattr(maker, "name", None), str)]

    class Extended(Options):
        """
        Both.
        """

        def postOptions(self) -> None:
            """
            Read everything; only the chosen personality gets what is its own.
            """
            super().postOptions()
            chosen = normalized(self.settings.api)
            read = [(maker.name, _values(maker, self.given, os.environ)) for maker in known]
            values = next((values for name, values in read if name == chosen), {})
            self.settings = attrs.evolve(self.settings, personality_options=values)

    for maker in known:
        for row in option_rows(maker):
            install(_option(maker, row), Extended)
    return Extended()
