"""
Turns what a kernel prints into lines for the log, of limited length and number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.observability.scrubbing import escaped
from kgd.observability.throttle import Throttle

MAX_LINE = 4096  # bytes
MAX_LINES_PER_SECOND = 500


def printable(raw: bytes) -> str:
    """
    :return: The text, with escapes in place of control characters and invalid bytes.
    """
    text = raw.decode("utf-8", "backslashreplace")
    return escaped(text)


def split_line(line: bytes) -> list[bytes]:
    """
    Split a line into parts of at most :py:data:`MAX_LINE`, not within a character of UTF-8.
    """
    found = []
    while len(line) > MAX_LINE:
        end = MAX_LINE
        while end > MAX_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        found.append(line[:end])
        line = line[end:]
    return [*found, line]


MAX_LAST_LINES = 10
MAX_LAST_BYTES = 1000


class LastOutput:
    """
    Remembers the end of what a process prints.
    """

    def __init__(self) -> None:
        self._ends: dict[int, bytes] = {}

    def received(self, stream: int, data: bytes) -> None:
        """
        Take some output.

        :param stream: The descriptor that the process wrote to.
        """
        if len(data) < MAX_LAST_BYTES:
            data = self._ends.get(stream, b"") + data
        self._ends[stream] = data[-MAX_LAST_BYTES:]

    def text(self) -> str:
        """
        :return: The last lines of standard error or, if it has nothing, of standard output.
        """
        return last_lines(self._ends.get(2, b"")) or last_lines(self._ends.get(1, b""))


def last_lines(raw: bytes) -> str:
    """
    :param raw: The end of an output.
    :return: Its last lines, at most :py:data:`MAX_LAST_LINES` and :py:data:`MAX_LAST_BYTES`,
        without blank ones and without one whose beginning is missing, if there is another.
    """
    lines = [line.rstrip() for line in raw[-MAX_LAST_BYTES:].split(b"\n")]
    if len(raw) >= MAX_LAST_BYTES and any(lines[1:]):
        del lines[0]
    found = [printable(line) for line in lines if line]
    return "\n".join(found[-MAX_LAST_LINES:])


class OutputLines:
    """
    Splits one kernel's output into lines, and passes on at most :py:data:`MAX_LINES_PER_SECOND`.

    :param write: Called with each line.
    :param report_dropped: Called with a number of lines that were left out.
    """

    def __init__(
        self, clock: Any, write: Callable[[str], None], report_dropped: Callable[[int], None]
    ) -> None:
        self._write = write
        self._unfinished: dict[int, bytes] = {}
        self._throttle = Throttle(
            clock.seconds, MAX_LINES_PER_SECOND, 1.0, report_dropped, clock.callLater
        )

    def received(self, stream: int, data: bytes) -> None:
        """
        Take some output.

        :param stream: The descriptor that the kernel wrote to.
        """
        data = self._unfinished.pop(stream, b"") + data
        finished, newline, rest = data.rpartition(b"\n")
        if newline and self._throttle.is_open:
            for line in finished.split(b"\n"):
                self._write_line(line.removesuffix(b"\r"))
        elif newline:
            # Without looking at each of what may be very many.
            self._throttle.leave_out(finished.count(b"\n") + 1)
        *parts, rest = split_line(rest)
        for part in parts:
            self._write_line(part)
        self._unfinished[stream] = rest

    def _write_line(self, line: bytes) -> None:
        for part in split_line(line):
            if self._throttle.passes():
                self._write(printable(part))

    def finish(self) -> None:
        """
        Pass on an unfinished last line: the output has ended.
        """
        for rest in self._unfinished.values():
            if rest:
                self._write_line(rest)
        self._unfinished.clear()
        self._throttle.flush()
