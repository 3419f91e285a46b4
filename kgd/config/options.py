"""
The options: one row for each, from which the command line, the variables, the keys of configuration
files, the reader and the manual follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import attrs

from kgd.auth.token import CREDENTIAL
from kgd.config.types import (
    Reader,
    as_it_is,
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
    origins,
    path,
    port_number,
    prefixes,
    rate,
    seconds,
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
from kgd.settings import KIBIBYTE, MEBIBYTE, Settings

# How it is said to these that nothing is meant.
_NOTHING: Mapping[Reader, str] = {
    number_or_none: "none",
    ws_protocol: "auto",
    switch_or_failures: "failures",
}


@attrs.frozen
class Option:
    """
    One row.

    :ivar name: As after ``--``; the field of the settings and the variables follow from it.
    :ivar read: Turns text into the value; its docstring says what would be right, and any
        ValueError means that this text is not.
    :ivar variables: Names of environment variables without ``KGD_`` or ``KG_``, when they do not
        follow from the name.
    :ivar many: Whether the option may be repeated.
    :ivar aliases: Other names for it, on the command line and in files.
    :ivar show: From the value to what everybody may see of it.
    :ivar idle: For an option that is taken and changes nothing, and has no field: why that is so.
    :ivar owner: The name of the personality that has brought this option along from another
        distribution.
    :ivar fallback: The default of such an option.
    """

    name: str
    help: str
    read: Reader = text
    short: str | None = None
    variables: tuple[str, ...] = ()
    many: bool = False
    aliases: tuple[str, ...] = ()
    show: Callable[[Any], Any] = as_it_is
    idle: str = ""
    owner: str = ""
    fallback: Any = None

    @property
    def own_name(self) -> str:
        """
        What its owner calls it.
        """
        return self.name.removeprefix(f"{self.owner.replace('_', '-')}-")

    @property
    def field(self) -> str:
        """
        The field of the settings, which for the CORS headers is in a value of its own.
        """
        return self.name.replace("-", "_")

    @property
    def environment(self) -> list[str]:
        """
        The variables that are read, strongest first.
        """
        stems = self.variables or (self.field.upper(),)
        return [prefix + stem for prefix in ("KGD_", "KG_") for stem in stems]

    @property
    def default(self) -> Any:
        """
        What holds when nobody says anything.
        """
        if self.idle or self.owner:
            return self.fallback
        return self.value_in(Settings())

    def value_in(self, settings: Settings) -> Any:
        """
        :return: The value that settings have for an option of kgd's own.
        """
        return getattr(settings if hasattr(settings, self.field) else settings.cors, self.field)

    @property
    def is_switch(self) -> bool:
        """
        Whether it is turned on and off, instead of given a value.
        """
        return self.read in (switch, switch_or_failures)

    @property
    def is_table(self) -> bool:
        """
        Whether its value is one of names with something for each.
        """
        return self.read in (counts, prefixes)

    def written(self, value: Any) -> Any:
        """
        The opposite of reading.

        :return: What means this value in a file: a string, a number, a truth value, a list or a
            mapping. Secrets are left out.
        """
        if value is None:
            return _NOTHING.get(self.read, "")
        value = self.show(value)
        if self.read is size and value and value % KIBIBYTE == 0:
            whole = value % MEBIBYTE == 0
            return f"{value // MEBIBYTE}MiB" if whole else f"{value // KIBIBYTE}KiB"
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, Set):
            return sorted(value)
        if isinstance(value, tuple | Mapping):
            return list(value) if isinstance(value, tuple) else dict(value)
        # A reader of somebody else's may make anything.
        return value if isinstance(value, bool | int | float) else str(value)

    @property
    def default_text(self) -> str:
        """
        The default as it would stand in a variable; empty if it cannot be said there.
        """
        default = self.written(self.default)
        if isinstance(default, bool):
            return "true" if default else "false"
        if isinstance(default, list):
            return ",".join(default)
        if isinstance(default, dict):
            return ",".join(f"{name}={value}" for name, value in default.items())
        return str(default)

    @property
    def shown_default(self) -> str:
        """
        The default, for people.
        """
        if self.idle:
            return "none"
        if self.name == "root-dir":
            return "the current directory"
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return self.default_text.replace(",", ", ") or "none"

    @property
    def takes(self) -> str:
        """
        What would be right, as a sentence.
        """
        # A reader of somebody else's may say nothing.
        return " ".join((self.read.__doc__ or "Something else.").split())


OPTIONS = (
    Option("api", "What the gateway looks like from outside: the name of a personality."),
    Option("ip", "Address to listen on; an empty one is all of them."),
    Option("port", "Port to listen on; 0 takes any free one.", port_number, "p"),
    Option("port-retries", "How many other ports to try when the port is taken.", small_number),
    Option(
        "listen",
        "Endpoint to listen on, as Twisted writes them, like tcp:8888:interface=127.0.0.1; "
        "instead of --ip and --port, and as often as you like. Without a token, a Unix socket is "
        "for the gateway's own user only, unless mode= says otherwise.",
        endpoint,
        many=True,
    ),
    Option(
        "port-file",
        "File to write when the gateway answers, and to remove at the end. It has a line for each "
        "endpoint: the number of its port, or the path of its socket.",
        path,
    ),
    Option("certfile", "Certificate, and those above it, in PEM: serve over TLS.", path),
    Option("keyfile", "Key of the certificate, in PEM, if it is not in --certfile.", path),
    Option(
        "client-ca",
        "Certificates of authorities, in PEM: every client needs a certificate from one of them. "
        "Also for --listen=ssl:.",
        path,
    ),
    Option("tls-min", "Oldest version of TLS. Also for --listen=ssl:.", one_of("1.2", "1.3")),
    Option(
        "ssl-version",
        "The number of a protocol of Python's ssl module, for those who have always given one.",
        whole_number,
        idle="all of them mean --tls-min=1.2 today, which is the default; say that instead",
    ),
    Option(
        "tls-handshake-timeout",
        "Seconds in which the handshake of TLS has to be done; 0 is no limit.",
        seconds,
    ),
    Option("base-url", "Path that comes before every route.", url_path),
    Option(
        "auth-token",
        "Token that every client has to present; none means that everybody is let in. "
        "Others can see a command line: the variable keeps it to itself.",
        token,
        show=hidden,
    ),
    Option(
        "auth-token-file",
        "File that holds the token. It is read again on SIGHUP; when the token is another one "
        "then, open WebSockets are closed.",
        path,
    ),
    Option("auth-token-env", "Name of a variable that holds the token. No kernel gets it."),
    Option(
        "auth-token-credential",
        "Name of the systemd credential that holds the token. Without any of these options, it is "
        f"{CREDENTIAL}, if there is one of this name.",
    ),
    Option(
        "insecure-no-auth",
        "Listen without a token where other machines can connect. Everybody there can run code.",
        switch,
    ),
    Option(
        "allowed-hosts",
        "Names in the Host header to answer to, besides those of loopback, when the gateway is on "
        "loopback without a token; * is all of them.",
        names,
        many=True,
    ),
    Option(
        "allow-origin",
        "Origin that web pages may come from: *, one like https://hub.example, or several.",
        origins,
        many=True,
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
        "Believe what X-Real-Ip, X-Forwarded-For, X-Scheme and X-Forwarded-Proto say of the "
        "client. Only for a gateway that nobody reaches but through a proxy that sets them.",
        switch,
    ),
    Option(
        "max-kernels",
        "Most kernels at a time; without it there is no limit, and with 0 there are none.",
        number_or_none,
    ),
    Option("default-kernel-name", "Kernelspec for requests that name none."),
    Option("force-kernel-name", "Kernelspec for every request, whatever it names."),
    Option(
        "allowed-kernelspecs",
        "The only kernelspecs that there shall be; without it, all that are installed.",
        names,
        many=True,
    ),
    Option(
        "ensure-native-kernel",
        "Have the kernelspec python3 wherever ipykernel can be imported, even if no kernelspec is "
        "installed.",
        switch,
    ),
    Option("list-kernels", "Let clients list the running kernels.", switch),
    Option(
        "env-whitelist",
        "Variables that clients may set for their kernels, besides KERNEL_*.",
        names,
        many=True,
    ),
    Option(
        "env-process-whitelist",
        "Variables of the gateway that go to kernels for which the client sets some.",
        names,
        many=True,
    ),
    Option(
        "root-dir", "Directory below which kernels work, instead of the current one.", directory
    ),
    Option("kernel-info-timeout", "Seconds in which a kernel has to begin to answer.", seconds),
    Option("shutdown-wait-time", "Seconds that a kernel gets to end before it is killed.", seconds),
    Option("restart-limit", "How often in a row a dying kernel is started again.", whole_number),
    Option(
        "autorestart",
        "Start a kernel again that has died by itself; without it, it is dead at once.",
        switch,
    ),
    Option(
        "stable-start-time",
        "Seconds after which a kernel that was started again counts as sound: when it dies later, "
        "that is its first failure in a row.",
        seconds,
    ),
    Option(
        "time-to-dead",
        "Seconds between looks at whether a kernel is alive.",
        seconds,
        idle="the system tells the gateway at once when a kernel has died",
    ),
    Option(
        "keep-kernels",
        "Leave the kernels running when the gateway ends, however it ends, with their connection "
        "files in its runtime directory. What they print goes to kernel-ID.log there.",
        switch,
    ),
    Option(
        "kernel-memory",
        "Most bytes of memory for each process of a kernel (RLIMIT_DATA); 0 is no limit. A "
        'kernelspec may say otherwise, for this and the next five, with "kgd": {"limits": '
        '{"memory": "2GiB", "cpu_seconds": 3600}} and so on in its metadata.',
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
        "0 is no limit, and root has none. It goes well with --kernel-user.",
        whole_number,
    ),
    Option("kernel-file-size", "Most bytes in a file that a kernel writes; 0 is no limit.", size),
    Option(
        "kernel-nice",
        "How much nicer kernels are to others than the gateway, from 0 to 19.",
        niceness,
    ),
    Option(
        "kernel-user",
        "User that kernels run as, maybe with a group, like jane:staff, when the gateway is root.",
    ),
    Option(
        "transport",
        "How kernels are reached: tcp, ipc (Unix sockets in a private directory), or auto, "
        "which is ipc for ipykernel and for kernelspecs that have it in the list "
        "supported_transports of their metadata.",
        one_of("auto", "tcp", "ipc"),
    ),
    Option(
        "kernel-ip",
        "Address that kernels listen on, with the transport tcp; another than 127.0.0.1 makes that "
        "the transport of all kernels, unless ipc is asked for.",
        ipv4_address,
    ),
    Option(
        "connection-dir",
        "Directory below which connection files and kernels' sockets are kept, in a private one of "
        "the gateway's own; without it, Jupyter's runtime directory.",
        path,
    ),
    Option(
        "transport-encryption",
        "Whether what goes to and from kernels is encrypted with CurveZMQ: disabled, auto (if the "
        "kernelspec has curve in the list supported_encryption of its metadata), or required "
        "(others are refused).",
        one_of("disabled", "auto", "required"),
    ),
    Option(
        "signature-scheme",
        "How messages to and from kernels are signed.",
        signature_scheme,
    ),
    Option("username", "Who sends the gateway's own messages, as their headers have it."),
    Option(
        "seed-uri",
        "Notebook, as a path or with http or https, whose code cells run in every kernel of its "
        "kernelspec before clients see it. In notebook_http, what is served: a notebook or a "
        "directory of them; may be repeated then, with a prefix for each, like "
        "/reports=reports.ipynb.",
        notebook_uri,
        many=True,
        show=without_secrets,
    ),
    Option(
        "seed-timeout",
        "Seconds in which the seed notebook has to be fetched, and to run.",
        seconds,
    ),
    Option("max-seed-size", "Most bytes in the seed notebook.", size),
    Option(
        "prespawn-count",
        "How many kernels of the default kernelspec to keep started, to be had at once. In "
        "notebook_http, how many kernels each notebook has; 0 is one.",
        small_number,
    ),
    Option(
        "prespawn",
        "The same for another kernelspec, like ir=2.",
        counts,
        many=True,
    ),
    Option(
        "cell-parser",
        "How notebook_http finds what a notebook serves: cell (annotations like # GET /hello), "
        "swagger (operationId in a Swagger document), or the dotted name of a parser.",
    ),
    Option(
        "comment-prefix",
        "What comments begin with in a language, like lua=--, where annotations are.",
        prefixes,
        many=True,
    ),
    Option("allow-notebook-download", "Serve the notebook itself at /_api/source.", switch),
    Option("static-path", "Directory to serve below /public, without a token.", maybe_directory),
    Option(
        "request-timeout",
        "Seconds that the code of a request in notebook_http may run, and that a request may wait "
        "for a kernel; 0 is no limit.",
        seconds,
        aliases=("cell-timeout",),
    ),
    Option(
        "queue-limit",
        "Most requests that wait for a kernel of a notebook; more are refused with 503.",
        whole_number,
        aliases=("pool-queue-limit",),
    ),
    Option(
        "queue-size",
        "Most bytes in them together; more are refused with 503. Files do not count: they are on "
        "the disk.",
        size,
    ),
    Option(
        "interrupt-on-disconnect",
        "Interrupt the code of a request when its client hangs up.",
        switch,
    ),
    Option("reset-kernels", "Give every request in notebook_http a fresh kernel.", switch),
    Option(
        "sticky",
        "Keep a caller on one kernel: cookie, or the name of a header that tells callers apart.",
        stickiness,
    ),
    Option("reload", "Serve local notebooks anew when they change.", switch),
    Option(
        "rich-responses",
        "Answer with what a cell displays, in the form that the client accepts, instead of with "
        "all its forms as JSON.",
        switch,
    ),
    Option("max-response-size", "Most bytes of output in one answer of notebook_http.", size),
    Option("max-parts", "Most parts of a form that is posted to notebook_http.", whole_number),
    Option(
        "cull-idle-timeout",
        "Seconds after which a kernel that nobody uses is stopped; 0 stops none. A kernelspec may "
        "say otherwise with cull_idle_timeout in its metadata.",
        seconds,
    ),
    Option("cull-interval", "Seconds between looking for kernels to cull; 0 is 300.", seconds),
    Option("cull-connected", "Cull kernels with open WebSockets, too.", switch),
    Option("cull-busy", "Cull kernels that are executing, too.", switch),
    Option(
        "cull-max-age",
        "Seconds after which a kernel is stopped, whatever it does; 0 stops none.",
        seconds,
    ),
    Option(
        "cull-busy-limit",
        "Seconds after which a kernel that has been busy all the time is stopped; 0 stops none.",
        seconds,
    ),
    Option(
        "untracked-message-types",
        "Types of messages that are no use of a kernel, so that culling does not count them, "
        "unless the kernel is busy.",
        names,
        many=True,
    ),
    Option(
        "buffer-offline-messages",
        "Keep what a kernel sends while a client is away, until it comes back.",
        switch,
    ),
    Option("replay-bytes", "Most bytes to keep for a client that is away.", size),
    Option("replay-messages", "Most messages to keep for a client that is away.", whole_number),
    Option("replay-seconds", "How long to keep them.", seconds),
    Option(
        "max-client-backlog",
        "Most bytes to keep for a client that is there, but does not read.",
        size,
        aliases=("max-buffered-bytes",),
    ),
    Option("limit-rate", "Limit how much output a client is sent, as the next three say.", switch),
    Option("iopub-msg-rate-limit", "Most messages of output in a second; 0 is no limit.", rate),
    Option("iopub-data-rate-limit", "Most bytes of text in a second; 0 is no limit.", rate),
    Option("rate-limit-window", "Seconds over which the rates are measured.", seconds),
    Option(
        "allowed-message-types",
        "Types of the messages that clients may send; without it, all.",
        names,
        many=True,
    ),
    Option("allow-tracebacks", "Show clients the tracebacks of their code.", switch),
    Option("traceback-replacement-message", "What they see instead."),
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
    Option("max-body-size", "Most bytes in the body of a request.", size),
    Option("max-message-size", "Most bytes in a message from a WebSocket.", size),
    Option("max-frame-size", "Most bytes in one frame of a message from a WebSocket.", size),
    Option("max-fragments", "Most frames in a message from a WebSocket.", whole_number),
    Option("max-request-line", "Most bytes in the first line of a request.", size),
    Option("max-header-size", "Most bytes in that line and all headers of a request.", size),
    Option("max-headers", "Most headers in a request.", whole_number),
    Option(
        "header-timeout",
        "Seconds in which all headers of a request have to arrive; 0 is no limit.",
        seconds,
    ),
    Option(
        "body-timeout",
        "Seconds in which the body of a request has to arrive; 0 is no limit. More time is given "
        "as the next option says.",
        seconds,
    ),
    Option(
        "body-rate",
        "For each of so many bytes of a body that have arrived, it may take a second longer; "
        "with 0, it may not.",
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
        "Seconds after which a connection is cut if the client takes nothing of an answer that "
        "waits for it; 0 is never.",
        seconds,
    ),
    Option(
        "max-connections",
        "Most connections of all clients, WebSockets too; more are refused with 503. With 0, only "
        "files that may be open limit them.",
        whole_number,
    ),
    Option(
        "max-connections-per-address",
        "Most connections from one address, or from one /64 network of IPv6; more are refused with "
        "503. All that come through a proxy have the proxy's address: raise it there, or switch "
        "it off with 0.",
        whole_number,
    ),
    Option("log-level", "Least important messages to log.", log_level),
    Option("log-format", "How to log: text, or json, one object on each line.", one_of(*FORMATS)),
    Option(
        "access-log",
        "Log every request, with its id; without this option, only those that fail, and with "
        "--no-access-log none.",
        switch_or_failures,
    ),
    Option(
        "audit-log",
        "File to which to append, as JSON, who started, used and stopped which kernel.",
        path,
    ),
    Option("audit-code", "Write the code that is run to the audit log, too.", switch),
    Option("metrics", "Serve metrics for Prometheus at /metrics.", switch),
    Option("metrics-public", "Serve them without a token.", switch),
    Option(
        "drain-timeout",
        "Seconds that existing kernels get when the gateway is drained (with SIGUSR1 or "
        "POST /api/drain) before it stops; 0 is as long as they take.",
        seconds,
    ),
)
