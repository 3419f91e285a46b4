"""
Nobody in: every route of every personality, asked for with every wrong token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from kgd.auth.token import AuthToken
from kgd.gateway.context import GatewayContext
from kgd.interfaces import Access
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import MemoryClient
from kgd.web.access import PUBLIC
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
        make = personality.resource

        def resource() -> IResource:
            made: Any = make()
            render = made.render

            def noted(request: Any) -> Any:
                self.reached.append(f"{request.method!r} {request.uri!r}")
                return render(request)

            made.render = noted
            return made  # type: ignore[no-any-return]

        personality.resource = resource
        client = MemoryClient(self.settings, personality)
        self.addCleanup(client.close)
        return personality, client, kernels

    def rules(self, personality: Any) -> list[str]:
        """
        :return: Every rule of a personality's routes.
        """
        table = personality._table
        assert isinstance(table, RouteTable)
        return sorted({route.rule for route in table.routes})

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
                if personality.access(path) is Access.PUBLIC:
                    continue
                for method in METHODS:
                    for target, headers in self.attempts(path):
                        code = client.request(method, target, b"{}", headers).code
                        self.assertIn(code, (400, 401, 414), (code, method, target, headers))
            self.assertEqual(self.reached, [])
            self.assertEqual([kernel.kernel_id for kernel in kernels.list()], before)
            self.assertEqual(kernels.interrupted + kernels.restarted, [])
            self.assertFalse(self.parts.draining.is_on)
            if "/api/drain" in rules:
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
                if personality.methods(path) == ("GET",) or path == "/api":
                    client.request("GET", f"{path}?token={TOKEN}")
                    self.assertTrue(self.reached.pop(), path)
            self.assertGreater(len(paths), 5)

    def test_other_spellings(self) -> None:
        """
        A path in another spelling is not there, or needs the token as well.
        """
        for personality, client, kernels in self.both():
            for path in self.paths(personality, kernels):
                if personality.access(path) is Access.PUBLIC:
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
            PUBLIC,
            {
                "/api/swagger.json", "/api/swagger.yaml", "/healthz", "/readyz", "/metrics",
                "/public/<path:name>", "/_api/docs/<path:name>",
            },
        )  # fmt: skip
        for personality, _, _ in self.both():
            for rule in self.rules(personality):
                path = re.sub(r"<[^>]+>", "1-2-3-4-5", rule)
                is_public = personality.access(path) is Access.PUBLIC
                # Metrics are, too, if the operator says so.
                self.assertEqual(is_public, rule in PUBLIC - {"/metrics"}, rule)

    def test_no_other_public_route(self) -> None:
        """
        A route of ours that says itself that it needs no token is an error of its author's.
        """
        route = Route("/new", ("GET",), lambda request: b"", Access.PUBLIC)
        self.assertRaises(ValueError, RouteTable, [route], public=PUBLIC)

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
        self.assertEqual(table.access("/new/"), Access.PUBLIC)

    def test_not_loaded(self) -> None:
        """
        As long as a token has not been read, nobody has the right one.
        """
        token = AuthToken(Settings(auth_token_file="/nowhere"))
        for given in (None, b"", b"x"):
            self.assertFalse(token.admits(given))
