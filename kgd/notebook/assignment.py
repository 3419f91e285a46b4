"""
Makes the statement that assigns the request to ``REQUEST``, in the language of the notebook.

Clients choose the text, so a literal in which any of it is evaluated would let every client run
code. The text is JSON in printable ASCII: it has no line breaks, and everything but JSON's own
punctuation is inside of strings.
"""

from __future__ import annotations

import json
from collections.abc import Callable

#: The variable in which a cell finds its request; with IPython, also a key of the metadata.
REQUEST_VARIABLE = "REQUEST"
_METADATA_ASSIGNMENT = (
    f'{REQUEST_VARIABLE} = get_ipython().get_parent()["metadata"]["{REQUEST_VARIABLE}"]'
)

# Each of these is special in a double-quoted string of some language; JSON can escape them.
_ESCAPED_CHARACTERS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "!#$%&@`"})


def assign_request(language: str, text: str) -> str:
    """
    :param language: The name in the notebook's ``language_info``; may be empty.
    :param text: JSON in printable ASCII.
    :return: A statement that assigns to ``REQUEST`` a string that is ``text``, or equivalent JSON.
    """
    return _BY_LANGUAGE.get(language.lower(), _escaped)(text)


def assign_from_metadata(source: str) -> str | None:
    """
    Have an IPython cell set ``REQUEST`` itself, from the metadata of the message that runs it. That
    takes half the time of two executions. A kernel also keeps the text of all code that it has ever
    run, which would be every request; this code is always the same.

    :return: The code with the annotation replaced, line by line as it was; ``None`` if other code
        has to come first.
    """
    first, newline, rest = source.partition("\n")
    if not first.startswith("#") or "__future__" in rest:
        return None
    return f"{_METADATA_ASSIGNMENT}{newline}{rest}"


def _double_quoted(text: str) -> str:
    # Only \" and \\ are escaped, which all these languages understand alike.
    return "REQUEST = " + json.dumps(text)


def _escaped(text: str) -> str:
    # The language is unknown: what may be special in it becomes an escape of JSON's.
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
    # Tcl evaluates brackets, which JSON needs.
    literal = json.dumps(text).replace("$", "\\$").replace("[", "\\[")
    return f"set REQUEST {literal}"


# In these languages, only the backslash is special in a double-quoted literal.
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
