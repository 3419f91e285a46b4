"""
Kernels over Unix sockets and over TCP, encrypted and not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import zmq
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.threads import deferToThread

from kgd.kernels.local.ports import ephemeral_ports
from tests.support.gateway import (
    TINY_KERNEL,
    Channels,
    GatewayProcess,
    GatewayTestCase,
    children_of,
    http,
    listening,
    stdout,
    until,
)

PYTHON = "--default-kernel-name=python3"
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
# Somebody else.
NOBODY = 65534


class TransportTestCase(GatewayTestCase):
    """
    Looks at what kernels were told.
    """

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        ready = super().setUp()
        self.add_tiny("able", supported_encryption=["curve"])
        return ready

    def add_tiny(self, name: str, **metadata: Any) -> None:
        """
        Install the tiny kernel, with something to say about itself.
        """
        argv = [sys.executable, "-I", str(TINY_KERNEL), "-f", "{connection_file}"]
        self.add_spec(name, argv, metadata=metadata)

    def info(self, kernel_id: str) -> dict[str, Any]:
        """
        What is in a kernel's connection file.
        """
        (path,) = self.runtime.rglob(f"kernel-{kernel_id}.json")
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def sockets(self) -> list[str]:
        """
        The names of all Unix sockets there are.
        """
        return sorted(path.name for path in self.runtime.rglob("*") if path.is_socket())

    async def usable(self, client: Channels, word: str = "hi") -> None:
        """
        The kernel does what it is told.
        """
        self.assertEqual(stdout(await client.execute(f"print('{word}')")), f"{word}\n")

    def pids(self, gateway: GatewayProcess) -> list[int]:
        """
        The kernels' processes.
        """
        assert gateway.transport is not None
        return children_of(gateway.transport.pid)


class SocketsTests(TransportTestCase):
    """
    Over Unix sockets.
    """

    async def test_by_default(self) -> None:
        """
        ipykernel is reached over Unix sockets only, its heartbeat, too.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await self.usable(client)
        info = self.info(kernel_id)
        self.assertEqual(info["transport"], "ipc")
        self.assertEqual([info[f"{channel}_port"] for channel in CHANNELS], [1, 2, 3, 4, 5])
        self.assertEqual(self.sockets(), ["1-1", "1-2", "1-3", "1-4", "1-5"])
        (pid,) = self.pids(gateway)
        # That one is ipykernel's own, for processes that it starts.
        self.assertLessEqual(len(listening(pid)), 1)
        self.assertEqual(listening(gateway.transport.pid), [gateway.port])  # type: ignore[union-attr]
        self.assertEqual(await deferToThread(self.beat, info), b"ping")

    def beat(self, info: dict[str, Any]) -> bytes:
        """
        Ask the heartbeat.
        """
        with zmq.Context() as context, context.socket(zmq.REQ) as heart:
            heart.set(zmq.LINGER, 0)
            heart.set(zmq.RCVTIMEO, 10_000)
            heart.connect(f"ipc://{info['ip']}-{info['hb_port']}")
            heart.send(b"ping")
            return heart.recv()

    async def test_no_port(self) -> None:
        """
        A kernel that opens none of its own has no TCP port at all.
        """
        gateway = await self.gateway("--transport=ipc")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id, v1=True)
        self.assertEqual(stdout(await client.execute("hi")), "hi")
        self.assertEqual(self.info(kernel_id)["transport"], "ipc")
        (pid,) = self.pids(gateway)
        self.assertEqual(listening(pid), [])

    async def test_said_by_the_kernelspec(self) -> None:
        """
        A kernelspec can say that its kernel can do it; of others it is not assumed.
        """
        self.add_tiny("modern", supported_transports=["tcp", "ipc"])
        gateway = await self.gateway()
        for name, transport in (("modern", "ipc"), ("tiny", "tcp")):
            kernel_id = await self.start_kernel(gateway.port, name=name)
            client = await self.connect(gateway.port, kernel_id)
            self.assertEqual(stdout(await client.execute("hi")), "hi")
            self.assertEqual(self.info(kernel_id)["transport"], transport)

    async def test_tcp(self) -> None:
        """
        Where TCP is wanted, there are no Unix sockets, and ports are loopback's, and none that the
        system may give to others at any moment.
        """
        gateway = await self.gateway(PYTHON, "--transport=tcp")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await self.usable(client)
        info = self.info(kernel_id)
        self.assertEqual((info["transport"], self.sockets()), ("tcp", []))
        (pid,) = self.pids(gateway)
        ports = {info[f"{channel}_port"] for channel in CHANNELS}
        self.assertLessEqual(ports, {*listening(pid)})
        self.assertEqual(info["ip"], "127.0.0.1")
        first, last = ephemeral_ports()
        self.assertFalse([port for port in ports if first <= port <= last])
        addresses = [
            line.split()[1].rpartition(":")
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
        bound = {address for address, _, port in addresses if int(port, 16) in ports}
        self.assertEqual(bound, {"0100007F"})

    async def test_private(self) -> None:
        """
        Nobody else can see or use the sockets.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        await self.usable(await self.connect(gateway.port, kernel_id))
        path = Path(self.info(kernel_id)["ip"] + "-1")
        self.assertTrue(path.is_socket())
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode) & 0o077, 0)
        if os.geteuid() == 0:
            # What is above it is somebody else's to protect.
            self.runtime.chmod(0o755)
            child = os.fork()
            if not child:
                os._exit(self.admitted(path))
            self.assertEqual(os.waitpid(child, 0)[1], 0)

    def admitted(self, path: Path) -> int:
        """
        :return: How much somebody else can do with a socket; to be called in a child.
        """
        count = 0
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            list(self.runtime.iterdir())
            actions: list[Any] = [socket.socket(socket.AF_UNIX).connect, os.stat, os.unlink]
            for action in actions:
                with contextlib.suppress(PermissionError):
                    action(str(path))
                    count += 1
        except BaseException:
            return 100
        return count

    async def test_restart(self) -> None:
        """
        A kernel keeps its sockets when it is restarted, and its clients their connections.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await self.usable(client)
        info = self.info(kernel_id)
        for number in range(2):
            response = await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/restart")
            self.assertEqual(response.code, 200, response.body)
            await self.usable(client, f"again {number}")
            self.assertEqual(self.info(kernel_id), info)

    async def test_killed(self) -> None:
        """
        The files that a killed kernel leaves do not confuse its successor, nor does a child of it
        that still holds the sockets.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        for number in range(3):
            code = "import os, signal\nif not os.fork():\n    signal.pause()\n    os._exit(0)"
            await client.execute(code)
            (pid,) = self.pids(gateway)
            self.addCleanup(self.kill_group, pid)
            os.kill(pid, signal.SIGKILL)
            await client.status("restarting")
            del client.messages[:]
            await self.usable(client, f"again {number}")
        self.assertEqual(self.sockets(), ["1-1", "1-2", "1-3", "1-4", "1-5"])

    def kill_group(self, pid: int) -> None:
        """
        End what a process has left.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    async def test_five_at_once(self) -> None:
        """
        Several kernels that start together do not get in each other's way.
        """
        gateway = await self.gateway(PYTHON)

        async def use(number: int) -> None:
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id, v1=bool(number % 2))
            await client.execute(f"x = {number}")
            await self.usable(client, str(number))
            self.assertEqual(stdout(await client.execute("print(x)")), f"{number}\n")

        done = [ensureDeferred(use(number)) for number in range(5)]
        await DeferredList(done, fireOnOneErrback=True, consumeErrors=True)
        self.assertEqual(len(self.sockets()), 25)

    async def test_gone(self) -> None:
        """
        With a kernel go its sockets; with a gateway that was killed, at the next one's start.
        """
        gateway = await self.gateway("--transport=ipc")
        ids = [await self.start_kernel(gateway.port) for _ in range(2)]
        for kernel_id in ids:
            await (await self.connect(gateway.port, kernel_id)).execute("hi")
        self.assertEqual(len(self.sockets()), 10)
        await http(gateway.port, "DELETE", f"/api/kernels/{ids[0]}")
        self.assertEqual(self.sockets(), ["2-1", "2-2", "2-3", "2-4", "2-5"])
        (pid,) = self.pids(gateway)
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.kill_group, pid)
        await gateway.stop(signal.SIGKILL)
        self.assertEqual(len(self.sockets()), 5)
        await self.gateway()
        self.assertEqual(self.sockets(), [])

    async def test_too_long(self) -> None:
        """
        Where the paths are too long for sockets, TCP takes their place, unless it must not.
        """
        env = {"JUPYTER_RUNTIME_DIR": str(self.runtime / ("long" * 25))}
        gateway = await self.gateway(PYTHON, env=env)
        kernel_id = await self.start_kernel(gateway.port)
        await self.usable(await self.connect(gateway.port, kernel_id))
        self.assertEqual(self.info(kernel_id)["transport"], "tcp")
        self.assertIn("until then, TCP is used", gateway.output)
        await gateway.stop()
        gateway = await self.gateway("--transport=ipc", env=env)
        response = await http(gateway.port, "POST", "/api/kernels", {})
        self.assertEqual(response.code, 500)
        self.assertIn("set JUPYTER_RUNTIME_DIR to a directory", response.json["message"])


