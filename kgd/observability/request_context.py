"""
Who asked for what is being done at the moment.

It is kept in a context variable, so that what is logged on a request's behalf can say so however
deep down that is; coroutines take the context along when they wait.
"""

from __future__ import annotations

from contextvars import ContextVar

import attrs


@attrs.define
class RequestContext:
    """
    A request, as far as the logs are concerned.

    :ivar request_id: What the request is called in logs and in its answer.
    :ivar peer: The address of the client.
    :ivar token: A fingerprint of the token that it came with, if anybody wants to know.
    """

    request_id: str
    peer: str
    token: str = ""


#: Nobody when the gateway does something by itself.
CURRENT_REQUEST: ContextVar[RequestContext | None] = ContextVar("kgd_requester", default=None)
