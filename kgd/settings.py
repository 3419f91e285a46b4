"""
The settings of one gateway: a frozen, typed value, made of the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kgd.protocol.message_types import UNTRACKED
from kgd.protocol.messages import USERNAME

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
MAX_SIZE = 2**62


def normalize_base_url(text: str) -> str:
    """
    Normalize a base URL to the form that routing and links use.

    :return: ``""`` for the root, else a leading slash and no trailing one, like ``/foo/bar``.
    """
    path = "/".join(part for part in text.split("/") if part)
    return f"/{path}" if path else ""


class OutOfRange(ValueError):
    """
    A number that is too small or too large.
    """


def size_in_bytes(text: str) -> int:
    """
    :param text: A number, not negative, that may have KiB, MiB or GiB after it.
    :raises ValueError: for any other text; :py:exc:`OutOfRange` for a number that is too large.
    """
    factor = 1
    for number, suffix in enumerate(("KiB", "MiB", "GiB"), 1):
        if text.endswith(suffix):
            text, factor = text.removesuffix(suffix), 1024**number
            break
    size = int(text) * factor
    # System calls take sizes of 64 bits.
    if not 0 <= size <= MAX_SIZE:
        raise OutOfRange
    return size


@attrs.frozen(kw_only=True)
class CORS:
    """
    The values of the CORS response headers, verbatim. An empty value is not sent.
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
    Everything that an operator can choose. Sizes are in bytes, times in seconds.
    """

    api: str = "jupyter_websocket"
    # The options of a personality from another distribution.
    personality_options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    ip: str = "127.0.0.1"
    port: int = 8888
    port_retries: int = 50
    listen: tuple[str, ...] = ()
    port_file: str = ""
    certfile: str = ""
    keyfile: str = ""
    client_ca: str = ""
    tls_min: str = "1.2"
    tls_handshake_timeout: float = 10.0
    base_url: str = attrs.field(default="", converter=normalize_base_url)
    auth_token: str = attrs.field(default="", repr=False)
    auth_token_file: str = ""
    auth_token_env: str = ""
    auth_token_credential: str = ""
    insecure_no_auth: bool = False
    allowed_hosts: frozenset[str] = frozenset()
    cors: CORS = attrs.field(factory=CORS)
    trust_xheaders: bool = False
    allow_private_network: bool = False
    max_kernels: int | None = None
    default_kernel_name: str = "python3"
    force_kernel_name: str = ""
    allowed_kernelspecs: frozenset[str] = frozenset()
    ensure_native_kernel: bool = True
    list_kernels: bool = False
    env_whitelist: frozenset[str] = frozenset()
    env_process_whitelist: frozenset[str] = frozenset()
    root_dir: str = "."
    kernel_info_timeout: float = 30.0
    shutdown_wait_time: float = 5.0
    restart_limit: int = 5
    autorestart: bool = True
    stable_start_time: float = 10.0
    keep_kernels: bool = False
    kernel_memory: int = 0
    kernel_cpu_seconds: int = 0
    kernel_open_files: int = 0
    kernel_processes: int = 0
    kernel_file_size: int = 0
    kernel_nice: int = 0
    # As Chromium gives the processes of its pages: a process that is not a kernel would have to use
    # 30 % more of the memory to be ended first.
    kernel_oom_score_adj: int = 300
    kernel_user: str = ""
    transport: str = "auto"
    kernel_ip: str = "127.0.0.1"
    connection_dir: str = ""
    link_connection_files: bool = False
    transport_encryption: str = "disabled"
    signature_scheme: str = "hmac-sha256"
    username: str = USERNAME
    seed_uri: tuple[str, ...] = attrs.field(default=(), repr=False)
    seed_timeout: float = 120.0
    max_seed_size: int = 32 * MEBIBYTE
    prespawn_count: int = 0
    prespawn: Mapping[str, int] = attrs.field(factory=dict)
    spare_kernels: str = "hidden"
    cell_parser: str = "cell"
    comment_prefix: Mapping[str, str] = attrs.field(factory=dict)
    allow_notebook_download: bool = False
    static_path: str = ""
    request_timeout: float = 600.0
    queue_limit: int = 1000
    queue_size: int = 512 * MEBIBYTE
    interrupt_on_disconnect: bool = False
    reset_kernels: bool = False
    sticky: str = ""
    reload: bool = False
    rich_responses: bool = False
    max_execute_timeout: float = 600.0
    interrupt_grace: float = 5.0
    keep_alive_interval: float = 5.0
    idempotency_keys: int = 1000
    idempotency_size: int = 32 * MEBIBYTE
    idempotency_lifetime: float = 3600.0
    notebook_uris: tuple[str, ...] = ()
    mcp: bool = False
    mcp_max_sessions: int = 100
    mcp_session_timeout: float = 3600.0
    mcp_keep_kernels: bool = False
    max_response_size: int = 100 * MEBIBYTE
    max_file_size: int = 1024 * MEBIBYTE
    artifact_threshold: int = 64 * KIBIBYTE
    artifact_space: int = 256 * MEBIBYTE
    artifact_lifetime: float = 3600.0
    max_parts: int = 1000
    cull_idle_timeout: float = 0.0
    cull_interval: float = 300.0
    cull_connected: bool = False
    cull_busy: bool = False
    cull_max_age: float = 0.0
    cull_busy_limit: float = 0.0
    untracked_message_types: frozenset[str] = UNTRACKED
    buffer_offline_messages: bool = True
    replay_bytes: int = 16 * MEBIBYTE
    replay_messages: int = 100_000
    replay_seconds: float = 300.0
    max_client_backlog: int = 32 * MEBIBYTE
    limit_rate: bool = False
    iopub_msg_rate_limit: float = 1000.0
    iopub_data_rate_limit: float = 1_000_000.0
    rate_limit_window: float = 3.0
    allowed_message_types: frozenset[str] = frozenset()
    allow_tracebacks: bool = True
    traceback_replacement_message: str = (
        "An exception occurred at runtime, which is not shown due to security reasons."
    )
    kernel_ws_protocol: str | None = None
    ws_ping_interval: float = 30.0
    ws_start_wait: float = 5.0
    max_body_size: int = 100 * MEBIBYTE
    max_message_size: int = 100 * MEBIBYTE
    max_frame_size: int = 0
    max_fragments: int = 16_384
    max_request_line: int = 16 * KIBIBYTE
    max_header_size: int = 64 * KIBIBYTE
    max_headers: int = 200
    header_timeout: float = 20.0
    body_timeout: float = 60.0
    body_rate: int = 16 * KIBIBYTE
    keep_alive_timeout: float = 75.0
    send_timeout: float = 60.0
    max_connections: int = 0
    max_connections_per_address: int = 4096
    log_level: str = "info"
    log_format: str = "text"
    access_log: bool | None = None
    audit_log: str = ""
    audit_code: bool = False
    metrics: bool = True
    metrics_public: bool = False
    drain_endpoint: bool = False
    drain_timeout: float = 600.0

    @property
    def needs_token(self) -> bool:
        """
        Whether clients have to present a token, from whichever option it comes.
        """
        return bool(
            self.auth_token
            or self.auth_token_file
            or self.auth_token_env
            or self.auth_token_credential
        )
