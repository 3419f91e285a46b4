"""
What a log looks like.
"""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.observability.log_format import MAX_TEXT, MAX_TRACEBACK, LogWriter
from kgd.observability.logs import make_logger
from kgd.observability.request_context import CURRENT_REQUEST, RequestContext
from kgd.observability.scrubbing import Scrubber
from kgd.observability.throttle import MOST_A_SECOND, MOST_KINDS, LogThrottle


def event(text: str, **more: Any) -> dict[str, Any]:
    """
    An event as Twisted makes it.
    """
    return {
        "log_time": 1_700_000_000.5,
        "log_level": LogLevel.warn,
        "log_namespace": "kgd.x",
        "log_format": text,
        **more,
    }


class LogTestCase(SynchronousTestCase):
    """
    Tests that look at what is written.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.file = io.StringIO()

    def writer(self, format_name: str) -> LogWriter:
        """
        :return: What writes to our file.
        """
        scrub = Scrubber(["top-secret"])
        clock = self.clock
        return LogWriter(self.file, format_name, scrub, clock.seconds, clock.callLater)


class TextTests(LogTestCase):
    """
    Lines for people.
    """

    def test_line(self) -> None:
        """
        A line has the time, the source, the level, the message and the request's id.
        """
        self.writer("text")(event("{who} said {what!r}", who="I", what="x", request_id="r1"))
        self.assertRegex(
            self.file.getvalue(),
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[kgd\.x#warn\] I said 'x' "
            r"\[request r1\]\n$",
        )
        # Clients choose it themselves.
        self.writer("text")(event("x", request_id="token=x"))
        self.assertTrue(self.file.getvalue().endswith("[request token=***]\n"))

    def test_one_line(self) -> None:
        """
        Nobody can add a line to the log, or move the cursor; secrets are hidden.
        """
        self.writer("text")(event("{x}", x="a\n2026 [kgd] b\x1b[2J top-secret"))
        (line,) = self.file.getvalue().splitlines()
        self.assertTrue(line.endswith("a\\n2026 [kgd] b\\x1b[2J ***"), line)

    def test_traceback(self) -> None:
        """
        A traceback follows, indented and without secrets.
        """
        try:
            raise ValueError("top-secret\nforged")
        except ValueError:
            failure = Failure()
        self.writer("text")(event("it failed", log_failure=failure))
        first, *rest = self.file.getvalue().splitlines()
        self.assertTrue(first.endswith("it failed"), first)
        self.assertTrue(all(line.startswith("\t") for line in rest), rest)
        self.assertIn("ValueError: ***", rest[-2])
        self.assertEqual(rest[-1], "\tforged")

    def test_long(self) -> None:
        """
        Nobody can make lines of any length, nor keep us busy looking for secrets in them.
        """
        failure = Failure(ValueError("//a@" * 3_000_000))
        for format_name in ("text", "json"):
            self.writer(format_name)(
                event("a {x}", x="//a@" * 3_000_000, y=["b"] * 1_000_000, log_failure=failure)
            )
        self.assertLess(len(self.file.getvalue()), 4 * (MAX_TEXT + MAX_TRACEBACK))

    def test_deep(self) -> None:
        """
        Of a traceback that is too long, the end is shown, too.
        """

        def fault(depth: int) -> None:
            if not depth:
                raise ValueError("the reason")
            fault(depth - 1)

        try:
            fault(900)
        except ValueError:
            failure = Failure()
        self.assertGreater(len(failure.getTraceback()), MAX_TRACEBACK)
        self.writer("text")(event("a", log_failure=failure))
        text = self.file.getvalue()
        self.assertLess(len(text), 2 * MAX_TRACEBACK)
        self.assertTrue(text.endswith("...\n\tbuiltins.ValueError: the reason\n"), text[-200:])

    def test_nothing(self) -> None:
        """
        An event without anything in it is a line nevertheless.
        """
        self.writer("text")({})
        self.assertEqual(len(self.file.getvalue().splitlines()), 1)


class JSONTests(LogTestCase):
    """
    Lines for programs.
    """

    def read(self, **more: Any) -> dict[str, Any]:
        """
        :return: The line for an event with these fields.
        """
        self.writer("json")(event("kernel {kernel_id} ended", **more))
        text = self.file.getvalue()
        self.assertEqual(text.count("\n"), 1)
        found: dict[str, Any] = json.loads(text)
        return found

    def test_fields(self) -> None:
        """
        An object has what every event has, and the event's own fields; the former win.
        """
        line = self.read(kernel_id="k", count=3, ok=True, nothing=None, odd=float("nan"),
                         thing={1}, time="mine", request_id="r1", log_unlimited=True)  # fmt: skip
        self.assertEqual(
            line,
            {
                "time": "2023-11-14T22:13:20.500000+00:00",
                "level": "warn",
                "namespace": "kgd.x",
                "message": "kernel k ended",
                "kernel_id": "k",
                "count": 3,
                "ok": True,
                "nothing": None,
                "odd": "nan",
                "thing": "{1}",
                "request_id": "r1",
            },
        )

    def test_secrets(self) -> None:
        """
        Neither message nor fields nor traceback show a secret, and control characters are escaped.
        """
        try:
            raise ValueError("top-secret")
        except ValueError:
            failure = Failure()
        line = self.read(kernel_id="a\ntop-secret", log_failure=failure, thing=["top-secret"])
        self.assertEqual(line["message"], "kernel a\n*** ended")
        self.assertEqual(line["thing"], "['***']")
        self.assertIn("ValueError: ***", line["traceback"])
        self.assertNotIn("top-secret", self.file.getvalue())


class FloodTests(SynchronousTestCase):
    """
    More than anybody could read.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.passed: list[dict[str, Any]] = []
        self.gate = LogThrottle(self.passed.append, self.clock.seconds, self.clock.callLater)

    def test_left_out(self) -> None:
        """
        Of one kind only so many pass; the others are counted, and the count is told even if no
        other event comes. Other kinds are not affected.
        """
        for number in range(MOST_A_SECOND + 7):
            self.gate(event("bad {number}", number=number))
        self.gate(event("another"))
        self.assertEqual(len(self.passed), MOST_A_SECOND + 1)
        self.clock.advance(1)
        told = self.passed[-1]
        self.assertEqual((told["left_out"], told["log_level"]), (7, LogLevel.warn))
        self.assertEqual(told["example"], f"bad {MOST_A_SECOND}")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_next_second(self) -> None:
        """
        In the next second there is room again, and what was left out is told once.
        """
        for _ in range(2):
            for _ in range(MOST_A_SECOND + 1):
                self.gate(event("bad"))
            self.clock.advance(1)
        left_out = [each["left_out"] for each in self.passed if "left_out" in each]
        self.assertEqual(left_out, [1, 1])
        self.assertEqual(len(self.passed), 2 * MOST_A_SECOND + 2)

    def test_unlimited(self) -> None:
        """
        What is limited elsewhere passes.
        """
        for _ in range(2 * MOST_A_SECOND):
            self.gate(event("fine", log_unlimited=True))
        self.assertEqual(len(self.passed), 2 * MOST_A_SECOND)

    def test_many_kinds(self) -> None:
        """
        However many kinds there are, memory is not filled with them.
        """
        for number in range(3 * MOST_KINDS):
            self.gate(event(f"kind {number}"))
        self.assertEqual(len(self.passed), 3 * MOST_KINDS)
        self.assertLessEqual(len(self.gate._kinds), MOST_KINDS)


class RequestTests(SynchronousTestCase):
    """
    Which request an event belongs to.
    """

    def test_request_id(self) -> None:
        """
        What is logged on a request's behalf has its id; nothing else has one.
        """
        log: Logger = make_logger()
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)  # type: ignore[arg-type]
        token = CURRENT_REQUEST.set(RequestContext("r1", "peer"))
        log.warn("with")
        CURRENT_REQUEST.reset(token)
        log.warn("without")
        self.assertEqual(
            [(each["log_format"], each.get("request_id")) for each in seen],
            [("with", "r1"), ("without", None)],
        )
