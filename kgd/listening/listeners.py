"""
Opens the gateway's ports and sockets, after checking everything that could go wrong.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from socket import gaierror
from typing import Any

import attrs
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from kgd.endpoints.addresses import (
    Endpoint,
    Reach,
    format_endpoint,
    is_loopback,
    parse_endpoint,
    reach_of,
)
from kgd.errors import ConfigurationError
from kgd.listening.inherited import inherited_endpoint
from kgd.listening.tcp import Bind, TCPPort, bind_tcp
from kgd.listening.tls import ServerTLS, TLSFiles
from kgd.listening.unix import IN_USE, check_path_length, remove_stale_socket
from kgd.observability.logs import make_logger
from kgd.settings import Settings

# Twisted's 50 is too few when many clients connect at once.
BACKLOG = 1024
# After so many consecutive ports, others near them are tried at random, as Jupyter Server does.
CONSECUTIVE_PORTS = 5
_LISTEN_ERRORS = (CannotListenError, ValueError, TypeError, LookupError, AttributeError, OSError)


def candidate_ports(port: int, retries: int, rng: random.Random) -> Iterator[int]:
    """
    :return: The ports to try: the wanted one, then ``retries`` others.
    """
    yield port
    if port == 0:
        return
    for number in range(1, retries + 1):
        if number < CONSECUTIVE_PORTS:
            other = port + number
        else:
            other = port + rng.randint(-2 * retries, 2 * retries)
        if 0 < other < 65536:
            yield other


@attrs.frozen
class OpenPort:
    """
    An open port.

    :ivar port: Its ``IListeningPort``.
    """

    port: Any
    is_secure: bool = False

    @property
    def port_or_path(self) -> str:
        """
        The port's number, or the socket's path, for clients on this machine.
        """
        address = self.port.getHost()
        if isinstance(address, UNIXAddress):
            return os.fsdecode(address.name or b"")
        return str(getattr(address, "port", address))

    @property
    def is_local(self) -> bool:
        """
        Whether only clients on this machine can connect.
        """
        address = self.port.getHost()
        return isinstance(address, UNIXAddress) or is_loopback(getattr(address, "host", ""))

    def url(self, base_url: str) -> str:
        """
        :return: The gateway's URL; ``unix:`` and a path for a Unix socket.
        """
        address = self.port.getHost()
        if isinstance(address, UNIXAddress):
            return f"unix:{self.port_or_path}"
        host = getattr(address, "host", None)
        if host is None:
            return str(address)
        scheme = "https" if self.is_secure else "http"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{address.port}{base_url}"


@attrs.frozen
class _PlannedPort:
    """
    A port or socket that has been checked and is not open yet.

    :ivar option: The option that asks for it, for errors.
    :ivar tls: Its TLS, if it has any.
    :ivar port: A TCP port, which can be bound before it is listened on.
    """

    option: str
    reach: Reach
    open: Callable[[IProtocolFactory], Awaitable[Any]]
    tls: ServerTLS | None = None
    port: TCPPort | None = None


class Listeners:
    """
    The ports and sockets of one gateway.

    :param bind: Binds a TCP port.
    :ivar opened: Those that are open.
    """

    _log = make_logger()

    def __init__(self, reactor: Any, settings: Settings, bind: Bind = bind_tcp) -> None:
        self._reactor = reactor
        self._settings = settings
        self._bind = bind
        self._planned: list[_PlannedPort] = []
        self._has_token = False
        self.opened: list[OpenPort] = []

    def prepare(self, *, has_token: bool) -> None:
        """
        Check everything before anything is started: read certificates, refuse ports that other
        machines could use without a token, and bind the TCP ports.

        :param has_token: Whether clients need a token.
        :raises ConfigurationError: when a port or socket cannot be opened, or would be unsafe.
        """
        settings = self._settings
        self._has_token = has_token
        if settings.listen:
            self._planned = [self._plan_endpoint(text) for text in settings.listen]
        else:
            self._planned = [self._plan_port()]
        if not any(planned.tls for planned in self._planned):
            for option, value in (
                ("--certfile", settings.certfile),
                ("--keyfile", settings.keyfile),
                ("--client-ca", settings.client_ca),
            ):
                if value:
                    raise ConfigurationError(
                        f"{option}={value} would protect nothing: give --certfile for --ip and "
                        "--port, or --listen an endpoint that starts with ssl:"
                    )
        try:
            self._planned = [self._take_port(planned) for planned in self._planned]
            for planned in self._planned:
                if planned.reach is Reach.REMOTE:
                    self._check_remote(planned.option)
        except ConfigurationError:
            self.release()
            raise

    def _take_port(self, planned: _PlannedPort) -> _PlannedPort:
        settings = self._settings
        if planned.port is None:
            return planned
        try:
            planned.port.take()
        except (OSError, ValueError) as error:
            if settings.listen:
                raise _cannot_listen(planned.option, error) from None
            others = f", nor on {settings.port_retries} others"
            if not (settings.port and settings.port_retries) or isinstance(error, gaierror):
                others = ""
            raise ConfigurationError(
                f"cannot listen on port {settings.port} of {settings.ip or 'any address'}{others}: "
                f"{_reason(error)}; {_hint(error) or 'choose another with --port or --ip'}"
            ) from None
        # The name has been resolved to an address.
        return attrs.evolve(planned, reach=reach_of(planned.port.host))

    def release(self) -> None:
        """
        Release the ports that are bound and not listened on.
        """
        for planned in self._planned:
            if planned.port is not None:
                planned.port.release()

    def _check_remote(self, option: str) -> None:
        """
        :param option: The option that other machines can reach the gateway by.
        :raises ConfigurationError: when they would need no token, unless the operator allows that.
        """
        if self._has_token:
            return
        if not self._settings.insecure_no_auth:
            raise ConfigurationError(
                f"other machines can reach {option}, and without a token anyone there could run "
                "code here; set a token with --auth-token-file or KG_AUTH_TOKEN, listen on "
                "127.0.0.1, or add --insecure-no-auth if that is what you want"
            )
        self._log.warn(
            "no token is needed, and other machines can reach {option}: anyone there can run "
            "code here",
            option=option,
        )

    # --- planning ---

    def _plan_port(self) -> _PlannedPort:
        settings = self._settings
        tls = self._server_tls(settings.certfile, settings.keyfile) if settings.certfile else None
        option = f"--ip={settings.ip}" if settings.ip else "--ip= (all addresses)"
        ports = candidate_ports(settings.port, settings.port_retries, random.Random())
        return self._plan_tcp(option, reach_of(settings.ip), ports, settings.ip, BACKLOG, tls)

    def _plan_tcp(
        self,
        option: str,
        reach: Reach,
        ports: Iterator[int],
        interface: str,
        backlog: int,
        tls: ServerTLS | None = None,
    ) -> _PlannedPort:
        port = TCPPort(self._reactor, ports, interface, backlog, self._bind)
        return _PlannedPort(option, reach, port.listen, tls, port)

    def _plan_endpoint(self, text: str) -> _PlannedPort:
        option = f"--listen={text}"
        try:
            endpoint = parse_endpoint(text)
            if endpoint.kind == "ssl":
                return self._plan_tls(option, endpoint)
            reach = endpoint.reach
            if endpoint.kind == "systemd":
                description, reach = inherited_endpoint(self._reactor, endpoint)
            else:
                if endpoint.kind == "unix":
                    check_path_length(endpoint.arguments["address"])
                    remove_stale_socket(endpoint.arguments["address"])
                    if not self._has_token and "mode" not in endpoint.arguments:
                        # Twisted's default lets all users of this machine connect.
                        text = format_endpoint("unix", {**endpoint.arguments, "mode": "600"})
                description = serverFromString(self._reactor, text)  # type: ignore[no-untyped-call]
            if endpoint.kind in ("tcp", "tcp6"):
                arguments = endpoint.arguments
                default = "::" if endpoint.kind == "tcp6" else ""
                return self._plan_tcp(
                    option,
                    reach,
                    iter((int(arguments["port"]),)),
                    arguments.get("interface", default),
                    int(arguments.get("backlog", BACKLOG)),
                )
        except (ConfigurationError, *_LISTEN_ERRORS) as error:
            raise _cannot_listen(option, error) from None
        return _PlannedPort(option, reach, description.listen)

    def _plan_tls(self, option: str, endpoint: Endpoint) -> _PlannedPort:
        """
        Plan ``ssl:`` as Twisted does, but with our ciphers and with certificates that can change.
        """
        settings, arguments = self._settings, dict(endpoint.arguments)
        method = arguments.pop("sslmethod", "TLS_METHOD")
        if method not in ("TLS_METHOD", "TLS_SERVER_METHOD", "SSLv23_METHOD", "TLSv1_2_METHOD"):
            raise ValueError(f"sslmethod={method} is not safe; leave it out, and see --tls-min")
        key = arguments.pop("privateKey", settings.keyfile or settings.certfile or "server.pem")
        tls = self._server_tls(
            arguments.pop("certKey", settings.certfile or key),
            key,
            chain=arguments.pop("extraCertChain", ""),
            dh_parameters=arguments.pop("dhParameters", ""),
        )
        port, interface = int(arguments.pop("port", "")), arguments.pop("interface", "")
        backlog = int(arguments.pop("backlog", BACKLOG))
        if arguments:
            raise ValueError(f"{', '.join(arguments)} is not known")
        return self._plan_tcp(option, endpoint.reach, iter((port,)), interface, backlog, tls)

    def _server_tls(self, certificate: str, key: str, **more: str) -> ServerTLS:
        settings = self._settings
        files = TLSFiles(
            certificate=certificate,
            key=key or certificate,
            client_ca=settings.client_ca,
            minimum=settings.tls_min,
            **more,
        )
        try:
            return ServerTLS(files)
        except ConfigurationError as error:
            named = [
                f"--{option}"
                for option, value in (
                    ("certfile", settings.certfile),
                    ("keyfile", settings.keyfile),
                    ("client-ca", settings.client_ca),
                )
                if value and value in str(error)
            ]
            raise ConfigurationError("; see ".join([str(error), *named])) from None

    # --- open ---

    async def open(self, factory: IProtocolFactory) -> None:
        """
        Listen on all of them.

        :raises ConfigurationError: when that is not possible, or unsafe; :py:attr:`opened` has what
            has been opened by then.
        """
        for planned in self._planned:
            served = factory
            if planned.tls is not None:
                served = TLSMemoryBIOFactory(planned.tls, False, factory, clock=self._reactor)
            try:
                port = await planned.open(served)
            except _LISTEN_ERRORS as error:
                raise _cannot_listen(planned.option, error) from None
            open_port = OpenPort(port, planned.tls is not None)
            self.opened.append(open_port)
            if planned.reach is not Reach.REMOTE and not open_port.is_local:
                self._check_remote(planned.option)

    def reload(self) -> None:
        """
        Read certificates again, for clients that come from now on. One that is broken is said in
        the log, and the one before it stays.
        """
        for planned in self._planned:
            if planned.tls is None:
                continue
            try:
                planned.tls.reload()
            except ConfigurationError as error:
                self._log.error(
                    "{option} keeps its older certificate: {reason}",
                    option=planned.option,
                    reason=str(error),
                )
            else:
                self._log.info(
                    "the certificate of {option} has been read again", option=planned.option
                )

    def ports_and_paths(self) -> Sequence[str]:
        """
        :return: The ports and paths on which the gateway listens, in the order of the options.
        """
        return [open_port.port_or_path for open_port in self.opened]


def _cannot_listen(option: str, error: Exception) -> ConfigurationError:
    hint = _hint(error, is_file=option.startswith("--listen=unix:"))
    return ConfigurationError(
        f"cannot listen on {option}: {_reason(error)}{'; ' if hint else ''}{hint}"
    )


def _reason(error: Exception) -> str:
    """
    :return: What the system says, without the number that it gives it.
    """
    if isinstance(error, CannotListenError):
        if error.socketError == "Cannot acquire lock":
            return IN_USE
        error = error.socketError
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _hint(error: Exception, *, is_file: bool = False) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    if not isinstance(error, PermissionError):
        return ""
    if is_file:
        return "the user that the gateway runs as has to be able to write to the directory"
    return (
        "ports below 1024 need root (which twistd --uid gives up later), the capability "
        "CAP_NET_BIND_SERVICE, a socket of systemd's (--listen=systemd:), or a proxy"
    )
