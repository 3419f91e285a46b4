"""
Jupyter messages with a content that a test chooses.
"""

from __future__ import annotations

import json
from typing import Any

from kgd.protocol.messages import ClientMessage, Header, KernelMessage, MsgId, read_header

#: JSON that is nested too deeply to be read.
DEEP = b"[" * 100_000 + b"]" * 100_000


def request(
    msg_id: str, msg_type: str = "execute_request", channel: str = "shell"
) -> ClientMessage:
    """
    :return: A client's request.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": msg_id}).encode()
    return ClientMessage(channel, read_header(raw), (raw, b"{}", b"{}", b"{}"))


def message(
    msg_type: str, content: Any = None, parent: MsgId = "r", channel: str = "iopub"
) -> KernelMessage:
    """
    :return: A kernel's message.

    :param parent: The id of the request that it belongs to.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": "k"}).encode()
    body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
    header = Header(msg_type="execute_request", msg_id=parent)
    return KernelMessage(channel, read_header(raw), (raw, b"{}", b"{}", body), (), header)


def content_of(each: KernelMessage) -> Any:
    """
    :return: The content of a message, parsed.
    """
    return json.loads(bytes(each.parts[3]))
