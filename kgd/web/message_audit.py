"""
What clients send to kernels, for the audit log.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kgd.audit import Audit
from kgd.errors import UNREADABLE
from kgd.interfaces import IKernel
from kgd.protocol.messages import Buffer, Request
from kgd.requester import Requester
from kgd.settings import Settings

# They change nothing, and clients send them all the time.
_QUESTIONS = frozenset(
    {
        "kernel_info_request",
        "complete_request",
        "inspect_request",
        "history_request",
        "is_complete_request",
        "comm_info_request",
    }
)


class _Code(msgspec.Struct):
    code: str = ""


_read_code = msgspec.json.Decoder(_Code).decode


class MessageAudit:
    """
    Writes down the messages that do something.
    """

    def __init__(self, audit: Audit, settings: Settings) -> None:
        self._audit = audit
        self._allowed = settings.allowed_message_types

    def of(
        self, requester: Requester, kernel: IKernel, session_id: str | None
    ) -> Callable[[Request], None] | None:
        """
        :param requester: Who opened the connection.
        :return: To be called with each message that comes over it; ``None`` if nobody wants it.
        """
        if not self._audit.is_on:
            return None

        def note(request: Request) -> None:
            if request.msg_type in _QUESTIONS:
                return
            is_execution = request.msg_type == "execute_request"
            is_refused = self._allowed and request.msg_type not in self._allowed
            self._audit.record(
                "executed" if is_execution else "sent",
                requester,
                kernel_id=kernel.kernel_id,
                kernel_name=kernel.name,
                session_id=session_id,
                msg_type=request.msg_type,
                msg_id=request.msg_id,
                size=request.size,
                refused=True if is_refused else None,
                code=_code(request.parts[3]) if is_execution and self._audit.with_code else None,
            )

        return note


def _code(content: Buffer) -> str:
    try:
        return _read_code(content).code
    except UNREADABLE:
        return ""
