"""
JSON-RPC 2.0 as the Model Context Protocol uses it: messages, responses and errors.

Formats: https://www.jsonrpc.org/specification and
https://modelcontextprotocol.io/specification/2026-07-28/basic
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from kgd.errors import JSON_ERRORS

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
UNSUPPORTED_PROTOCOL_VERSION = -32022

RequestId = int | str


class RpcError(Exception):
    """
    A message that cannot be answered with a result.

    :ivar code: One of the codes above.
    :ivar data: More about it, for programs.
    :ivar status: The status of the HTTP response.
    """

    def __init__(self, code: int, message: str, *, status: int = 400, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data
        self.status = status


@attrs.frozen
class Message:
    """
    A message from a client.

    :ivar method: Empty for a response, of which clients need send none.
    :ivar request_id: ``None`` for a notification, and for a response.
    """

    method: str
    request_id: RequestId | None
    params: Mapping[str, Any]

    @property
    def meta(self) -> Mapping[str, Any]:
        """
        The ``_meta`` of its parameters; empty if there is none.
        """
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


def parse_message(raw: bytes) -> Message:
    """
    :param raw: A single message; batches are not part of the protocol.
    :raises RpcError: for anything else.
    """
    try:
        value = msgspec.json.decode(raw)
    except JSON_ERRORS:
        raise RpcError(PARSE_ERROR, "Parse error: the body is not JSON") from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RpcError(
            INVALID_REQUEST, 'The body must be one JSON-RPC object with "jsonrpc": "2.0"'
        )
    if "method" not in value and ("result" in value or "error" in value):
        return Message("", None, {})
    method, params = value.get("method"), value.get("params", {})
    if not isinstance(method, str) or not method:
        raise RpcError(INVALID_REQUEST, "method must be a text")
    if not isinstance(params, dict):
        raise RpcError(INVALID_REQUEST, "params must be an object")
    if "id" not in value:
        return Message(method, None, params)
    request_id = value["id"]
    if isinstance(request_id, bool) or not isinstance(request_id, int | str):
        raise RpcError(INVALID_REQUEST, "id must be a text or a whole number")
    return Message(method, request_id, params)


def encode_result(request_id: RequestId, result: Any) -> bytes:
    """
    :param result: What msgspec can encode as an object.
    :return: The response to a request.
    """
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def encode_error(request_id: RequestId | None, error: RpcError) -> bytes:
    """
    :param request_id: ``None`` if it is not known.
    :return: The response to a request that has failed.
    """
    described: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.data is not None:
        described["data"] = error.data
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": described})


def encode_notification(method: str, params: Mapping[str, Any]) -> bytes:
    """
    :return: A message that is not answered.
    """
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})
