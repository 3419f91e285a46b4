"""
The HTTP request on whose behalf the running code works, as logs and the audit log show it.

It is kept in a context variable, so that every message that is logged on its behalf has its id;
coroutines keep their context while they wait.
"""

from __future__ import annotations

from contextvars import ContextVar

import attrs


@attrs.define
class RequestContext:
    """
    A request as logs show it.

    :ivar request_id: The request's id, in logs and in the response's ``X-Request-Id``.
    :ivar peer: The address of the client.
    :ivar token: A fingerprint of its token; empty unless the audit log is on.
    """

    request_id: str
    peer: str
    token: str = ""


#: ``None`` while the gateway works on its own behalf.
CURRENT_REQUEST: ContextVar[RequestContext | None] = ContextVar("kgd_requester", default=None)
