"""
What a kernel prints, on its way to the log.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.kernels.local.output import (
    MAX_LINE,
    MAX_LINES_PER_SECOND,
    OutputLines,
    printable,
    split_line,
)


class PrintableTests(SynchronousTestCase):
    """
    Harmless text.
    """

    def test_escapes(self) -> None:
        """
        Control characters, odd bytes and marks that turn text around are escaped; words are not.
        """
        for raw, text in (
            (b"plain\ttext", "plain\ttext"),
            ("gr\u00fcn \U0001f600".encode(), "gr\u00fcn \U0001f600"),
            (b"\x1b[0m\r\x00", "\\x1b[0m\\r\\x00"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u2028\u202e\x85".encode(), "\\u2028\\u202e\\x85"),
        ):
            self.assertEqual(printable(raw), text)

    @given(st.binary())
    def test_one_line(self, raw: bytes) -> None:
        """
        Control characters are escaped, so that a line stays one line.
        """
        self.assertLessEqual(len(printable(raw).splitlines()), 1)


class PiecesTests(SynchronousTestCase):
    """
    Long lines.
    """

    @given(st.text(max_size=200), st.integers(1, 60))
    def test_nothing_is_lost(self, text: str, times: int) -> None:
        """
        The pieces are short, whole characters, and together the line.
        """
        line = (text * times).encode()
        found = split_line(line)
        self.assertEqual(b"".join(found), line)
        self.assertTrue(all(len(piece) <= MAX_LINE for piece in found))
        for piece in found:
            piece.decode()

    def test_whole_characters(self) -> None:
        """
        No piece ends within a character, wherever that is; what is no UTF-8 is cut anyway.
        """
        for offset in range(4):
            for piece in split_line(b"x" * offset + "\U0001f600".encode() * 3000):
                piece.decode()
        self.assertEqual(len(split_line(b"\x80" * 10_000)), 3)


class OutputLinesTests(SynchronousTestCase):
    """
    Lines, and not too many of them.
    """

    def setUp(self) -> None:
        """
        A kernel's output.
        """
        self.clock = Clock()
        self.said: list[str] = []
        self.dropped: list[int] = []
        self.lines = OutputLines(self.clock, self.said.append, self.dropped.append)

    def test_lines(self) -> None:
        """
        Lines are put together from what comes, for each stream of its own.
        """
        self.lines.received(1, b"on")
        self.lines.received(2, b"err\r\nor")
        self.lines.received(1, b"e\n\ntwo")
        self.assertEqual(self.said, ["err", "one", ""])
        self.lines.finish()
        self.assertEqual(sorted(self.said[3:]), ["or", "two"])

    def test_endless_line(self) -> None:
        """
        A line without an end is said in pieces, and not kept.
        """
        for _ in range(10):
            self.lines.received(1, b"x" * 1000)
        self.assertEqual([len(line) for line in self.said], [MAX_LINE, MAX_LINE])

    def test_flood(self) -> None:
        """
        Of too many lines in one second the rest is counted, and said a second later although
        nothing more comes.
        """
        self.lines.received(1, b"x\n" * (MAX_LINES_PER_SECOND + 7))
        self.lines.received(1, b"x\n" * 3)
        self.assertEqual(len(self.said), MAX_LINES_PER_SECOND)
        self.assertEqual(self.dropped, [])
        self.clock.advance(1)
        self.assertEqual(self.dropped, [10])
        self.lines.received(1, b"again\n")
        self.assertEqual(self.said[-1], "again")

    def test_budget_is_per_second(self) -> None:
        """
        A kernel that prints a lot in the course of time loses nothing.
        """
        for _ in range(5):
            self.lines.received(1, b"x\n" * MAX_LINES_PER_SECOND)
            self.clock.advance(1)
        self.lines.finish()
        self.assertEqual(len(self.said), 5 * MAX_LINES_PER_SECOND)
        self.assertEqual(self.dropped, [])

    def test_half_a_line_in_a_flood(self) -> None:
        """
        The beginning of a line that was not finished in time is not lost.
        """
        self.lines.received(1, b"x\n" * (MAX_LINES_PER_SECOND + 1) + b"be")
        self.clock.advance(1)
        self.lines.received(1, b"gin\n")
        self.assertEqual(self.said[-1], "begin")

    def test_finish(self) -> None:
        """
        In the end everything is said, and no timer is left.
        """
        self.lines.received(1, b"x\n" * (MAX_LINES_PER_SECOND + 1))
        self.lines.finish()
        self.assertEqual(self.dropped, [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.sampled_from([1, 2]), st.text("ab\n").map(str.encode))))
    def test_nothing_is_lost(self, chunks: list[tuple[int, bytes]]) -> None:
        """
        However the output is cut up, the same lines come out.
        """
        said: list[str] = []
        lines = OutputLines(Clock(), said.append, self.dropped.append)
        for stream, data in chunks:
            lines.received(stream, data)
        lines.finish()
        expected: list[str] = []
        for stream in (1, 2):
            whole = b"".join(data for each, data in chunks if each == stream).decode()
            expected += whole.removesuffix("\n").split("\n") if whole else []
        self.assertEqual(sorted(said), sorted(expected))
