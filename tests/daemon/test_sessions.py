"""
Sessions and the kernels that they come with.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.support.gateway import GatewayProcess, GatewayTestCase, http, pause, stdout

KERNEL_ID = "00000000-1111-4222-8333-444444444444"
NOTEBOOK = {"path": "sub/a.ipynb", "type": "notebook", "name": "a.ipynb"}


class SessionsTests(GatewayTestCase):
    """
    Sessions, as clients see them.
    """

    async def create(self, gateway: GatewayProcess, **changes: Any) -> Any:
        """
        :return: The model of a new session.
        """
        response = await http(gateway.port, "POST", "/api/sessions", NOTEBOOK | changes)
        self.assertEqual(response.code, 201, response.body)
        return response.json

    async def listed(self, gateway: GatewayProcess, what: str = "sessions") -> list[Any]:
        """
        The sessions, or the kernels.
        """
        models: list[Any] = (await http(gateway.port, "GET", f"/api/{what}")).json
        return models

    async def connections(self, gateway: GatewayProcess, count: int) -> None:
        """
        Wait until the only session's kernel has so many WebSockets.
        """
        while True:
            (session,) = await self.listed(gateway)
            if session["kernel"]["connections"] == count:
                return
            await pause()

    async def test_life(self) -> None:
        """
        A session's kernel runs in its directory, under the id that the client wants; the session
        outlives a restart, and changes of kernel; its kernel does not outlive it.
        """
        directory = self.home / "work" / "sub"
        directory.mkdir()
        gateway = await self.gateway()
        session = await self.create(gateway, kernel={"id": KERNEL_ID, "name": "tiny"})
        self.assertEqual(session["kernel"]["id"], KERNEL_ID)
        client = await self.connect(gateway.port, KERNEL_ID)
        self.assertEqual(stdout(await client.execute('{"do": "cwd"}')), str(directory))
        await self.connections(gateway, 1)
        path = f"/api/kernels/{KERNEL_ID}"
        self.assertEqual((await http(gateway.port, "POST", f"{path}/restart")).code, 200)
        await self._drop(client)
        await self.connections(gateway, 0)
        client = await self.connect(gateway.port, KERNEL_ID)
        self.assertEqual(stdout(await client.execute("again")), "again")
        await self.connections(gateway, 1)
        path = f"/api/sessions/{session['id']}"
        response = await http(gateway.port, "PATCH", path, {"kernel": {"name": "tiny"}})
        self.assertEqual(response.code, 200, response.body)
        changed = response.json
        self.assertEqual(await client.when_closed(), (1000, "Kernel shut down"))
        self.assertEqual(
            [each["id"] for each in await self.listed(gateway, "kernels")],
            [changed["kernel"]["id"]],
        )
        self.assertEqual((await http(gateway.port, "DELETE", path)).code, 204)
        self.assertEqual(await self.listed(gateway, "kernels"), [])
        self.assertEqual((await http(gateway.port, "GET", path)).code, 404)
        self.assertNotIn("Traceback", gateway.output)

    async def test_at_once(self) -> None:
        """
        Clients that want the same path at the same time share one session and one kernel.
        """
        gateway = await self.gateway()
        asked = [ensureDeferred(self.create(gateway)) for _ in range(10)]
        sessions = [session for _, session in await DeferredList(asked, fireOnOneErrback=True)]
        self.assertEqual(len({session["id"] for session in sessions}), 1)
        self.assertEqual(len(await self.listed(gateway, "kernels")), 1)

    async def test_clients_that_hang_up(self) -> None:
        """
        A client that goes while its kernel starts leaves a session with its kernel.
        """
        gateway = await self.gateway()
        body = json.dumps(NOTEBOOK).encode()
        request = b"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        for _ in range(3):
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", gateway.port)
            client: Any = await connectProtocol(endpoint, Protocol())
            client.transport.write(request % (len(body), body))
            client.transport.loseConnection()
        while not await self.listed(gateway):
            await pause()
        session = await self.create(gateway)
        self.assertEqual([each["id"] for each in await self.listed(gateway)], [session["id"]])
        self.assertEqual(
            [each["id"] for each in await self.listed(gateway, "kernels")],
            [session["kernel"]["id"]],
        )
        self.assertNotIn("Traceback", gateway.output)
        self.assertNotIn("[error]", gateway.output)

    async def test_kernel_that_dies(self) -> None:
        """
        A session goes with its kernel; its path is free.
        """
        gateway = await self.gateway("--restart-limit=0")
        session = await self.create(gateway)
        client = await self.connect(gateway.port, session["kernel"]["id"])
        await client.execute("ready")
        client.request("execute_request", {"code": '{"do": "die"}'})
        await client.when_closed()
        self.assertEqual(await self.listed(gateway), [])
        again = await self.create(gateway)
        self.assertNotEqual(again["id"], session["id"])
        status = (await http(gateway.port, "GET", "/api/status")).json
        self.assertEqual((status["kernels"], status["connections"]), (1, 0))

    async def test_kernels_that_do_not_start(self) -> None:
        """
        Neither a session nor a kernel is left, and the client is told what is missing.
        """
        self.add_spec("missing", ["/no/such/program", "{connection_file}"])
        gateway = await self.gateway()
        for name, code, expected in (
            ("missing", 500, "/no/such/program"),
            ("cobol", 501, "The 'cobol' kernel is not available"),
        ):
            body = NOTEBOOK | {"kernel": {"name": name}}
            response = await http(gateway.port, "POST", "/api/sessions", body)
            self.assertEqual(response.code, code)
            self.assertIn(expected, response.json["message"])
        session = await self.create(gateway)
        path = f"/api/sessions/{session['id']}"
        for name in ("missing", "cobol"):
            response = await http(gateway.port, "PATCH", path, {"kernel": {"name": name}})
            self.assertEqual(response.code, 501)
            self.assertEqual(response.json["short_message"], f"Error starting kernel {name}")
        self.assertEqual([each["id"] for each in await self.listed(gateway)], [session["id"]])
        self.assertEqual(len(await self.listed(gateway, "kernels")), 1)
        self.assertNotIn("Traceback", gateway.output)
