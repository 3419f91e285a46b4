"""
Writes the texts of ``--help`` and ``--help-all``.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

import attrs

from kgd.config.options import ESSENTIAL
from kgd.config.table import Option, Table
from kgd.config.types import text

# Longer lines are hard to read.
_WIDEST = 100
_NARROWEST = 40
_COLUMN = 28
_NO_BREAK = "\u00a0"
_BOLD, _CYAN = "1", "36"
_ABOUT = "Starts Jupyter kernels and lets programs use them over HTTP and WebSocket."


@attrs.frozen
class Terminal:
    """
    What the output can show.

    :ivar width: In characters.
    """

    width: int
    has_colors: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Terminal:
        """
        :return: The width of the terminal, and whether colours are wanted: not in a pipe or a file,
            nor with ``NO_COLOR``.
        """
        width = shutil.get_terminal_size((_WIDEST, 24)).columns
        has_colors = (
            stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        )
        return cls(max(_NARROWEST, min(_WIDEST, width)), has_colors)

    def styled(self, words: str, style: str) -> str:
        """
        :param style: The number of a terminal's attribute (ECMA-48).
        """
        return f"\x1b[{style}m{words}\x1b[0m" if self.has_colors else words

    def paragraph(self, words: str, indent: int = 0) -> str:
        """
        :return: The text in lines that fit.
        """
        space = indent * " "
        filled = textwrap.fill(
            words,
            self.width,
            initial_indent=space,
            subsequent_indent=space,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return filled.replace(_NO_BREAK, " ")


@attrs.frozen
class Action:
    """
    An option that is not in the table.

    :ivar forms: As on the command line.
    :ivar is_essential: Whether ``--help`` explains it.
    """

    forms: str
    help: str
    is_essential: bool


def short_help(table: Table, actions: Sequence[Action], terminal: Terminal) -> str:
    """
    :return: The options that most people need first, and the names of all others by subject.
    """
    parts = [
        terminal.paragraph(_ABOUT),
        "",
        _heading("Most used options", terminal),
        *(_entry(_forms(table.by_name[name]), _help(table.by_name[name]), terminal)
          for name in ESSENTIAL),
        "",
        _heading("Configuration and help", terminal),
        *(_entry(each.forms, each.help, terminal) for each in actions if each.is_essential),
        "",
        _heading("All options by subject; --help-all explains them", terminal),
    ]  # fmt: skip
    for group, options in table.groups().items():
        parts.append(f"  {terminal.styled(group, _CYAN)}")
        parts.append(terminal.paragraph(" ".join(f"--{each.name}" for each in options), 4))
    return "\n".join(parts) + "\n"


def full_help(table: Table, actions: Iterable[Action], terminal: Terminal) -> str:
    """
    :return: Every option by subject, with its values and its default.
    """
    parts = [terminal.paragraph(_ABOUT), ""]
    for group, options in table.groups().items():
        parts.append(_heading(group, terminal))
        parts += [_entry(_forms(each), _help(each, with_values=True), terminal) for each in options]
        parts.append("")
    parts.append(_heading("Configuration and help", terminal))
    parts += [_entry(each.forms, each.help, terminal) for each in actions]
    return "\n".join(parts) + "\n"


def _heading(title: str, terminal: Terminal) -> str:
    return terminal.styled(f"{title}:", _BOLD)


def _forms(option: Option) -> str:
    short = [f"-{option.short}"] if option.short else []
    if option.is_switch:
        return ", ".join([*short, *(f"--{flag}" for flag in option.flags)])
    return ", ".join([*short, f"--{option.name}={option.type.metavar}"])


def _help(option: Option, *, with_values: bool = False) -> str:
    words = option.help
    if option.no_effect:
        return f"{words} It has no effect: {option.no_effect}."
    if with_values and not option.is_switch and option.type.accepted != text.accepted:
        words = f"{words} {option.type.accepted_sentence}"
    # Not broken between the two.
    return f"{words} [default:{_NO_BREAK}{option.shown_default}]"


def _entry(forms: str, words: str, terminal: Terminal) -> str:
    shown = f"  {terminal.styled(forms, _CYAN)}"
    lines = terminal.paragraph(words, _COLUMN)
    if len(forms) + 4 > _COLUMN:
        return f"{shown}\n{lines}"
    return shown + (_COLUMN - 2 - len(forms)) * " " + lines[_COLUMN:]
