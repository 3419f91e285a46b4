"""
Parts of pages that follow from the program itself.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from make_options import action
from zope.interface.interface import InterfaceClass, Method

import kgd.interfaces
from kgd.config.command_line import ACTION_NAMES
from kgd.config.options import OWN


def man_page_options() -> str:
    """
    :return: Every option by subject, as lists of definitions in Markdown.
    """
    lines = []
    for group, options in OWN.groups().items():
        lines += [f"### {group}", ""]
        for option in options:
            names = [option.name, *option.aliases]
            names += [flag for flag in option.flags if flag != option.name]
            shown = [f"**\\-\\-{name}**" for name in names]
            shown += [f"**\\-{option.short}**"] if option.short else []
            lines += [", ".join(shown), f": {_plain(option.help)}", ""]
    lines += ["### Configuration and help", ""]
    for name in ACTION_NAMES:
        lines += [f"**\\-\\-{name}**", f": {_plain(action(name))}", ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """
    :return: The same where asterisks and the like mean something.
    """
    return "".join(f"\\{each}" if each in "*_`<>[]{}#$-|" else each for each in text)


def interfaces(names: Iterable[str]) -> str:
    """
    Describe interfaces, which Sphinx takes for plain values.

    :param names: In :py:mod:`kgd.interfaces`.
    """
    lines = [line for name in names for line in _interface(getattr(kgd.interfaces, name))]
    return "\n".join(["```{eval-rst}", ".. py:currentmodule:: kgd.interfaces", "", *lines, "```"])


def _interface(interface: Any) -> Iterator[str]:
    assert isinstance(interface, InterfaceClass), interface
    yield f".. py:class:: {interface.__name__}"
    yield from _indented(interface.__doc__, 1)
    for name, member in interface.namesAndDescriptions():
        if isinstance(member, Method):
            yield f"   .. py:method:: {name}{_signature(member)}"
        else:
            yield f"   .. py:attribute:: {name}"
        yield from _indented(member.__doc__, 2)


def _indented(docstring: str | None, depth: int) -> Iterator[str]:
    text = textwrap.indent(inspect.cleandoc(docstring or ""), 3 * depth * " ")
    return iter(("", *text.splitlines(), ""))


def _signature(method: Any) -> str:
    return str(method.getSignatureString())
