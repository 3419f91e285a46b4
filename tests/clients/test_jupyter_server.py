"""
Jupyter Server, whose kernels are behind a gateway: ``jupyter server --gateway-url=...``.
"""

from __future__ import annotations

import json
import signal
from typing import Any

from twisted.internet import reactor
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from tests.clients.programs import PYTHON, TOKEN
from tests.clients.upstream import HEADERS, Upstream, UpstreamTestCase
from tests.support.gateway import Channels, GatewayProcess, alive, children_of, http, stdout, until


class ForgetfulGateway(Resource):
    """
    Passes everything on but the list of kernels, which is always empty.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.asked: list[str] = []

    def getChild(self, path: bytes, request: Request) -> IResource:
        """
        Go by the whole path.
        """
        self.asked.append(f"{request.method.decode()} {request.uri.decode()}")
        if request.method == b"GET" and request.uri == b"/api/kernels":
            return _EmptyList()
        rest = request.path or b"/"
        request.postpath = []
        resource: IResource = ReverseProxyResource("127.0.0.1", self.port, rest)
        return resource


class _EmptyList(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return b"[]"


class JupyterServerTests(UpstreamTestCase):
    """
    What JupyterLab makes its server ask a gateway.
    """

    async def both(self, token: str = "") -> tuple[GatewayProcess, Upstream]:
        """
        Start a gateway and a server that uses it.
        """
        gateway = await self.gateway(PYTHON, env={"KGD_AUTH_TOKEN": token})
        return gateway, await self.upstream(gateway.port, token)

    async def start_session(self, upstream: Upstream) -> tuple[str, str]:
        """
        :return: The ids of a new session and its kernel.
        """
        body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "python3"}}
        response = await upstream.request("POST", "/api/sessions", body)
        self.assertEqual(response.code, 201, response.body)
        return response.json["id"], response.json["kernel"]["id"]

    async def come(self, upstream: Upstream, kernel_id: str) -> Channels:
        """
        Open a WebSocket, as a browser does.
        """
        return await self.connect(
            upstream.port, kernel_id, query="?session_id=browser", headers=HEADERS
        )

    async def kernels_of(self, upstream: Upstream) -> list[str]:
        """
        :return: The kernels that it lists.
        """
        response = await upstream.request("GET", "/api/kernels")
        self.assertEqual(response.code, 200, response.body)
        return [each["id"] for each in response.json]

    async def test_specs(self) -> None:
        """
        Kernelspecs and their files are passed through, and what is unknown is not found.
        """
        self.add_spec("drawn", ["true"])
        logo = b"\x89PNG\r\n\x1a\n not really"
        (self.specs / "drawn" / "logo-64x64.png").write_bytes(logo)
        gateway, upstream = await self.both()
        specs = (await upstream.request("GET", "/api/kernelspecs")).json
        self.assertEqual(specs["default"], "python3")
        self.assertEqual(
            sorted(specs["kernelspecs"]),
            sorted((await http(gateway.port, "GET", "/api/kernelspecs")).json["kernelspecs"]),
        )
        one = await upstream.request("GET", "/api/kernelspecs/drawn")
        self.assertEqual(one.code, 200, (one.body, upstream.output))
        self.assertEqual(one.json["spec"]["argv"], ["true"])
        self.assertEqual((await upstream.request("GET", "/api/kernelspecs/nope")).code, 404)
        path = specs["kernelspecs"]["drawn"]["resources"]["logo-64x64"]
        self.assertEqual(path, "/kernelspecs/drawn/logo-64x64.png")
        answer = await upstream.request("GET", path)
        self.assertEqual((answer.code, answer.body), (200, logo))
        self.assertEqual(answer.headers["content-type"], "image/png")
        self.assertNotIn("Traceback", upstream.output)
        # Upstream makes its own error of a file that the gateway does not find.
        await upstream.request("GET", "/kernelspecs/drawn/logo-32x32.png")
        self.assertIn("'logo-32x32.png' for 'drawn' not found", upstream.output)
        missing = await http(gateway.port, "GET", "/kernelspecs/drawn/logo-32x32.png")
        self.assertEqual(missing.code, 404)

    async def _all_of_it(self, token: str) -> None:
        gateway, upstream = await self.both(token)
        session_id, kernel_id = await self.start_session(upstream)
        client = await self.come(upstream, kernel_id)
        messages = await client.execute("import os; print(os.environ['KERNEL_MARK']); 42")
        self.assertEqual(stdout(messages), "from upstream\n")
        self.assertIn("execute_result", [each.type for each in messages])
        self.assertIn(f"{kernel_id}/channels?session_id=browser", upstream.output)

        looping = client.request(
            "execute_request",
            {"code": "print('go', flush=True)\nwhile True: pass", "silent": False,
             "store_history": False, "user_expressions": {}, "allow_stdin": False},
        )  # fmt: skip
        await until(lambda: client.of(looping, "stream"), "the loop goes round")
        response = await upstream.request("POST", f"/api/kernels/{kernel_id}/interrupt", {})
        self.assertEqual(response.code, 204)
        await client.answered(looping)
        self.assertEqual(client.of(looping, "error")[0].content["ename"], "KeyboardInterrupt")

        await client.execute("x = 1")
        response = await upstream.request("POST", f"/api/kernels/{kernel_id}/restart", {})
        self.assertEqual((response.code, response.json["id"]), (200, kernel_id))
        # The same socket, which upstream keeps open.
        (error,) = [each for each in await client.execute("x") if each.type == "error"]
        self.assertEqual(error.content["ename"], "NameError")

        model = (await upstream.request("GET", f"/api/sessions/{session_id}")).json
        self.assertEqual(model["kernel"]["id"], kernel_id)
        assert gateway.transport is not None
        (pid,) = children_of(gateway.transport.pid)
        response = await upstream.request("DELETE", f"/api/sessions/{session_id}")
        self.assertEqual(response.code, 204, response.body)
        self.assertEqual(await self.listed(gateway, token), [])
        self.assertFalse(alive(pid))
        self.assertEqual(await self.kernels_of(upstream), [])
        self.assert_no_traceback(gateway)
        self.assertNotIn("Traceback", upstream.output)

    async def test_session(self) -> None:
        """
        A session's kernel is started, used, interrupted, restarted and deleted.
        """
        await self._all_of_it("")

    async def test_session_token(self) -> None:
        """
        The same when the gateway wants a token.
        """
        await self._all_of_it(TOKEN)

    async def test_kernel(self) -> None:
        """
        A kernel without a session is started, used by two clients, and deleted.
        """
        gateway, upstream = await self.both()
        response = await upstream.request("POST", "/api/kernels", {"name": "python3"})
        self.assertEqual(response.code, 201, response.body)
        kernel_id = response.json["id"]
        self.assertEqual(await self.listed(gateway), [kernel_id])
        self.assertEqual(await self.kernels_of(upstream), [kernel_id])
        first = await self.come(upstream, kernel_id)
        second = await self.connect(gateway.port, kernel_id, v1=True)
        for client in (first, second):
            self.assertEqual(stdout(await client.execute("print('hi')")), "hi\n")
        response = await upstream.request("DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204, response.body)
        self.assertEqual(await self.listed(gateway), [])
        response = await upstream.request("DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 404, response.body)

    async def test_wrong_token(self) -> None:
        """
        What the gateway says of a wrong token, or of none, is what the user sees.
        """
        gateway = await self.gateway(PYTHON, env={"KGD_AUTH_TOKEN": TOKEN})
        for token in ("", "wrong"):
            upstream = await self.upstream(gateway.port, token)
            for method, path, body in (
                ("GET", "/api/kernelspecs", None),
                ("GET", "/api/kernels", None),
                ("POST", "/api/kernels", {"name": "python3"}),
            ):
                response = await upstream.request(method, path, body)
                self.assertEqual(response.code, 401, (method, path, response.body))
                self.assertIn("message", response.json)
            self.assertEqual(await self.listed(gateway, TOKEN), [])

    async def test_deleted_behind_its_back(self) -> None:
        """
        A kernel that was deleted on the gateway is gone upstream, and so is its session.
        """
        gateway, upstream = await self.both()
        session_id, kernel_id = await self.start_session(upstream)
        client = await self.come(upstream, kernel_id)
        await client.execute("1")
        response = await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204)
        self.assertEqual(await self.kernels_of(upstream), [])
        self.assertEqual((await upstream.request("GET", "/api/sessions")).json, [])
        for path in (f"/api/kernels/{kernel_id}", f"/api/sessions/{session_id}"):
            self.assertEqual((await upstream.request("DELETE", path)).code, 404)

    async def test_shutting_down(self) -> None:
        """
        A server that ends takes its kernels along, and does not mind that one is gone already.
        """
        gateway, upstream = await self.both()
        others = await self.start_kernel(gateway.port)
        started = []
        for _ in range(2):
            response = await upstream.request("POST", "/api/kernels", {"name": "python3"})
            started.append(response.json["id"])
        await http(gateway.port, "DELETE", f"/api/kernels/{started[0]}")
        self.assertEqual(await upstream.stop(signal.SIGTERM), 0, upstream.output)
        self.assertEqual(await self.listed(gateway), [others])
        self.assertNotIn("Traceback", upstream.output)

    async def test_missing_from_the_list(self) -> None:
        """
        A kernel that a list leaves out is asked for by its id, and stays.
        """
        gateway = await self.gateway(PYTHON)
        forgetful = ForgetfulGateway(gateway.port)
        site: Any = Site(forgetful)
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        upstream = await self.upstream(port.getHost().port)
        response = await upstream.request("POST", "/api/kernels", {"name": "python3"})
        self.assertEqual(response.code, 201, response.body)
        kernel_id = response.json["id"]
        del forgetful.asked[:]
        self.assertEqual(await self.kernels_of(upstream), [kernel_id])
        self.assertEqual(forgetful.asked[:2], ["GET /api/kernels", f"GET /api/kernels/{kernel_id}"])
        await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(await self.kernels_of(upstream), [])

    async def test_connection_lost(self) -> None:
        """
        Upstream's connection breaks in the middle of a cell: it comes back by itself, and the
        browser, which notices nothing, sees everything once.
        """
        gateway = await self.gateway(PYTHON)
        lane, port = await self.lane(gateway)
        upstream = await self.upstream(port)
        response = await upstream.request("POST", "/api/kernels", {"name": "python3"})
        kernel_id = response.json["id"]
        client = await self.come(upstream, kernel_id)
        valve = self.valve()
        code = "lines.readline()\nfor number in range(50): print(number, flush=True)\n"
        msg_id = client.request(
            "execute_request",
            {"code": f"lines = open({valve.path!r})\nprint('before', flush=True)\n"
                     f"{code}{code}'the end'", "silent": False, "store_history": False,
             "user_expressions": {}, "allow_stdin": False},
        )  # fmt: skip
        await until(lambda: "before" in stdout(client.of(msg_id)), "it begins")
        lane.hold()
        lane.cut()
        await self.when_model(gateway, kernel_id, "connections", 0)
        valve.open()
        valve.open()
        await self.when_model(gateway, kernel_id, "execution_state", "idle")
        lane.let_through()
        messages = await client.answered(msg_id)
        numbers = "".join(f"{number}\n" for number in range(50))
        self.assertEqual(stdout(messages), f"before\n{numbers}{numbers}")
        kinds = [each.type for each in messages if each.type not in ("stream", "status")]
        self.assertEqual(sorted(kinds), ["execute_input", "execute_reply", "execute_result"])
        self.assertIsNone(client.closed)
        self.assertEqual(len({json.dumps(each.header) for each in messages}), len(messages))
