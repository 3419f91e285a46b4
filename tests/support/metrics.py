"""
Reading the text of ``/metrics``.
"""

from __future__ import annotations


def read_metrics(text: str) -> dict[str, float]:
    """
    :return: Name and labels to value.
    """
    pairs = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}
