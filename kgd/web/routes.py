"""
Tables of routes: find the route of a request, and call its handler, which may be a coroutine.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import attrs
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, Rule

from kgd.errors import NoSuchMethod, NoSuchResource
from kgd.interfaces import Access, Match
from kgd.web.access_log import set_route
from kgd.web.errors import refuse


@attrs.frozen
class Route:
    """
    What is served for some methods of a path.

    :ivar rule: A path; ``<kernel_id>``, ``<session_id>`` and ``<spec_name>`` stand for one segment
        of their form, ``<path:file>`` for any number of segments.
    :ivar methods: In upper case; ``GET`` includes ``HEAD``.
    :ivar handler: Called with the request and the rule's variables; may be a coroutine function.
        Returns the body or a resource, or raises one of :py:mod:`kgd.errors`.
    :ivar summary: For the description of the API.
    :ivar scope: The scope that clients need, as in :py:mod:`kgd.auth.identities`; empty for none.
    """

    rule: str
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    access: Access = Access.GUARDED
    summary: str = ""
    scope: str = ""


class KernelIdConverter(BaseConverter):
    """
    Five groups of word characters with dashes between them.
    """

    regex = r"\w+-\w+-\w+-\w+-\w+"


class SpecNameConverter(BaseConverter):
    """
    A kernelspec's name, percent-encoded as it came.
    """

    regex = r"[\w.\-%]+"


class RouteTable:
    """
    Finds the route of a request. Klein calls its handler, except that synchronous handlers of
    constant paths, which are asked for most often, are looked up in a dictionary and called at
    once.

    :param public: The rules of the routes that may be public; by default, all may.
    :raises ValueError: for a route that may not be public, or whose access contradicts another's.
    """

    def __init__(self, routes: Iterable[Route], public: Set[str] | None = None) -> None:
        self.routes = tuple(routes)
        self._app = _MatchedApp()
        url_map = self._app.rules
        url_map.merge_slashes = False
        url_map.redirect_defaults = False
        url_map.converters = url_map.converters | {
            "kernel_id": KernelIdConverter,
            "session_id": KernelIdConverter,
            "spec_name": SpecNameConverter,
        }
        self._methods: dict[str, tuple[str, ...]] = {}
        for route in self.routes:
            if route.access is Access.PUBLIC and public is not None and route.rule not in public:
                raise ValueError(
                    f"{route.rule} would need no token; kgd/web/access.py lists the routes that "
                    "may be public"
                )
            known = self._methods.get(route.rule, ())
            self._methods[route.rule] = (*known, *_methods_of(route))
        self._routes: dict[str, Route] = {}
        self._constant: dict[tuple[str, str], Match] = {}
        for number, route in enumerate(self.routes):
            self._add(f"route_{number}", route)
        self._app.handle_errors(Exception)(_refuse)
        self._resource = self._app.resource()
        self._adapter = url_map.bind("")

    def _add(self, endpoint: str, route: Route) -> None:
        rule = route.rule.replace("<kernel_id>", "<kernel_id:kernel_id>")
        rule = rule.replace("<session_id>", "<session_id:session_id>")
        rule = rule.replace("<spec_name>", "<spec_name:spec_name>")

        def serve(request: Any, **variables: str) -> Any:
            return route.handler(request, **variables)

        serve.__name__ = endpoint
        self._app.route(rule, methods=_methods_of(route), endpoint=endpoint)(serve)
        self._routes[endpoint] = route
        if "<" in rule:
            return
        others = (match.access for (_, path), match in self._constant.items() if path == rule)
        if next(others, route.access) is not route.access:
            raise ValueError(f"{route.rule} must have the same access for all of its methods")
        render = route.handler
        if inspect.iscoroutinefunction(render):
            render = partial(self._render, Rule(rule, endpoint=endpoint), {})
        for method in _methods_of(route):
            self._constant[method, rule] = self._match_of(route, render)

    def match(self, method: str, path: str) -> Match | None:
        """
        As :py:meth:`kgd.interfaces.IPersonality.match`.
        """
        constant = self._constant.get((method, path))
        if constant is not None:
            return constant
        try:
            rule, variables = self._adapter.match(path, method, return_rule=True)
        except MethodNotAllowed as error:
            return self._match_other_method(path, tuple(error.valid_methods or ()))
        except HTTPException:
            return None
        return self._match_of(self._routes[rule.endpoint], partial(self._render, rule, variables))

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

    def _match_other_method(self, path: str, methods: tuple[str, ...]) -> Match | None:
        """
        :param methods: The methods of the path, of which the request has none.
        """
        other = self.match(methods[0], path)
        return other and attrs.evolve(other, methods=methods, route="")

    def _match_of(self, route: Route, render: Callable[[Any], Any]) -> Match:
        methods = self._methods[route.rule]
        return Match(route.access, methods, render, route.scope, route.rule)

    def _render(self, rule: Rule, variables: Mapping[str, Any], request: Any) -> Any:
        """
        Have Klein call the handler of a rule.
        """
        self._app.found = (rule, variables)
        return self._resource.render(request)


def _methods_of(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods


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
        if method.upper() not in match.methods:
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
    def rules(self) -> Map:
        """
        The map of URLs.
        """
        return super().url_map

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
