"""
What a kernel prints, on its way to the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.observability.scrubbing import escaped
from kgd.observability.throttle import Throttle

LONGEST_LINE = 4096  # bytes
LINES_A_SECOND = 500


def printable(raw: bytes) -> str:
    """
    :return: The text, with an escape in place of every character that is not harmless.
    """
    text = raw.decode("utf-8", "backslashreplace")
    return escaped(text)


def pieces(line: bytes) -> list[bytes]:
    """
    Cut a line into parts of at most :py:data:`LONGEST_LINE`, not within a character of UTF-8.
    """
    found = []
    while len(line) > LONGEST_LINE:
        end = LONGEST_LINE
        while end > LONGEST_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        found.append(line[:end])
        line = line[end:]
    return [*found, line]


class OutputLines:
    """
    Takes one kernel's output apart into lines, and no more lines than the log can stand.

    :param say: Called with each line.
    :param say_dropped: Called with a number of lines that were left out.
    """

    def __init__(
        self, clock: Any, say: Callable[[str], None], say_dropped: Callable[[int], None]
    ) -> None:
        self._say = say
        self._unfinished: dict[int, bytes] = {}
        self._throttle = Throttle(clock.seconds, LINES_A_SECOND, 1.0, say_dropped, clock.callLater)

    def received(self, stream: int, data: bytes) -> None:
        """
        Take some output.

        :param stream: The descriptor that the kernel wrote to.
        """
        data = self._unfinished.pop(stream, b"") + data
        finished, newline, rest = data.rpartition(b"\n")
        if newline and self._throttle.is_open:
            for line in finished.split(b"\n"):
                self._line(line.removesuffix(b"\r"))
        elif newline:
            # Without looking at each of what may be very many.
            self._throttle.leave_out(finished.count(b"\n") + 1)
        *parts, rest = pieces(rest)
        for part in parts:
            self._line(part)
        self._unfinished[stream] = rest

    def _line(self, line: bytes) -> None:
        for piece in pieces(line):
            if self._throttle.passes():
                self._say(printable(piece))

    def finish(self) -> None:
        """
        There will be no more output.
        """
        for rest in self._unfinished.values():
            if rest:
                self._line(rest)
        self._unfinished.clear()
        self._throttle.flush()
