"""
The statement that gives a cell its request, in the language of the notebook.

The text is whatever somebody out there has sent, so a literal in which anything of it is evaluated
would let every client run code. It is JSON in printable ASCII: there are no line breaks in it, and
whatever is not JSON's own punctuation stands inside its strings.
"""

from __future__ import annotations

import json
from collections.abc import Callable

#: The variable in which a cell finds its request; with IPython, also a key of the metadata.
REQUEST_VARIABLE = "REQUEST"
_METADATA_ASSIGNMENT = (
    f'{REQUEST_VARIABLE} = get_ipython().get_parent()["metadata"]["{REQUEST_VARIABLE}"]'
)

# Each of these makes a double-quoted string do something in some language; JSON does without them.
_ESCAPED_CHARACTERS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "!#$%&@`"})


def assign_request(language: str, text: str) -> str:
    """
    :param language: As the notebook's ``language_info`` calls it; may be empty.
    :param text: JSON in printable ASCII.
    :return: What assigns a string to ``REQUEST`` that is ``text``, or the same JSON written
        otherwise.
    """
    return _BY_LANGUAGE.get(language.lower(), _escaped)(text)


def assign_from_metadata(source: str) -> str | None:
    """
    Let a cell of IPython's set ``REQUEST`` itself, from the metadata of the request that runs it.
    That takes half of the time that two executions take. A kernel also keeps the text of all code
    that it has ever run, which would be every request; like this the code is always the same.

    :return: The code, line by line as it was but for the annotation; ``None`` if something has to
        stay before all other code.
    """
    first, newline, rest = source.partition("\n")
    if not first.startswith("#") or "__future__" in rest:
        return None
    return f"{_METADATA_ASSIGNMENT}{newline}{rest}"


def _double_quoted(text: str) -> str:
    # Nothing but \" and \\ is escaped in it, which all these languages understand alike.
    return "REQUEST = " + json.dumps(text)


def _escaped(text: str) -> str:
    # We do not know the language: what may be special in it is written as JSON's escapes.
    return _double_quoted(text.translate(_ESCAPED_CHARACTERS))


def _shell(text: str) -> str:
    return "REQUEST='" + text.replace("'", "'\\''") + "'"


def _single_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _perl(text: str) -> str:
    return f"my $REQUEST = {_single_quoted(text)};"


def _php(text: str) -> str:
    return f"$REQUEST = {_single_quoted(text)};"


def _ruby(text: str) -> str:
    return f"REQUEST = {_single_quoted(text)}"


def _quotes_doubled(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _powershell(text: str) -> str:
    return f"$REQUEST = {_quotes_doubled(text)}"


def _matlab(text: str) -> str:
    return f"REQUEST = {_quotes_doubled(text)}"


def _julia(text: str) -> str:
    return _double_quoted(text).replace("$", "\\$")


def _tcl(text: str) -> str:
    # Tcl evaluates brackets, which JSON cannot do without.
    literal = json.dumps(text).replace("$", "\\$").replace("[", "\\[")
    return f"set REQUEST {literal}"


# In these a double-quoted literal has nothing special in it but the backslash.
_C_LIKE = (
    "python", "r", "scala", "javascript", "typescript", "java", "c", "c++", "c#", "go", "rust",
    "lua", "swift",
)  # fmt: skip

_BY_LANGUAGE: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(_C_LIKE, _double_quoted),
    **dict.fromkeys(("bash", "sh", "zsh", "ksh", "dash"), _shell),
    **dict.fromkeys(("perl", "raku", "perl6"), _perl),
    "php": _php,
    "ruby": _ruby,
    **dict.fromkeys(("powershell", "pwsh"), _powershell),
    **dict.fromkeys(("matlab", "octave"), _matlab),
    "julia": _julia,
    "tcl": _tcl,
}
