"""
Rewrites command lines in the Jupyter Kernel Gateway's style, and other spellings of kgd's options.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.python.usage import UsageError

from kgd.config.sources import ON_COMMAND_LINE, from_value, value_error
from kgd.config.table import Option, Table
from kgd.config.types import switch

_TRAIT = re.compile(r"--([A-Za-z_]\w*)\.(\w+)")
# Options that are not in the table and take a value.
VALUED_ACTIONS = frozenset({"config"})
_OTHER_NAMES = {"--y": "--force"}


class CommandLineRewriter:
    """
    Rewrites a command line to the form that Twisted reads.

    :param table: All options.
    :param lenient: Whether unknown traits, and arguments that are not options, are warnings instead
        of errors.
    :ivar remarks: Warnings for the operator, one line each.
    """

    def __init__(self, table: Table, *, lenient: bool) -> None:
        self.remarks: list[str] = []
        self._table = table
        self._short = {"-c", *(f"-{option.short}" for option in table.rows if option.short)}
        self._lenient = lenient
        self._words: list[str] = []
        self._ignored: list[str] = []

    def rewrite(self, arguments: Sequence[str]) -> list[str]:
        """
        :raises UsageError: for an unknown trait, and for a value that is not valid.
        """
        self._words = list(arguments)
        written = self._rewritten()
        if self._ignored:
            shown = ", ".join(map(repr, self._ignored))
            self.remarks.append(
                f"{shown} on the command line has no effect: only words that start with -- are "
                "options, and the values after them"
            )
        return written

    def _rewritten(self) -> list[str]:
        written: list[str] = []
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                if not self._lenient:
                    return [*written, word, *self._words]
                self._ignored += self._words
                return written
            name, equals, value = word.partition("=")
            trait = _TRAIT.fullmatch(name)
            if trait is not None:
                written += self._trait(trait[1], trait[2], value if equals else None)
            elif name.startswith("--"):
                written += self._option(name, value if equals else None)
            elif self._lenient and not name.startswith("-"):
                self._ignored.append(word)
            else:
                written.append(word)
                if word in self._short:
                    written += self._words[:1]
                    del self._words[:1]
        return written

    def _option(self, word: str, value: str | None) -> Iterator[str]:
        """
        Rewrite an option of kgd's: underscores to dashes, and switches with a value.
        """
        name = _OTHER_NAMES.get(word, word.replace("_", "-"))
        option = self._table.option_named(name[2:])
        if option is not None:
            name = f"--{option.name}"
        if value is not None and option is not None and option.is_switch:
            yield _flag(option, value, ON_COMMAND_LINE)
            return
        yield name if value is None else f"{name}={value}"
        takes_value = name[2:] in VALUED_ACTIONS or (option is not None and not option.is_switch)
        if value is None and takes_value and self._words:
            # It is the value even if it starts with dashes.
            yield self._words.pop(0)

    def _trait(self, name: str, trait: str, value: str | None) -> Iterator[str]:
        """
        Rewrite an option of the Jupyter Kernel Gateway's.
        """
        word = f"--{name}.{trait}"
        aliases = list(self._table.trait_aliases_of(name, trait))
        option_names = [each.options[trait] for each in aliases if trait in each.options]
        options = [self._table.by_name[each] for each in option_names]
        actions = [each.actions[trait] for each in aliases if trait in each.actions]
        is_switch = all(option.is_switch for option in options) and (
            bool(options) or (bool(actions) and actions[0] not in VALUED_ACTIONS)
        )
        if value is None:
            value = self._value_after(word, is_switch=is_switch, known=bool(aliases))
        value = _unquoted(value)
        for option in options:
            yield from _as_options(option, value, word)
        for action in actions:
            if action in VALUED_ACTIONS:
                yield f"--{action}={value}"
            elif _read_switch(word, value):
                yield f"--{action}"
        if options or actions:
            return
        reasons = [each.no_effect[trait] for each in aliases if trait in each.no_effect]
        if reasons:
            self.remarks.append(f"{word} has no effect: {reasons[0]}")
        elif self._lenient:
            self.remarks.append(f"{word} is not known and has no effect")
        else:
            raise UsageError(f"{word} is not known; docs/options.md lists all known traits")

    def _value_after(self, word: str, *, is_switch: bool, known: bool) -> str:
        following = self._words[0] if self._words else None
        if is_switch and (following is None or not _is_truth(following)):
            return "true"
        if following is None or (not known and following.startswith("--")):
            if not known:
                return ""
            raise UsageError(f"{word} needs a value, like {word}=...")
        return self._words.pop(0)


def _as_options(option: Option, value: str, word: str) -> Iterator[str]:
    where = f"{ON_COMMAND_LINE}, as {word}"
    if value == "None":
        # There, None is the default.
        if option.type.none:
            yield f"--{option.name}={option.type.none}"
    elif option.is_switch:
        yield _flag(option, value, where)
    else:
        for text in from_value(option, _literal(option, value), where).texts:
            yield f"--{option.name}={text}"


def _flag(option: Option, text: str, where: str) -> str:
    """
    :return: The form without a value, which Twisted expects of a switch.
    """
    try:
        value = option.type.read(text)
    except ValueError as error:
        raise value_error(option, text, where, error) from None
    (flag,) = (flag for flag, said in option.flags.items() if option.type.read(said) is value)
    return f"--{flag}"


def _is_truth(word: str) -> bool:
    try:
        switch(word)
    except ValueError:
        return False
    return bool(word)


def _read_switch(word: str, value: str) -> bool:
    try:
        return switch(value)
    except ValueError:
        raise UsageError(f"{word}={value} is not valid; use true or false") from None


def _unquoted(value: str) -> str:
    """
    Remove the quotes that a shell would have removed; some programs start the gateway without one.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _literal(option: Option, value: str) -> Any:
    """
    Read a list or mapping in Python's notation.
    """
    if option.many and value[:1] in ("[", "{", "("):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value
