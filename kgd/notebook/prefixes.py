"""
Prefixes of comments by programming language.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The prefix for languages that are not listed.
DEFAULT_PREFIX = "#"

_LANGUAGES = {
    "//": (
        "c c++ cpp c# csharp d dart f# fsharp go groovy java javascript kotlin rust scala swift "
        "typescript zig"
    ),
    "--": "ada elm haskell lua sql",
    # Octave takes "%" as well, but its old notebooks are annotated with "#".
    "%": "erlang matlab prolog",
    ";": "clojure common-lisp lisp racket scheme",
}

_PREFIXES = {name: prefix for prefix, names in _LANGUAGES.items() for name in names.split()}

#: All prefixes.
KNOWN_PREFIXES = (DEFAULT_PREFIX, *_LANGUAGES)


def comment_prefix(language: str, table: Mapping[str, str] = {}) -> str:
    """
    :param language: The notebook's ``language_info.name``, in any case; may be empty.
    :param table: The operator's prefixes by language, which take precedence. The entry of the empty
        string, or of the text ``None``, is for all other languages.
    """
    configured = {name.lower(): prefix for name, prefix in table.items()}
    name = language.lower()
    return (
        configured.get(name)
        or configured.get("")
        or configured.get("none")
        or _PREFIXES.get(name)
        or DEFAULT_PREFIX
    )
