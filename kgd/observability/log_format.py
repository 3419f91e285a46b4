"""
Formats log events as lines of text for people, or of JSON for programs, and writes them.

Format: one event is one line; in JSON, an object with ``time`` (UTC, ISO 8601), ``level``,
``namespace``, ``message`` and the event's other fields. For people, a traceback follows its
line, indented.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, eventAsText, formatEvent, formatTime
from zope.interface import implementer

from kgd.observability.scrubbing import escaped, shortened
from kgd.observability.throttle import LogThrottle

FORMATS = ("text", "json")
# In characters; some of it may come from clients.
MAX_TEXT = 8 * 1024
MAX_TRACEBACK = 64 * 1024
_RESERVED_FIELDS = frozenset({"time", "level", "namespace", "message", "traceback"})
# Fields that twisted.python.log adds to each event.
_LEGACY_FIELDS = frozenset({"format", "isError", "system", "why", "failure", "printed"})


class EventFormatter:
    """
    Formats events.

    :param scrub: Removes secrets from a text.
    """

    def __init__(self, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub

    def _message(self, event: LogEvent) -> str:
        # Some of Twisted's own events have nothing but a failure.
        return self._scrub(shortened(formatEvent(event) or "", MAX_TEXT))

    def _traceback(self, event: LogEvent) -> str:
        if "log_failure" not in event:
            return ""
        text = eventAsText(event, True, False, False)
        text = text.removeprefix(formatEvent(event)).strip("\n")
        frames, newline, error = text.rpartition("\n")
        # The last line of a long traceback says what the error was.
        kept = shortened(frames, MAX_TRACEBACK) + newline + shortened(error, MAX_TEXT)
        return self._scrub(kept)

    def text(self, event: LogEvent) -> str:
        """
        :return: A line, and the lines of a traceback, each with its end.
        """
        level = event.get("log_level")
        source = event.get("log_system")
        if source is None:
            source = f"{event.get('log_namespace', '-')}#{level.name if level else '-'}"
        request_id = event.get("request_id")
        lines = [
            f"{formatTime(event.get('log_time'))} [{source}] {escaped(self._message(event))}"
            + (f" [request {self._scrub(request_id)}]" if request_id else "")
        ]
        lines += [f"\t{escaped(line)}" for line in self._traceback(event).splitlines()]
        return "".join(f"{line}\n" for line in lines)

    def json(self, event: LogEvent) -> str:
        """
        :return: A JSON object on a line.
        """
        level = event.get("log_level")
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(event.get("log_time") or 0, UTC).isoformat(),
            "level": level.name if level else "info",
            "namespace": event.get("log_namespace", ""),
            "message": self._message(event),
        }
        for name, value in event.items():
            if not (name.startswith("log_") or name in _RESERVED_FIELDS or name in _LEGACY_FIELDS):
                fields[name] = self._json_value(value)
        traceback = self._traceback(event)
        if traceback:
            fields["traceback"] = traceback
        return json.dumps(fields) + "\n"

    def _json_value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        text = value if isinstance(value, str) else repr(value)
        return self._scrub(shortened(text, MAX_TEXT))


@implementer(ILogObserver)
class LogWriter:
    """
    Writes events to a file, no more of one kind than can be read.

    :param file: An open file, with ``write`` and ``flush``.
    """

    def __init__(
        self,
        file: TextIO,
        format_name: str,
        scrub: Callable[[str], str],
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        lines = EventFormatter(scrub)
        self._line = lines.json if format_name == "json" else lines.text
        self._file = file
        self._throttle = LogThrottle(self._write, clock, call_later)

    def __call__(self, event: LogEvent) -> None:
        self._throttle(event)

    def _write(self, event: LogEvent) -> None:
        self._file.write(self._line(event))
        self._file.flush()
