"""
Parses and matches annotated paths: ``/users/:id`` has a parameter, ``/files/.*`` a wildcard.

A parameter is one or more characters of a segment. A wildcard is any text, slashes included.
Everything else is literal text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import attrs

from kgd.endpoints.paths import decode_text
from kgd.errors import InvalidNotebook, InvalidRequest
from kgd.notebook.api import Endpoint

# A dash belongs to a name if the name continues after it, so /:from-:to has two names.
_PARAMETER_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*"
_PARAMETER_OR_WILDCARD = re.compile(rf"(:{_PARAMETER_NAME}|\.\*)")

# Characters that a path may contain (RFC 3986, section 3.3), besides letters, digits and "-._~".
_UNENCODED = "/%:@!$&'()*+,;="
_PERCENT = re.compile("%(?:[0-9A-Fa-f]{2})?")


@attrs.frozen
class PathPart:
    """
    A part of an annotated path.

    :ivar text: The literal text, or the parameter's name.
    """

    kind: Literal["text", "parameter", "wildcard"]
    text: str


def split_path(path: str) -> tuple[PathPart, ...]:
    """
    Split a path into its parts. Blanks around it are ignored.
    """
    return tuple(_make_part(text) for text in _PARAMETER_OR_WILDCARD.split(path.strip()) if text)


def _make_part(text: str) -> PathPart:
    if text == ".*":
        return PathPart("wildcard", text)
    if _PARAMETER_OR_WILDCARD.fullmatch(text):
        return PathPart("parameter", text[1:])
    return PathPart("text", text)


def path_parameters(path: str) -> tuple[str, ...]:
    """
    :return: The parameters' names, in order.
    :raises kgd.errors.InvalidNotebook: when two names are the same.
    """
    names = [part.text for part in split_path(path) if part.kind == "parameter"]
    for name in names:
        if names.count(name) > 1:
            raise InvalidNotebook(
                f"the path {path} has several parameters called {name}; give each a name of its own"
            )
    return tuple(names)


def parameter_names(path: str) -> frozenset[str]:
    """
    :return: The parameters' names, each once.
    """
    return frozenset(part.text for part in split_path(path) if part.kind == "parameter")


def is_constant_path(path: str) -> bool:
    """
    Whether a path has neither parameters nor wildcards.
    """
    return all(part.kind == "text" for part in split_path(path))


def first_parameter(path: str) -> float:
    """
    :return: The index, counted from 0, of the first segment with a parameter; infinity when there
        is none.
    """
    for index, segment in enumerate(path.split("/")[1:]):
        if any(part.kind == "parameter" for part in split_path(segment)):
            return index
    return math.inf


def path_precedence(path: str) -> tuple[float, float]:
    """
    The default key of :py:func:`sort_paths`: constant paths come first, then paths whose first
    parameter is later; among equals, paths with more constant segments.
    """
    if is_constant_path(path):
        return math.inf, math.inf
    return first_parameter(path), sum(map(is_constant_path, path.split("/")))


def sort_paths(paths: Iterable[str], key: Callable[[str], Any] = path_precedence) -> list[str]:
    """
    :param key: Paths with greater keys come first.
    :return: The paths in the order in which to try them; the sort is stable.
    """
    return sorted(paths, key=key, reverse=True)


def percent_encode(text: str) -> str:
    """
    Percent-encode the characters that a request's path cannot contain, a ``%`` that encodes nothing
    among them. What is encoded already stays encoded, in upper case, since ``%c3`` and ``%C3`` are
    the same; but ``~`` is not, which older encoders did encode.
    """
    encoded = quote(text, safe=_UNENCODED, errors="replace")
    return _PERCENT.sub(_spelled, encoded) if "%" in encoded else encoded


def _spelled(found: re.Match[str]) -> str:
    octet = found[0].upper()
    return {"%": "%25", "%7E": "~"}.get(octet, octet)


def compile_path(path: str) -> re.Pattern[str]:
    """
    Compile a path into a pattern that matches in linear time: paths are matched before the token is
    checked, so no request may make that slow. Text that can be matched where it occurs first is not
    searched for elsewhere (``(?>...)``).

    :return: A pattern for a whole percent-encoded path, with a group for each of the
        :py:func:`path_parameters`. Paths that match the same requests have the same pattern.
    :raises kgd.errors.InvalidNotebook: when two parameters have the same name.
    """
    # The groups have no names, because none can be called "a-b".
    path_parameters(path)
    first, *others = _blocks(path)
    if not others:
        return re.compile(_block_pattern(first, ends="path"))
    *middle, last = others
    pattern = _block_pattern(first, ends="wildcard")
    for block in filter(None, middle):
        pattern += f"(?>.*?{_block_pattern(block, ends='wildcard')})"
    return re.compile(f"{pattern}.*{_block_pattern(last, ends='path')}")


def _blocks(path: str) -> list[list[PathPart]]:
    """
    :return: The parts between the wildcards.
    """
    blocks: list[list[PathPart]] = [[]]
    for part in split_path(path):
        if part.kind == "wildcard":
            blocks.append([])
        else:
            blocks[-1].append(part)
    return blocks


def _block_pattern(block: Sequence[PathPart], ends: Literal["path", "wildcard"]) -> str:
    """
    :param ends: What follows the block: the end of the path, or a wildcard.
    """
    rest = list(block)
    pattern = ""
    while rest:
        part = rest.pop(0)
        if part.kind == "text":
            pattern += _literal_pattern(part)
        elif not rest:
            # The wildcard matches everything after the first character.
            pattern += "([^/]+)" if ends == "path" else "(?=([^/]+))[^/]"
        elif rest[0].kind == "parameter":
            pattern += "([^/])"
        elif ends == "path" and len(rest) == 1:
            # The text at the end may also occur earlier.
            pattern += "([^/]+)"
        else:
            pattern += f"(?>([^/]+?){_literal_pattern(rest.pop(0))})"
    return pattern


def _literal_pattern(part: PathPart) -> str:
    return re.escape(percent_encode(part.text))


def swagger_template(path: str) -> str:
    """
    :return: The path as in a Swagger document, with ``{name}`` for ``:name``.
    """
    return "".join(_swagger_part(part) for part in split_path(path))


def _swagger_part(part: PathPart) -> str:
    if part.kind == "parameter":
        return f"{{{part.text}}}"
    # Literal text must not look like a parameter.
    return part.text.replace("{", "%7B").replace("}", "%7D")


@attrs.frozen
class EndpointMatch:
    """
    An endpoint, and the values of its path's parameters in a request.
    """

    endpoint: Endpoint
    parameters: Mapping[str, str]


class Router:
    """
    Finds the first endpoint whose path matches.

    :param endpoints: In the order in which to try them.
    :raises kgd.errors.InvalidNotebook: when a path has two parameters of the same name.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._constant: dict[str, Endpoint] = {}
        self._patterns: list[tuple[re.Pattern[str], tuple[str, ...], Endpoint]] = []
        for endpoint in endpoints:
            path = endpoint.path.strip()
            if not is_constant_path(path):
                self._patterns.append((compile_path(path), path_parameters(path), endpoint))
            elif not self._matches(percent_encode(path)):
                # Nothing before it matches, so it can be looked up first.
                self._constant.setdefault(percent_encode(path), endpoint)

    def _matches(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern, _, _ in self._patterns)

    def find(self, path: str) -> EndpointMatch | None:
        """
        :param path: Percent-encoded as it was sent, with its leading slash, without the query.
        :raises kgd.errors.InvalidRequest: when the value of a parameter is not UTF-8.
        """
        path = percent_encode(path)
        constant = self._constant.get(path)
        if constant is not None:
            return EndpointMatch(constant, {})
        for pattern, names, endpoint in self._patterns:
            found = pattern.fullmatch(path)
            if found:
                return EndpointMatch(endpoint, _values(names, found.groups()))
        return None


def _values(names: Sequence[str], texts: Sequence[str]) -> Mapping[str, str]:
    values = {}
    for name, text in zip(names, texts, strict=True):
        try:
            values[name] = decode_text(text)
        except ValueError:
            raise InvalidRequest(f"{name} in the path has to be percent-encoded UTF-8") from None
    return values
