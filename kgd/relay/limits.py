"""
Bounds of the relay that operators cannot set.
"""

from __future__ import annotations

import attrs

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
# What a message that waits costs in addition to its bytes, in bytes.
MESSAGE_OVERHEAD = KIBIBYTE


@attrs.frozen(kw_only=True)
class RelayLimits:
    """
    How much the relay keeps, in bytes, and how long it waits, in seconds.

    :ivar max_unsent_requests: A client is not read from when its requests that wait for the kernel
        have more than this together, until they are down to a quarter.
    :ivar lag_threshold: A client lags when more than this waits for it, until it is down to half.
    :ivar max_away_clients: For how many clients of one kernel that are away messages are kept; the
        one that left first gives way. A program that opens a WebSocket under a new name for each
        request would collect them.
    :ivar max_pending: How many requests of one client are remembered that have no reply yet.
    :ivar max_pending_headers: How much the headers of those may have together.
    :ivar final_output_delay: How long output may still be on its way through ZeroMQ's thread after
        a process has ended.
    :ivar idle_check_period: How often to check whether the idle status of a request is missing.
    :ivar idle_silent_periods: It is missing when the request has a reply, and iopub was silent for
        so many periods in a row.
    :ivar max_idle_awaited: How many requests are remembered for that check. Several may run at a
        time, with subshells and control.
    :ivar max_idle_header: How long the header of such a request may be.
    """

    max_unsent_requests: int = 4 * MEBIBYTE
    lag_threshold: int = 4 * MEBIBYTE
    max_away_clients: int = 8
    max_pending: int = 10_000
    max_pending_headers: int = 8 * MEBIBYTE
    final_output_delay: float = 0.025
    idle_check_period: float = 2.5
    idle_silent_periods: int = 2
    max_idle_awaited: int = 100
    max_idle_header: int = 16 * KIBIBYTE


RELAY_LIMITS = RelayLimits()
