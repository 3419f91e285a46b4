"""
The table of kgd's options: the command line, variables, files and the manual follow from its rows.
"""

from __future__ import annotations

from kgd.auth.token import TOKEN_CREDENTIAL
from kgd.config.table import Option, Table, grouped
from kgd.config.types import (
    counts,
    directory,
    endpoint,
    header_value,
    hidden,
    ipv4_address,
    log_level,
    maybe_directory,
    names,
    niceness,
    notebook_uri,
    number_or_none,
    one_of,
    oom_score,
    origins,
    path,
    port_number,
    prefixes,
    rate,
    seconds,
    several,
    signature_scheme,
    size,
    small_number,
    stickiness,
    switch,
    switch_or_failures,
    text,
    token,
    url_path,
    whole_number,
    without_secrets,
    ws_protocol,
)
from kgd.observability.log_format import FORMATS

#: The options that most people need first, for the beginning of ``--help``.
ESSENTIAL = (
    "ip", "port", "auth-token", "allow-origin", "api", "seed-uri", "default-kernel-name",
    "max-kernels", "cull-idle-timeout", "log-level",
)  # fmt: skip

_LISTENING = grouped(
    "API and listening",
    Option(
        "api",
        "The API to serve: jupyter_websocket, notebook_http, or the name of another personality.",
        text.with_metavar("NAME"),
    ),
    Option(
        "ip",
        "Address to listen on; an empty one means all addresses.",
        text.with_metavar("ADDRESS"),
    ),
    Option("port", "Port to listen on; 0 takes any free port.", port_number, "p"),
    Option("port-retries", "How many other ports to try if the port is taken.", small_number),
    Option(
        "listen",
        "Twisted endpoint to listen on, like tcp:8888:interface=127.0.0.1; replaces --ip and "
        "--port, and may be repeated. Without a token, only the gateway's own user may connect to "
        "a Unix socket, unless mode= in the endpoint allows others.",
        several(endpoint),
    ),
    Option(
        "port-file",
        "File to write when the gateway answers, and to remove when it stops. It has a line for "
        "each endpoint: the port number, or the path of the socket.",
        path,
    ),
    Option("base-url", "Path that comes before every route.", url_path),
)

_TLS = grouped(
    "TLS",
    Option(
        "certfile",
        "Certificate in PEM, with its chain if there is one; the gateway then serves over TLS.",
        path,
    ),
    Option("keyfile", "Key of the certificate, in PEM, if it is not in --certfile.", path),
    Option(
        "client-ca",
        "Certificates of authorities, in PEM; every client then needs a certificate from one of "
        "them. Also applies to --listen=ssl:.",
        path,
    ),
    Option(
        "tls-min",
        "Oldest version of TLS to accept. Also applies to --listen=ssl:.",
        one_of("1.2", "1.3"),
    ),
    Option(
        "ssl-version",
        "Number of a protocol in Python's ssl module; accepted for compatibility.",
        whole_number,
        no_effect="every number means --tls-min=1.2, which is the default; use --tls-min",
    ),
    Option(
        "tls-handshake-timeout",
        "Seconds in which a client has to complete the TLS handshake; 0 is no limit.",
        seconds,
    ),
)

_AUTHENTICATION = grouped(
    "Authentication",
    Option(
        "auth-token",
        "Token that every client has to present; without one, every client is admitted. Other "
        "users can see a command line, so prefer the variable.",
        token,
        show=hidden,
    ),
    Option(
        "auth-token-file",
        "File that holds the token. It is read again on SIGHUP; if the token has changed, open "
        "WebSockets are closed.",
        path,
    ),
    Option(
        "auth-token-env",
        "Name of a variable that holds the token. Kernels do not get this variable.",
        text.with_metavar("NAME"),
    ),
    Option(
        "auth-token-credential",
        "Name of the systemd credential that holds the token. Without any of these options, a "
        f"credential with the name {TOKEN_CREDENTIAL} is used if there is one.",
        text.with_metavar("NAME"),
    ),
    Option(
        "insecure-no-auth",
        "Listen without a token where other machines can connect. Everybody who can connect can "
        "run code.",
        switch,
    ),
    Option(
        "allowed-hosts",
        "Names to accept in the Host header, besides those of loopback, when the gateway listens "
        "on loopback without a token; * accepts all.",
        names,
    ),
)

