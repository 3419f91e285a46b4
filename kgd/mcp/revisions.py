"""
The revisions of the Model Context Protocol that are served, and how requests name theirs.

Up to 2025-11-25, a client opens a session with ``initialize``. From 2026-07-28 on there are none:
each request says in its ``_meta`` what it needs, and headers repeat that for intermediaries.

Format: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from kgd.mcp.json_rpc import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_PROTOCOL_VERSION,
    Message,
    RpcError,
)

#: The revision without sessions.
STATELESS = "2026-07-28"
#: Those with sessions, the newest first.
WITH_SESSIONS = ("2025-11-25", "2025-06-18")
SUPPORTED = (STATELESS, *WITH_SESSIONS)

VERSION_HEADER = "mcp-protocol-version"
_METHOD_HEADER = "mcp-method"
_NAME_HEADER = "mcp-name"
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"
SESSION_HEADER = "mcp-session-id"
#: All headers of the protocol.
HEADERS = (VERSION_HEADER, SESSION_HEADER, _METHOD_HEADER, _NAME_HEADER)
_ENCODED = ("=?base64?", "?=")

#: The values of each header, by its name in lower case.
Headers = Mapping[str, Sequence[str]]


def is_stateless(message: Message, headers: Headers) -> bool:
    """
    Whether a message is one of :py:data:`STATELESS`, or of a revision that is not known.
    """
    versions = headers.get(VERSION_HEADER, ())
    if versions:
        return any(version not in WITH_SESSIONS for version in versions)
    return _VERSION_KEY in message.meta


def negotiate_version(wanted: Any) -> str:
    """
    :param wanted: The version in ``initialize``.
    :return: The same, or the newest with sessions.
    :raises RpcError: when it is not a text.
    """
    if not isinstance(wanted, str):
        raise RpcError(
            INVALID_PARAMS, f"protocolVersion must be a text like {WITH_SESSIONS[0]}", status=200
        )
    return wanted if wanted in WITH_SESSIONS else WITH_SESSIONS[0]


def check_envelope(message: Message, headers: Headers) -> None:
    """
    Check a message of the revision without sessions, all but its method and parameters.

    :raises RpcError:
    """
    header = _single(headers, VERSION_HEADER)
    if message.request_id is None:
        _check_version(header)
        return
    version = message.meta.get(_VERSION_KEY)
    if header != STATELESS and version in (None, header):
        _check_version(header)
    if not isinstance(version, str):
        raise RpcError(INVALID_PARAMS, f"params._meta must have {_VERSION_KEY}, a text")
    if not isinstance(message.meta.get(_CAPABILITIES_KEY), dict):
        raise RpcError(INVALID_PARAMS, f"params._meta must have {_CAPABILITIES_KEY}, an object")
    _compare("MCP-Protocol-Version", header, version)
    _check_version(version)
    _compare("Mcp-Method", _single(headers, _METHOD_HEADER), message.method)
    name = message.params.get("name")
    if message.method == "tools/call" and isinstance(name, str):
        _compare("Mcp-Name", _decode(_single(headers, _NAME_HEADER)), name)


def _single(headers: Headers, name: str) -> str:
    """
    :raises RpcError: unless a header is there once.
    """
    values = headers.get(name, ())
    if len(values) != 1:
        raise RpcError(HEADER_MISMATCH, f"Header mismatch: {name} must be sent once")
    return values[0]


def _decode(value: str) -> str | None:
    start, end = _ENCODED
    if not (value.startswith(start) and value.endswith(end)):
        return value
    try:
        return base64.b64decode(value[len(start) : -len(end)], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None


def _compare(name: str, header: str | None, expected: str) -> None:
    if header != expected:
        raise RpcError(
            HEADER_MISMATCH,
            f"Header mismatch: {name} is not what the body says, which is {expected[:100]!r}",
        )


def _check_version(version: str) -> None:
    if version != STATELESS:
        raise RpcError(
            UNSUPPORTED_PROTOCOL_VERSION,
            "Unsupported protocol version",
            data={"supported": list(SUPPORTED), "requested": version[:100]},
        )
