"""
Times each request, and reports it to the access log and the metrics; logs know it by its context.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

from kgd.observability.counters import Counters
from kgd.observability.logs import is_logged, make_logger
from kgd.observability.request_context import RequestContext
from kgd.observability.scrubbing import scrubbed_uri, shortened
from kgd.settings import Settings

# What a client may send as X-Request-Id.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,64}")
# The attribute of a request that holds its log.
_ATTRIBUTE = "kgd_request_log"
# The client disconnected before the response; nginx's status for this.
CLIENT_CLOSED = 499
_UNKNOWN = "unknown"
# In characters, of the method and of the URI.
_MAX_LOGGED = 2048
_log = make_logger()


class RequestLogs:
    """
    Begins the logs of requests, and reports their ends.

    :param counters: Where to count requests.
    :param monotonic: A clock, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        counters: Counters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = settings.access_log
        self._counters = counters or Counters()
        self.monotonic = monotonic

    def begin(self, request: Any) -> RequestLog:
        """
        :return: The log of a request, which is begun if necessary.
        """
        request_log: RequestLog | None = getattr(request, _ATTRIBUTE, None)
        if request_log is None:
            request_log = RequestLog(self, request)
            setattr(request, _ATTRIBUTE, request_log)
        return request_log

    def log_end(self, request_log: RequestLog, request: Any, code: int) -> None:
        """
        Report the end of a request.

        :param code: Its status.
        """
        duration = self.monotonic() - request_log.began
        method = request.method.decode("latin-1")
        self._counters.request_answered(method, request_log.route, code, duration)
        level = "info" if code < 500 else "warn"
        if self._wanted is False or (code < 400 and not self._wanted):
            level = "debug"
        if self._wanted is not False and is_logged(level):
            getattr(_log, level)(
                "{code} {method} {uri} ({client}) {milliseconds:.1f} ms",
                code=code,
                method=scrubbed_uri(shortened(method, _MAX_LOGGED)),
                uri=scrubbed_uri(shortened(request.uri.decode("latin-1"), _MAX_LOGGED)),
                client=request_log.requester.peer,
                milliseconds=duration * 1000,
                request_id=request_log.requester.request_id,
                # --access-log asks for all requests; refused ones may be a flood.
                log_unlimited=bool(self._wanted) and code < 400,
            )


class RequestLog:
    """
    The log of one request, until its end.

    :ivar requester: What logs show of the request.
    :ivar route: The pattern of its path.
    """

    __slots__ = ("_request", "_request_logs", "began", "requester", "route")

    def __init__(self, request_logs: RequestLogs, request: Any) -> None:
        self._request_logs = request_logs
        # Until the end only, because each refers to the other.
        self._request = request
        self.began = request_logs.monotonic()
        self.route = _UNKNOWN
        self.requester = RequestContext(
            _request_id(request.getHeader(b"x-request-id")),
            str(getattr(request.getClientAddress(), "host", "-")),
        )

    def end_with_request(self) -> None:
        """
        End with the request.
        """
        request = self._request
        request.notifyFinish().addCallbacks(
            lambda _: self.end(request.code), lambda _: self.end(CLIENT_CLOSED)
        )

    def end(self, code: int) -> None:
        """
        Report the request; only the first of several calls has an effect.

        :param code: Its status.
        """
        request, self._request = self._request, None
        if request is not None:
            self._request_logs.log_end(self, request, code)


def request_log_of(request: Any) -> RequestLog:
    """
    :return: The log that has been begun for a request.
    """
    return getattr(request, _ATTRIBUTE)  # type: ignore[no-any-return]


def set_route(request: Any, route: str) -> None:
    """
    Set the pattern of a request's path, which metrics show.

    :param route: One of a few values.
    """
    request_log: RequestLog | None = getattr(request, _ATTRIBUTE, None)
    if request_log is not None:
        request_log.route = route


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return os.urandom(8).hex()