class EncryptionTests(TransportTestCase):
    """
    With CurveZMQ.
    """

    async def assert_secret(self, gateway: GatewayProcess, kernel_id: str) -> None:
        """
        A kernel's keys are in its connection file and nowhere else.
        """
        info = self.info(kernel_id)
        (pid,) = self.pids(gateway)
        shown = gateway.output.encode()
        for name in ("environ", "cmdline"):
            shown += Path(f"/proc/{pid}/{name}").read_bytes()
        for path in ("/api/kernels", f"/api/kernels/{kernel_id}", "/api/kernelspecs"):
            shown += (await http(gateway.port, "GET", path)).body
        for name in ("key", "curve_publickey", "curve_secretkey"):
            self.assertNotIn(info[name].encode(), shown)

    async def test_ipykernel(self) -> None:
        """
        ipykernel encrypts, over either transport; so do its next processes.
        """
        for transport in ("tcp", "ipc"):
            gateway = await self.gateway(
                PYTHON,
                f"--transport={transport}",
                "--transport-encryption=required",
                "--log-level=debug",
            )
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id)
            await self.usable(client)
            info = self.info(kernel_id)
            self.assertEqual((info["transport"], len(info["curve_secretkey"])), (transport, 40))
            await self.assert_secret(gateway, kernel_id)
            (pid,) = self.pids(gateway)
            os.kill(pid, signal.SIGKILL)
            await client.status("restarting")
            await self.usable(client, "again")
            self.assertEqual(self.info(kernel_id), info)
            self.assertEqual(
                (await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")).code, 204
            )
            await gateway.stop()

    async def keys(self, port: int, name: str) -> str | None:
        """
        Start a tiny kernel, use it, and return its secret key.
        """
        kernel_id = await self.start_kernel(port, name=name)
        client = await self.connect(port, kernel_id)
        self.assertEqual(stdout(await client.execute("hi")), "hi")
        return self.info(kernel_id).get("curve_secretkey")

    async def test_disabled(self) -> None:
        """
        Without the option there are no keys.
        """
        gateway = await self.gateway()
        self.assertIsNone(await self.keys(gateway.port, "able"))

    async def test_auto(self) -> None:
        """
        If it is left to the kernelspecs, those get keys that say so; each kernel its own.
        """
        gateway = await self.gateway("--transport-encryption=auto")
        keys = [await self.keys(gateway.port, name) for name in ("able", "able", "tiny")]
        self.assertIsNone(keys[2])
        self.assertEqual(len({*keys}), 3)

    async def test_required(self) -> None:
        """
        Where it must be, others are refused and told why.
        """
        gateway = await self.gateway("--transport-encryption=required")
        self.assertIsNotNone(await self.keys(gateway.port, "able"))
        response = await http(gateway.port, "POST", "/api/kernels", {"name": "tiny"})
        self.assertEqual(response.code, 500)
        self.assertIn("the kernelspec tiny does not say", response.json["message"])
        self.assertEqual(len((await http(gateway.port, "GET", "/api/kernels")).json), 1)
        await until(lambda: len(self.pids(gateway)) == 1, "there is one process")

    async def test_prespawn(self) -> None:
        """
        Nor can they be kept spare: then the gateway does not start.
        """
        gateway = self.launch(
            "--port=0", "--transport-encryption=required", "--default-kernel-name=tiny",
            "--prespawn-count=1",
        )  # fmt: skip
        self.assertEqual(await gateway.ended(), 1)
        self.assertIn("cannot start: A kernel could not be prespawned", gateway.output)
        self.assertNotIn("Traceback", gateway.output)
