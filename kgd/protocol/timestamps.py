"""
Timestamps in Jupyter's format: UTC, always with six digits of a second, and a ``Z``.
"""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(seconds: float) -> str:
    """
    :param seconds: Since the epoch.
    :return: Like ``2026-11-20T23:59:10.259926Z``; the fraction is never left out, because
        clients parse it with a fixed format.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
