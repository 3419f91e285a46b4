"""
``/mcp``: the Model Context Protocol over HTTP, which its specification calls Streamable HTTP.

Formats: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
and, for clients with sessions,
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from kgd import __version__, errors
from kgd.execution.queues import ExecutionQueues
from kgd.interfaces import Access, IGateway
from kgd.mcp.calls import Call
from kgd.mcp.content import ToolResult
from kgd.mcp.file_tools import FileTools
from kgd.mcp.json_rpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Message,
    RequestId,
    RpcError,
    encode_error,
    encode_result,
    parse_message,
)
from kgd.mcp.kernel_tools import KernelTools
from kgd.mcp.progress import ProgressReporter
from kgd.mcp.reply import EVENT_STREAM, JSON, Reply
from kgd.mcp.revisions import (
    HEADERS,
    SERVER_INFO_KEY,
    SESSION_HEADER,
    STATELESS,
    SUPPORTED,
    VERSION_HEADER,
    WITH_SESSIONS,
    check_envelope,
    is_stateless,
    negotiate_version,
)
from kgd.mcp.sessions import Session, Sessions
from kgd.mcp.toolbox import Caller, Tool, Toolbox
from kgd.notebook.media_types import media_type, negotiate
from kgd.web.bodies import MAX_JSON_BODY
from kgd.web.errors import STATUS_OF
from kgd.web.responses import empty_answer, encoded_answer
from kgd.web.routes import Route

#: Where agents are served, below the base URL.
MCP_PATH = "/mcp"
_SERVER_INFO = {"name": "kgd", "title": "Kernel gateway", "version": __version__}
_CAPABILITIES: dict[str, Any] = {"tools": {}}
_INSTRUCTIONS = (
    "Run code with run_code. It runs in a Jupyter kernel that keeps variables between calls; pass "
    "the kernel_id of the first result to later calls."
)
# Milliseconds for which a client need not ask for the tools again.
_LISTS_KEPT = 3_600_000
_CANCELLED = RpcError(INTERNAL_ERROR, "The request was cancelled", status=200)


class MCPEndpoint:
    """
    Serves agents.

    :param queues: Where their code runs, as everybody else's.
    """

    def __init__(self, gateway: IGateway, queues: ExecutionQueues) -> None:
        settings = gateway.settings
        self._reactor = gateway.reactor
        self._keep_alive_interval = settings.keep_alive_interval
        self._sessions = Sessions(
            gateway.reactor,
            gateway.kernels,
            limit=settings.mcp_max_sessions,
            timeout=settings.mcp_session_timeout,
            keeps_kernels=settings.mcp_keep_kernels,
        )
        kernel_tools = KernelTools(settings, gateway.kernels, queues, self._sessions)
        file_tools = FileTools(gateway, self._sessions)
        self._toolbox = Toolbox([*kernel_tools.tools(), *file_tools.tools()])
        self._tools: list[dict[str, Any]] = self._toolbox.describe()

    def routes(self) -> list[Route]:
        """
        :return: The route, for all methods.
        """
        handlers = {"POST": self.post, "GET": self.listen, "DELETE": self.end}
        return [
            Route(MCP_PATH, (method,), handler, Access.ORIGIN_CHECKED, scope="kernels:execute")
            for method, handler in handlers.items()
        ]

    def stop(self) -> None:
        """
        End all sessions; the gateway stops their kernels.
        """
        self._sessions.close()

    # --- handlers ---

    async def post(self, request: Any) -> bytes:
        """
        ``POST /mcp``: one message.
        """
        message: Message | None = None
        try:
            accepted = _accepted(request)
            message = parse_message(_read(request))
            return await self._receive(request, message, accepted)
        except (RpcError, errors.GatewayError) as error:
            return _refuse(request, error, message.request_id if message is not None else None)

    async def listen(self, request: Any) -> bytes:
        """
        ``GET /mcp``: a stream for what belongs to no request, of which there is nothing; it keeps
        the session alive.
        """
        if request.method == b"HEAD":
            # It would be answered when the session ends.
            raise errors.NoSuchMethod(("DELETE", "GET", "POST"))
        try:
            if EVENT_STREAM not in _accepted(request):
                raise errors.NotAcceptable(f"Accept must allow {EVENT_STREAM}")
            session = self._session(request)
        except (RpcError, errors.GatewayError) as error:
            return _refuse(request, error, None)
        reply = Reply(self._reactor, request, frozenset((EVENT_STREAM,)), self._keep_alive_interval)
        reply.begin_stream()
        # So that the client has the headers before there is anything else.
        request.write(b": open\n\n")
        try:
            with self._sessions.using(session):
                await session.when_ended()
        finally:
            reply.close()
        return b""

    def end(self, request: Any) -> bytes:
        """
        ``DELETE /mcp``: the client has finished.
        """
        try:
            self._sessions.end(self._session(request))
        except RpcError as error:
            return _refuse(request, error, None)
        return empty_answer(request)

    # --- messages ---

    async def _receive(self, request: Any, message: Message, accepted: frozenset[str]) -> bytes:
        headers = _headers(request)
        if is_stateless(message, headers):
            check_envelope(message, headers)
            session, revision = None, STATELESS
            if not message.method:
                raise RpcError(INVALID_REQUEST, "This revision has no responses of clients")
        elif message.method == "initialize" and message.request_id is not None:
            return self._initialize(request, message)
        else:
            session = self._session(request)
            revision = session.revision
        request_id = message.request_id
        if request_id is None:
            if session is not None and message.method == "notifications/cancelled":
                _cancel(session, message.params.get("requestId"))
            return empty_answer(request, 202)
        if message.method == "tools/call":
            tool = self._toolbox.find(message.params.get("name"))
            return await self._call_tool(request, message, session, tool, accepted)
        with self._sessions.using(session):
            result = self._answer(message, revision)
        reply = Reply(self._reactor, request, accepted, 0)
        return reply.finish(encode_result(request_id, _completed(result, revision)))

    def _initialize(self, request: Any, message: Message) -> bytes:
        assert message.request_id is not None
        revision = negotiate_version(message.params.get("protocolVersion"))
        session = self._sessions.open(revision)
        request.setHeader(b"Mcp-Session-Id", session.session_id.encode("ascii"))
        result = {
            "protocolVersion": revision,
            "capabilities": _CAPABILITIES,
            "serverInfo": _SERVER_INFO,
            "instructions": _INSTRUCTIONS,
        }
        reply = Reply(self._reactor, request, _accepted(request), 0)
        return reply.finish(encode_result(message.request_id, result))

    def _answer(self, message: Message, revision: str) -> dict[str, Any]:
        """
        :return: The result of a request that takes no time.
        """
        if message.method == "tools/list":
            if message.params.get("cursor") is not None:
                raise RpcError(
                    INVALID_PARAMS, "cursor is invalid: all tools are in one page", status=200
                )
            caching = {"ttlMs": _LISTS_KEPT, "cacheScope": "private"}
            return {"tools": self._tools, **(caching if revision == STATELESS else {})}
        if message.method == "ping" and revision != STATELESS:
            return {}
        if message.method == "server/discover" and revision == STATELESS:
            return {
                "supportedVersions": list(SUPPORTED),
                "capabilities": _CAPABILITIES,
                "serverInfo": _SERVER_INFO,
                "instructions": _INSTRUCTIONS,
                "ttlMs": _LISTS_KEPT,
                "cacheScope": "private",
            }
        raise RpcError(
            METHOD_NOT_FOUND,
            f"Method not found: {message.method[:100]}",
            status=404 if revision == STATELESS else 200,
        )

    def _session(self, request: Any) -> Session:
        """
        :return: The session that a request names.
        :raises RpcError:
        """
        headers = _headers(request)
        versions = headers[VERSION_HEADER]
        if any(version not in WITH_SESSIONS for version in versions):
            raise RpcError(
                INVALID_REQUEST,
                f"MCP-Protocol-Version must be one of {', '.join(WITH_SESSIONS)} in a session",
            )
        names = headers[SESSION_HEADER]
        if len(names) != 1:
            raise RpcError(
                INVALID_REQUEST,
                "Mcp-Session-Id must be sent once, with what the response to initialize has in it",
            )
        session = self._sessions.get(names[0])
        if session is None:
            raise RpcError(
                INVALID_REQUEST,
                "The session does not exist, or has ended; begin another with initialize",
                status=404,
            )
        return session

    async def _call_tool(
        self,
        request: Any,
        message: Message,
        session: Session | None,
        tool: Tool,
        accepted: frozenset[str],
    ) -> bytes:
        request_id = message.request_id
        assert request_id is not None
        if session is not None and request_id in session.cancellations:
            raise RpcError(INVALID_REQUEST, "id is that of a request that is still answered")
        reply = Reply(self._reactor, request, accepted, self._keep_alive_interval)
        try:
            reporter = self._reporter(message, reply)
            call = self._begin(Caller(session, reporter), message, tool)
            try:
                await call.wait()
            except CancelledError:
                # The client has left. In a session, that does not mean that it gives up.
                if session is None:
                    call.work.cancel()
                raise
            if reporter is not None:
                reporter.close()
            return self._finish(reply, request_id, call.outcome, session)
        finally:
            reply.close()

    def _reporter(self, message: Message, reply: Reply) -> ProgressReporter | None:
        token = message.meta.get("progressToken")
        if isinstance(token, bool) or not isinstance(token, int | str) or not reply.can_notify:
            return None
        return ProgressReporter(self._reactor, reply, token)

    def _begin(self, caller: Caller, message: Message, tool: Tool) -> Call:
        arguments = message.params.get("arguments", {})
        session, request_id = caller.session, message.request_id
        assert request_id is not None

        async def work() -> ToolResult:
            with self._sessions.using(session):
                return await self._toolbox.call(caller, tool, arguments)

        call = Call(Deferred.fromCoroutine(work()))
        if session is not None:
            session.cancellations[request_id] = call.work.cancel

        def done() -> None:
            if session is not None:
                session.cancellations.pop(request_id, None)

        call.begin(done)
        return call

    def _finish(
        self,
        reply: Reply,
        request_id: RequestId,
        outcome: ToolResult | RpcError | None,
        session: Session | None,
    ) -> bytes:
        if isinstance(outcome, ToolResult):
            revision = STATELESS if session is None else session.revision
            result = _completed(msgspec.to_builtins(outcome), revision)
            return reply.finish(encode_result(request_id, result))
        if outcome is None and reply.can_notify:
            # The client does not wait for a response to what it has cancelled.
            return reply.finish(b"")
        error = outcome or _CANCELLED
        return reply.finish(encode_error(request_id, error), error.status)


def _completed(result: dict[str, Any], revision: str) -> dict[str, Any]:
    """
    :return: A result with what the revision wants in all of them.
    """
    if revision != STATELESS:
        return result
    return {"resultType": "complete", **result, "_meta": {SERVER_INFO_KEY: _SERVER_INFO}}


def _cancel(session: Session, request_id: Any) -> None:
    """
    Cancel a request; one that is unknown has been answered already.
    """
    is_id = isinstance(request_id, int | str)
    cancel = session.cancellations.get(request_id) if is_id else None
    if cancel is not None:
        cancel()


def _headers(request: Any) -> dict[str, list[str]]:
    """
    :return: The values of the protocol's headers, by name.
    """
    found = {}
    for name in HEADERS:
        values = request.requestHeaders.getRawHeaders(name.encode("ascii"), ())
        found[name] = [value.decode("latin-1") for value in values]
    return found


def _accepted(request: Any) -> frozenset[str]:
    """
    :return: Which of the two media types of responses the client takes.
    :raises kgd.errors.NotAcceptable: for none.
    """
    values = request.requestHeaders.getRawHeaders(b"accept", ())
    accept = ",".join(value.decode("latin-1") for value in values) or None
    accepted = frozenset(kind for kind in (JSON, EVENT_STREAM) if negotiate((kind,), accept))
    if not accepted:
        raise errors.NotAcceptable(f"Accept must allow {JSON} and {EVENT_STREAM}")
    return accepted


def _read(request: Any) -> bytes:
    """
    :return: The body.
    :raises RpcError: unless it is JSON that is not too large.
    """
    if media_type((request.getHeader(b"content-type") or b"").decode("latin-1")) != JSON:
        raise RpcError(INVALID_REQUEST, f"Content-Type must be {JSON}", status=415)
    if request.content.seek(0, os.SEEK_END) > MAX_JSON_BODY:
        raise RpcError(
            INVALID_REQUEST, f"A message may have at most {MAX_JSON_BODY} bytes", status=413
        )
    request.content.seek(0)
    raw: bytes = request.content.read()
    return raw


def _refuse(
    request: Any, error: RpcError | errors.GatewayError, request_id: RequestId | None
) -> bytes:
    """
    Answer with an error of JSON-RPC, which clients show.
    """
    if not isinstance(error, RpcError):
        status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
        if isinstance(error, errors.Unavailable):
            request.setHeader(b"Retry-After", b"%d" % error.retry_after)
        error = RpcError(INVALID_REQUEST, str(error), status=status)
    body = encode_error(request_id, error)
    return encoded_answer(request, body, JSON.encode("ascii"), error.status)
