"""
Bad luck: kernels that misbehave, full disks, clocks that jump, signals at the wrong moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest

from tests.support.gateway import (
    TINY_KERNEL,
    GatewayProcess,
    GatewayTestCase,
    alive,
    children_of,
    http,
    stdout,
    until,
)

# Never opens its ports, and does not listen to anybody.
MUTE = """
import signal
for signum in (signal.SIGTERM, signal.SIGINT):
    signal.signal(signum, signal.SIG_IGN)
while True:
    signal.pause()
"""
# Has the ports of a kernel, and speaks something else there.
NOISE = """
import json, os, socket, sys, threading
info = json.load(open(sys.argv[1]))
def talk(port):
    server = socket.create_server((info["ip"], port))
    while True:
        client = server.accept()[0]
        try:
            # The greeting of ZeroMQ, maybe, and then nothing that makes sense.
            client.sendall(bytes([255] + 8 * [0] + [127, 3]) if port % 2 else b"HTTP/1.1 200\\n")
            for _ in range(200):
                client.sendall(os.urandom(10000))
            client.close()
        except OSError:
            pass
for name in ("shell", "iopub", "stdin", "control", "hb"):
    threading.Thread(target=talk, args=(info[name + "_port"],)).start()
"""
# A kernel that also says what no kernel should.
BABBLE = """
import runpy, sys, zmq
sys.argv = sys.argv[1:]
tiny = runpy.run_path(sys.argv[0])
kernel = tiny["TinyKernel"](sys.argv[2])
garbage = [
    [b""], [b"garbage"], [b"<IDS|MSG>"], [b"a", b"<IDS|MSG>"], [b"a", b"<IDS|MSG>", b"0" * 64],
    [b"a", b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"], [b"x"] * 1000, [bytes(100000)],
    [b"status", b"<IDS|MSG>", b"", b"[", b"\\xff", b"null", b"1e999"],
    kernel.frames("status", b"{}", b"[]"), kernel.frames("status", b"7", b"{}")[:-2],
    kernel.frames("status", b"{}", {"execution_state": ["odd"]}),
]
print_ = kernel.print
def babble(parent, text):
    for frames in garbage * 20:
        kernel.sockets["iopub"].send_multipart(frames)
    print_(parent, text)
kernel.print = babble
kernel.run()
"""
# Clocks that a test sets: two numbers in a file are added to what time.time() and time.monotonic()
# say.
CLOCKS = """
import mmap, os, struct, time
with open(os.environ["TEST_CLOCKS"], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 16)
def shifted(clock, at):
    return lambda: clock() + struct.unpack_from("d", memory, at)[0]
time.time = shifted(time.time, 0)
time.monotonic = shifted(time.monotonic, 8)
"""
FLOOD = json.dumps({"do": "flood", "n": 1_000_000, "size": 1000})
HOUR = 3600.0


def pid_of(gateway: GatewayProcess) -> int:
    """
    :return: Its process id.
    """
    assert gateway.transport is not None
    return int(gateway.transport.pid)


def open_files(gateway: GatewayProcess) -> int:
    """
    :return: How many it has.
    """
    return len(os.listdir(f"/proc/{pid_of(gateway)}/fd"))


def figures(gateway: GatewayProcess) -> tuple[int, int, int]:
    """
    :return: Its memory in KiB, and how many descriptors and threads it has.
    """
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid_of(gateway)}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]), open_files(gateway), int(fields["Threads"])


class FaultTestCase(GatewayTestCase):
    """
    Tests that look at what is left.
    """

    timeout = 180

    async def nothing_left(self, gateway: GatewayProcess, files: int) -> None:
        """
        Wait until a gateway without kernels has no process, no file and no descriptor of one.

        :param files: How many descriptors it had before.
        """
        await until(
            lambda: not children_of(pid_of(gateway)),
            lambda: f"no process is left: {children_of(pid_of(gateway))}",
        )
        await until(
            lambda: not [name for name in self.leftovers() if not name.endswith("lock")],
            lambda: f"no file is left: {self.leftovers()}",
        )
        await until(
            lambda: open_files(gateway) <= files,
            lambda: f"{open_files(gateway)} descriptors, not {files}",
        )
        self.assertNotIn("Traceback", gateway.output)

    async def within(self, seconds: float, waiting: Any) -> Any:
        """
        Wait for something, but not for longer.
        """
        return await ensureDeferred(waiting).addTimeout(seconds, reactor)


class KernelFaultTests(FaultTestCase):
    """
    Kernels that do not do what kernels do.
    """

    def add_faulty(self) -> None:
        """
        Install a kernelspec for each fault.
        """
        tiny = [str(TINY_KERNEL), "-f", "{connection_file}"]
        for name, argv in (
            ("mute", ["-c", MUTE, "{connection_file}"]),
            ("noise", ["-c", NOISE, "{connection_file}"]),
            ("exits", ["-c", "raise SystemExit(3)", "{connection_file}"]),
            ("babbles", ["-c", BABBLE, *tiny]),
        ):
            self.add_spec(name, [sys.executable, *argv])

    async def test_every_call_ends(self) -> None:
        """
        Whatever is wrong with a kernel, everything that can be asked of it is answered in bounded
        time, others do not notice, and when it has been deleted nothing is left.
        """
        self.add_faulty()
        gateway = await self.gateway(
            "--kernel-info-timeout=1", "--restart-limit=1", "--ws-start-wait=0"
        )
        port = gateway.port
        healthy = await self.connect(port, await self.start_kernel(port))
        await healthy.execute("hello")
        (healthy_pid,) = children_of(pid_of(gateway))
        own, files = len(self.leftovers()), open_files(gateway)
        for kind in ("stopped", "mute", "noise", "exits", "babbles", "killed"):
            name = kind if (self.specs / kind).exists() else "tiny"
            kernel_id = await self.start_kernel(port, name=name)
            client = await self.connect(port, kernel_id)
            if kind == "stopped":
                await client.execute("hello")
            if kind in ("stopped", "killed"):
                (pid,) = {*children_of(pid_of(gateway))} - {healthy_pid}
                os.kill(pid, signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
            client.request("execute_request", {"code": "x"})
            began = reactor.seconds()
            path = f"/api/kernels/{kernel_id}"
            for method, what in (
                ("GET", path), ("POST", f"{path}/interrupt"), ("POST", f"{path}/restart"),
                ("GET", "/api/kernels"), ("DELETE", path),
            ):  # fmt: skip
                answer = await self.within(15, http(port, method, what))
                self.assertLess(answer.code, 504, (kind, what))
            self.assertLess(reactor.seconds() - began, 25, kind)
            # It may have been restarted, but is gone now, or had died before.
            self.assertEqual((await http(port, "GET", path)).code, 404, kind)
            await client.when_closed()
            self.assertEqual(stdout(await healthy.execute(kind)), kind)
            await until(
                lambda: len(children_of(pid_of(gateway))) == 1 and len(self.leftovers()) == own,
                lambda: f"only the healthy kernel is left: {self.leftovers()}",
            )
            await until(lambda: open_files(gateway) <= files, "its descriptors are closed")
        self.assertNotIn("Traceback", gateway.output)

    async def test_garbage(self) -> None:
        """
        What a kernel publishes that makes no sense reaches nobody, floods no log, and what makes
        sense arrives.
        """
        self.add_faulty()
        gateway = await self.gateway()
        client = await self.connect(
            gateway.port, await self.start_kernel(gateway.port, name="babbles")
        )
        for number in range(10):
            self.assertEqual(stdout(await client.execute(f"hello {number}")), f"hello {number}")
        self.assertEqual(gateway.output.count("dropped a message on iopub"), 1)
        self.assertNotIn("Traceback", gateway.output)

    async def test_crash_loop(self) -> None:
        """
        A kernel that dies of every request is restarted so often and no more, every request is
        answered, and the end is told.
        """
        gateway = await self.gateway("--restart-limit=2")
        # What ZeroMQ opens for the first kernel stays.
        kernel_id = await self.start_kernel(gateway.port)
        await (await self.connect(gateway.port, kernel_id)).execute("hello")
        await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        await until(lambda: not children_of(pid_of(gateway)), "it is gone")
        files = open_files(gateway)
        client = await self.connect(gateway.port, await self.start_kernel(gateway.port))
        count = 0
        while client.closed is None:
            msg_id = client.request("execute_request", {"code": '{"do": "die", "code": 7}'})
            await until(
                lambda m=msg_id: client.of(m, "execute_reply") or client.closed,  # type: ignore[misc]
                "it is answered",
            )
            count += bool(client.of(msg_id, "execute_reply"))
            self.assertLess(count, 10)
            if any(each.content.get("execution_state") == "dead" for each in client.messages):
                await client.when_closed()
        # The first process, and two more.
        self.assertEqual(count, 3)
        states = [each.content.get("execution_state") for each in client.messages]
        self.assertEqual((states.count("restarting"), states.count("dead")), (2, 1))
        code, reason = await client.when_closed()
        self.assertEqual(code, 1000)
        self.assertIn("exit code 7", reason)
        await self.nothing_left(gateway, files)


class SignalTests(FaultTestCase):
    """
    SIGTERM and SIGINT at all times.
    """

    async def stopped(self, gateway: GatewayProcess, signals: Iterable[int]) -> None:
        """
        Send signals, and expect a good end soon.
        """
        began = reactor.seconds()
        for signum in signals:
            gateway.kill(signum)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        self.assertLess(reactor.seconds() - began, 5)
        self.assertEqual(self.leftovers(), [])
        self.assertEqual([*self.runtime.glob("kgd/*")], [])
        self.assertNotIn("Traceback", gateway.output)

    def catches(self, gateway: GatewayProcess) -> bool:
        """
        Whether it has a handler for SIGTERM.
        """
        if b"\0-m\0kgd\0" not in Path(f"/proc/{pid_of(gateway)}/cmdline").read_bytes():
            # It is still what it was forked from.
            return False
        status = Path(f"/proc/{pid_of(gateway)}/status").read_text()
        (caught,) = (line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    async def test_while_starting(self) -> None:
        """
        From the moment when it handles signals at all until it is ready, being told to stop leads
        to status 0, soon, and nothing is left.
        """
        self.add_spec("mute", [sys.executable, "-c", MUTE, "{connection_file}"])
        begun = lambda gateway: [*self.runtime.glob("kgd/*/lock")]  # noqa: E731
        spawned = lambda gateway: children_of(pid_of(gateway))  # noqa: E731
        for moment, signals in (
            (self.catches, [signal.SIGTERM]),
            (self.catches, [signal.SIGINT]),
            (begun, [signal.SIGTERM, signal.SIGINT]),
            (spawned, [signal.SIGINT, signal.SIGINT]),
        ):
            gateway = self.launch("--port=0", "--default-kernel-name=mute", "--prespawn-count=2")
            await until(
                lambda g=gateway, m=moment: m(g) or g.status is not None,  # type: ignore[misc]
                "the moment comes",
            )
            self.assertIsNone(gateway.status, gateway.output)
            children = children_of(pid_of(gateway))
            await self.stopped(gateway, signals)
            self.assertNotIn("is available at", gateway.output)
            self.assertEqual([pid for pid in children if alive(pid)], [])

    async def test_under_load(self) -> None:
        """
        While kernels flood, clients do not read, and others are being started, stopped and
        restarted, it ends within five seconds, and who listens is told.
        """
        gateway = await self.gateway()
        port = gateway.port
        ids = [await self.start_kernel(port) for _ in range(4)]
        clients = [await self.connect(port, kernel_id, v1=True) for kernel_id in ids]
        for client in clients:
            client.request("execute_request", {"code": FLOOD})
        await until(lambda: all(len(each.messages) > 20 for each in clients), "all flood")
        clients[0].transport.pauseProducing()  # type: ignore[union-attr]
        calls = [
            ensureDeferred(http(port, method, path))
            for method, path in (
                *[("POST", "/api/kernels")] * 5,
                ("POST", f"/api/kernels/{ids[1]}/restart"),
                ("DELETE", f"/api/kernels/{ids[2]}"),
            )
        ]
        children = children_of(pid_of(gateway))
        await self.stopped(gateway, (signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
        self.assertEqual([pid for pid in children if alive(pid)], [])
        code, reason = await clients[3].when_closed()
        self.assertEqual((code, reason), (1001, "The gateway is shutting down"))
        for _, result in await DeferredList(calls, consumeErrors=True):
            del result
        clients[0].transport.resumeProducing()  # type: ignore[union-attr]


class ClockTests(FaultTestCase):
    """
    Clocks that jump.
    """

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        ready = super().setUp()
        site = self.home / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(CLOCKS)
        self.clocks = self.home / "clocks"
        self.jump(0, 0)
        self.clocks_environment = {
            "TEST_CLOCKS": str(self.clocks),
            "PYTHONPATH": f"{site}{os.pathsep}{self.environment()['PYTHONPATH']}",
        }
        return ready

    def jump(self, wall: float, monotonic: float = 0) -> None:
        """
        Set the clocks, in seconds from what they would say.
        """
        with open(self.clocks, "r+b" if self.clocks.exists() else "w+b") as file:
            file.write(struct.pack("dd", wall, monotonic))

    async def test_wall_clock(self) -> None:
        """
        When the clock is put back, what is due still happens; when it is put forward, nothing is
        culled, cut off or given up too early.
        """
        gateway = await self.gateway(
            "--cull-idle-timeout=3600", "--cull-interval=0.2", "--cull-connected",
            "--ws-ping-interval=0.2", env=self.clocks_environment,
        )  # fmt: skip
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        keep_alive = socket.create_connection(("127.0.0.1", gateway.port))
        self.addCleanup(keep_alive.close)
        for wall in (-HOUR, 48 * HOUR, 0, -48 * HOUR):
            self.jump(wall)
            pings = client.pings
            await until(lambda: client.pings > pings + 3, "timers go on")  # noqa: B023
            self.assertIsNone(client.closed)
            self.assertEqual(stdout(await client.execute("hello")), "hello")
            listed = (await http(gateway.port, "GET", "/api/kernels")).json
            self.assertEqual([each["id"] for each in listed], [kernel_id])
        keep_alive.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        keep_alive.settimeout(30)
        self.assertEqual(keep_alive.recv(12), b"HTTP/1.1 200")
        began = reactor.seconds()
        self.assertEqual(await gateway.stop(), 0)
        self.assertLess(reactor.seconds() - began, 5)

    async def test_half_open(self) -> None:
        """
        A client that has vanished without a word is found by pings; its attachment stays, and what
        it missed is there when it comes back.
        """
        gateway = await self.gateway("--ws-ping-interval=5", env=self.clocks_environment)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id, query="?session_id=me")
        await client.execute("hello")
        msg_id = client.request(
            "execute_request", {"code": json.dumps({"do": "sleep", "seconds": 2})}
        )
        await until(lambda: client.of(msg_id, "status"), "the kernel has begun")
        client.transport.pauseProducing()  # type: ignore[union-attr]

        async def connections() -> int:
            model = (await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")).json
            return int(model["connections"])

        self.assertEqual(await connections(), 1)
        for seconds in range(0, 120, 6):
            # A ping goes, and is not answered.
            self.jump(0, seconds)
            if await connections() == 0:
                break
        self.assertEqual(await connections(), 0)
        # One that answers stays.
        again = await self.connect(gateway.port, kernel_id, query="?session_id=me")
        self.assertEqual(stdout(await again.answered(msg_id)), "slept")
        pings = again.pings
        self.jump(0, 130)
        await until(lambda: again.pings > pings, "it is asked")
        self.assertEqual(await connections(), 1)


# Its runtime directory is a disk of its own, which only it can see; and root may not write to what
# cannot be written to.
SMALL_DISK = """
set -e
mount -t tmpfs -o size=256k,mode=700 none "$1"
shift
exec setpriv --bounding-set=-dac_override --inh-caps=-dac_override "$@"
"""


class DiskTests(FaultTestCase):
    """
    Disks that are full, or cannot be written to.
    """

    async def test_full_and_read_only(self) -> None:
        """
        Who wants a kernel is told what is wrong; kernels that run go on, and can be deleted; when
        there is room again, all is as before. Logs on the same disk keep nobody from working.
        """
        unshare = shutil.which("unshare") or "/usr/bin/unshare"
        through = (unshare, "-m", "/bin/sh", "-c", SMALL_DISK, "sh", str(self.runtime))
        tried = subprocess.run([*through, "true"], capture_output=True, check=False)
        if tried.returncode:
            raise SkipTest("only root can mount a small disk")
        gateway = self.launch(
            "--port=0", "--default-kernel-name=tiny", "--list-kernels", "--access-log",
            f"--port-file={self.home / 'port'}", f"--audit-log={self.runtime / 'audit'}",
            twistd=(f"--logfile={self.runtime / 'log'}",), through=through,
        )  # fmt: skip
        await until(
            lambda: (self.home / "port").exists() or gateway.status is not None,
            lambda: gateway.output,
        )
        port = int((self.home / "port").read_text())
        # As the gateway sees it.
        disk = Path(f"/proc/{pid_of(gateway)}/root{self.runtime}")
        (own,) = disk.glob("kgd/*")
        filler = disk / "filler"

        def fill() -> None:
            with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(512))

        for spoil, mend, words in (
            (fill, filler.unlink, "No space left on device"),
            (lambda: own.chmod(0o500), lambda: own.chmod(0o700), "Permission denied"),
        ):
            stays, goes = [await self.start_kernel(port) for _ in range(2)]
            client = await self.connect(port, stays)
            spoil()
            for _ in range(3):
                response = await http(port, "POST", "/api/kernels")
                self.assertEqual(response.code, 500)
                self.assertIn(words, response.json["message"])
                self.assertIn("JUPYTER_RUNTIME_DIR", response.json["message"])
            self.assertEqual(stdout(await client.execute("hello")), "hello")
            self.assertEqual(len((await http(port, "GET", "/api/kernels")).json), 2)
            deleted = await http(port, "DELETE", f"/api/kernels/{goes}")
            self.assertEqual(deleted.code, 204)
            mend()
            other = await self.connect(port, await self.start_kernel(port))
            for each in (client, other):
                self.assertEqual(stdout(await each.execute("hello")), "hello")
            for model in (await http(port, "GET", "/api/kernels")).json:
                deleted = await http(port, "DELETE", f"/api/kernels/{model['id']}")
                self.assertEqual(deleted.code, 204)
        await until(lambda: not children_of(pid_of(gateway)), "the kernels are gone")
        log = (disk / "log").read_text()
        self.assertNotIn("Traceback", log)
        # It writes again.
        self.assertGreater(log.count("DELETE"), 2)
        self.assertEqual(await gateway.stop(), 0)
        self.assertNotIn("Traceback", gateway.output)


class RefusalTests(FaultTestCase):
    """
    What cannot work is said before anything is started.
    """

    async def test_one_line(self) -> None:
        """
        Whatever is wrong: one line that says what, a status that is not 0, and no kernel was
        started in vain.
        """
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        notebook = self.home / "broken.ipynb"
        notebook.write_text("no notebook")
        marker = self.home / "started"
        code = f"open({str(marker)!r}, 'w')"
        self.add_spec("marks", [sys.executable, "-c", code, "{connection_file}"])
        for options, expected in (
            ([f"--port={port}", "--port-retries=0"], f"port {port}"),
            ([f"--listen=tcp:{port}:interface=127.0.0.1"], f"tcp:{port}"),
            (["--listen=tcp:99999"], "99999"),
            (["--seed-uri=/no/such.ipynb"], "/no/such.ipynb"),
            (["--api=notebook_http", "--seed-uri=/no/such.ipynb"], "/no/such.ipynb"),
            (["--api=notebook_http", f"--seed-uri={notebook}"], "broken"),
        ):
            usual = (
                []
                if any(each.startswith(("--port=", "--listen=")) for each in options)
                else ["--port=0"]
            )
            gateway = self.launch(
                *usual, *options, "--default-kernel-name=marks", "--prespawn-count=1"
            )
            self.assertEqual(await gateway.ended(), 1, gateway.output)
            lines = [line for line in gateway.output.splitlines() if expected in line]
            self.assertEqual(len(lines), 1, gateway.output)
            self.assertNotIn("Traceback", gateway.output)
            self.assertFalse(marker.exists(), options)
            self.assertEqual(self.leftovers(), [])


class SoakTests(FaultTestCase):
    """
    Much the same for a long time, though here it is a short one.
    """

    async def cycle(self, port: int, number: int) -> None:
        """
        Start, use and delete a kernel.
        """
        kernel_id = await self.start_kernel(port, env={"KERNEL_NUMBER": str(number)})
        client = await self.connect(
            port, kernel_id, query=f"?session_id=s{number}", v1=bool(number % 2)
        )
        for _ in range(3):
            self.assertEqual(stdout(await client.execute("x" * 10_000)), "x" * 10_000)
        if number % 3:
            client.sendClose(1000)
            await client.when_closed()
        response = await http(port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204)
        await client.when_closed()

    async def test_create_execute_delete(self) -> None:
        """
        Memory, descriptors and threads stay as they are after the first kernels.
        """
        gateway = await self.gateway()

        async def cycles(first: int, count: int) -> tuple[int, int, int]:
            for number in range(first, first + count, 2):
                both = [ensureDeferred(self.cycle(gateway.port, number + each)) for each in (0, 1)]
                for succeeded, result in await DeferredList(both, consumeErrors=True):
                    self.assertTrue(succeeded, result)
            await until(lambda: not children_of(pid_of(gateway)), "the kernels are gone")
            await deferLater(reactor, 0)
            return figures(gateway)

        memory, files, threads = await cycles(0, 16)
        after = await cycles(16, 30)
        self.assertLess(after[0], memory + 3 * 1024)
        # ZeroMQ closes sockets in its own time.
        await until(lambda: open_files(gateway) <= files, lambda: f"{after[1]} files, not {files}")
        self.assertEqual(after[2], threads)
        self.assertEqual([name for name in self.leftovers() if not name.endswith("lock")], [])
