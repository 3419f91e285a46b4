"""
Parameters of a notebook: which cell sets them, in the language of the notebook.

It is done as papermill does it: https://papermill.readthedocs.io/en/latest/usage-parameterize.html
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kgd.errors import InvalidRequest

#: The tag of the cell that has the default values.
PARAMETERS_TAG = "parameters"
#: The tag of the cell that sets others.
INJECTED_TAG = "injected-parameters"

# What may stand for itself in a double-quoted text of all languages.
_SPECIAL = re.compile(r"[^ !#%-\[\]-~]")


def parameters_cell(language: str, parameters: Mapping[str, Any]) -> str:
    """
    :param language: As a kernelspec names it.
    :param parameters: Names, and values of JSON.
    :return: Code that assigns the values to variables of these names.
    :raises kgd.errors.InvalidRequest: when the language cannot have them.
    """
    found = _LANGUAGES.get(language.lower())
    if found is None:
        raise InvalidRequest(
            f"parameters cannot be set in {language or 'an unknown language'}, only in "
            f"{', '.join(sorted(each.name for each in _LANGUAGES.values()))}; leave them out"
        )
    lines = ["# Parameters"]
    for name, value in parameters.items():
        if not found.name_pattern.fullmatch(name) or name in found.reserved:
            raise InvalidRequest(
                f"parameters: {name[:100]!a} cannot be the name of a variable in {found.name}"
            )
        try:
            lines.append(f"{name}{found.assignment}{found.literal(value)}")
        except _NoLiteral as error:
            raise InvalidRequest(
                f"parameters: {name} has {error}, which {found.name} cannot have"
            ) from None
        except RecursionError:
            raise InvalidRequest(f"parameters: {name} is nested too deeply") from None
    return "\n".join(lines)


def inject(cells: Iterable[Mapping[str, Any]], cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """
    :param cell: The one that sets the parameters.
    :return: The cells with it: in the place of the one that did that before, otherwise after the
        one that has the defaults, otherwise first.
    """
    kept = list(cells)
    for number, each in enumerate(kept):
        if INJECTED_TAG in tags_of(each):
            return [*kept[:number], cell, *kept[number + 1 :]]
    for number, each in enumerate(kept, 1):
        if PARAMETERS_TAG in tags_of(each):
            return [*kept[:number], cell, *kept[number:]]
    return [cell, *kept]


def tags_of(cell: Mapping[str, Any]) -> list[Any]:
    """
    :return: The tags of a cell.
    """
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return tags if isinstance(tags, list) else []


class _NoLiteral(Exception):
    """
    The language has no literal of a value; the text says of what kind.
    """


def _escaped(text: str) -> str:
    """
    :return: A literal in double quotes, as R and Julia have it.
    """
    return '"' + _SPECIAL.sub(_escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _without_zero(write: Callable[[str], str]) -> Callable[[str], str]:
    def checked(text: str) -> str:
        if "\0" in text:
            raise _NoLiteral("text with the character 0")
        return write(text)

    return checked


def _python_object(pairs: Sequence[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name!r}: {value}" for name, value in pairs) + "}"


def _r_object(pairs: Sequence[tuple[str, str]]) -> str:
    if any(not name for name, _ in pairs):
        raise _NoLiteral("an empty name")
    text = _without_zero(_escaped)
    return "list(" + ", ".join(f"{text(name)} = {value}" for name, value in pairs) + ")"


def _julia_object(pairs: Sequence[tuple[str, str]]) -> str:
    return "Dict(" + ", ".join(f"{_escaped(name)} => {value}" for name, value in pairs) + ")"


def _julia_integer(value: int) -> str:
    return repr(value) if -(2**63) <= value < 2**63 else f'parse(BigInt, "{value}")'


def _shell_list(items: Sequence[str]) -> str:
    if any(item.startswith("(") for item in items):
        raise _NoLiteral("a list in a list")
    return "(" + " ".join(items) + ")"


def _no_object(pairs: Sequence[tuple[str, str]]) -> str:
    raise _NoLiteral("an object")


def _joined(begin: str, end: str) -> Callable[[Sequence[str]], str]:
    return lambda items: begin + ", ".join(items) + end


@attrs.frozen(kw_only=True)
class _Language:
    """
    How a language writes what JSON can say.

    :ivar reserved: Words that look like names.
    :ivar constants: Of null, true, false, not a number, infinity and minus infinity.
    """

    name: str
    name_pattern: re.Pattern[str] = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    reserved: frozenset[str]
    assignment: str = " = "
    constants: tuple[str, str, str, str, str, str]
    text: Callable[[str], str]
    integer: Callable[[int], str] = repr
    array: Callable[[Sequence[str]], str]
    object: Callable[[Sequence[tuple[str, str]]], str]

    def literal(self, value: Any) -> str:
        """
        :raises _NoLiteral:
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return self.array([self.literal(each) for each in value])
        if isinstance(value, dict):
            return self.object([(name, self.literal(value[name])) for name in value])
        null, true, false, nan, infinity, minus_infinity = self.constants
        if isinstance(value, float) and not math.isfinite(value):
            return nan if math.isnan(value) else infinity if value > 0 else minus_infinity
        if isinstance(value, bool) or value is None:
            return null if value is None else true if value else false
        return self.integer(value) if isinstance(value, int) else repr(value)


_PYTHON = _Language(
    name="Python",
    reserved=frozenset(keyword.kwlist),
    constants=("None", "True", "False", 'float("nan")', 'float("inf")', 'float("-inf")'),
    text=repr,
    array=_joined("[", "]"),
    object=_python_object,
)
_R = _Language(
    name="R",
    name_pattern=re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*"),
    reserved=frozenset({
        "if", "else", "repeat", "while", "function", "for", "next", "break", "in", "TRUE", "FALSE",
        "NULL", "Inf", "NaN", "NA", "NA_integer_", "NA_real_", "NA_complex_", "NA_character_",
    }),
    constants=("NULL", "TRUE", "FALSE", "NaN", "Inf", "-Inf"),
    text=_without_zero(_escaped),
    array=_joined("list(", ")"),
    object=_r_object,
)  # fmt: skip
_JULIA = _Language(
    name="Julia",
    reserved=frozenset({
        "baremodule", "begin", "break", "catch", "const", "continue", "do", "else", "elseif", "end",
        "export", "false", "finally", "for", "function", "global", "if", "import", "let", "local",
        "macro", "module", "quote", "return", "struct", "true", "try", "using", "while",
    }),
    constants=("nothing", "true", "false", "NaN", "Inf", "-Inf"),
    text=_escaped,
    integer=_julia_integer,
    array=_joined("[", "]"),
    object=_julia_object,
)  # fmt: skip
_BASH = _Language(
    name="bash",
    reserved=frozenset(),
    assignment="=",
    constants=("''", "true", "false", "nan", "inf", "-inf"),
    text=_without_zero(lambda text: "'" + text.replace("'", "'\\''") + "'"),
    array=_shell_list,
    object=_no_object,
)
_LANGUAGES = {"python": _PYTHON, "r": _R, "julia": _JULIA, "bash": _BASH}
