"""
Why a WebSocket was closed: the codes of RFC 6455, section 7.4.1, that the gateway sends (1013 is of
the registry that it set up).
"""

from __future__ import annotations

NORMAL = 1000
GOING_AWAY = 1001
CANNOT_ACCEPT = 1003
INVALID_PAYLOAD = 1007
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
