"""
Other spellings of our options on a command line, above all those of the Jupyter Kernel Gateway.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.python.usage import UsageError

from kgd.config.options import Option
from kgd.config.sources import ON_COMMAND_LINE, from_value
from kgd.config.table import Table
from kgd.config.types import number_or_none, switch

_TRAIT = re.compile(r"--([A-Za-z_]\w*)\.(\w+)")
# Those of our own options that are no rows of the table and take a value.
VALUED_ACTIONS = frozenset({"config"})
_OTHER_NAMES = {"--help-all": "--help", "--y": "--force"}


class Rewriter:
    """
    Brings a command line into the form that Twisted reads.

    :param table: The options that there are.
    :param lenient: Whether traits that nobody knows are remarked upon instead of refused.
    :ivar remarks: What the operator should know, one line each.
    """

    def __init__(self, table: Table, *, lenient: bool) -> None:
        self.remarks: list[str] = []
        self._table = table
        self._short = {"-c", *(f"-{option.short}" for option in table.rows if option.short)}
        self._lenient = lenient
        self._words: list[str] = []

    def rewrite(self, arguments: Sequence[str]) -> list[str]:
        """
        :raises UsageError: for a trait that nobody knows, and for a value that will not do.
        """
        self._words = list(arguments)
        written: list[str] = []
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                return [*written, word, *self._words]
            name, equals, value = word.partition("=")
            trait = _TRAIT.fullmatch(name)
            if trait is not None:
                written += self._trait(trait[1], trait[2], value if equals else None)
            elif name.startswith("--"):
                written += self._option(name, value if equals else None)
            else:
                written.append(word)
                if word in self._short:
                    written += self._words[:1]
                    del self._words[:1]
        return written

    def _option(self, word: str, value: str | None) -> Iterator[str]:
        """
        One of ours: dashes or underscores, and switches with a value.
        """
        name = _OTHER_NAMES.get(word, word.replace("_", "-"))
        option = self._table.option_named(name[2:])
        if option is not None:
            name = f"--{option.name}"
        if value is not None and option is not None and option.is_switch:
            yield _turned(option, value)
            return
        yield name if value is None else f"{name}={value}"
        takes_value = name[2:] in VALUED_ACTIONS or (option is not None and not option.is_switch)
        if value is None and takes_value and self._words:
            # Whatever it looks like.
            yield self._words.pop(0)

    def _trait(self, name: str, trait: str, value: str | None) -> Iterator[str]:
        """
        One of the Jupyter Kernel Gateway's.
        """
        word = f"--{name}.{trait}"
        families = list(self._table.families_of(name, trait))
        option_names = [each.options[trait] for each in families if trait in each.options]
        options = [self._table.by_name[each] for each in option_names]
        actions = [each.actions[trait] for each in families if trait in each.actions]
        is_switch = all(option.is_switch for option in options) and (
            bool(options) or (bool(actions) and actions[0] not in VALUED_ACTIONS)
        )
        if value is None:
            value = self._value_after(word, is_switch=is_switch, known=bool(families))
        value = _unquoted(value)
        for option in options:
            yield from _as_option(option, value, word)
        for action in actions:
            if action in VALUED_ACTIONS:
                yield f"--{action}={value}"
            elif _is_on(word, value):
                yield f"--{action}"
        if options or actions:
            return
        reason = next((each.idle[trait] for each in families if trait in each.idle), None)
        if reason is not None:
            self.remarks.append(f"{word} changes nothing: {reason}")
        elif self._lenient:
            self.remarks.append(f"{word} is not known and changes nothing")
        else:
            raise UsageError(f"{word} is not known; docs/options.md has all that are")

    def _value_after(self, word: str, *, is_switch: bool, known: bool) -> str:
        following = self._words[0] if self._words else None
        if is_switch and (following is None or not _is_truth(following)):
            return "true"
        if following is None or (not known and following.startswith("--")):
            if not known:
                return ""
            raise UsageError(f"{word} needs a value, like {word}=...")
        return self._words.pop(0)


def _as_option(option: Option, value: str, word: str) -> Iterator[str]:
    if value == "None":
        # What that has meant there is the default.
        if option.read is number_or_none:
            yield f"--{option.name}=none"
    elif option.is_switch:
        yield _turned(option, value)
    else:
        where = f"{ON_COMMAND_LINE}, as {word}"
        for text in from_value(option, _literal(option, value), where).texts:
            yield f"--{option.name}={text}"


def _turned(option: Option, value: str) -> str:
    try:
        on = option.read(value)
    except ValueError:
        raise UsageError(
            f"--{option.name} is {value!r} {ON_COMMAND_LINE}, which will not do; give --"
            f"{option.name} or --no-{option.name}, or {option.takes[0].lower()}{option.takes[1:-1]}"
        ) from None
    if on is None:
        return f"--{option.name}-failures"
    return f"--{option.name}" if on else f"--no-{option.name}"


def _is_truth(word: str) -> bool:
    try:
        switch(word)
    except ValueError:
        return False
    return bool(word)


def _is_on(word: str, value: str) -> bool:
    try:
        return switch(value)
    except ValueError:
        raise UsageError(f"{word} is {value!r}, which will not do; give true or false") from None


def _unquoted(value: str) -> str:
    """
    Without quotes that a shell would have removed; there is not always one.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _literal(option: Option, value: str) -> Any:
    """
    Lists and mappings may be written as in Python.
    """
    if option.many and value[:1] in ("[", "{", "("):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value