_WEB_PAGES = grouped(
    "Web pages and proxies",
    Option(
        "allow-origin",
        "Origins of the web pages that may use the gateway: *, one like https://hub.example, or "
        "several.",
        origins,
        aliases=("allow-origin-list",),
    ),
    Option(
        "allow-private-network",
        "Tell browsers that these pages may come from public networks to this private one.",
        switch,
    ),
    Option("allow-credentials", "Value of Access-Control-Allow-Credentials.", header_value),
    Option("allow-headers", "Value of Access-Control-Allow-Headers.", header_value),
    Option("allow-methods", "Value of Access-Control-Allow-Methods.", header_value),
    Option("expose-headers", "Value of Access-Control-Expose-Headers.", header_value),
    Option("max-age", "Value of Access-Control-Max-Age.", header_value),
    Option(
        "trust-xheaders",
        "Take the client's address and scheme from X-Real-Ip, X-Forwarded-For, X-Scheme and "
        "X-Forwarded-Proto. Use it only if every request comes through a proxy that sets them.",
        switch,
    ),
)

_KERNELS = grouped(
    "Kernels",
    Option(
        "max-kernels",
        "Most kernels at a time; without it there is no limit, and with 0 no kernel can be "
        "started.",
        number_or_none,
    ),
    Option(
        "default-kernel-name",
        "Kernelspec for requests that name none.",
        text.with_metavar("NAME"),
    ),
    Option(
        "force-kernel-name",
        "Kernelspec for every request, whichever it names.",
        text.with_metavar("NAME"),
    ),
    Option(
        "allowed-kernelspecs",
        "The only kernelspecs to offer; without it, all installed ones.",
        names,
    ),
    Option(
        "ensure-native-kernel",
        "Offer the kernelspec python3 if ipykernel can be imported, even if no kernelspec is "
        "installed.",
        switch,
    ),
    Option("list-kernels", "Let clients list the running kernels.", switch),
    Option(
        "env-whitelist",
        "Variables that clients may set for their kernels, besides KERNEL_*.",
        names,
    ),
    Option(
        "env-process-whitelist",
        "Variables of the gateway to pass to kernels for which the client sets variables.",
        names,
    ),
    Option("root-dir", "Directory below which kernels work.", directory),
)

_LIFE = grouped(
    "Start, restart and end of kernels",
    Option("kernel-info-timeout", "Seconds in which a new kernel has to begin to answer.", seconds),
    Option(
        "shutdown-wait-time",
        "Seconds in which a kernel has to end before it is killed.",
        seconds,
    ),
    Option(
        "restart-limit",
        "How often in a row a kernel that dies is started again.",
        whole_number,
    ),
    Option(
        "autorestart",
        "Start a kernel again if it dies by itself; without it, it is dead at once.",
        switch,
    ),
    Option(
        "stable-start-time",
        "Seconds after which a restarted kernel counts as stable: if it dies later, that is its "
        "first failure in a row.",
        seconds,
    ),
    Option(
        "time-to-dead",
        "Seconds between checks that a kernel is alive.",
        seconds,
        no_effect="the system tells the gateway at once when a kernel has died",
    ),
    Option(
        "keep-kernels",
        "Leave the kernels running when the gateway ends, for whatever reason, with their "
        "connection files in its runtime directory. Their output goes to kernel-ID.log there.",
        switch,
    ),
)

_LIMITS = grouped(
    "Limits and user of kernels",
    Option(
        "kernel-memory",
        "Most bytes of memory for each process of a kernel (RLIMIT_DATA); 0 is no limit. A "
        "kernelspec may override this and the next five options with "
        '"kgd": {"limits": {"memory": "2GiB", "cpu_seconds": 3600}} and so on in its metadata.',
        size,
    ),
    Option(
        "kernel-cpu-seconds",
        "Most seconds of processor time for each process of a kernel; 0 is no limit.",
        whole_number,
    ),
    Option(
        "kernel-open-files",
        "Most files that each process of a kernel may have open; 0 leaves the limit that the "
        "gateway was started with.",
        whole_number,
    ),
    Option(
        "kernel-processes",
        "Most processes and threads of the user that kernels run as, all of that user's counted; "
        "0 is no limit, and root has none. Best used with --kernel-user.",
        whole_number,
    ),
    Option("kernel-file-size", "Most bytes in a file that a kernel writes; 0 is no limit.", size),
    Option(
        "kernel-nice",
        "How much lower the scheduling priority of kernels is than the gateway's, as nice values.",
        niceness,
    ),
    Option(
        "kernel-oom-score-adj",
        "How much sooner than other processes the system ends kernels when memory runs out "
        "(oom_score_adj), so that it does not end the gateway with all of them; at least 100 more "
        "than the gateway's own value. 0 leaves kernels the gateway's value.",
        oom_score,
    ),
    Option(
        "kernel-user",
        "User that kernels run as, with or without a group, like jane:staff; the gateway has to "
        "be root.",
        text.with_metavar("USER"),
    ),
)

