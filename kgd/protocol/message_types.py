"""
Sets of Jupyter's message types that kgd treats alike.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

EXECUTE_REQUEST = "execute_request"
EXECUTE_REPLY = "execute_reply"
INPUT_REQUEST = "input_request"

#: Requests that run no code, so that the kernel cannot ask for input because of them. They change
#: nothing, and clients send them all the time.
QUERIES = frozenset(
    {
        "kernel_info_request",
        "complete_request",
        "inspect_request",
        "history_request",
        "is_complete_request",
        "comm_info_request",
    }
)

#: Requests that kernels reply to. A client may wait for a reply to these; to others, none may come.
REPLIED_TO = QUERIES | {
    EXECUTE_REQUEST,
    "connect_request",
    "shutdown_request",
    "interrupt_request",
    "debug_request",
    "create_subshell_request",
    "delete_subshell_request",
    "list_subshell_request",
    "usage_request",
}

#: Output that a client can do without. It needs everything else: status, replies, errors, prompts,
#: comms.
DROPPABLE = frozenset({"stream", "display_data", "update_display_data", "execute_result"})

#: Messages that the limits on the rate of output neither count nor drop.
NOT_RATE_LIMITED = frozenset({"status", "comm_open", "execute_input"})

#: Messages that do not count as use of a kernel: questions about it, and the output of running
#: code, during which the kernel counts as used because it is busy.
UNTRACKED = DROPPABLE | {
    "comm_info_request",
    "comm_info_reply",
    "kernel_info_request",
    "kernel_info_reply",
    "shutdown_request",
    "shutdown_reply",
    "interrupt_request",
    "interrupt_reply",
    "debug_request",
    "debug_reply",
    "execute_input",
    "error",
    "status",
    "clear_output",
    "debug_event",
    INPUT_REQUEST,
    "input_reply",
}
