"""
A value for every option that is not its default, as it is given and as it is shown; and what the
Jupyter Kernel Gateway calls the option.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs


@attrs.frozen
class Sample:
    """
    :ivar text: On the command line and in variables.
    :ivar value: In files, and when it is shown.
    :ivar trait: Empty for an option that only kgd has.
    """

    option: str
    text: str
    value: Any
    trait: str = ""

    @property
    def variable(self) -> str:
        """
        Without ``KGD_`` or ``KG_``.
        """
        if self.option == "ws-ping-interval":
            return "WS_PING_INTERVAL_SECS"
        return self.option.replace("-", "_").upper()

    @property
    def shown(self) -> Any:
        """
        What ``--show-config`` has.
        """
        return "***" if self.option == "auth-token" else self.value


def _samples(table: str) -> tuple[Sample, ...]:
    found = []
    for line in table.split("\n"):
        if not line.strip():
            continue
        option, text, *rest = (cell.strip() for cell in line.split("|"))
        value = json.loads(rest[0]) if rest[0] else text
        found.append(Sample(option, text, value, rest[1] if len(rest) > 1 else ""))
    return tuple(found)


#: option | text | value, if it is not the same | trait
SAMPLES = _samples("""
api                           | notebook_http      |                  | KernelGatewayApp.api
ip                            | 127.0.0.9          |                  | KernelGatewayApp.ip
port                          | 9000               | 9000             | KernelGatewayApp.port
port-retries                  | 7                  | 7                | KernelGatewayApp.port_retries
listen                        | unix:address=/s    | ["unix:address=/s"] |
port-file                     | /port              |                  |
base-url                      | /foo/bar           |                  | KernelGatewayApp.base_url
certfile                      | /c.pem             |                  | KernelGatewayApp.certfile
keyfile                       | /k.pem             |                  | KernelGatewayApp.keyfile
client-ca                     | /ca.pem            |                  | KernelGatewayApp.client_ca
tls-min                       | 1.3                | "1.3"            |
tls-handshake-timeout         | 3                  | 3                |
auth-token                    | s3cret             |                  | KernelGatewayApp.auth_token
auth-token-file               | /token             |                  |
auth-token-env                | TOKEN              |                  |
auth-token-credential         | token              |                  |
insecure-no-auth              | true               | true             |
allowed-hosts                 | a.example,b.example | ["a.example", "b.example"] |
allow-origin                  | https://a.example  |                  | KernelGatewayApp.allow_origin
allow-private-network         | true               | true             |
allow-credentials             | true               | "true"           | KernelGatewayApp.allow_credentials
allow-headers                 | X-A                |                  | KernelGatewayApp.allow_headers
allow-methods                 | GET,PUT            |                  | KernelGatewayApp.allow_methods
expose-headers                | X-B                |                  | KernelGatewayApp.expose_headers
max-age                       | 600                | "600"            | KernelGatewayApp.max_age
trust-xheaders                | true               | true             | KernelGatewayApp.trust_xheaders
max-kernels                   | 3                  | 3                | KernelGatewayApp.max_kernels
default-kernel-name           | ir                 |                  | KernelGatewayApp.default_kernel_name
force-kernel-name             | scala              |                  | KernelGatewayApp.force_kernel_name
allowed-kernelspecs           | ir,scala           | ["ir", "scala"]  | KernelSpecManager.allowed_kernelspecs
ensure-native-kernel          | false              | false            | KernelSpecManager.ensure_native_kernel
list-kernels                  | true               | true             | JupyterWebsocketPersonality.list_kernels
env-whitelist                 | A,B                | ["A", "B"]       | JupyterWebsocketPersonality.env_whitelist
env-process-whitelist         | C,D                | ["C", "D"]       | KernelGatewayApp.env_process_whitelist
root-dir                      | /                  |                  | MappingKernelManager.root_dir
kernel-info-timeout           | 11                 | 11               | MappingKernelManager.kernel_info_timeout
shutdown-wait-time            | 2.5                | 2.5              | KernelManager.shutdown_wait_time
restart-limit                 | 9                  | 9                | KernelRestarter.restart_limit
autorestart                   | false              | false            | KernelManager.autorestart
stable-start-time             | 4                  | 4                | KernelRestarter.stable_start_time
keep-kernels                  | true               | true             |
kernel-memory                 | 2048MiB            |                  |
kernel-cpu-seconds            | 60                 | 60               |
kernel-open-files             | 100                | 100              |
kernel-processes              | 50                 | 50               |
kernel-file-size              | 5                  | 5                |
kernel-nice                   | 10                 | 10               |
kernel-oom-score-adj          | 700                | 700              |
kernel-user                   | nobody             |                  |
transport                     | ipc                |                  | KernelManager.transport
kernel-ip                     | 127.0.0.2          |                  | KernelManager.ip
connection-dir                | /run/kgd           |                  |
link-connection-files         | true               | true             |
transport-encryption          | auto               |                  | MappingKernelManager.transport_encryption
signature-scheme              | hmac-sha512        |                  | Session.signature_scheme
username                      | jane               |                  | Session.username
seed-uri                      | /seed.ipynb        | ["/seed.ipynb"]  | KernelGatewayApp.seed_uri
seed-timeout                  | 12                 | 12               |
max-seed-size                 | 3MiB               |                  |
prespawn-count                | 2                  | 2                | KernelGatewayApp.prespawn_count
prespawn                      | ir=2               | {"ir": 2}        |
spare-kernels                 | listed             |                  |
max-execute-timeout           | 26                 | 26               |
interrupt-grace               | 27                 | 27               |
keep-alive-interval           | 28                 | 28               |
max-file-size                 | 31MiB              |                  |
artifact-threshold            | 5KiB               |                  |
artifact-space                | 6MiB               |                  |
artifact-lifetime             | 29                 | 29               |
notebook-uris                 | /notebooks         | ["/notebooks"]   |
idempotency-keys              | 29                 | 29               |
idempotency-size              | 5MiB               |                  |
idempotency-lifetime          | 31                 | 31               |
mcp                           | true               | true             |
mcp-max-sessions              | 29                 | 29               |
mcp-session-timeout           | 30                 | 30               |
mcp-keep-kernels              | true               | true             |
cell-parser                   | swagger            |                  | NotebookHTTPPersonality.cell_parser
comment-prefix                | lua=--             | {"lua": "--"}    | NotebookHTTPPersonality.comment_prefix
allow-notebook-download       | true               | true             | NotebookHTTPPersonality.allow_notebook_download
static-path                   | /usr               |                  | NotebookHTTPPersonality.static_path
request-timeout               | 13                 | 13               |
queue-limit                   | 14                 | 14               |
queue-size                    | 4MiB               |                  |
interrupt-on-disconnect       | true               | true             |
reset-kernels                 | true               | true             |
sticky                        | cookie             |                  |
reload                        | true               | true             |
rich-responses                | true               | true             |
max-response-size             | 5MiB               |                  |
max-parts                     | 15                 | 15               |
cull-idle-timeout             | 16                 | 16               | MappingKernelManager.cull_idle_timeout
cull-interval                 | 17                 | 17               | MappingKernelManager.cull_interval
cull-connected                | true               | true             | MappingKernelManager.cull_connected
cull-busy                     | true               | true             | MappingKernelManager.cull_busy
cull-max-age                  | 18                 | 18               |
cull-busy-limit               | 19                 | 19               |
untracked-message-types       | status,stream      | ["status", "stream"] | MappingKernelManager.untracked_message_types
buffer-offline-messages       | false              | false            | MappingKernelManager.buffer_offline_messages
replay-bytes                  | 6MiB               |                  |
replay-messages               | 20                 | 20               |
replay-seconds                | 21                 | 21               |
max-client-backlog            | 7MiB               |                  |
limit-rate                    | true               | true             | ZMQChannelsWebsocketConnection.limit_rate
iopub-msg-rate-limit          | 22                 | 22               | ZMQChannelsWebsocketConnection.iopub_msg_rate_limit
iopub-data-rate-limit         | 23                 | 23               | ZMQChannelsWebsocketConnection.iopub_data_rate_limit
rate-limit-window             | 24                 | 24               | ZMQChannelsWebsocketConnection.rate_limit_window
allowed-message-types         | execute_request    | ["execute_request"] | MappingKernelManager.allowed_message_types
allow-tracebacks              | false              | false            | MappingKernelManager.allow_tracebacks
traceback-replacement-message | Nothing to see     |                  | MappingKernelManager.traceback_replacement_message
kernel-ws-protocol            | v1.kernel.websocket.jupyter.org | | ZMQChannelsWebsocketConnection.kernel_ws_protocol
ws-ping-interval              | 25                 | 25               | KernelGatewayApp.ws_ping_interval
ws-start-wait                 | 29                 | 29               |
max-message-size              | 9MiB               |                  |
max-frame-size                | 7MiB               |                  |
max-fragments                 | 99                 | 99               |
max-body-size                 | 8MiB               |                  |
max-request-line              | 8KiB               |                  |
max-header-size               | 32KiB              |                  |
max-headers                   | 90                 | 90               |
header-timeout                | 11                 | 11               |
body-timeout                  | 12                 | 12               |
body-rate                     | 1KiB               |                  |
keep-alive-timeout            | 13                 | 13               |
send-timeout                  | 14                 | 14               |
max-connections               | 5000               | 5000             |
max-connections-per-address   | 500                | 500              |
log-level                     | debug              |                  | KernelGatewayApp.log_level
log-format                    | json               |                  |
access-log                    | true               | true             |
audit-log                     | /audit             |                  |
audit-code                    | true               | true             |
metrics                       | false              | false            |
metrics-public                | true               | true             |
drain-endpoint                | true               | true             |
drain-timeout                 | 26                 | 26               |
""")  # noqa: E501


def jupyters(samples: Iterable[Sample]) -> Mapping[str, Mapping[str, Any]]:
    """
    :return: Those that the Jupyter Kernel Gateway has, as its file in JSON would have them.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in samples:
        if each.trait:
            name, trait = each.trait.split(".")
            found.setdefault(name, {})[trait] = each.value
    return found
