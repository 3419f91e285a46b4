"""
The settings of one gateway: a frozen, typed value that the options make and everything reads.
"""

from __future__ import annotations

import attrs

MEBIBYTE = 1024 * 1024


def normalized_base_url(text: str) -> str:
    """
    Bring a base URL into the one form that routing and emitted links use.

    :return: ``""`` for the root, else a leading slash and no trailing one, like ``/foo/bar``.
    """
    path = "/".join(part for part in text.split("/") if part)
    return f"/{path}" if path else ""


@attrs.frozen(kw_only=True)
class CORS:
    """
    The values of the CORS response headers, verbatim. An empty one is not sent.
    """

    allow_origin: str = ""
    allow_credentials: str = ""
    allow_headers: str = ""
    allow_methods: str = ""
    expose_headers: str = ""
    max_age: str = ""


@attrs.frozen(kw_only=True)
class Settings:
    """
    Everything an operator decides. Sizes are in bytes, times in seconds.
    """

    api: str = "jupyter_websocket"
    ip: str = "127.0.0.1"
    port: int = 8888
    port_retries: int = 50
    listen: tuple[str, ...] = ()
    base_url: str = attrs.field(default="", converter=normalized_base_url)
    auth_token: str = attrs.field(default="", repr=False)
    cors: CORS = attrs.field(factory=CORS)
    max_kernels: int | None = None
    default_kernel_name: str = "python3"
    force_kernel_name: str = ""
    list_kernels: bool = False
    env_whitelist: frozenset[str] = frozenset()
    env_process_whitelist: frozenset[str] = frozenset()
    root_dir: str = "."
    kernel_info_timeout: float = 30.0
    shutdown_wait_time: float = 5.0
    restart_limit: int = 5
    ws_ping_interval: float = 30.0
    max_body_size: int = 100 * MEBIBYTE
    max_message_size: int = 100 * MEBIBYTE
    log_level: str = "info"
