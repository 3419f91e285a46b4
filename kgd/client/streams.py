"""
Reads the events of an execution, and takes them up again after a lost connection. Nothing here does
I/O.

Format: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kgd.client import calls
from kgd.client.calls import Request
from kgd.client.values import (
    Accepted,
    ClientError,
    Event,
    ExecutionResult,
    Finished,
    Gap,
    InputRequested,
    Output,
    Started,
    StreamOptions,
)


class Lines:
    """
    Splits bytes, as they come, into lines.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """
        :return: The lines that are complete now, without the empty ones.
        """
        if b"\n" not in data:
            self._pieces.append(data)
            return []
        *lines, rest = b"".join([*self._pieces, data]).split(b"\n")
        self._pieces = [rest]
        return [line for line in lines if line.strip()]

    def clear(self) -> None:
        """
        Forget the line that has begun.
        """
        self._pieces.clear()


class ExecutionStream:
    """
    The events of one execution, over all connections that it takes.

    :ivar execution_id: The execution, once it is known.
    :ivar result: How it has ended, if it has.
    """

    def __init__(self, kernel_id: str, code: str, options: StreamOptions) -> None:
        self._kernel_id = kernel_id
        self._first = calls.stream(kernel_id, code, options)
        self._lines = Lines()
        self._last = 0
        self.execution_id = ""
        self.result: ExecutionResult | None = None

    def request(self) -> Request:
        """
        :return: What to send next: at first the code, and after a lost connection a request for the
            events that are missing.
        """
        self._lines.clear()
        if not self.execution_id:
            return self._first
        return calls.resume(self._kernel_id, self.execution_id, self._last)

    def feed(self, data: bytes) -> list[Event]:
        """
        Take bytes of the response.

        :return: The events that are complete now.
        :raises ClientError: for what are no events.
        """
        events = []
        for line in self._lines.feed(data):
            try:
                event = self._event(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ClientError(
                    f"this is not an event ({type(error).__name__}: {error}): {line[:100]!r}; is "
                    "there a proxy before the gateway that changes responses?"
                ) from None
            if event is not None:
                events.append(event)
        return events

    def _event(self, value: dict[str, Any]) -> Event | None:
        kind = value["event"]
        number = value.get("id", 0)
        self._last = max(self._last, number)
        if kind == "accepted":
            self.execution_id = value["execution_id"]
        elif kind == "result":
            self.result = calls.execution(value)
            return Finished(number, self.result)
        read = _READERS.get(kind)
        # Keep-alives, and what later gateways may add, are nothing.
        return None if read is None else read(number, value)


_READERS: Mapping[str, Callable[[int, dict[str, Any]], Event]] = {
    "accepted": lambda number, value: Accepted(number, value["execution_id"]),
    "started": lambda number, value: Started(number),
    "output": lambda number, value: Output(number, value["output"]),
    "input_request": lambda number, value: InputRequested(
        number, value["prompt"], bool(value["password"])
    ),
    "gap": lambda number, value: Gap(number, value["missing"]),
}
