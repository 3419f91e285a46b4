"""
What a browser does before it lets the page of another origin use a gateway.
"""

from __future__ import annotations

import re
from typing import Any

from tests.clients.programs import PYTHON, TOKEN, ClientTestCase
from tests.support.gateway import GatewayProcess, Response, http, stdout

PAGE = "http://page.example"
# Of which a browser sends neither an OPTIONS nor a second thought.
SIMPLE_METHODS = ("GET", "HEAD", "POST")
SIMPLE_HEADERS = ("accept", "accept-language", "content-language")
CORS_OPTIONS = (
    f"--allow-origin={PAGE}",
    "--allow-headers=Authorization, Content-Type, X-XSRFToken",
    "--allow-methods=GET, POST, PATCH, DELETE, OPTIONS",
    "--expose-headers=Location",
)


class Blocked(Exception):
    """
    The page does not get what it asked for.
    """


class Page:
    """
    A page in a browser, with the Fetch standard's rules for its requests.
    """

    def __init__(self, gateway: GatewayProcess, origin: str = PAGE) -> None:
        self.port = gateway.port
        self.origin = origin
        self.preflights = 0

    async def fetch(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[Response, dict[str, str]]:
        """
        :return: The response, and those headers of it that the page may read.
        :raises Blocked: as the browser would.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        unsafe = [name.lower() for name in named if name.lower() not in SIMPLE_HEADERS]
        if unsafe or method not in SIMPLE_METHODS:
            await self._preflight(method, path, unsafe)
        response = await http(
            self.port, method, path, body, {**named, "Origin": self.origin, "Cookie": "a=b"}
        )
        self._check_origin(response)
        exposed = _tokens(response.headers.get("access-control-expose-headers"))
        return response, {k: v for k, v in response.headers.items() if k in exposed}

    async def _preflight(self, method: str, path: str, unsafe: list[str]) -> None:
        self.preflights += 1
        response = await http(
            self.port,
            "OPTIONS",
            path,
            headers={
                "Origin": self.origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": ",".join(sorted(unsafe)),
            },
        )
        self._check_origin(response)
        if not 200 <= response.code <= 299:
            raise Blocked(f"OPTIONS {path} is {response.code}")
        methods = _tokens(response.headers.get("access-control-allow-methods"))
        if method not in SIMPLE_METHODS and method.lower() not in methods:
            raise Blocked(f"{method} is not among {methods}")
        names = _tokens(response.headers.get("access-control-allow-headers"))
        if not set(unsafe) <= names:
            raise Blocked(f"{unsafe} are not all among {names}")

    def _check_origin(self, response: Response) -> None:
        allowed = response.headers.get("access-control-allow-origin")
        if allowed not in ("*", self.origin):
            raise Blocked(f"{self.origin} is not {allowed}")


def _tokens(value: str | None) -> set[str]:
    return {token.strip().lower() for token in (value or "").split(",") if token.strip()}


class BrowserTests(ClientTestCase):
    """
    A gateway with a token, and pages.
    """

    async def start(self, *options: str) -> GatewayProcess:
        """
        Start a gateway.
        """
        return await self.gateway(PYTHON, *options, env={"KGD_AUTH_TOKEN": TOKEN})

    async def test_sequence(self) -> None:
        """
        An allowed page starts a kernel, uses it over a WebSocket that has the token in its query,
        and deletes it; where the token is missing it can read why it may not.
        """
        gateway = await self.start(*CORS_OPTIONS)
        page = Page(gateway)
        authorized = {"Authorization": f"token {TOKEN}"}
        response, exposed = await page.fetch(
            "POST", "/api/kernels", {"name": "python3"}, Content_Type="application/json",
            **authorized,
        )  # fmt: skip
        self.assertEqual((response.code, page.preflights), (201, 1))
        kernel_id = response.json["id"]
        self.assertEqual(exposed, {"location": f"/api/kernels/{kernel_id}"})

        client = await self.connect(
            gateway.port, kernel_id, query=f"?session_id=page&token={TOKEN}",
            headers={"Origin": PAGE},
        )  # fmt: skip
        self.assertEqual(stdout(await client.execute("print('hi')")), "hi\n")

        path = f"/api/kernels/{kernel_id}"
        for method, action, code in (("POST", "/interrupt", 204), ("POST", "/restart", 200)):
            response, _ = await page.fetch(method, path + action, {}, **authorized)
            self.assertEqual(response.code, code)
        # The token in the query needs no preflight.
        before = page.preflights
        response, _ = await page.fetch("GET", f"/api/kernels?token={TOKEN}")
        self.assertEqual([each["id"] for each in response.json], [kernel_id])
        self.assertEqual(page.preflights, before)
        for headers in ({}, {"Authorization": "token wrong"}):
            response, _ = await page.fetch("DELETE", path, **headers)
            self.assertEqual(response.code, 401)
            self.assertIn("message", response.json)
        response, _ = await page.fetch("DELETE", path, **authorized)
        self.assertEqual(response.code, 204)
        response, _ = await page.fetch("DELETE", path, **authorized)
        self.assertEqual(response.code, 404)

    async def test_others(self) -> None:
        """
        A page of another origin is stopped by the browser, and its WebSocket by the gateway, token
        or not; and so is a page when the gateway allows none.
        """
        for options in (CORS_OPTIONS, ()):
            gateway = await self.start(*options)
            headers = {"Authorization": f"token {TOKEN}"}
            kernel_id = (await http(gateway.port, "POST", "/api/kernels", {}, headers)).json["id"]
            page = Page(gateway, "http://elsewhere.example")
            with self.assertRaises(Blocked):
                await page.fetch("GET", "/api/kernels", **headers)
            with self.assertRaises(Blocked):
                await page.fetch("DELETE", f"/api/kernels/{kernel_id}", **headers)
            self.assertEqual(await self.listed(gateway, TOKEN), [kernel_id])
            answer = await self.handshake(gateway, kernel_id, page.origin, f"?token={TOKEN}")
            self.assertEqual(answer, 403)

    async def test_no_token(self) -> None:
        """
        A WebSocket of an allowed page without the token, or with a wrong one, is refused.
        """
        gateway = await self.start(*CORS_OPTIONS)
        headers = {"Authorization": f"token {TOKEN}"}
        kernel_id = (await http(gateway.port, "POST", "/api/kernels", {}, headers)).json["id"]
        for query in ("", "?token=", "?token=wrong", "?session_id=page"):
            self.assertEqual(await self.handshake(gateway, kernel_id, PAGE, query), 401, query)

    async def handshake(
        self, gateway: GatewayProcess, kernel_id: str, origin: str, query: str
    ) -> int:
        """
        :return: The status that refuses a WebSocket.
        """
        with self.assertRaises(self.failureException) as caught:
            await self.connect(gateway.port, kernel_id, query=query, headers={"Origin": origin})
        found = re.search(r"upgrade failed.*?(\d{3})", str(caught.exception))
        assert found is not None, caught.exception
        return int(found[1])
