"""
Limits the rate of output that one client gets, as Jupyter's server does.

Behaviour: ``--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit`` and its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from kgd.observability.logs import make_logger
from kgd.protocol.message_types import NOT_RATE_LIMITED
from kgd.protocol.messages import KernelMessage, read_execution_state
from kgd.settings import Settings

# Output is withheld until the rate is down to this share of the limit.
_RESUME_RATIO = 0.8


class _Rate:
    """
    One rate, its limit, and whether output is withheld because it was exceeded.
    """

    def __init__(self, what: str, limit: float, unit: str, option: str) -> None:
        self.what = what
        self.limit = limit
        self.unit = unit
        self.option = option
        self.total = 0
        self.exceeded = False

    def check(self, window: float) -> bool:
        """
        :return: Whether the limit has just been exceeded.
        """
        if self.limit <= 0:
            return False
        rate = self.total / window
        if self.exceeded:
            self.exceeded = rate >= _RESUME_RATIO * self.limit
            return False
        self.exceeded = rate > self.limit
        return self.exceeded

    def warning(self, window: float) -> str:
        return (
            f"IOPub {self.what} rate exceeded.\n"
            "Output is temporarily not sent to this client, so that it is not overwhelmed.\n"
            f"The gateway's operator can change the limit with --{self.option}.\n\n"
            "Current values:\n"
            f"--{self.option}={self.limit:g} ({self.unit})\n"
            f"--rate-limit-window={window:g} (secs)\n"
        )


class RateLimiter:
    """
    Decides which messages one client gets.

    :param now: A monotonic clock, in seconds.
    """

    _log = make_logger()

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self._now = now
        self._window = settings.rate_limit_window or 1.0
        self._messages = _Rate(
            "message", settings.iopub_msg_rate_limit, "msgs/sec", "iopub-msg-rate-limit"
        )
        self._data = _Rate(
            "data", settings.iopub_data_rate_limit, "bytes/sec", "iopub-data-rate-limit"
        )
        self._recent: deque[tuple[float, int]] = deque()

    def check(self, message: KernelMessage) -> tuple[bool, str]:
        """
        :param message: From iopub.
        :return: Whether the client gets it, and a warning to send to the client before, or "".
        """
        msg_type = message.header.msg_type
        if msg_type == "status" and read_execution_state(message.parts[3]) == "idle":
            self._reset()
        if msg_type in NOT_RATE_LIMITED:
            return True, ""
        now = self._now()
        self._expire(now)
        size = message.size if msg_type == "stream" else 0
        self._messages.total += 1
        self._data.total += size
        was_exceeded = self._messages.exceeded or self._data.exceeded
        warnings = [
            rate.warning(self._window)
            for rate in (self._messages, self._data)
            if rate.check(self._window)
        ]
        if self._messages.exceeded or self._data.exceeded:
            self._messages.total -= 1
            self._data.total -= size
            return False, "\n".join(warnings)
        if was_exceeded:
            self._log.warn("iopub messages resumed")
        self._recent.append((now, size))
        return True, ""

    def _expire(self, now: float) -> None:
        recent = self._recent
        while recent and recent[0][0] <= now - self._window:
            _, size = recent.popleft()
            self._messages.total -= 1
            self._data.total -= size

    def _reset(self) -> None:
        self._recent.clear()
        for rate in (self._messages, self._data):
            rate.total = 0
            rate.exceeded = False
