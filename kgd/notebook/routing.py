"""
Which endpoint a request is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from kgd.errors import InvalidRequest
from kgd.notebook.api import Endpoint
from kgd.notebook.paths import compile_path, decoded, encoded, is_constant, parameters


@attrs.frozen
class Match:
    """
    An endpoint, and what its path's parameters stand for in a request.
    """

    endpoint: Endpoint
    parameters: Mapping[str, str]


class Router:
    """
    Finds the first endpoint whose path matches.

    :param endpoints: In the order in which they are to be tried.
    :raises kgd.errors.InvalidNotebook: when a path has two parameters of the same name.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._constant: dict[str, Endpoint] = {}
        self._variable: list[tuple[re.Pattern[str], tuple[str, ...], Endpoint]] = []
        for endpoint in endpoints:
            path = endpoint.path.strip()
            if not is_constant(path):
                self._variable.append((compile_path(path), parameters(path), endpoint))
            elif not self._matches(encoded(path)):
                # Looking it up first is as good as its turn: nothing before it matches.
                self._constant.setdefault(encoded(path), endpoint)

    def _matches(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern, _, _ in self._variable)

    def find(self, path: str) -> Match | None:
        """
        :param path: Percent-encoded as it came, with its leading slash, without the query.
        :raises kgd.errors.InvalidRequest: when what a parameter stands for is not UTF-8.
        """
        path = encoded(path)
        constant = self._constant.get(path)
        if constant is not None:
            return Match(constant, {})
        for pattern, names, endpoint in self._variable:
            found = pattern.fullmatch(path)
            if found:
                return Match(endpoint, _values(names, found.groups()))
        return None


def _values(names: Sequence[str], texts: Sequence[str]) -> Mapping[str, str]:
    values = {}
    for name, text in zip(names, texts, strict=True):
        try:
            values[name] = decoded(text)
        except UnicodeError:
            raise InvalidRequest(f"{name} in the path has to be percent-encoded UTF-8") from None
    return values