_CONNECTIONS = grouped(
    "Connections to kernels",
    Option(
        "transport",
        "How to connect to kernels: tcp, ipc (Unix sockets in a private directory), or auto, "
        "which uses ipc for ipykernel and for kernelspecs that have it in the list "
        "supported_transports of their metadata.",
        one_of("auto", "tcp", "ipc"),
    ),
    Option(
        "kernel-ip",
        "Address that kernels listen on, with the transport tcp; with another address than "
        "127.0.0.1, all kernels use tcp unless --transport=ipc is given.",
        ipv4_address,
    ),
    Option(
        "connection-dir",
        "Directory in which the gateway makes a private one for connection files and the sockets "
        "of kernels; without it, Jupyter's runtime directory.",
        path,
    ),
    Option(
        "link-connection-files",
        "Link the connection file of each kernel in Jupyter's runtime directory, where programs "
        "like jupyter console --existing look for kernels. The command jupyter-kgd does that by "
        "default.",
        switch,
    ),
    Option(
        "transport-encryption",
        "Whether to encrypt the connections to kernels with CurveZMQ: disabled, auto (if the "
        "kernelspec has curve in the list supported_encryption of its metadata), or required "
        "(other kernels are refused).",
        one_of("disabled", "auto", "required"),
    ),
    Option(
        "signature-scheme",
        "How messages to and from kernels are signed.",
        signature_scheme,
    ),
    Option(
        "username",
        "The username in the headers of the gateway's own messages.",
        text.with_metavar("NAME"),
    ),
)

_SEEDING = grouped(
    "Seed notebooks and prespawned kernels",
    Option(
        "seed-uri",
        "Notebook, as a path or an http or https URL, whose code cells run in every kernel of its "
        "kernelspec before clients see the kernel. In notebook_http, the notebook or directory of "
        "notebooks to serve; it may then be repeated, with a prefix for each, like "
        "/reports=reports.ipynb.",
        several(notebook_uri),
        show=without_secrets,
    ),
    Option(
        "seed-timeout",
        "Seconds in which the seed notebook has to be fetched, and in which it has to run.",
        seconds,
    ),
    Option("max-seed-size", "Most bytes in the seed notebook.", size),
    Option(
        "prespawn-count",
        "How many kernels of the default kernelspec to keep started in advance. In notebook_http, "
        "how many kernels each notebook has; 0 means one.",
        small_number,
    ),
    Option(
        "prespawn",
        "How many kernels of another kernelspec to keep started in advance, like ir=2.",
        counts,
    ),
    Option(
        "spare-kernels",
        "Whether clients find the kernels that were started in advance before they have started "
        "one: hidden, or listed like all kernels. A listed one belongs to the client that first "
        "uses it by its id. With --drop-in, the default is listed.",
        one_of("hidden", "listed"),
    ),
)

_NOTEBOOK_HTTP = grouped(
    "Notebooks as HTTP APIs (notebook_http)",
    Option(
        "cell-parser",
        "How to find what a notebook serves: cell (annotations like # GET /hello), swagger "
        "(operationId in a Swagger document), or the dotted name of a parser.",
        text.with_metavar("NAME"),
    ),
    Option(
        "comment-prefix",
        "Prefix of comments in a language, like lua=--, to find annotations.",
        prefixes,
    ),
    Option("allow-notebook-download", "Serve the notebook itself at /_api/source.", switch),
    Option("static-path", "Directory to serve below /public, without a token.", maybe_directory),
    Option(
        "request-timeout",
        "Seconds that the code of a request may run, and that a request may wait for a kernel; 0 "
        "is no limit.",
        seconds,
        aliases=("cell-timeout",),
    ),
    Option(
        "queue-limit",
        "Most requests that wait for a kernel of a notebook; others are refused with 503.",
        whole_number,
        aliases=("pool-queue-limit",),
    ),
    Option(
        "queue-size",
        "Most bytes in all waiting requests together; others are refused with 503. Uploaded files "
        "do not count: they are on the disk.",
        size,
    ),
    Option(
        "interrupt-on-disconnect",
        "Interrupt the code of a request when its client disconnects.",
        switch,
    ),
    Option("reset-kernels", "Give every request a fresh kernel.", switch),
    Option(
        "sticky",
        "Keep each client on one kernel: cookie, or the name of a header that identifies clients.",
        stickiness,
    ),
    Option("reload", "Load local notebooks again when they change.", switch),
    Option(
        "rich-responses",
        "Answer with what a cell displays, in the format that the client accepts, instead of with "
        "all formats as JSON.",
        switch,
    ),
    Option("max-response-size", "Most bytes of output in one answer.", size),
    Option("max-parts", "Most parts of a posted form.", whole_number),
)

