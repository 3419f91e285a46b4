"""
Nobody in: every route of every personality, asked for with every wrong token.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.auth.identities import Identity
from kgd.auth.token import AuthToken
from kgd.errors import InvalidRequest
from kgd.gateway.context import GatewayContext
from kgd.interfaces import Access, Match
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import MemoryClient
from kgd.web.access import PUBLIC_ROUTES
from kgd.web.routes import Route, RouteTable
from tests.support.notebooks import python_notebook

TOKEN = "s3cr3t-T0k3n"
# No token at all, and tokens that are nearly right.
WRONG = (
    None, "", "wrong", TOKEN[:-1], TOKEN[1:], TOKEN[:1], TOKEN + "x", "x" + TOKEN, TOKEN + TOKEN,
    TOKEN.lower(), TOKEN.upper(), "%00", f"{TOKEN}%00", f"{TOKEN},", f'"{TOKEN}"',
    "s3cr3t-T0k3\u00f1", "\uff533cr3t-T0k3n", "*", "x" * 9000,
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "BREW")
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class GuardTests(SynchronousTestCase):
    """
    The guard in front of both personalities.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        notebook = self.home / "n.ipynb"
        notebook.write_bytes(
            python_notebook("x = 1", "# GET /hello\nx", "# POST /a/:b\nx", "# DELETE /a/:b\nx")
        )
        self.settings = Settings(
            auth_token=TOKEN,
            list_kernels=True,
            seed_uri=(str(notebook),),
            static_path=str(self.home),
            allow_notebook_download=True,
            metrics=True,
            drain_endpoint=True,
        )
        self.reached: list[str] = []

    def serve(self, kind: Any) -> tuple[Any, MemoryClient, MemoryKernels]:
        """
        Start a personality, and note every request that gets behind the guard.
        """
        specs = FakeKernelSpecs()
        kernels = MemoryKernels(self.settings, specs)
        self.parts = GatewayContext(Clock(), self.settings, kernels, specs, None)
        personality = kind(self.parts)
        self.successResultOf(personality.start())
        operations: Any = self.parts.operations
        for server in (personality, operations):
            server.match = self.noting(server.match)
        client = MemoryClient(self.settings, personality, operations=operations)
        self.addCleanup(client.close)
        return personality, client, kernels

    def noting(self, match: Callable[[str, str], Match | None]) -> Callable[[str, str], Any]:
        """
        :return: The same, but what is found notes the requests that it renders.
        """

        def noted(method: str, path: str) -> Match | None:
            found = match(method, path)
            if found is None:
                return None
            render = found.render

            def rendered(request: Any) -> Any:
                self.reached.append(f"{request.method!r} {request.uri!r}")
                return render(request)

            return attrs.evolve(found, render=rendered)

        return noted

    def found(self, personality: Any, path: str) -> Match | None:
        """
        :return: What is served under a path, by the personality or else by the gateway.
        """
        match: Match | None = personality.match("OPTIONS", path)
        return match or self.parts.operations.match("OPTIONS", path)

    def is_public(self, personality: Any, path: str) -> bool:
        """
        Whether a path needs no token.
        """
        found = self.found(personality, path)
        return found is not None and found.access is Access.PUBLIC

    def rules(self, personality: Any) -> list[str]:
        """
        :return: Every rule of a personality's routes, and of the gateway's own.
        """
        table = personality._table
        assert isinstance(table, RouteTable)
        routes = (*table.routes, *self.parts.operations.routes)
        return sorted({route.rule for route in routes})

    def paths(self, personality: Any, kernels: MemoryKernels) -> Iterator[str]:
        """
        :return: Something that each route takes, a kernel that is there among it.
        """
        kernel_id = next(iter(kernels.list())).kernel_id
        for rule in self.rules(personality):
            filled = re.sub(r"<(kernel_id|session_id)>", kernel_id, rule)
            yield re.sub(r"<[^>]+>", "python3", filled)
        if isinstance(personality, NotebookHTTP):
            yield from ("/hello", "/a/x")

    def both(self) -> Iterator[tuple[Any, MemoryClient, MemoryKernels]]:
        """
        Each personality, with a kernel.
        """
        for kind in (JupyterWebsocket, NotebookHTTP):
            personality, client, kernels = self.serve(kind)
            if not list(kernels.list()):
                headers = {"Authorization": f"token {TOKEN}"}
                self.assertEqual(client.request("POST", "/api/kernels", b"", headers).code, 201)
            self.reached.clear()
            yield personality, client, kernels

    def attempts(self, path: str) -> Iterator[tuple[str, dict[str, str]]]:
        """
        Every way to present every wrong token.
        """
        for wrong in WRONG:
            if wrong is None:
                yield path, {}
                continue
            header = wrong.encode("utf-8").decode("latin-1")
            query = f"{path}?token={quote(wrong, safe='%')}"
            yield query, {}
            yield path, {"Authorization": f"token {header}"}
            yield path, {"Authorization": f"Bearer {header}"}
            # The query wins, so that the right one in the header does not help.
            yield query, {"Authorization": f"token {TOKEN}"}
        for header in (TOKEN, f"Basic {TOKEN}", f"token{TOKEN}", f"token={TOKEN}", "token"):
            yield path, {"Authorization": header}
        yield path, {"Cookie": f"token={TOKEN}", "X-Token": TOKEN, "Referer": f"/?token={TOKEN}"}
        yield f"{path}?Token={TOKEN}&t={TOKEN}", {}
        yield f"{path}?token=x&token={TOKEN}", {}
        yield path, UPGRADE

    def test_wrong_tokens(self) -> None:
        """
        No route does anything for a wrong token, by whatever method and wherever it is.
        """
        for personality, client, kernels in self.both():
            rules = self.rules(personality)
            self.assertIn("/metrics", rules)
            before = [kernel.kernel_id for kernel in kernels.list()]
            for path in self.paths(personality, kernels):
                if self.is_public(personality, path):
                    continue
                for method in METHODS:
                    for target, headers in self.attempts(path):
                        code = client.request(method, target, b"{}", headers).code
                        self.assertIn(code, (400, 401, 414), (code, method, target, headers))
            self.assertEqual(self.reached, [])
            self.assertEqual([kernel.kernel_id for kernel in kernels.list()], before)
            self.assertEqual(kernels.interrupted + kernels.restarted, [])
            self.assertFalse(self.parts.draining.is_on)
            # With the right token it is.
            client.request("POST", f"/api/drain?token={TOKEN}", b"")
            self.assertTrue(self.parts.draining.is_on)

    def test_right_token(self) -> None:
        """
        The same requests with the right token get behind the guard; so it is the token that the
        others lack.
        """
        for personality, client, kernels in self.both():
            paths = list(self.paths(personality, kernels))
            for path in paths:
                found = self.found(personality, path)
                assert found is not None, path
                if "GET" in found.methods:
                    # A kernel that is only pretended answers no notebook's request.
                    with contextlib.suppress(AssertionError):
                        client.request("GET", f"{path}?token={TOKEN}")
                    self.assertTrue(self.reached.pop(), path)
            self.assertGreater(len(paths), 5)

    def test_other_spellings(self) -> None:
        """
        A path in another spelling is not there, or needs the token as well.
        """
        for personality, client, kernels in self.both():
            for path in self.paths(personality, kernels):
                if self.is_public(personality, path):
                    continue
                for other in (
                    f"{path}/", f"/{path}", path.replace("/", "//"), f"/.{path}",
                    f"/public/..{path}", f"/healthz/..{path}", f"/healthz/%2e%2e{path}",
                    f"{path}%00", f"{path};x=y",
                    f"{path}%2f", path.replace("a", "%61"), path.upper(), f"http://x{path}",
                    path.replace("/", "\\"), f"{path}#/healthz", f"{path}?/healthz",
                ):  # fmt: skip
                    for method in ("GET", "POST", "DELETE"):
                        code = client.request(method, other, b"{}").code
                        self.assertIn(code, (400, 401, 403, 404, 405), (method, other))
            for line in self.reached:
                self.assertRegex(line, r"/(public|healthz|readyz|_api/docs)/", line)

    def test_options(self) -> None:
        """
        A preflight needs no token, gets the CORS headers and nothing else, and runs nothing.
        """
        for personality, client, kernels in self.both():
            for path in self.paths(personality, kernels):
                response = client.request("OPTIONS", path)
                self.assertEqual((response.code, response.body), (200, b""), path)
            self.assertEqual(self.reached, [])

    def test_public(self) -> None:
        """
        The list of what needs no token is this one, and holds for every route there is.
        """
        self.assertEqual(
            PUBLIC_ROUTES,
            {
                "/api/swagger.json", "/api/swagger.yaml", "/healthz", "/readyz", "/metrics",
                "/public/<path:name>", "/_api/docs/<path:name>",
            },
        )  # fmt: skip
        for personality, _, _ in self.both():
            for rule in self.rules(personality):
                path = re.sub(r"<[^>]+>", "1-2-3-4-5", rule)
                is_public = self.is_public(personality, path)
                # Metrics are, too, if the operator says so.
                self.assertEqual(is_public, rule in PUBLIC_ROUTES - {"/metrics"}, rule)

    def test_no_other_public_route(self) -> None:
        """
        A route of ours that says itself that it needs no token is an error of its author's.
        """
        route = Route("/new", ("GET",), lambda request: b"", Access.PUBLIC)
        self.assertRaises(ValueError, RouteTable, [route], public=PUBLIC_ROUTES)

    def test_one_demand_for_a_path(self) -> None:
        """
        One method of a path cannot demand less than another, and be taken for it.
        """
        first = Route("/new", ("GET",), lambda request: b"", Access.GUARDED)
        other = Route("/new", ("POST",), lambda request: b"", Access.ANY_ORIGIN)
        self.assertRaises(ValueError, RouteTable, [first, other])
        table = RouteTable([first, Route("/<path:any>", ("GET",), first.handler, Access.PUBLIC)])
        self.assertEqual(table.access("/new"), Access.GUARDED)
        self.assertEqual(table.access("/news"), Access.PUBLIC)
        self.assertEqual(table.access("/a/new"), Access.PUBLIC)
        for path in ("/new/", "//new", "/a//new", "/", "/a/%2e%2e", "/a%2fnew"):
            self.assertEqual(table.access(path), Access.UNKNOWN, path)

    def test_rules(self) -> None:
        """
        The first rule that has the method is found, and those that take any path come last; a kind
        of variable that there is not is an error of its author's.
        """

        def serve(request: Any, **variables: str) -> bytes:
            return b""

        rules = ("/<path:any>", "/user/<name>", "/user/<other>", "/user/<name>.json", "/user/me")
        methods = ("GET", "GET", "POST", "GET", "DELETE")
        table = RouteTable(
            Route(rule, (method,), serve) for rule, method in zip(rules, methods, strict=True)
        )
        for method, path, rule in (
            ("GET", "/user/you", "/user/<name>"),
            ("POST", "/user/you", "/user/<other>"),
            ("GET", "/user/you/x", "/<path:any>"),
            ("DELETE", "/user/me", "/user/me"),
            # The path has another method.
            ("GET", "/user/me", ""),
            ("get", "/user/you", ""),
            ("DELETE", "/user/you", ""),
        ):
            match = table.match(method, path)
            assert match is not None, path
            self.assertEqual(match.route, rule, (method, path))
            self.assertEqual(method in match.methods, bool(rule), (method, path))
        for rule in ("/<int:number>", "/<name:x>"):
            self.assertRaises(ValueError, RouteTable, [Route(rule, ("GET",), serve)])

    def test_scopes(self) -> None:
        """
        A client needs the scope of what it asks for, and nothing runs without it.
        """

        class Limited(AuthToken):
            def identify(self, token: bytes | None) -> Identity | None:
                return super().identify(token) and Identity("limited", {"kernels:read"})

        personality, _, kernels = self.serve(JupyterWebsocket)
        client = MemoryClient(self.settings, personality, token=Limited(self.settings))
        self.addCleanup(client.close)
        headers = {"Authorization": f"token {TOKEN}"}
        self.assertEqual(client.request("GET", "/api/kernels", headers=headers).code, 200)
        self.assertEqual(client.request("GET", "/api/swagger.json").code, 200)
        self.assertEqual(client.request("GET", "/api/kernels").code, 401)
        self.reached.clear()
        for method, path, scope in (
            ("POST", "/api/kernels", "kernels:write"),
            ("GET", "/api/kernels/1-2-3-4-5/channels", "kernels:execute"),
            ("GET", "/api/sessions", "sessions:read"),
            ("POST", "/api/execute", "kernels:write kernels:execute"),
        ):
            response = client.request(method, path, b"", headers)
            self.assertEqual(
                (response.code, response.json["message"]),
                (403, f"This request needs the scope {scope}"),
            )
        self.assertEqual((self.reached, list(kernels.list())), ([], []))

    def test_several_scopes(self) -> None:
        """
        Who needs several scopes needs all of them.
        """
        for scopes, needed, may in (
            (None, "a:read b:write", True),
            ({"a:read"}, "", True),
            ({"a:read"}, "a:read", True),
            ({"a:read"}, "a:rea", False),
            ({"a:read"}, "a:read b:write", False),
            ({"b:write"}, "a:read b:write", False),
            ({"a:read", "b:write"}, "a:read b:write", True),
        ):
            self.assertEqual(Identity("x", scopes).has_scope(needed), may, (scopes, needed))

    def test_every_route_has_a_scope(self) -> None:
        """
        Routes of ours that need the token name a scope: a resource, and an action of Jupyter's.
        """
        for personality, _, _ in self.both():
            for route in (*personality._table.routes, *self.parts.operations.routes):
                if route.access is not Access.PUBLIC:
                    for scope in route.scope.split() or [""]:
                        self.assertRegex(scope, r"^[a-z]+:(read|write|execute)$", route.rule)

    def test_errors_of_match(self) -> None:
        """
        What is wrong with a path is told to clients with the token only.
        """
        personality, client, _ = self.serve(JupyterWebsocket)

        def match(method: str, path: str) -> Match | None:
            raise InvalidRequest("this path makes no sense")

        personality.match = match
        self.assertEqual(client.request("GET", "/x").code, 401)
        response = client.request("GET", f"/x?token={TOKEN}")
        self.assertEqual(
            (response.code, response.json["message"]), (400, "this path makes no sense")
        )
        options = client.request("OPTIONS", "/x")
        self.assertEqual((options.code, options.headers.get("allow")), (200, None))

    def test_defects_of_match(self) -> None:
        """
        A personality that answers something else lets nobody in.
        """
        personality, client, _ = self.serve(JupyterWebsocket)
        for wrong in (True, Access.PUBLIC, Match(None, ("GET",), lambda _: b"")):  # type: ignore[arg-type]
            personality.match = lambda method, path, wrong=wrong: wrong
            for target in ("/x", f"/x?token={TOKEN}"):
                self.assertEqual(client.request("GET", target).code, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 6)

    def test_not_loaded(self) -> None:
        """
        As long as a token has not been read, nobody has the right one.
        """
        token = AuthToken(Settings(auth_token_file="/nowhere"))
        for given in (None, b"", b"x"):
            self.assertFalse(token.identify(given))
