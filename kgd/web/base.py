"""
Where a gateway is: at a path of its own port, or mounted somewhere in another application's tree.
"""

from __future__ import annotations

from typing import Any


def take_base(request: Any, configured: bytes) -> bytes:
    """
    Find out what comes before the gateway's own paths.

    :param configured: The base URL of the settings, for requests that come in at the root.
    :return: ``b""`` or ``b"/foo/bar"``, as it is in the path of the request. A gateway that is
        mounted below a path has that for its base URL.
    """
    depth = len(request.prepath)
    if not depth:
        return configured
    # Twisted has decoded the segments; what was sent is still in the path.
    return b"/" + b"/".join(request.path.split(b"/")[1 : depth + 1])


def note_base(request: Any, base: bytes) -> None:
    """
    Remember it for :py:func:`base_url`, since Klein changes ``prepath`` as it goes.
    """
    request.kgd_base_url = base.decode("utf-8", "replace")


def base_url(request: Any) -> str:
    """
    :return: What links to the gateway's own paths begin with, for whoever sent this request: ``""``
        or ``/foo/bar``.
    """
    base: str = request.kgd_base_url
    return base
