"""
Agents that speak the Model Context Protocol with a gateway in memory, as each revision has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from kgd.mcp.revisions import STATELESS, WITH_SESSIONS
from kgd.testing.kernels import MemoryKernel
from kgd.testing.web import Response, read_response
from tests.support.api import APITestCase
from tests.support.scripted import Script

BOTH = "application/json, text/event-stream"
_PREFIX = "io.modelcontextprotocol/"


def stateless_meta(version: str = STATELESS, **more: Any) -> dict[str, Any]:
    """
    :return: The ``_meta`` of a request of the revision without sessions.
    """
    return {f"{_PREFIX}protocolVersion": version, f"{_PREFIX}clientCapabilities": {}, **more}


def stateless_headers(message: Mapping[str, Any], version: str = STATELESS) -> dict[str, str]:
    """
    :return: The headers that belong to a request of the revision without sessions.
    """
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": message["method"]}
    name = message.get("params", {}).get("name")
    return headers if name is None else {**headers, "Mcp-Name": name}


@attrs.frozen
class Exchange:
    """
    A request that may not have been answered completely yet.
    """

    protocol: Any
    transport: Any

    @property
    def raw(self) -> bytes:
        """
        What has come so far.
        """
        value: bytes = self.transport.value()
        return value

    @property
    def response(self) -> Response:
        """
        The response, which must be complete.
        """
        return read_response(self.raw)

    @property
    def events(self) -> list[Any]:
        """
        The messages of a stream so far.
        """
        lines = self.raw.decode("utf-8").split("\n")
        return [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data: ")]

    @property
    def message(self) -> Any:
        """
        The last message, of a complete response.
        """
        response = self.response
        return (
            self.events[-1]
            if "event-stream" in response.headers["content-type"]
            else (response.json)
        )

    def hang_up(self) -> None:
        """
        Leave before the end.
        """
        self.protocol.connectionLost(Failure(ConnectionLost()))


class AgentTestCase(APITestCase):
    """
    Tests with an agent, and kernels whose part the test plays.
    """

    def serve(self, **settings: Any) -> None:
        super().serve(**{"mcp": True, **settings})
        self.addCleanup(self.personality.stop)

    def send(
        self,
        body: Any,
        method: str = "POST",
        headers: Mapping[str, str | None] | None = None,
        **more: str | None,
    ) -> Exchange:
        """
        Begin a request; ``body`` is bytes, or what to send as JSON. ``None`` leaves a header out.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given: dict[str, str | None] = {
            "Host": "gateway:8888",
            "Accept": BOTH,
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
        }
        given.update(headers or {})
        given.update({name.replace("_", "-"): value for name, value in more.items()})
        lines = [f"{method} /mcp HTTP/1.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in given.items() if value is not None]
        protocol = self.client.connect()
        exchange = Exchange(protocol, self.client.transport)
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + raw)
        return exchange

    def stateless(self, method: str, request_id: int = 1, **params: Any) -> Exchange:
        """
        Send a request of the revision without sessions.
        """
        params["_meta"] = stateless_meta(**params.get("_meta", {}))
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return self.send(message, headers=stateless_headers(message))

    def initialize(self, version: str = WITH_SESSIONS[0]) -> str:
        """
        :return: The id of a new session.
        """
        params = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "an agent", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        response = self.send(body).response
        self.assertEqual(response.code, 200, response.body)
        session_id = response.headers["mcp-session-id"]
        body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        response = self.send(body, Mcp_Session_Id=session_id).response
        self.assertEqual((response.code, response.body), (202, b""))
        return session_id

    def in_session(
        self, session_id: str, method: str, request_id: int | str | None = 1, **params: Any
    ) -> Exchange:
        """
        Send a request, or a notification if the id is ``None``.
        """
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if request_id is not None:
            body["id"] = request_id
        headers = {"Mcp-Session-Id": session_id, "MCP-Protocol-Version": WITH_SESSIONS[0]}
        return self.send(body, headers=headers)

    def call(self, name: str, session_id: str = "", /, **arguments: Any) -> Any:
        """
        :return: The result of a tool that does not wait for a kernel.
        """
        exchange = (
            self.in_session(session_id, "tools/call", name=name, arguments=arguments)
            if session_id
            else self.stateless("tools/call", name=name, arguments=arguments)
        )
        return exchange.message["result"]

    def kernel_ids(self) -> list[str]:
        """
        :return: The ids of all kernels.
        """
        return [kernel.kernel_id for kernel in self.kernels.list()]

    def script(self, kernel_id: str | None = None) -> Script:
        """
        :return: What plays the part of a kernel; by default, of the only one.
        """
        if kernel_id is None:
            (kernel_id,) = self.kernel_ids()
        kernel = self.kernels.get(kernel_id)
        assert isinstance(kernel, MemoryKernel)
        return Script(kernel)

    def assertRefused(self, exchange: Exchange, status: int, code: int, text: str = "") -> Any:
        """
        The response is an error of JSON-RPC.

        :return: The error.
        """
        response = exchange.response
        self.assertEqual(response.code, status, response.body)
        self.assertEqual(response.headers["content-type"], "application/json")
        body = response.json
        self.assertEqual(body["jsonrpc"], "2.0")
        self.assertEqual(body["error"]["code"], code, body)
        self.assertIn(text, body["error"]["message"])
        return body["error"]
