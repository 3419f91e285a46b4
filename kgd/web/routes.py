"""
A table of routes, and the resource that serves it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import attrs
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from kgd.interfaces import Access
from kgd.web.access_log import set_route
from kgd.web.errors import refuse


@attrs.frozen
class Route:
    """
    One row: what is served under a path.

    :ivar rule: A path; ``<kernel_id>``, ``<session_id>`` and ``<spec_name>`` stand for one segment
        of their form, ``<path:file>`` for any number of segments.
    :ivar methods: ``HEAD`` comes with ``GET`` by itself.
    :ivar handler: Called with the request and the rule's variables; may be a coroutine function.
        Returns the body or a resource, or raises what ``kgd.web.errors`` knows.
    :ivar summary: For the description of the API.
    """

    rule: str
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    access: Access = Access.GUARDED
    summary: str = ""


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
    Serves routes with Klein, except that constant paths, which are asked for all the time, are
    looked up in a dictionary.

    :param served: Called with each request that is about to be served.
    :param public: The rules of those routes that may need no token; if not given, that is up to the
        routes.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        served: Callable[[Any], None] = lambda _: None,
        public: Set[str] | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self._public = public
        self._served = served
        self._app = Klein()
        url_map = self._app.url_map
        url_map.merge_slashes = False
        url_map.redirect_defaults = False
        url_map.converters = url_map.converters | {
            "kernel_id": KernelIdConverter,
            "session_id": KernelIdConverter,
            "spec_name": SpecNameConverter,
        }
        self._constant: dict[tuple[bytes, bytes], Callable[..., Any]] = {}
        self._access: dict[str, Access] = {}
        self._constant_access: dict[str, Access] = {}
        for number, route in enumerate(self.routes):
            self._add(f"route_{number}", route)
        self._app.handle_errors(Exception)(_refuse)
        self._adapter = url_map.bind("")

    def _add(self, endpoint: str, route: Route) -> None:
        methods = [*route.methods, *(["HEAD"] if "GET" in route.methods else [])]
        rule = route.rule.replace("<kernel_id>", "<kernel_id:kernel_id>")
        rule = rule.replace("<session_id>", "<session_id:session_id>")
        rule = rule.replace("<spec_name>", "<spec_name:spec_name>")

        def serve(request: Any, **variables: str) -> Any:
            set_route(request, route.rule)
            return route.handler(request, **variables)

        serve.__name__ = endpoint
        self._app.route(rule, methods=methods, endpoint=endpoint)(serve)
        is_known = self._public is None or route.rule in self._public
        if route.access is Access.PUBLIC and not is_known:
            raise ValueError(f"{route.rule} would need no token; kgd/web/public.py lists what may")
        self._access[endpoint] = route.access
        if "<" in rule:
            return
        if self._constant_access.setdefault(rule, route.access) is not route.access:
            raise ValueError(f"what {route.rule} demands has to be the same for all of its methods")
        if not inspect.iscoroutinefunction(route.handler):
            for method in methods:
                self._constant[method.encode(), rule.encode()] = serve

    def resource(self) -> IResource:
        """
        :return: A leaf that expects the path in ``postpath``, still percent-encoded.
        """
        return _Routes(self._app, self._constant, self._served)

    def access(self, path: str) -> Access:
        """
        :param path: Percent-encoded as it came.
        """
        constant = self._constant_access.get(path)
        if constant is not None:
            return constant
        for method in self._adapter.allowed_methods(path):
            try:
                rule, _ = self._adapter.match(path, method=method, return_rule=True)
            except HTTPException:
                continue
            return self._access[rule.endpoint]
        return Access.UNKNOWN

    def methods(self, path: str) -> tuple[str, ...]:
        """
        :param path: As for :py:meth:`access`.
        """
        return tuple(self._adapter.allowed_methods(path))


class _Routes(Resource):
    isLeaf = True

    def __init__(
        self,
        app: Klein,
        constant: Mapping[tuple[bytes, bytes], Any],
        served: Callable[[Any], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._klein = app.resource()
        self._constant = constant
        self._served = served

    def render(self, request: Any) -> Any:
        self._served(request)
        handler = self._constant.get((request.method, b"/" + b"/".join(request.postpath)))
        if handler is None:
            return self._klein.render(request)
        try:
            return handler(request)
        except Exception as error:
            return refuse(request, error)


def _refuse(request: Any, failure: Failure) -> bytes:
    error = failure.value
    assert isinstance(error, Exception)
    return refuse(request, error)
