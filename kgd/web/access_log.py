"""
A request and its answer, as the access log, the metrics and the audit log see them.
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

# What a client may call its request.
_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,64}")
# Where an exchange is kept with its request.
_KEY = "kgd_exchange"
# The client went before it was answered; other servers have this for it, too.
CLIENT_CLOSED = 499
_UNKNOWN = "unknown"
# Characters of the method, and of the URI, in the access log.
_LONGEST = 2048
_log = make_logger()


class RequestLogs:
    """
    Begins exchanges, and tells what came of them.

    :param tally: Where to count them.
    :param monotonic: Seconds.
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
        :return: The exchange of a request, which is begun if it has not been.
        """
        exchange: RequestLog | None = getattr(request, _KEY, None)
        if exchange is None:
            exchange = RequestLog(self, request)
            setattr(request, _KEY, exchange)
        return exchange

    def ended(self, exchange: RequestLog, request: Any, code: int) -> None:
        """
        An exchange is over.
        """
        duration = self.monotonic() - exchange.began
        method = request.method.decode("latin-1")
        self._counters.request_answered(method, exchange.route, code, duration)
        level = "info" if code < 500 else "warn"
        if self._wanted is False or (code < 400 and not self._wanted):
            level = "debug"
        if self._wanted is not False and is_logged(level):
            getattr(_log, level)(
                "{code} {method} {uri} ({client}) {milliseconds:.1f} ms",
                code=code,
                method=scrubbed_uri(shortened(method, _LONGEST)),
                uri=scrubbed_uri(shortened(request.uri.decode("latin-1"), _LONGEST)),
                client=exchange.requester.peer,
                milliseconds=duration * 1000,
                request_id=exchange.requester.request_id,
                # Whoever wants all of them gets all; of failures there may be a flood.
                log_unlimited=bool(self._wanted) and code < 400,
            )


class RequestLog:
    """
    One request, until it has been answered.

    :ivar requester: Who asks.
    :ivar route: The pattern of what is asked for.
    """

    __slots__ = ("_exchanges", "_request", "began", "requester", "route")

    def __init__(self, exchanges: RequestLogs, request: Any) -> None:
        self._exchanges = exchanges
        # Until the end only: each has the other.
        self._request = request
        self.began = exchanges.monotonic()
        self.route = _UNKNOWN
        self.requester = RequestContext(
            _request_id(request.getHeader(b"x-request-id")),
            str(getattr(request.getClientAddress(), "host", "-")),
        )

    def watch(self) -> None:
        """
        See to it that the end is noticed.
        """
        request = self._request
        request.notifyFinish().addCallbacks(
            lambda _: self.end(request.code), lambda _: self.end(CLIENT_CLOSED)
        )

    def end(self, code: int) -> None:
        """
        It is over; of several calls the first counts.

        :param code: The status with which it was answered.
        """
        request, self._request = self._request, None
        if request is not None:
            self._exchanges.ended(self, request, code)


def request_log_of(request: Any) -> RequestLog:
    """
    :return: The exchange that has been begun for a request.
    """
    return getattr(request, _KEY)  # type: ignore[no-any-return]


def set_route(request: Any, route: str) -> None:
    """
    :param route: What the metrics shall call it: a pattern, of which there are not many.
    """
    exchange: RequestLog | None = getattr(request, _KEY, None)
    if exchange is not None:
        exchange.route = route


def _request_id(given: bytes | None) -> str:
    if given is not None and _ID.fullmatch(given):
        return given.decode("ascii")
    return os.urandom(8).hex()
