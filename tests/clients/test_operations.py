"""
The files in ``etc`` for those who run the daemon, as far as they can be tried here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from tests.support.gateway import ROOT, Channels, GatewayTestCase, stdout, until

ETC = ROOT / "etc"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
VERIFY = shutil.which("systemd-analyze")


class _Answer(Protocol):
    received = b""
    lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost = True


class ProxyTests(GatewayTestCase):
    """
    ``etc/nginx``.
    """

    if NGINX is None:
        skip = "there is no nginx here"

    async def test_nginx(self) -> None:
        """
        A kernel is started, used over a WebSocket, and stopped through nginx.
        """
        gateway, proxy = self.runtime / "kgd.sock", self.runtime / "nginx.sock"
        configuration = (ETC / "nginx" / "kgd.conf").read_text()
        configuration = configuration.replace("listen 127.0.0.1:8080", f"listen unix:{proxy}")
        configuration = configuration.replace("http://127.0.0.1:8888", f"http://unix:{gateway}:")
        file = self.home / "nginx.conf"
        # Otherwise its worker would be somebody who may not enter our directory.
        user = "user root; " if os.geteuid() == 0 else ""
        file.write_text(
            f"{user}daemon off; worker_processes 1; pid {self.home}/nginx.pid;\n"
            f"error_log {self.home}/error.log; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {self.home}/body;\n"
            + "".join(
                f"{kind}_temp_path {self.home}/{kind};\n"
                for kind in ("proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"{configuration} }}\n"
        )
        assert NGINX is not None
        _, errors, status = await getProcessOutputAndValue(NGINX, ["-t", "-c", str(file)])
        self.assertEqual(status, 0, errors)
        daemon = self.launch(
            f"--listen=unix:{gateway}", "--base-url=/kernels", "--default-kernel-name=tiny"
        )
        await daemon.ready()
        process = reactor.spawnProcess(ProcessProtocol(), NGINX, [NGINX, "-c", str(file)], env={})
        self.addCleanup(self._end, process)
        await until(proxy.exists, "nginx listens")
        self.proxy = proxy
        started = await self.ask("POST", "/kernels/api/kernels")
        self.assertIn(b"201 Created", started)
        kernel_id = started.rpartition(b'{"id":"')[2].partition(b'"')[0].decode()
        client = await self.channels(kernel_id)
        self.assertEqual(stdout(await client.execute("through nginx")), "through nginx")
        stopped = await self.ask("DELETE", f"/kernels/api/kernels/{kernel_id}")
        self.assertIn(b"204 No Content", stopped)
        self.assertEqual((await client.when_closed())[0], 1000)

    async def ask(self, method: str, path: str) -> bytes:
        """
        Ask nginx for something.
        """
        protocol: Any = await UNIXClientEndpoint(reactor, str(self.proxy)).connect(
            Factory.forProtocol(_Answer)
        )
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        protocol.transport.write(f"{head}Content-Length: 0\r\n\r\n".encode())
        await until(lambda: protocol.lost, "nginx answers")
        return bytes(protocol.received)

    async def channels(self, kernel_id: str) -> Channels:
        """
        Open a WebSocket through nginx.
        """
        client: Any
        factory = WebSocketClientFactory(
            f"ws://localhost/kernels/api/kernels/{kernel_id}/channels", reactor=reactor
        )
        factory.protocol = Channels
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        client = await UNIXClientEndpoint(reactor, str(self.proxy)).connect(factory)
        self.addCleanup(self._drop, client)
        await until(lambda: client.opened or client.closed, "the WebSocket opens")
        self.assertTrue(client.opened, f"refused: {client.closed}")
        return client  # type: ignore[no-any-return]

    async def _end(self, process: Any) -> None:
        process.signalProcess("TERM")
        await until(lambda: process.pid is None, "nginx ends")


class UnitTests(GatewayTestCase):
    """
    ``etc/systemd``.
    """

    if VERIFY is None:
        skip = "there is no systemd here"

    async def test_units(self) -> None:
        """
        systemd finds nothing wrong with them.
        """
        copies = []
        for unit in sorted((ETC / "systemd").iterdir()):
            # It looks for the program, which is elsewhere here.
            copy = Path(self.home / unit.name)
            copy.write_text(unit.read_text().replace("/opt/kgd/bin/kgd", "/bin/true"))
            copies.append(str(copy))
        self.assertGreaterEqual(len(copies), 3)
        assert VERIFY is not None
        said, errors, status = await getProcessOutputAndValue(VERIFY, ["verify", *copies])
        self.assertEqual((said, errors, status), (b"", b"", 0))
