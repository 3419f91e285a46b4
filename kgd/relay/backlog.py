"""
What waits for a client, within bounds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import msgspec

from kgd.observability.counters import Traffic
from kgd.protocol.message_types import DROPPABLE
from kgd.protocol.messages import USERNAME, Buffer, KernelMessage, make_kernel_message

# What a message costs beside its bytes.
MESSAGE_OVERHEAD = 1024


class _Gap:
    """
    Where output is missing, and how much of it.

    :ivar parent: The header of the request whose output was the first to be dropped.
    :ivar reason: To go after "because".
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
    A queue that drops output when it is full, and says so in its place: one notice, with counts.

    :ivar size: In bytes, including what the messages cost by themselves.
    """

    def __init__(self, session: str, username: str = USERNAME) -> None:
        self._session = session
        self._username = username
        self._queue: deque[KernelMessage | _Gap] = deque()
        self._gap: _Gap | None = None
        self._dropping = False
        self.size = 0
        self.set_limits(0, 0, "", Traffic())

    def set_limits(self, size: int, messages: int | None, reason: str, dropped: Traffic) -> None:
        """
        Set the bounds.

        :param messages: ``None`` is no limit.
        :param reason: What it means that they are exceeded, to go after "because".
        :param dropped: Where to count what is dropped then.
        """
        self._dropped = dropped
        self._max_bytes = size
        self._max_messages = messages
        self._reason = reason

    def __len__(self) -> int:
        return len(self._queue)

    def _exceeds_limits(self, factor: float) -> bool:
        return self.size > factor * self._max_bytes or (
            self._max_messages is not None and len(self._queue) > factor * self._max_messages
        )

    def add(self, message: KernelMessage) -> bool:
        """
        Keep a message, or drop it if it can be done without.

        :return: Whether things can go on like that; not so when even what the client needs is
            twice what it may cost.
        """
        if self._dropping and not self._exceeds_limits(0.5):
            self._dropping = False
        self._dropping = self._dropping or self._exceeds_limits(1)
        if self._dropping and message.channel == "iopub" and message.header.msg_type in DROPPABLE:
            self._drop(message)
            return True
        self._queue.append(message)
        self.size += message.size + MESSAGE_OVERHEAD
        return not self._exceeds_limits(2)

    def _drop(self, message: KernelMessage) -> None:
        if self._gap is None:
            self._gap = _Gap(message.parts[1], self._reason)
            self._queue.append(self._gap)
        self._dropped.add(message.size)
        self._gap.messages += 1
        self._gap.size += message.size

    def pop(self) -> KernelMessage:
        """
        :return: The oldest message, or the notice that is due.
        """
        first = self._queue.popleft()
        if isinstance(first, _Gap):
            self._gap = None
            return first.notice(self._session, self._username)
        self.size -= first.size + MESSAGE_OVERHEAD
        return first

    def discard(self) -> None:
        """
        Drop everything: nobody will take it.
        """
        for waiting in self._queue:
            if isinstance(waiting, KernelMessage):
                self._dropped.add(waiting.size)
        self._queue.clear()
        self._gap = None
        self.size = 0

    def put_back(self, messages: Sequence[KernelMessage]) -> None:
        """
        Have messages delivered once more, before everything else.
        """
        self._queue.extendleft(reversed(messages))
        self.size += sum(message.size + MESSAGE_OVERHEAD for message in messages)