_EXECUTIONS = grouped(
    "Code over HTTP",
    Option(
        "max-execute-timeout",
        "Most seconds that code may run which clients send over HTTP, and that it may wait for its "
        "turn; also the timeout of clients that ask for none. 0 is no limit.",
        seconds,
    ),
    Option(
        "interrupt-grace",
        "Seconds that such code may take to end after an interrupt, before its kernel is "
        "restarted.",
        seconds,
    ),
    Option(
        "keep-alive-interval",
        "Seconds of silence after which a stream of outputs sends a sign of life; 0 sends none.",
        seconds,
    ),
    Option(
        "max-file-size",
        "Most bytes of a file that a client writes to a kernel's working directory, whatever "
        "--max-body-size says; 0 is no limit.",
        size,
    ),
    Option(
        "artifact-threshold",
        "Bytes from which an output is big: clients that want URLs get one instead of it, as for "
        "all binary outputs.",
        size,
    ),
    Option(
        "artifact-space",
        "Most bytes on disk of the outputs of one kernel that clients get as URLs; the oldest are "
        "removed.",
        size,
    ),
    Option(
        "artifact-lifetime",
        "Seconds for which such an output is kept; 0 keeps it as long as its kernel.",
        seconds,
    ),
    Option(
        "notebook-uris",
        "Notebooks that clients may have the gateway read and run, beside those that they send: "
        "files, directories, or http or https URLs that those of notebooks begin with, up to a "
        "slash.",
        several(notebook_uri),
        show=without_secrets,
    ),
    Option(
        "idempotency-keys",
        "How many requests with an Idempotency-Key are remembered with their answers; 0 takes no "
        "such requests.",
        whole_number,
    ),
    Option(
        "idempotency-size",
        "How many bytes these answers may have together; the oldest ones are forgotten first.",
        size,
    ),
    Option("idempotency-lifetime", "Seconds after which such an answer is forgotten.", seconds),
)

_MCP = grouped(
    "Agents",
    Option(
        "mcp",
        "Serve the Model Context Protocol at /mcp, by which agents run code.",
        switch,
    ),
    Option(
        "mcp-max-sessions",
        "Most sessions of agents; a kernel of an agent whose revision of the protocol has no "
        "sessions counts as one.",
        whole_number,
    ),
    Option(
        "mcp-session-timeout",
        "Seconds without a request after which such a session ends, and its kernels with it; 0 is "
        "never.",
        seconds,
    ),
    Option(
        "mcp-keep-kernels",
        "Let the kernels of such a session go on when it ends.",
        switch,
    ),
)

_CULLING = grouped(
    "Culling",
    Option(
        "cull-idle-timeout",
        "Seconds after which an unused kernel is stopped; 0 stops none. A kernelspec may override "
        "it with cull_idle_timeout in its metadata.",
        seconds,
    ),
    Option("cull-interval", "Seconds between looks for kernels to cull; 0 means 300.", seconds),
    Option("cull-connected", "Cull kernels with open WebSockets, too.", switch),
    Option("cull-busy", "Cull kernels that are executing, too.", switch),
    Option(
        "cull-max-age",
        "Seconds after which a kernel is stopped, used or not; 0 stops none.",
        seconds,
    ),
    Option(
        "cull-busy-limit",
        "Seconds after which a kernel that has been busy without a break is stopped; 0 stops none.",
        seconds,
    ),
    Option(
        "untracked-message-types",
        "Types of messages that do not count as use of a kernel when it is culled, unless the "
        "kernel is busy.",
        names,
    ),
)

