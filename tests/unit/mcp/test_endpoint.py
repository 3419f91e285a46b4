"""
``/mcp``, in memory: both kinds of revisions, what is wrong with requests, streams and sessions.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.internet.defer import Deferred

from kgd.errors import KernelStartFailed
from kgd.interfaces import IKernel, StartRequest
from kgd.mcp.json_rpc import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from kgd.mcp.revisions import STATELESS, SUPPORTED, WITH_SESSIONS
from kgd.web.bodies import MAX_JSON_BODY
from tests.support.agents import (
    AgentTestCase,
    Exchange,
    stateless_headers,
    stateless_meta,
)
from tests.support.api import UNKNOWN

TOOLS = [
    *("run_code", "start_kernel", "list_kernels", "interrupt", "restart", "stop_kernel"),
    *("read_file", "write_file", "list_files"),
]
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class AccessTests(AgentTestCase):
    """
    Who may speak with it.
    """

    def test_off(self) -> None:
        """
        It is not there unless it is asked for.
        """
        self.serve(mcp=False)
        for method in ("GET", "POST", "DELETE"):
            self.assertError(self.send(PING, method).response, 404)

    def test_token(self) -> None:
        """
        The token is needed, in the form that agents send it.
        """
        self.serve(auth_token="s3cret")
        self.assertError(self.send(PING).response, 401)
        self.assertError(self.send(PING, Authorization="Bearer wrong").response, 401)
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "server/discover",
            "params": {"_meta": stateless_meta()},
        }
        headers = stateless_headers(message)
        for scheme in ("Bearer", "token"):
            response = self.send(
                message, Authorization=f"{scheme} s3cret", headers=headers
            ).response
            self.assertEqual(response.code, 200)

    def test_origin(self) -> None:
        """
        A web page of another origin gets the status that the protocol asks for.
        """
        for method in ("GET", "POST", "DELETE"):
            response = self.send(PING, method, Origin="http://evil.example").response
            self.assertError(response, 403)
        session = self.initialize()
        headers = {"Mcp-Session-Id": session, "Origin": "http://gateway:8888"}
        self.assertEqual(self.send(PING, headers=headers).response.code, 200)

    def test_not_described(self) -> None:
        """
        It is not a part of the REST API, and describes itself.
        """
        self.assertNotIn("/mcp", self.request("GET", "/api/swagger.json").json["paths"])

    def test_methods(self) -> None:
        """
        Other methods are refused. HEAD would be answered when the session ends.
        """
        session = self.initialize()
        for method in ("PUT", "PATCH", "HEAD"):
            response = self.send(b"", method, Mcp_Session_Id=session).response
            self.assertEqual(response.code, 405)
            self.assertIn("POST", response.headers["allow"])


class MessageTests(AgentTestCase):
    """
    Messages that are wrong, whatever the revision.
    """

    def test_not_messages(self) -> None:
        """
        What is not one message of JSON-RPC is refused, and the error says why.
        """
        for body, code in (
            (b"", PARSE_ERROR),
            (b"{", PARSE_ERROR),
            (b"\xff", PARSE_ERROR),
            (b"[" * 100_000, PARSE_ERROR),
            (b"1e999", PARSE_ERROR),
            ([PING], INVALID_REQUEST),
            ([], INVALID_REQUEST),
            ("ping", INVALID_REQUEST),
            (None, INVALID_REQUEST),
            ({}, INVALID_REQUEST),
            ({**PING, "jsonrpc": "1.0"}, INVALID_REQUEST),
            ({**PING, "jsonrpc": 2.0}, INVALID_REQUEST),
            ({**PING, "method": 1}, INVALID_REQUEST),
            ({**PING, "method": ""}, INVALID_REQUEST),
            ({"jsonrpc": "2.0", "id": 1}, INVALID_REQUEST),
            ({**PING, "params": []}, INVALID_REQUEST),
            ({**PING, "params": None}, INVALID_REQUEST),
            ({**PING, "id": None}, INVALID_REQUEST),
            ({**PING, "id": True}, INVALID_REQUEST),
            ({**PING, "id": 1.5}, INVALID_REQUEST),
            ({**PING, "id": {}}, INVALID_REQUEST),
        ):
            exchange = self.send(body)
            self.assertRefused(exchange, 400, code)
            self.assertIsNone(exchange.response.json["id"], body)

    def test_media_types(self) -> None:
        """
        A message is JSON, and so is the answer, or it is a stream.
        """
        for kind in ("text/plain", "application/x-www-form-urlencoded", "", None):
            self.assertRefused(self.send(PING, Content_Type=kind), 415, INVALID_REQUEST)
        self.assertRefused(self.send(PING, Accept="text/html"), 406, INVALID_REQUEST, "Accept")
        session = self.initialize()
        for accept, kind in (
            (None, "application/json"),
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("application/json, text/event-stream", "application/json"),
            ("text/event-stream", "text/event-stream"),
        ):
            exchange = self.send(PING, Accept=accept, Mcp_Session_Id=session)
            self.assertEqual(exchange.response.headers["content-type"], kind, accept)
            self.assertEqual(exchange.message, {"jsonrpc": "2.0", "id": 1, "result": {}})
        response = self.send(
            PING, Content_Type="Application/JSON; charset=utf-8", Mcp_Session_Id=session
        ).response
        self.assertEqual(response.code, 200)

    def test_too_large(self) -> None:
        """
        The size of a message is limited.
        """
        large = {**PING, "method": "x" * MAX_JSON_BODY}
        error = self.assertRefused(self.send(large), 413, INVALID_REQUEST)
        self.assertIn(str(MAX_JSON_BODY), error["message"])


class StatelessTests(AgentTestCase):
    """
    The revision without sessions.
    """

    def test_discover(self) -> None:
        """
        A client learns which revisions there are, and who answers.
        """
        response = self.stateless("server/discover").response
        result = response.json["result"]
        self.assertEqual(result["resultType"], "complete")
        self.assertEqual(result["supportedVersions"], list(SUPPORTED))
        self.assertEqual(result["capabilities"], {"tools": {}})
        self.assertEqual(result["serverInfo"]["name"], "kgd")
        self.assertEqual(
            result["_meta"]["io.modelcontextprotocol/serverInfo"], result["serverInfo"]
        )
        self.assertNotIn("mcp-session-id", response.headers)

    def test_list(self) -> None:
        """
        The tools, with what a client needs to keep them.
        """
        result = self.stateless("tools/list").message["result"]
        self.assertEqual([tool["name"] for tool in result["tools"]], TOOLS)
        self.assertGreater(result["ttlMs"], 0)
        self.assertEqual(result["cacheScope"], "private")
        exchange = self.stateless("tools/list", cursor="2")
        self.assertRefused(exchange, 200, INVALID_PARAMS, "cursor")

    def test_unknown_methods(self) -> None:
        """
        Also those that only the other revisions have.
        """
        for method in ("nothing", "ping", "initialize", "resources/list", "tools/List"):
            exchange = self.stateless(method)
            self.assertRefused(exchange, 404, METHOD_NOT_FOUND, method)
            self.assertEqual(exchange.response.json["id"], 1)

    def assertEnvelope(
        self, code: int, text: str, headers: dict[str, str | None], meta: Any, name: str = "a"
    ) -> Any:
        """
        A request of this revision is refused.
        """
        params = {"name": name, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
        exchange = self.send(message, headers={**stateless_headers(message), **headers})
        self.assertEqual(exchange.response.json["id"], 7)
        return self.assertRefused(exchange, 400, code, text)

    def test_envelope(self) -> None:
        """
        Headers and body must say the same, and all of it.
        """
        meta, prefix = stateless_meta(), "io.modelcontextprotocol/"
        for code, text, headers, given in (
            (HEADER_MISMATCH, "protocol-version", {"MCP-Protocol-Version": None}, meta),
            (HEADER_MISMATCH, "method", {"Mcp-Method": None}, meta),
            (HEADER_MISMATCH, "Mcp-Method", {"Mcp-Method": "tools/list"}, meta),
            (HEADER_MISMATCH, "Mcp-Method", {"Mcp-Method": "TOOLS/CALL"}, meta),
            (HEADER_MISMATCH, "name", {"Mcp-Name": None}, meta),
            (HEADER_MISMATCH, "Mcp-Name", {"Mcp-Name": "b"}, meta),
            (HEADER_MISMATCH, "Mcp-Name", {"Mcp-Name": "=?base64?Yg==?="}, meta),
            (HEADER_MISMATCH, "Mcp-Name", {"Mcp-Name": "=?base64?***?="}, meta),
            (HEADER_MISMATCH, "Mcp-Name", {"Mcp-Name": "=?base64?/w==?="}, meta),
            (HEADER_MISMATCH, "Version", {}, stateless_meta("2099-01-01")),
            (HEADER_MISMATCH, "Version", {"MCP-Protocol-Version": "x"}, meta),
            (INVALID_PARAMS, "protocolVersion", {}, {}),
            (INVALID_PARAMS, "protocolVersion", {}, []),
            (INVALID_PARAMS, "protocolVersion", {}, {**meta, f"{prefix}protocolVersion": 1}),
            (INVALID_PARAMS, "Capabilities", {}, {f"{prefix}protocolVersion": STATELESS}),
            (INVALID_PARAMS, "Capabilities", {}, {**meta, f"{prefix}clientCapabilities": []}),
        ):
            self.assertEnvelope(code, text, dict(headers), given)

    def test_encoded_name(self) -> None:
        """
        A name may be sent in base64.
        """
        encoded = base64.b64encode(b"list_kernels").decode()
        params = {"name": "list_kernels", "_meta": stateless_meta()}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {**stateless_headers(message), "Mcp-Name": f"=?base64?{encoded}?="}
        self.assertEqual(self.send(message, headers=headers).response.code, 200)

    def test_versions(self) -> None:
        """
        An unknown version is refused with those that there are, whatever else is wrong.
        """
        for version in ("1900-01-01", "2099-01-01", "x" * 1000):
            for meta in (stateless_meta(version), {}):
                headers: dict[str, str | None] = {"MCP-Protocol-Version": version}
                code = UNSUPPORTED_PROTOCOL_VERSION
                error = self.assertEnvelope(code, "Unsupported", headers, meta)
                self.assertEqual(error["data"]["supported"], list(SUPPORTED))
                self.assertEqual(error["data"]["requested"], version[:100])
            notification = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
            exchange = self.send(notification, MCP_Protocol_Version=version)
            self.assertRefused(exchange, 400, UNSUPPORTED_PROTOCOL_VERSION)

    def test_notifications(self) -> None:
        """
        They are taken, and do nothing; this revision has no responses of clients.
        """
        body: Any = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
        response = self.send(body, MCP_Protocol_Version=STATELESS).response
        self.assertEqual((response.code, response.body), (202, b""))
        body = {"jsonrpc": "2.0", "id": 1, "result": {}}
        exchange = self.send(body, MCP_Protocol_Version=STATELESS)
        self.assertRefused(exchange, 400, INVALID_REQUEST)

    def test_run(self) -> None:
        """
        Code runs in a new kernel, which the result names for later calls.
        """
        arguments = {"code": "print(1)"}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        script = self.script()
        self.assertEqual(script.codes, ["print(1)"])
        self.assertEqual(exchange.raw, b"")
        request = script.take()
        script.say(request, "stream", name="stdout", text="1\n")
        script.end(request, execution_count=1)
        self.assertEqual(exchange.response.headers["content-type"], "application/json")
        result = exchange.message["result"]
        self.assertEqual(result["resultType"], "complete")
        self.assertIs(result["isError"], False)
        structured = result["structuredContent"]
        (kernel_id,) = self.kernel_ids()
        self.assertEqual(structured["kernel_id"], kernel_id)
        self.assertIs(structured["new_kernel"], True)
        self.assertEqual(structured["stdout"], "1\n")
        self.assertIn(kernel_id, result["content"][0]["text"])
        arguments = {"code": "2", "kernel_id": kernel_id}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        script.end(script.take())
        structured = exchange.message["result"]["structuredContent"]
        self.assertEqual(structured["kernel_id"], kernel_id)
        self.assertIs(structured["new_kernel"], False)
        self.assertEqual(self.kernel_ids(), [kernel_id])

    def test_hang_up(self) -> None:
        """
        A client that leaves cancels its request, which interrupts the code; a kernel whose id it
        has not got is stopped.
        """
        kernel_id = self.start()
        arguments = {"code": "while True: pass"}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        self.assertEqual(len(self.kernel_ids()), 2)
        exchange.hang_up()
        self.assertEqual(self.kernel_ids(), [kernel_id])
        arguments["kernel_id"] = kernel_id
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        exchange.hang_up()
        self.assertEqual(self.kernels.interrupted, [kernel_id])
        self.assertEqual(self.kernel_ids(), [kernel_id])

    def test_hang_up_before_start(self) -> None:
        """
        A kernel whose client has left before is stopped.
        """
        started: Deferred[IKernel] = Deferred()
        start = self.kernels.start
        self.patch(self.kernels, "start", lambda request: started)
        exchange = self.stateless("tools/call", name="run_code", arguments={"code": "1"})
        exchange.hang_up()
        start(StartRequest()).chainDeferred(started)
        self.assertEqual(self.kernel_ids(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SessionTests(AgentTestCase):
    """
    Revisions with sessions.
    """

    def test_initialize(self) -> None:
        """
        A version that is served is taken; for another one, the newest is offered.
        """
        for wanted, version in (
            *((each, each) for each in WITH_SESSIONS),
            ("2024-11-05", WITH_SESSIONS[0]),
            ("2099-01-01", WITH_SESSIONS[0]),
            (STATELESS, WITH_SESSIONS[0]),
        ):
            params = {"protocolVersion": wanted}
            body = {"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": params}
            message = self.send(body).message
            self.assertEqual(message["id"], "i")
            self.assertEqual(message["result"]["protocolVersion"], version)
            self.assertEqual(message["result"]["capabilities"], {"tools": {}})
            self.assertIn("run_code", message["result"]["instructions"])
        wrong: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
        self.assertRefused(self.send(wrong), 200, INVALID_PARAMS, "protocolVersion")

    def test_wrong_sessions(self) -> None:
        """
        A request without the header, and one with a session that is unknown or has ended.
        """
        session = self.initialize()
        response = self.send(b"", "DELETE", Mcp_Session_Id=session).response
        self.assertEqual((response.code, response.body), (204, b""))
        for method in ("GET", "POST", "DELETE"):
            self.assertRefused(self.send(PING, method), 400, INVALID_REQUEST, "Mcp-Session-Id")
            for name in (session, "unknown", ""):
                exchange = self.send(PING, method, Mcp_Session_Id=name)
                self.assertRefused(exchange, 404, INVALID_REQUEST, "initialize")
        session = self.initialize()
        exchange = self.send(PING, Mcp_Session_Id=session, MCP_Protocol_Version="2024-11-05")
        self.assertRefused(exchange, 400, UNSUPPORTED_PROTOCOL_VERSION)
        exchange = self.send(
            b"", "DELETE", Mcp_Session_Id=session, MCP_Protocol_Version="2024-11-05"
        )
        self.assertRefused(exchange, 400, INVALID_REQUEST, "MCP-Protocol-Version")

    def test_methods(self) -> None:
        """
        What is not served is an error, and what needs no answer gets none.
        """
        session = self.initialize()
        for method in ("nothing", "server/discover", "resources/list", "logging/setLevel"):
            exchange = self.in_session(session, method)
            self.assertRefused(exchange, 200, METHOD_NOT_FOUND, method)
        tools = self.in_session(session, "tools/list").message["result"]
        self.assertEqual(list(tools), ["tools"])
        bodies: tuple[dict[str, Any], ...] = (
            {"jsonrpc": "2.0", "method": "notifications/anything"},
            {"jsonrpc": "2.0", "id": 9, "result": {}},
            {"jsonrpc": "2.0", "id": 9, "error": {"code": 1, "message": ""}},
        )
        for body in bodies:
            self.assertEqual(self.send(body, Mcp_Session_Id=session).response.code, 202)

    def run_code(self, session: str, code: str, request_id: int | str = 1) -> Exchange:
        """
        Begin to run code.
        """
        return self.in_session(
            session, "tools/call", request_id, name="run_code", arguments={"code": code}
        )

    def test_own_kernel(self) -> None:
        """
        A session has a kernel of its own, which is started once and ends with the session.
        """
        session, other = self.initialize(), self.initialize()
        first, second = self.run_code(session, "a"), self.run_code(session, "b", 2)
        (kernel_id,) = self.kernel_ids()
        script = self.script()
        for code, exchange in (("a", first), ("b", second)):
            self.assertEqual(script.codes, [code])
            script.end(script.take())
            result = exchange.message["result"]
            self.assertEqual(result["structuredContent"]["kernel_id"], kernel_id)
            self.assertNotIn("resultType", result)
        self.run_code(other, "c")
        self.assertEqual(len(self.kernel_ids()), 2)
        self.send(b"", "DELETE", Mcp_Session_Id=session)
        self.assertEqual(len(self.kernel_ids()), 1)
        self.assertNotIn(kernel_id, self.kernel_ids())

    def test_parallel_start(self) -> None:
        """
        Requests that come while the kernel starts wait for the same one, or fail with it.
        """
        session = self.initialize()
        starts: list[Deferred[IKernel]] = []

        def start(request: StartRequest) -> Deferred[IKernel]:
            starts.append(Deferred())
            return starts[-1]

        real_start = self.kernels.start
        self.patch(self.kernels, "start", start)
        exchanges = [self.run_code(session, "x", number) for number in range(3)]
        self.assertEqual(len(starts), 1)
        starts[0].errback(KernelStartFailed("it is broken"))
        for exchange in exchanges:
            result = exchange.message["result"]
            self.assertIs(result["isError"], True)
            self.assertEqual(result["content"][0]["text"], "it is broken")
        exchange = self.run_code(session, "y")
        real_start(StartRequest()).chainDeferred(starts[1])
        script = self.script()
        script.end(script.take())
        self.assertIs(exchange.message["result"]["structuredContent"]["new_kernel"], True)

    def test_end_while_starting(self) -> None:
        """
        A kernel that comes when its session has ended is stopped.
        """
        session = self.initialize()
        started: Deferred[IKernel] = Deferred()
        real_start = self.kernels.start
        self.patch(self.kernels, "start", lambda request: started)
        exchange = self.run_code(session, "x")
        self.send(b"", "DELETE", Mcp_Session_Id=session)
        self.assertEqual(exchange.response.code, 200)
        self.assertEqual(exchange.events, [])
        real_start(StartRequest()).chainDeferred(started)
        self.assertEqual(self.kernel_ids(), [])

    def test_lost_kernel(self) -> None:
        """
        A session whose kernel is gone gets another, and is told.
        """
        session = self.initialize()
        exchange = self.run_code(session, "x")
        (kernel_id,) = self.kernel_ids()
        self.kernels.stop(kernel_id)
        result = exchange.message["result"]
        self.assertIs(result["isError"], True)
        self.assertEqual(result["structuredContent"]["status"], "died")
        exchange = self.run_code(session, "y")
        script = self.script()
        script.end(script.take())
        self.assertIs(exchange.message["result"]["structuredContent"]["new_kernel"], True)

    def test_keep_kernels(self) -> None:
        """
        With an option, kernels outlast their session.
        """
        self.serve(mcp_keep_kernels=True)
        session = self.initialize()
        self.run_code(session, "x")
        self.send(b"", "DELETE", Mcp_Session_Id=session)
        self.assertEqual(len(self.kernel_ids()), 1)
        self.assertEqual(self.kernels.interrupted, self.kernel_ids())

    def test_cancel(self) -> None:
        """
        A request that is cancelled is interrupted, and not answered.
        """
        for accept, body in (("text/event-stream", b""), ("application/json", b"cancelled")):
            session = self.initialize()
            message = {
                "jsonrpc": "2.0",
                "id": "r",
                "method": "tools/call",
                "params": {"name": "run_code", "arguments": {"code": "x"}},
            }
            exchange = self.send(message, Mcp_Session_Id=session, Accept=accept)
            kernel_id = self.kernel_ids()[-1]
            unknown: tuple[Any, ...] = ("other", 1, None, [], {})
            for wrong in unknown:
                self.in_session(session, "notifications/cancelled", None, requestId=wrong)
            self.assertNotIn(kernel_id, self.kernels.interrupted)
            self.in_session(session, "notifications/cancelled", None, requestId="r")
            self.assertIn(kernel_id, self.kernels.interrupted)
            response = exchange.response
            self.assertEqual(response.code, 200)
            self.assertIn(body, response.body)
            self.assertEqual(exchange.events, [])
            self.in_session(session, "notifications/cancelled", None, requestId="r")
            self.assertEqual(self.kernels.interrupted.count(kernel_id), 1)

    def test_other_sessions_cannot_cancel(self) -> None:
        """
        Ids of requests are those of one session.
        """
        session, other = self.initialize(), self.initialize()
        self.run_code(session, "x", "r")
        self.in_session(other, "notifications/cancelled", None, requestId="r")
        self.assertEqual(self.kernels.interrupted, [])

    def test_same_id(self) -> None:
        """
        Two requests of one session cannot have the same id at a time.
        """
        session = self.initialize()
        self.run_code(session, "x")
        self.assertRefused(self.run_code(session, "y"), 400, INVALID_REQUEST, "id")
        script = self.script()
        script.end(script.take())
        exchange = self.run_code(session, "z")
        script.end(script.take())
        self.assertEqual(exchange.response.code, 200)

    def test_hang_up(self) -> None:
        """
        A connection that breaks does not cancel the request.
        """
        session = self.initialize()
        exchange = self.run_code(session, "x")
        exchange.hang_up()
        self.assertEqual(self.kernels.interrupted, [])
        self.assertRefused(self.run_code(session, "x"), 400, INVALID_REQUEST)
        script = self.script()
        script.end(script.take())
        exchange = self.run_code(session, "y")
        script.end(script.take())
        self.assertIs(exchange.message["result"]["isError"], False)

    def test_expiry(self) -> None:
        """
        A session that is not used ends with its kernels; a request and a stream use it.
        """
        self.serve(mcp_session_timeout=100.0, keep_alive_interval=0.0)
        session = self.initialize()
        self.clock.advance(99)
        exchange = self.run_code(session, "x")
        self.clock.advance(500)
        script = self.script()
        script.end(script.take())
        self.assertEqual(exchange.response.code, 200)
        stream = self.send(b"", "GET", Mcp_Session_Id=session)
        self.assertIn(b"200 OK", stream.raw)
        self.clock.advance(500)
        stream.hang_up()
        self.clock.advance(99)
        self.assertEqual(len(self.kernel_ids()), 1)
        self.clock.advance(1)
        self.assertEqual(self.kernel_ids(), [])
        self.assertRefused(self.in_session(session, "ping"), 404, INVALID_REQUEST)

    def test_never_expires(self) -> None:
        """
        Zero is no limit.
        """
        self.serve(mcp_session_timeout=0.0)
        self.initialize()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limit(self) -> None:
        """
        There are only so many sessions, and kernels of clients without sessions count. Those that
        are gone make room.
        """
        self.serve(mcp_max_sessions=2)
        session = self.initialize()
        started = self.stateless("tools/call", name="start_kernel", arguments={})
        kernel_id = started.message["result"]["structuredContent"]["kernel_id"]
        params = {"protocolVersion": WITH_SESSIONS[0]}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        exchange = self.send(body)
        self.assertRefused(exchange, 503, INVALID_REQUEST, "--mcp-max-sessions")
        self.assertIn("retry-after", exchange.response.headers)
        failed = self.stateless("tools/call", name="start_kernel", arguments={})
        self.assertIs(failed.message["result"]["isError"], True)
        self.assertIn("--mcp-max-sessions", failed.message["result"]["content"][0]["text"])
        self.kernels.stop(kernel_id)
        self.assertEqual(self.send(body).response.code, 200)
        self.assertRefused(self.send(body), 503, INVALID_REQUEST)
        self.send(b"", "DELETE", Mcp_Session_Id=session)
        self.assertEqual(self.send(body).response.code, 200)


class StreamTests(AgentTestCase):
    """
    Responses that take a while.
    """

    def begin(self, code: str, **more: Any) -> Exchange:
        """
        Run code for a client that wants to know of progress.
        """
        arguments = {"code": code}
        return self.stateless(
            "tools/call", name="run_code", arguments=arguments, _meta={"progressToken": "t", **more}
        )

    def test_progress(self) -> None:
        """
        What code prints is sent as it comes, but not more often than ten times a second.
        """
        exchange = self.begin("x")
        script = self.script()
        request = script.take()
        script.begin(request)
        self.assertEqual(exchange.raw, b"")
        for text in ("a", "b", "c"):
            script.say(request, "stream", name="stdout", text=text)
        self.assertIn(b"text/event-stream", exchange.raw)
        self.clock.advance(0.1)
        script.say(request, "execute_result", data={"text/plain": "d"}, execution_count=1)
        script.say(request, "display_data", data={"image/png": "aaaa"})
        script.end(request)
        *progress, last = exchange.events
        self.assertEqual({each["method"] for each in progress}, {"notifications/progress"})
        self.assertEqual(
            [each["params"] for each in progress],
            [
                {"progressToken": "t", "progress": number, "message": text}
                for number, text in enumerate(("a", "bc", "d"), 1)
            ],
        )
        self.assertEqual(last["result"]["structuredContent"]["stdout"], "abc")
        self.assertEqual(last["result"]["structuredContent"]["images"], 1)
        read = exchange.response
        self.assertEqual(read.headers["x-accel-buffering"], "no")

    def test_no_progress(self) -> None:
        """
        A client that takes no streams, or has no right token, gets the result only.
        """
        for accept, token in (("application/json", "t"), (None, None), (None, [1]), (None, True)):
            meta = stateless_meta(progressToken=token)
            params = {"name": "run_code", "arguments": {"code": "x"}, "_meta": meta}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            headers = stateless_headers(message)
            accepting = {"Accept": accept} if accept else {}
            exchange = self.send(message, headers={**headers, **accepting})
            script = self.script(self.kernel_ids()[-1])
            request = script.take()
            script.say(request, "stream", name="stdout", text="a")
            script.end(request)
            self.assertEqual(exchange.response.headers["content-type"], "application/json")

    def test_slow_client(self) -> None:
        """
        For a client that does not read, only the latest output is kept, and the kernel goes on.
        """
        exchange = self.begin("x")
        script = self.script()
        request = script.take()
        script.say(request, "stream", name="stdout", text="a")
        producer = exchange.transport.producer
        producer.pauseProducing()
        for _ in range(100):
            script.say(request, "stream", name="stdout", text="b" * 1000)
            self.clock.advance(1)
        self.assertEqual(len(exchange.events), 1)
        self.assertEqual(self.kernels.suspended, set())
        producer.resumeProducing()
        text = exchange.events[1]["params"]["message"]
        self.assertTrue(text.startswith("[kgd: "))
        self.assertLess(len(text), 9000)
        script.end(request)
        result = exchange.message["result"]
        self.assertIn("[kgd: 1 bytes cut]", result["structuredContent"]["stdout"])

    def test_keep_alive(self) -> None:
        """
        A response that takes longer becomes a stream with signs of life.
        """
        exchange = self.stateless("tools/call", name="run_code", arguments={"code": "x"})
        self.clock.advance(4)
        self.assertEqual(exchange.raw, b"")
        self.clock.advance(1)
        self.assertIn(b": keep-alive\n\n", exchange.raw)
        self.clock.advance(5)
        self.assertEqual(exchange.raw.count(b": keep-alive\n\n"), 2)
        script = self.script()
        script.end(script.take())
        self.assertEqual(exchange.message["result"]["isError"], False)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1, "the expiry of the kernel is left")

    def test_get(self) -> None:
        """
        A stream that belongs to a session lasts as long as that.
        """
        session = self.initialize()
        exchange = self.send(b"", "GET", Mcp_Session_Id=session, Accept="text/event-stream")
        self.clock.advance(5)
        self.assertIn(b": keep-alive\n\n", exchange.raw)
        self.send(b"", "DELETE", Mcp_Session_Id=session)
        self.assertEqual(exchange.response.headers["content-type"], "text/event-stream")
        self.assertEqual(exchange.events, [])
        session = self.initialize()
        exchange = self.send(b"", "GET", Mcp_Session_Id=session, Accept="application/json")
        self.assertRefused(exchange, 406, INVALID_REQUEST, "text/event-stream")

    def test_gateway_ends(self) -> None:
        """
        Streams end with the gateway, and no timer is left.
        """
        session = self.initialize()
        exchange = self.send(b"", "GET", Mcp_Session_Id=session)
        self.successResultOf(self.personality.stop())
        self.assertEqual(exchange.response.code, 200)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_defect(self) -> None:
        """
        A defect is logged, and the client sees nothing of it.
        """

        def broken(request: StartRequest) -> Deferred[IKernel]:
            raise ZeroDivisionError("secret")

        self.patch(self.kernels, "start", broken)
        exchange = self.stateless("tools/call", name="start_kernel", arguments={})
        error = self.assertRefused(exchange, 200, INTERNAL_ERROR)
        self.assertNotIn("secret", json.dumps(error))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unknown_kernel(self) -> None:
        """
        A kernel that there is not is the model's to correct, a tool that there is not the client's.
        """
        for name in ("run_code", "interrupt", "restart", "stop_kernel"):
            arguments = {"kernel_id": UNKNOWN, **({"code": "x"} if name == "run_code" else {})}
            result = self.stateless("tools/call", name=name, arguments=arguments).message["result"]
            self.assertIs(result["isError"], True)
            self.assertIn(UNKNOWN, result["content"][0]["text"])
            self.assertNotIn("structuredContent", result)
        exchange = self.stateless("tools/call", name="nothing", arguments={})
        self.assertRefused(exchange, 200, INVALID_PARAMS, "Unknown tool: nothing")
