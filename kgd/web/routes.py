"""
Tables of routes: find the route of a request, and call its handler, which may be a coroutine.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import attrs
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.routing import Rule

from kgd.endpoints.paths import decode_segment
from kgd.errors import NoSuchMethod, NoSuchResource
from kgd.interfaces import Access, Match
from kgd.web.access_log import set_route
from kgd.web.errors import refuse

_VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")
# Five groups of word characters with dashes between them.
_ID = re.compile(r"\w+-\w+-\w+-\w+-\w+", re.ASCII)
# The variables that have a form of their own.
_FORMS = {"kernel_id": _ID, "session_id": _ID}


@attrs.frozen
class Route:
    """
    What is served for some methods of a path.

    :ivar rule: A path as requests spell it. In it, ``<name>`` stands for one segment or a part of
        one, which is an id if it is called ``kernel_id`` or ``session_id``, and ``<path:name>``
        stands for any number of segments.
    :ivar methods: In upper case; ``GET`` includes ``HEAD``.
    :ivar handler: Called with the request and the rule's variables, which are decoded; may be a
        coroutine function. Returns the body or a resource, or raises one of :py:mod:`kgd.errors`.
    :ivar summary: For the description of the API.
    :ivar scope: The scope that clients need, as in :py:mod:`kgd.auth.identities`; empty for none.
    :ivar open_body: Called like the handler, before the body of a request is there that is large:
        returns a :py:class:`kgd.web.body_sink.BodySink` for it. Otherwise bodies are in memory.
    """

    rule: str
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    access: Access = Access.GUARDED
    summary: str = ""
    scope: str = ""
    open_body: Callable[..., Any] | None = None


class _Pattern:
    """
    A rule that has variables, and finds their values in paths.

    :raises ValueError: for a variable of another kind.
    :ivar routes: By method, the route and the rule by which Klein knows it.
    """

    def __init__(self, rule: str) -> None:
        self.routes: dict[str, tuple[Route, Rule]] = {}
        # Name, and whether it stands for any number of segments.
        self._variables: list[tuple[str, bool]] = []
        pattern, end = "", 0
        for found in _VARIABLE.finditer(rule):
            kind, name = found.groups()
            if kind not in (None, "path"):
                raise ValueError(f"{rule} has {found[0]}; use <{name}> or <path:{name}>")
            pattern += re.escape(rule[end : found.start()]) + ("(.+)" if kind else "([^/]+)")
            self._variables.append((name, kind is not None))
            end = found.end()
        self._fullmatch = re.compile(pattern + re.escape(rule[end:])).fullmatch

    def values(self, path: str) -> Mapping[str, str] | None:
        """
        :param path: Percent-encoded.
        :return: The variables, decoded; ``None`` for a path that does not match.
        """
        found = self._fullmatch(path)
        if found is None:
            return None
        values = {}
        for (name, is_path), text in zip(self._variables, found.groups(), strict=True):
            # Segments are decoded one by one, because an encoded slash separates none.
            segments = text.split("/") if is_path else [text]
            try:
                value = "/".join(map(decode_segment, segments))
            except ValueError:
                return None
            if name in _FORMS and not _FORMS[name].fullmatch(value):
                return None
            values[name] = value
        return values


class RouteTable:
    """
    Finds the route of a request: one whose rule and method are exactly those of the request, but
    for the encoding of variables. Werkzeug's own search takes methods in any case, and paths with
    more slashes at the beginning.

    Klein calls the handler, except that synchronous handlers of constant paths, which are asked for
    most often, are looked up in a dictionary and called at once.

    :param public: The rules of the routes that may be public; by default, all may.
    :raises ValueError: for a route that may not be public, whose access contradicts another's, or
        whose rule cannot be understood.
    """

    def __init__(self, routes: Iterable[Route], public: Set[str] | None = None) -> None:
        self.routes = tuple(routes)
        self._app = _MatchedApp()
        self._methods: dict[str, tuple[str, ...]] = {}
        for route in self.routes:
            if route.access is Access.PUBLIC and public is not None and route.rule not in public:
                raise ValueError(
                    f"{route.rule} would need no token; kgd/web/access.py lists the routes that "
                    "may be public"
                )
            known = self._methods.get(route.rule, ())
            self._methods[route.rule] = (*known, *_methods_of(route))
        # By rule, then by method.
        self._constant: dict[str, dict[str, Match]] = {}
        # By rule, in the order in which they are tried: those that may take any path come last.
        self._patterns = {
            rule: _Pattern(rule)
            for rule in sorted(self._methods, key=lambda rule: "<path:" in rule)
            if "<" in rule
        }
        for number, route in enumerate(self.routes):
            self._add(f"route_{number}", route)
        self._app.handle_errors(Exception)(_refuse)
        self._resource = self._app.resource()

    def _add(self, endpoint: str, route: Route) -> None:
        rule = Rule(route.rule, endpoint=endpoint)

        def serve(request: Any, **variables: str) -> Any:
            return route.handler(request, **variables)

        serve.__name__ = endpoint
        self._app.route(route.rule, endpoint=endpoint)(serve)
        others = (other.access for other in self.routes if other.rule == route.rule)
        if any(access is not route.access for access in others):
            raise ValueError(f"{route.rule} must have the same access for all of its methods")
        if route.rule in self._patterns:
            by_method = dict.fromkeys(_methods_of(route), (route, rule))
            self._patterns[route.rule].routes.update(by_method)
            return
        render = route.handler
        if inspect.iscoroutinefunction(render):
            render = partial(self._render, rule, {})
        matches = self._constant.setdefault(route.rule, {})
        matches.update(dict.fromkeys(_methods_of(route), self._match_of(route, render)))

    def match(self, method: str, path: str) -> Match | None:
        """
        As :py:meth:`kgd.interfaces.IPersonality.match`.
        """
        constant = self._constant.get(path)
        if constant is not None:
            return constant.get(method) or _without_route(next(iter(constant.values())))
        other: Match | None = None
        for pattern in self._patterns.values():
            values = pattern.values(path)
            if values is None:
                continue
            found = pattern.routes.get(method)
            route, rule = found or next(iter(pattern.routes.values()))
            match = self._match_of(route, partial(self._render, rule, values), values)
            if found is not None:
                return match
            other = other or _without_route(match)
        return other

    def access(self, path: str) -> Access:
        """
        As :py:meth:`kgd.interfaces.IResourcePersonality.access`.
        """
        match = self.match("OPTIONS", path)
        return Access.UNKNOWN if match is None else match.access

    def methods(self, path: str) -> Sequence[str]:
        """
        As :py:meth:`kgd.interfaces.IResourcePersonality.methods`.
        """
        match = self.match("OPTIONS", path)
        return () if match is None else match.methods

    def resource(self) -> IResource:
        """
        :return: What serves the routes for personalities of the older form: a leaf that expects the
            path in ``postpath``, percent-encoded.
        """
        return _TableResource(self)

    def _match_of(
        self, route: Route, render: Callable[[Any], Any], values: Mapping[str, str] | None = None
    ) -> Match:
        methods = self._methods[route.rule]
        if route.open_body is None:
            return Match(route.access, methods, render, route.scope, route.rule)
        open_body = partial(route.open_body, **(values or {}))
        return Match(route.access, methods, render, route.scope, route.rule, open_body)

    def _render(self, rule: Rule, variables: Mapping[str, Any], request: Any) -> Any:
        """
        Have Klein call the handler of a rule.
        """
        self._app.found = (rule, variables)
        return self._resource.render(request)


def _methods_of(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods


def _without_route(match: Match) -> Match:
    """
    :param match: That of another method of the same path, as the request's has none.
    """
    return attrs.evolve(match, route="", open_body=None)


class _TableResource(Resource):
    isLeaf = True

    def __init__(self, table: RouteTable) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._table = table

    def render(self, request: Any) -> Any:
        method = request.method.decode("latin-1")
        path = (b"/" + b"/".join(request.postpath)).decode("ascii")
        match = self._table.match(method, path)
        if match is None:
            return refuse(request, NoSuchResource(""))
        if match.route:
            set_route(request, match.route)
        if method not in match.methods:
            return refuse(request, NoSuchMethod(match.methods))
        return match.render(request)


class _MatchedApp(Klein):
    """
    A Klein application that is given the route of each request, and does not look for it again: it
    stands in for its own map of URLs.

    :ivar found: The rule and the variables of the request that is rendered next.
    """

    found: tuple[Rule, Mapping[str, Any]]

    @property
    def url_map(self) -> Any:
        """
        What Klein's resource asks for the route of a request, with the two methods below.
        """
        return self

    def bind(self, *_: Any, **__: Any) -> _MatchedApp:
        """
        Called by Klein for each request.
        """
        return self

    def match(self, *, return_rule: bool) -> tuple[Rule, Mapping[str, Any]]:
        """
        Called by Klein after :py:meth:`bind`.
        """
        return self.found


def _refuse(request: Any, failure: Failure) -> bytes:
    error = failure.value
    assert isinstance(error, Exception)
    return refuse(request, error)
