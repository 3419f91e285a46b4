"""
Endpoints, TLS, and who is let in.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS

from tests.support.gateway import (
    GatewayProcess,
    GatewayTestCase,
    children_of,
    http,
    raw,
    stdout,
    until,
)

# What a service manager does: sockets from descriptor 3 on, and variables that say so.
ACTIVATE = """
import os, socket, sys
where, names, *command = sys.argv[1:]
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(where)
os.chmod(where, 0o640)
unix.listen()
# Out of the way of 3 and 4 first.
high = [os.dup2(each.fileno(), 100 + number) for number, each in enumerate((tcp, unix))]
for number, each in enumerate(high):
    os.dup2(each, 3 + number)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "2"
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(command[0], command)
"""


class ListeningTestCase(GatewayTestCase):
    """
    Tests with certificates and several ways to connect.
    """

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        ready = super().setUp()
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(self.home / "ca.pem"))
        self.port_file = self.home / "port"
        return ready

    def issue(self, name: str = "one") -> None:
        """
        Write a new certificate and its key.
        """
        leaf = self.ca.issue_cert("127.0.0.1", "localhost", common_name=name)
        leaf.cert_chain_pems[0].write_to_path(str(self.home / "cert.pem"))
        leaf.private_key_pem.write_to_path(str(self.home / "key.pem"))

    def tls(
        self, port: int, host: str = "127.0.0.1", client: trustme.LeafCert | None = None
    ) -> Any:
        """
        :return: An endpoint for a client, maybe with a certificate of its own.
        """
        more = {}
        if client is not None:
            more["clientCertificate"] = ssl.PrivateCertificate.loadPEM(
                client.private_key_and_cert_chain_pem.bytes()
            )
        options = ssl.optionsForClientTLS(
            "127.0.0.1", ssl.Certificate.loadPEM(self.ca.cert_pem.bytes()), **more
        )
        return wrapClientTLS(options, HostnameEndpoint(reactor, host, port))

    async def listening(self, *options: str, **more: Any) -> tuple[GatewayProcess, list[str]]:
        """
        Start a gateway; wait until its port file says where it is.

        :return: It, and the lines of the file.
        """
        process = self.launch(
            f"--port-file={self.port_file}",
            "--default-kernel-name=tiny",
            "--list-kernels",
            *options,
            **more,
        )
        await until(
            lambda: self.port_file.exists() or process.status is not None,
            lambda: f"the port file is there; it said: {process.output}",
        )
        self.assertIsNone(process.status, process.output)
        await process.ready()
        return process, self.port_file.read_text().splitlines()

    async def works(self, endpoint: Any, headers: Any = None) -> None:
        """
        REST and WebSockets do.
        """
        kernel_id = await self.start_kernel(80, endpoint=endpoint, headers=headers)
        client = await self.connect(80, kernel_id, endpoint=endpoint, headers=headers)
        self.assertEqual(stdout(await client.execute("x" * 100_000)), "x" * 100_000)


class EndpointTests(ListeningTestCase):
    """
    ``--listen``, ``--port-file``.
    """

    async def test_every_kind(self) -> None:
        """
        REST and WebSockets work over each; the port file tells where they are, in order, and goes
        with the gateway.
        """
        self.issue()
        pem = self.home / "both.pem"
        pem.write_text((self.home / "cert.pem").read_text() + (self.home / "key.pem").read_text())
        path = self.runtime / "s"
        process, (socket, tcp, tcp6, tls) = await self.listening(
            f"--listen=unix:{path}",
            "--listen=tcp:0:interface=127.0.0.1",
            r"--listen=tcp6:0:interface=\:\:1",
            f"--listen=ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}",
        )
        self.assertEqual(socket, str(path))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        await self.works(UNIXClientEndpoint(reactor, socket))
        await self.works(HostnameEndpoint(reactor, "127.0.0.1", int(tcp)))
        await self.works(HostnameEndpoint(reactor, "::1", int(tcp6)))
        await self.works(self.tls(int(tls)))
        for url in (
            f"unix:{path}", f"http://127.0.0.1:{tcp}", f"http://[::1]:{tcp6}",
            f"https://127.0.0.1:{tls}",
        ):  # fmt: skip
            self.assertIn(f"is available at {url}\n", process.output)
        self.assertEqual(await process.stop(), 0)
        self.assertFalse(self.port_file.exists())
        self.assertFalse(path.exists())
        self.assertNotIn("Traceback", process.output)

    async def test_second_start(self) -> None:
        """
        A gateway that finds another one on its Unix socket goes and changes nothing for that; one
        that finds what a killed one has left begins anew, whose number ever the lock has.
        """
        path = self.runtime / "s"
        options = f"--listen=unix:{path}"
        first, _ = await self.listening(options)
        second = self.launch(options, f"--port-file={self.port_file}")
        self.assertEqual(await second.ended(), 1)
        self.assertIn(f"--listen=unix:{path}: another process listens there", second.output)
        self.assertTrue(self.port_file.exists())
        await self.works(UNIXClientEndpoint(reactor, str(path)))
        self.assertEqual(await first.stop(signal.SIGKILL), -signal.SIGKILL)
        lock = path.with_name("s.lock")
        lock.unlink()
        lock.symlink_to(str(os.getpid()))
        third = self.launch(options, "--default-kernel-name=tiny")
        await third.ready()
        await self.works(UNIXClientEndpoint(reactor, str(path)))
        self.assertEqual(await third.stop(), 0)
        self.assertFalse(path.exists())

    async def test_socket_activation(self) -> None:
        """
        Sockets of a service manager are served, found by name or by number, and stay there for the
        next start; kernels learn nothing of them.
        """
        for names, first, second in (
            ("web:sock", "name=web", "name=sock"),
            ("", "index=0", "index=1"),
        ):
            path = self.runtime / f"s{len(names)}"
            process, (port, socket) = await self.listening(
                f"--listen=systemd:domain=INET:{first}",
                f"--listen=systemd:domain=UNIX:{second}",
                through=(sys.executable, "-c", ACTIVATE, str(path), names),
            )
            self.assertEqual(socket, str(path))
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", int(port))
            await self.works(endpoint)
            await self.works(UNIXClientEndpoint(reactor, socket))
            # It is known to be loopback although the option does not say so.
            refused = await http(int(port), "GET", "/api", headers={"Host": "evil.org"})
            self.assertEqual(refused.code, 403)
            kernel_id = await self.start_kernel(int(port))
            client = await self.connect(int(port), kernel_id)
            self.assertNotIn("LISTEN_", stdout(await client.execute('{"do": "env"}')))
            self.assertEqual(await process.stop(), 0)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)

    async def test_refused(self) -> None:
        """
        What would let everybody in, or cannot work, ends the start with one line that says what to
        do, before a kernel is started.
        """
        short, long = self.runtime / "s", self.runtime / ("s" * 100)
        for options, env, expected in (
            (["--ip=0.0.0.0"], {}, "--insecure-no-auth"),
            (
                [f"--listen=unix:{short}", "--listen=tcp:0"],
                {},
                "other machines can reach --listen=tcp:0",
            ),
            ([f"--listen=unix:{long}"], {}, "choose a directory with a shorter path"),
            (["--certfile=none.pem"], {}, "none.pem, which cannot be read"),
            ([], {"KG_CERTFILE": "none.pem"}, "none.pem, which cannot be read"),
            (["--auth-token-file=none"], {}, "--auth-token-file"),
            (["--auth-token-env=NONE"], {}, "NONE"),
            (["--port-file=/none/port"], {}, "--port-file=/none/port"),
        ):
            process = self.launch(
                "--port=0", "--default-kernel-name=tiny", "--prespawn-count=1", *options, env=env
            )
            self.assertEqual(await process.ended(), 1, process.output)
            lines = [line for line in process.output.splitlines() if "cannot start" in line]
            self.assertEqual(len(lines), 1, process.output)
            self.assertIn(expected, lines[0])
            self.assertNotIn("Traceback", process.output)
            self.assertNotIn("started", process.output)

    async def test_hosts(self) -> None:
        """
        Another name than one of loopback is refused on loopback, and not on a Unix socket.
        """
        path = self.runtime / "s"
        _, (port, socket) = await self.listening(
            "--listen=tcp:0:interface=127.0.0.1",
            f"--listen=unix:{path}",
            "--allowed-hosts=hub.example",
        )
        unix = UNIXClientEndpoint(reactor, socket)
        for host, endpoint, code in (
            ("evil.org", None, 403), ("localhost:1", None, 200), ("hub.example", None, 200),
            ("evil.org", unix, 200),
        ):  # fmt: skip
            response = await http(
                int(port), "GET", "/api", headers={"Host": host}, endpoint=endpoint
            )
            self.assertEqual(response.code, code, host)


class TLSTests(ListeningTestCase):
    """
    ``--certfile`` and what goes with it.
    """

    async def test_certificates(self) -> None:
        """
        Clients need a certificate when an authority for them is given; the gateway's own is read
        again on SIGHUP, and whoever is connected notices nothing.
        """
        self.issue()
        process, (port,) = await self.listening(
            "--port=0", "--tls-min=1.3",
            env={
                "KG_CERTFILE": str(self.home / "cert.pem"),
                "KG_KEYFILE": str(self.home / "key.pem"),
                "KG_CLIENT_CA": str(self.home / "ca.pem"),
            },
        )  # fmt: skip
        known, stranger = self.ca.issue_cert("client"), trustme.CA().issue_cert("client")
        for client in (None, stranger):
            trouble = await self.failed(self.tls(int(port), client=client))
            self.assertTrue(trouble)
        await self.works(self.tls(int(port), client=known))

        def served() -> Any:
            return self.certificate(int(port), known)

        endpoint = self.tls(int(port), client=known)
        kernel_id = await self.start_kernel(80, endpoint=endpoint)
        socket = await self.connect(80, kernel_id, endpoint=endpoint)
        self.assertEqual(await served(), "one")
        (self.home / "key.pem").write_text("junk")
        process.kill(signal.SIGHUP)
        await until(lambda: "keeps its older certificate" in process.output, "it is refused")
        self.assertIn("key.pem holds no private key", process.output)
        self.assertEqual(await served(), "one")
        self.issue("two")
        process.kill(signal.SIGHUP)
        await until(lambda: "has been read again" in process.output, "it is read")
        self.assertEqual(await served(), "two")
        self.assertEqual(stdout(await socket.execute("still here")), "still here")
        self.assertIsNone(socket.closed)
        self.assertNotIn("Traceback", process.output)

    async def failed(self, endpoint: Any) -> bool:
        """
        Whether a request over this gets no answer.
        """
        return not await raw(0, b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n", endpoint)

    async def certificate(self, port: int, client: trustme.LeafCert) -> str:
        """
        :return: Whose certificate a new connection gets.
        """
        found: list[Any] = []
        endpoint = self.tls(port, client=client)
        connect = endpoint.connect

        async def noting(factory: Any) -> Any:
            protocol = await connect(factory)
            made = protocol.connectionLost

            def lost(*reason: Any) -> None:
                found.append(protocol.transport.getPeerCertificate())
                made(*reason)

            protocol.connectionLost = lost
            return protocol

        endpoint.connect = noting
        await http(port, "GET", "/api", endpoint=endpoint)
        return str(found[0].get_subject().CN)

    async def test_unfinished_handshake(self) -> None:
        """
        A client that does not go on with the handshake is cut off; plain HTTP is no way in.
        """
        self.issue()
        files = [f"--certfile={self.home / 'cert.pem'}", f"--keyfile={self.home / 'key.pem'}"]
        process, (port,) = await self.listening("--port=0", "--tls-handshake-timeout=0.5", *files)
        began = reactor.seconds()
        self.assertEqual(await raw(int(port), b"\x16\x03\x01\x02\x00\x01"), b"")
        self.assertGreater(reactor.seconds() - began, 0.4)
        answer = await raw(int(port), b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertNotIn(b"HTTP/", answer)
        self.assertEqual((await http(80, "GET", "/api", endpoint=self.tls(int(port)))).code, 200)
        self.assertNotIn("Traceback", process.output)


class TokenTests(ListeningTestCase):
    """
    Tokens that are elsewhere than in an option.
    """

    def bearer(self, token: str) -> dict[str, str]:
        """
        The header that presents a token.
        """
        return {"Authorization": f"Bearer {token}"}

    async def test_change(self) -> None:
        """
        When the token in the file is another one, those with the old one are out, open WebSockets
        are closed within five seconds, and what the kernel sends is there when they come back. A
        file without a token changes nothing.
        """
        file = self.home / "token"
        file.write_text("first-t0k3n\n")
        process, (port_text,) = await self.listening("--port=0", f"--auth-token-file={file}")
        port, old, new = int(port_text), self.bearer("first-t0k3n"), self.bearer("second-t0k3n")
        kernel_id = await self.start_kernel(port, headers=old)
        query = "?session_id=me"
        client = await self.connect(port, kernel_id, query=query, headers=old)
        await client.execute("hello")
        deaf = await self.connect(port, kernel_id, headers=old)
        deaf.transport.pauseProducing()  # type: ignore[union-attr]
        file.write_text("")
        process.kill(signal.SIGHUP)
        await until(lambda: "the token stays as it is" in process.output, "it is refused")
        self.assertEqual((await http(port, "GET", "/api", headers=old)).code, 200)
        await client.execute("hello")
        msg_id = client.request(
            "execute_request", {"code": json.dumps({"do": "sleep", "seconds": 1.5})}
        )
        await until(lambda: client.of(msg_id, "status"), "the kernel has begun")
        file.write_text("second-t0k3n")
        began = reactor.seconds()
        process.kill(signal.SIGHUP)
        code, reason = await client.when_closed()
        self.assertEqual((code, reason), (1008, "The gateway's token has changed"))
        # It took no notice of the close frame.
        await until(lambda: self.connections(port) == 0, "the deaf one is cut off, too")
        self.assertLess(reactor.seconds() - began, 5)
        self.assertEqual((await http(port, "GET", "/api", headers=old)).code, 401)
        self.assertEqual((await http(port, "GET", "/api", headers=new)).code, 200)
        back = await self.connect(port, kernel_id, query=query, headers=new)
        await until(lambda: back.of(msg_id, "execute_reply"), "what was missed comes")
        deaf.transport.resumeProducing()  # type: ignore[union-attr]
        await process.stop()
        for token in ("first-t0k3n", "second-t0k3n"):
            self.assertNotIn(token, process.output)

    def connections(self, port: int) -> int:
        """
        How many TCP connections to this port the system knows as established.
        """
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
        local = f"0100007F:{port:04X}"
        return sum(row.split()[1] == local and row.split()[3] == "01" for row in rows)

    async def test_variable(self) -> None:
        """
        The variable that holds the token is the gateway's own, whoever asks for it.
        """
        argv = [sys.executable, "-I", str(Path(__file__).parents[1] / "support" / "tiny_kernel.py"),
                "-f", "{connection_file}"]  # fmt: skip
        self.add_spec("curious", argv, env={"COPY": "${HUB_SECRET}"})
        token = "v4ri4ble-t0k3n"
        process, (port_text,) = await self.listening(
            "--port=0", "--auth-token-env=HUB_SECRET", "--env-process-whitelist=HUB_SECRET",
            "--env-whitelist=HUB_SECRET", env={"HUB_SECRET": token},
        )  # fmt: skip
        port, headers = int(port_text), self.bearer(token)
        self.assertEqual((await http(port, "GET", "/api")).code, 401)
        for body in ({"name": "curious"}, {"name": "curious", "env": {"KERNEL_A": "x"}}):
            kernel_id = await self.start_kernel(port, headers=headers, **body)
            client = await self.connect(port, kernel_id, headers=headers)
            environment = json.loads(stdout(await client.execute('{"do": "env"}')))
            self.assertNotIn("HUB_SECRET", environment)
            self.assertEqual(environment["COPY"], "${HUB_SECRET}")
        assert process.transport is not None
        children = children_of(process.transport.pid)
        self.assertEqual(len(children), 2)
        for child in children:
            for name in ("environ", "cmdline"):
                self.assertNotIn(token.encode(), Path(f"/proc/{child}/{name}").read_bytes())
        await http(port, "GET", f"/nope?%74oken={token}&token={token};{token}&x=1")
        await process.stop()
        self.assertNotIn(token, process.output)

    async def test_credential(self) -> None:
        """
        A systemd credential is taken by its usual name, or by the one that is given; kernels do not
        learn where they are.
        """
        credentials = self.home / "credentials"
        credentials.mkdir()
        for name, options in (
            ("kgd-auth-token", []),
            ("hub", ["--auth-token-credential=hub"]),
        ):
            (credentials / name).write_text(f"{name}-t0k3n\n")
            process, (port_text,) = await self.listening(
                "--port=0", *options, env={"CREDENTIALS_DIRECTORY": str(credentials)}
            )
            port, headers = int(port_text), self.bearer(f"{name}-t0k3n")
            self.assertEqual((await http(port, "GET", "/api")).code, 401)
            kernel_id = await self.start_kernel(port, headers=headers)
            client = await self.connect(port, kernel_id, headers=headers)
            environment = json.loads(stdout(await client.execute('{"do": "env"}')))
            self.assertNotIn("CREDENTIALS_DIRECTORY", environment)
            await process.stop()
            self.assertNotIn("-t0k3n", process.output)
            os.unlink(credentials / name)