_MESSAGES = grouped(
    "Messages and WebSockets",
    Option(
        "buffer-offline-messages",
        "Keep the messages of a kernel while a client is away, and send them when it comes back.",
        switch,
    ),
    Option("replay-bytes", "Most bytes to keep for a client that is away.", size),
    Option("replay-messages", "Most messages to keep for a client that is away.", whole_number),
    Option(
        "replay-seconds", "Seconds for which to keep messages for a client that is away.", seconds
    ),
    Option(
        "max-client-backlog",
        "Most bytes to keep for a client that is connected but does not read.",
        size,
        aliases=("max-buffered-bytes",),
    ),
    Option(
        "limit-rate",
        "Limit the rate of output to each client, as the next three options say.",
        switch,
    ),
    Option("iopub-msg-rate-limit", "Most output messages per second; 0 is no limit.", rate),
    Option("iopub-data-rate-limit", "Most bytes of output text per second; 0 is no limit.", rate),
    Option("rate-limit-window", "Seconds over which the rates are measured.", seconds),
    Option(
        "allowed-message-types",
        "Types of messages that clients may send; without it, all types.",
        names,
    ),
    Option("allow-tracebacks", "Show clients the tracebacks of their code.", switch),
    Option("traceback-replacement-message", "The text that clients see instead of a traceback."),
    Option(
        "kernel-ws-protocol",
        "The WebSocket subprotocol to agree to; an empty one or legacy agrees to none.",
        ws_protocol,
    ),
    Option(
        "ws-ping-interval",
        "Seconds between pings on a WebSocket; 0 sends none.",
        seconds,
        variables=("WS_PING_INTERVAL", "WS_PING_INTERVAL_SECS"),
    ),
    Option(
        "ws-start-wait",
        "Seconds for which opening a WebSocket may wait for a kernel that is just starting; 0 "
        "opens it at once.",
        seconds,
    ),
    Option("max-message-size", "Most bytes in a message from a WebSocket.", size),
    Option(
        "max-frame-size",
        "Most bytes in one frame of a message from a WebSocket; 0 means as many as in the message.",
        size,
    ),
    Option(
        "max-fragments",
        "Most frames of less than 1 KiB in a message from a WebSocket.",
        whole_number,
    ),
)

_REQUESTS = grouped(
    "Limits of requests and connections",
    Option("max-body-size", "Most bytes in the body of a request.", size),
    Option("max-request-line", "Most bytes in the first line of a request.", size),
    Option(
        "max-header-size",
        "Most bytes in the first line and all headers of a request together.",
        size,
    ),
    Option("max-headers", "Most headers in a request.", whole_number),
    Option(
        "header-timeout",
        "Seconds in which all headers of a request have to arrive; 0 is no limit.",
        seconds,
    ),
    Option(
        "body-timeout",
        "Seconds in which the body of a request has to arrive; 0 is no limit. --body-rate gives "
        "large bodies more time.",
        seconds,
    ),
    Option(
        "body-rate",
        "Bytes of a body that give it one more second each time that so many have arrived; 0 "
        "gives no more time.",
        size,
    ),
    Option(
        "keep-alive-timeout",
        "Seconds after which a connection without a request is closed; 0 is never. It should be "
        "longer than that of a proxy.",
        seconds,
    ),
    Option(
        "send-timeout",
        "Seconds after which a connection is closed if its client reads nothing of a waiting "
        "answer; 0 is never.",
        seconds,
    ),
    Option(
        "max-connections",
        "Most connections of all clients, WebSockets included; others are refused with 503. With "
        "0, only the limit of open files counts.",
        whole_number,
    ),
    Option(
        "max-connections-per-address",
        "Most connections from one address, or from one /64 network of IPv6; others are refused "
        "with 503. All clients behind a proxy share its address: raise the limit there, or switch "
        "it off with 0.",
        whole_number,
    ),
)

_OPERATION = grouped(
    "Logs, metrics and draining",
    Option("log-level", "Least important messages to log.", log_level),
    Option(
        "log-format", "Format of the log: text, or json, one object on each line.", one_of(*FORMATS)
    ),
    Option(
        "access-log",
        "Log every request, with its id; without this option, only failed requests, and with "
        "--no-access-log none.",
        switch_or_failures,
    ),
    Option(
        "audit-log",
        "File to which to append, as JSON, who started, used and stopped which kernel.",
        path,
    ),
    Option("audit-code", "Write the code that clients run to the audit log, too.", switch),
    Option("metrics", "Serve metrics for Prometheus at /metrics.", switch),
    Option("metrics-public", "Serve the metrics without a token.", switch),
    Option(
        "drain-endpoint",
        "Serve POST /api/drain, so that clients with the token can drain, and so end, the gateway; "
        "without it, only SIGUSR1 does that.",
        switch,
    ),
    Option(
        "drain-timeout",
        "Seconds that existing kernels get when the gateway is drained (with SIGUSR1, or with "
        "POST /api/drain if --drain-endpoint is on) before it stops; 0 is no limit.",
        seconds,
    ),
)

OPTIONS = (
    *_LISTENING, *_TLS, *_AUTHENTICATION, *_WEB_PAGES, *_KERNELS, *_LIFE, *_LIMITS, *_CONNECTIONS,
    *_SEEDING, *_EXECUTIONS, *_MCP, *_NOTEBOOK_HTTP, *_CULLING, *_MESSAGES, *_REQUESTS, *_OPERATION,
)  # fmt: skip

#: The table without options of personalities from other distributions.
OWN = Table(OPTIONS)
