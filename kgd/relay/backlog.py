"""
A bounded queue of messages for one client, which drops output when it is full.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import msgspec

from kgd.observability.counters import Traffic
from kgd.protocol.message_types import DROPPABLE
from kgd.protocol.messages import USERNAME, Buffer, KernelMessage, make_kernel_message
from kgd.relay.limits import MESSAGE_OVERHEAD


class _Gap:
    """
    A place in the queue where output was dropped, and how much.

    :ivar parent: The header of the request whose output was dropped first.
    :ivar reason: Goes after "because".
    """

    def __init__(self, parent: Buffer, reason: str) -> None:
        self.parent = parent
        self.reason = reason
        self.messages = 0
        self.size = 0

    def notice(self, session: str, username: str) -> KernelMessage:
        text = (
            f"kgd: {self.messages} messages ({self.size} bytes) of output were dropped here, "
            f"because {self.reason}.\n"
        )
        content = msgspec.json.encode({"name": "stderr", "text": text})
        parent = bytes(self.parent)
        return make_kernel_message(
            "stream", content, session, time.time(), parent, username=username
        )


class Backlog:
    """
    Drops output when it is full, and puts one notice in its place that says how much.

    :ivar size: In bytes, with :py:data:`~kgd.relay.limits.MESSAGE_OVERHEAD` for each message.
    """

    def __init__(self, session: str, username: str = USERNAME) -> None:
        self._session = session
        self._username = username
        self._queue: deque[KernelMessage | _Gap] = deque()
        self._gap: _Gap | None = None
        self._dropping = False
        self.size = 0
        # Of the messages since the queue was empty.
        self._largest = 0
        self.set_limits(0, 0, "", Traffic())

    def set_limits(self, size: int, messages: int | None, reason: str, dropped: Traffic) -> None:
        """
        Set the limits.

        :param size: In bytes.
        :param messages: How many messages; ``None`` is no limit.
        :param reason: Why output is dropped when they are exceeded; goes after "because".
        :param dropped: Counts what is dropped.
        """
        self._dropped = dropped
        self._max_bytes = size
        self._max_messages = messages
        self._reason = reason

    def __len__(self) -> int:
        return len(self._queue)

    def _exceeds_limits(self, factor: float, uncounted: int = 0) -> bool:
        return self.size - uncounted > factor * self._max_bytes or (
            self._max_messages is not None and len(self._queue) > factor * self._max_messages
        )

    def add(self, message: KernelMessage) -> bool:
        """
        Queue a message, or drop it if the queue is full and the client can do without it.

        :return: ``False`` when the queue has twice its limits, though only what the client needs
            was added. The largest message does not count: one alone may have any size.
        """
        if self._dropping and not self._exceeds_limits(0.5):
            self._dropping = False
        self._dropping = self._dropping or self._exceeds_limits(1)
        if self._dropping and message.channel == "iopub" and message.header.msg_type in DROPPABLE:
            self._drop(message)
            return True
        self._queue.append(message)
        self._count(message)
        return not self._exceeds_limits(2, self._largest)

    def _count(self, message: KernelMessage) -> None:
        size = message.size + MESSAGE_OVERHEAD
        self._largest = max(size, self._largest) if self.size else size
        self.size += size

    def _drop(self, message: KernelMessage) -> None:
        if self._gap is None:
            self._gap = _Gap(message.parts[1], self._reason)
            self._queue.append(self._gap)
        self._dropped.add(message.size)
        self._gap.messages += 1
        self._gap.size += message.size

    def pop(self) -> KernelMessage:
        """
        :return: The oldest message, or the notice that takes its place.
        """
        first = self._queue.popleft()
        if isinstance(first, _Gap):
            self._gap = None
            return first.notice(self._session, self._username)
        self.size -= first.size + MESSAGE_OVERHEAD
        return first

    def discard(self) -> None:
        """
        Drop and count everything, because the client does not come back.
        """
        for waiting in self._queue:
            if isinstance(waiting, KernelMessage):
                self._dropped.add(waiting.size)
        self._queue.clear()
        self._gap = None
        self.size = 0

    def put_back(self, messages: Sequence[KernelMessage]) -> None:
        """
        Queue messages before all others, because they did not arrive.
        """
        self._queue.extendleft(reversed(messages))
        for message in messages:
            self._count(message)
