"""
What only the client for Twisted has to see to.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

from kgd.client import DeferredClient, Event, GatewayUnreachable, RetryPolicy
from kgd.client.streams import ExecutionStream


@implementer(IResponse)
class _Response:
    version = (b"HTTP", 1, 1)
    code = 200
    phrase = b"OK"
    length = UNKNOWN_LENGTH
    request = None
    previousResponse = None

    def __init__(self) -> None:
        self.headers = Headers()
        self.protocol: Any = None
        self.is_closed = False

    def deliverBody(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def loseConnection(self) -> None:
        self.is_closed = True
        self.protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: Any) -> None:
        pass


@implementer(IAgent)
class _Agent:
    def __init__(self) -> None:
        self.answers: list[Deferred[Any]] = []

    def request(
        self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None
    ) -> Deferred[Any]:
        self.answers.append(Deferred())
        return self.answers[-1]


class WaitingTests(SynchronousTestCase):
    """
    Answers that do not come.
    """

    def setUp(self) -> None:
        self.agent = _Agent()
        self.clock = Clock()
        self.client = DeferredClient(
            "http://h",
            timeout=30.0,
            retries=RetryPolicy(attempts=2, first_pause=1.0),
            agent=self.agent,
            reactor=self.clock,
        )
        self.events: list[Event] = []

    def stream(self) -> tuple[Deferred[Any], _Response]:
        """
        :return: A stream whose first response has come.
        """
        reading = self.client.events(ExecutionStream("1", "x", {}), self.events.append)
        response = _Response()
        self.agent.answers[0].callback(response)
        return reading, response

    def test_no_answer(self) -> None:
        """
        A request is given up after its time.
        """
        asking = self.client.kernels()
        self.clock.advance(29.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.failureResultOf(asking, GatewayUnreachable)

    def test_silence(self) -> None:
        """
        A stream that falls silent is taken up again.
        """
        reading, response = self.stream()
        self.clock.advance(29.0)
        response.protocol.dataReceived(b'{"event":"accepted","id":1,"execution_id":"e"}\n')
        self.clock.advance(29.0)
        self.assertFalse(response.is_closed)
        self.clock.advance(2.0)
        self.assertTrue(response.is_closed)
        self.clock.advance(1.0)
        self.assertEqual(len(self.agent.answers), 2)
        self.assertNoResult(reading)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)

    def test_cancel(self) -> None:
        """
        To cancel closes the connection, and leaves nothing.
        """
        reading, response = self.stream()
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.assertTrue(response.is_closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error_of_the_caller(self) -> None:
        """
        An error of the function that gets the events ends the stream with it.
        """
        reading = self.client.events(ExecutionStream("1", "x", {}), lambda event: 1 // 0)
        response = _Response()
        self.agent.answers[0].callback(response)
        response.protocol.dataReceived(b'{"event":"accepted","id":1,"execution_id":"e"}\n')
        self.failureResultOf(reading, ZeroDivisionError)
        self.assertTrue(response.is_closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
