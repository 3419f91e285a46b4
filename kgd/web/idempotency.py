"""
``Idempotency-Key``: a request that is sent again gets the answer to the first one, and nothing is
done twice.

Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kgd.auth.identities import identity_of
from kgd.deferreds import Waiters
from kgd.errors import GatewayError, IdempotencyKeyReused, InvalidRequest, Unavailable
from kgd.settings import Settings
from kgd.web.errors import refuse
from kgd.web.routes import Repeats, Route

#: The name of the header.
HEADER = b"idempotency-key"
MAX_KEY_LENGTH = 255
_KEY = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class LateAnswer(Protocol):
    """
    An answer that is not complete yet, and that several requests may get.
    """

    @property
    def size(self) -> int:
        """
        About how many bytes of memory it takes.
        """

    def when_finished(self) -> Deferred[None]:
        """
        :return: Fires when nothing is added to it any more.
        """

    async def send(self, request: Any) -> bytes:
        """
        Give it to a request.
        """

    def leave(self) -> None:
        """
        Have it end early, if no request waits for it.
        """


async def answer_with(request: Any, answer: LateAnswer) -> bytes:
    """
    Answer a request, and others of the same ``Idempotency-Key``.

    :return: What a handler returns then.
    """
    if isinstance(request, RecordedRequest):
        request.answer = answer
        return b""
    return await answer.send(request)


class RecordedRequest:
    """
    Stands for all requests of the same key while their answer is made. It outlives each of them.

    :ivar code: The status of the answer.
    :ivar headers: The headers that the answer has been given, by name.
    :ivar answer: What is still to come of it, if anything.
    """

    def __init__(self, request: Any, body: bytes) -> None:
        self.method = request.method
        self.uri = request.uri
        self.path = request.path
        self.args = request.args
        self.requestHeaders = request.requestHeaders
        self.content = BytesIO(body)
        self.kgd_base_url = request.kgd_base_url
        self.kgd_identity = identity_of(request)
        self.code = 200
        self.message: bytes | None = None
        self.headers: dict[bytes, bytes] = {}
        self.answer: LateAnswer | None = None

    def getHeader(self, name: bytes) -> bytes | None:
        """
        As ``twisted.web``'s.
        """
        values = self.requestHeaders.getRawHeaders(name)
        return values[-1] if values else None

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """
        As ``twisted.web``'s.
        """
        self.code, self.message = code, message

    def setHeader(self, name: bytes, value: bytes) -> None:
        """
        As ``twisted.web``'s.
        """
        self.headers[name] = value

    def copy_to(self, request: Any) -> None:
        """
        Give a request the status and the headers.
        """
        request.setResponseCode(self.code, self.message)
        for name, value in self.headers.items():
            request.setHeader(name, value)


@attrs.define(eq=False)
class _Entry:
    """
    A key, and the answer that its requests get.

    :ivar name: Whose key it is, for what, and the key.
    :ivar digest: Of the body.
    :ivar make: Calls the route's handler.
    :ivar is_made: Whether ``body`` or ``error`` is known, or the answer is one that comes later.
    :ivar callers: How many requests wait for that.
    :ivar expires: When it may be forgotten.
    """

    name: tuple[str, bytes, bytes, bytes]
    digest: bytes
    recorded: RecordedRequest
    repeats: Repeats
    make: Callable[[], Any]
    made: Waiters[None] = attrs.field(factory=Waiters)
    is_made: bool = False
    callers: int = 0
    body: bytes = b""
    error: Exception | None = None
    making: Deferred[Any] | None = None
    expires: float = 0.0
    size: int = 0

    def end(self) -> None:
        """
        Forget the body, because the handler has ended.
        """
        self.is_made = True
        self.recorded.content = BytesIO()
        self.make = _nothing


def _nothing() -> None:
    return None


class IdempotencyKeys:
    """
    The keys that clients have sent, and the answers.

    An answer with an error is not kept, because nothing has come of its request then: the next one
    of the same key is a first one again.
    """

    def __init__(self, reactor: IReactorTime, settings: Settings) -> None:
        self._reactor = reactor
        self._max_keys = settings.idempotency_keys
        self._max_size = settings.idempotency_size
        self._lifetime = settings.idempotency_lifetime
        self._unfinished: dict[tuple[str, bytes, bytes, bytes], _Entry] = {}
        # In the order in which they finished, in which they expire, too.
        self._finished: OrderedDict[tuple[str, bytes, bytes, bytes], _Entry] = OrderedDict()
        self._size = 0

    def wrap(self, routes: Iterable[Route]) -> list[Route]:
        """
        :return: The routes. Those whose handlers may have lasting effects take keys.
        """
        return [
            route if route.repeats is None else attrs.evolve(route, handler=self._keyed(route))
            for route in routes
        ]

    def _keyed(self, route: Route) -> Any:
        handler, repeats = route.handler, route.repeats
        assert repeats is not None

        async def serve(request: Any, **variables: str) -> Any:
            if not request.requestHeaders.hasHeader(HEADER):
                return await handler(request, **variables)
            name = (identity_of(request).name, request.method, request.path, self._key(request))
            request.content.seek(0)
            body = request.content.read()
            digest = hashlib.sha256(body).digest()
            entry = self._find(name)
            if entry is None:
                self._make_room()
                recorded = RecordedRequest(request, body)
                make = partial(handler, recorded, **variables)
                entry = self._unfinished[name] = _Entry(name, digest, recorded, repeats, make)
            elif entry.digest != digest:
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was sent with another body; send another key"
                )
            else:
                request.setHeader(b"Idempotent-Replayed", b"true")
            return await self._answer(entry, request)

        return serve

    def _key(self, request: Any) -> bytes:
        values = request.requestHeaders.getRawHeaders(HEADER)
        key: bytes = values[0]
        if len(values) != 1 or len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
            raise InvalidRequest(
                f"Idempotency-Key must be one text of 1 to {MAX_KEY_LENGTH} printable ASCII "
                "characters, such as a UUID"
            )
        if not self._max_keys:
            raise InvalidRequest("This gateway takes no Idempotency-Key; send the request without")
        return key

    def _find(self, name: tuple[str, bytes, bytes, bytes]) -> _Entry | None:
        now = self._reactor.seconds()
        while self._finished and next(iter(self._finished.values())).expires <= now:
            self._forget_oldest()
        return self._unfinished.get(name) or self._finished.get(name)

    def _make_room(self) -> None:
        if len(self._unfinished) >= self._max_keys:
            raise Unavailable(
                f"{self._max_keys} requests with an Idempotency-Key are carried out already; try "
                "again later",
                1,
            )
        while len(self._unfinished) + len(self._finished) >= self._max_keys:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, oldest = self._finished.popitem(last=False)
        self._size -= oldest.size

    async def _answer(self, entry: _Entry, request: Any) -> bytes:
        entry.callers += 1
        try:
            if entry.making is None:
                entry.making = Deferred.fromCoroutine(entry.make())
                entry.making.addCallbacks(self._made, self._failed, (entry,), {}, (entry,))
            if not entry.is_made:
                await entry.made.wait()
        finally:
            entry.callers -= 1
            if not entry.callers and not entry.is_made and entry.repeats is Repeats.UNLESS_LEFT:
                # Nobody wants it. The next request of this key is a first one.
                self._drop(entry)
                assert entry.making is not None
                entry.making.cancel()
        if entry.error is not None:
            raise entry.error
        entry.recorded.copy_to(request)
        if entry.recorded.answer is not None:
            return await entry.recorded.answer.send(request)
        return entry.body

    def _made(self, body: bytes, entry: _Entry) -> None:
        answer = entry.recorded.answer
        entry.end()
        if answer is None:
            entry.body = body
            self._finish(entry, len(body))
        else:
            answer.when_finished().addCallback(lambda _: self._finish(entry, answer.size))
        entry.made.fire(None)
        if answer is not None and not entry.callers:
            # Perhaps all have left.
            answer.leave()

    def _failed(self, failure: Failure, entry: _Entry) -> None:
        error = failure.value
        assert isinstance(error, Exception)
        if isinstance(error, (GatewayError, CancelledError)):
            entry.error = error
            self._drop(entry)
        else:
            # It is not known how far it came, so it must not be done again.
            entry.body = refuse(entry.recorded, error)
            self._finish(entry, len(entry.body))
        entry.end()
        entry.made.fire(None)

    def _drop(self, entry: _Entry) -> None:
        if self._unfinished.get(entry.name) is entry:
            del self._unfinished[entry.name]

    def _finish(self, entry: _Entry, size: int) -> None:
        self._drop(entry)
        entry.size = size
        entry.expires = self._reactor.seconds() + self._lifetime
        self._finished[entry.name] = entry
        self._size += entry.size
        while self._size > self._max_size and len(self._finished) > 1:
            self._forget_oldest()
