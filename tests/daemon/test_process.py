"""
The daemon as a process: what is left of it when it is killed, as whom it runs, and what happens
when there is no room for more.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.support.gateway import (
    TINY_KERNEL,
    WATCHDOG,
    GatewayProcess,
    GatewayTestCase,
    alive,
    children_of,
    http,
    stdout,
    until,
)

# A kernel that does not die of SIGTERM, and has a child in its process group that does not either.
STUBBORN = """
import os, runpy, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    while True:
        signal.pause()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def pid_of(gateway: GatewayProcess) -> int:
    """
    :return: Its process id.
    """
    assert gateway.transport is not None
    return int(gateway.transport.pid)


def group_of(pgid: int) -> list[int]:
    """
    :return: The living processes of a process group.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == pgid and fields[0] not in ("Z", "X"):
                    found.append(int(entry.name))
    return found


def watchdogs_of(pid: int) -> list[int]:
    """
    :return: The watchdogs that a process has started, dead ones too.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and WATCHDOG in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def kill_group(pgid: int) -> None:
    """
    End what may be left of a process group.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pgid, signal.SIGKILL)


def processor_time(pid: int) -> float:
    """
    :return: How many seconds of it a process has used.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def post_kernel(connection: HTTPConnection) -> tuple[int, str]:
    """
    Ask for a kernel; blocks.
    """
    connection.request("POST", "/api/kernels", "{}")
    response = connection.getresponse()
    return response.status, response.read().decode()


class KilledTests(GatewayTestCase):
    """
    ``kill -9`` of the gateway.
    """

    async def test_no_orphans(self) -> None:
        """
        After a moment there is neither a kernel left, not even one that ignores SIGTERM or stands
        still, nor its child, nor a file, nor the watchdog.
        """
        argv = [sys.executable, "-c", STUBBORN, str(TINY_KERNEL), "-f", "{connection_file}"]
        self.add_spec("stubborn", argv)
        gateway = await self.gateway()
        for name in ("tiny", "stubborn", "tiny"):
            await self.start_kernel(gateway.port, name=name)
        groups = children_of(pid_of(gateway))
        for group in groups:
            self.addCleanup(kill_group, group)
        await until(
            lambda: sorted(len(group_of(group)) for group in groups) == [1, 1, 2],
            "all kernels and the child are there",
        )
        os.killpg(groups[0], signal.SIGSTOP)
        (watchdog,) = watchdogs_of(pid_of(gateway))
        began = reactor.seconds()
        await gateway.stop(signal.SIGKILL)
        await until(lambda: not any(map(group_of, groups)), "the kernels are gone")
        self.assertLess(reactor.seconds() - began, 5)
        await until(lambda: not alive(watchdog), "the watchdog is gone")
        self.assertEqual([*self.runtime.glob("kgd/*")], [])

    async def test_watchdog(self) -> None:
        """
        It has none of the gateway's sockets and files, ends with the gateway, and when it is killed
        another takes its place and knows the same.
        """
        gateway = await self.gateway()
        await self.start_kernel(gateway.port)
        (kernel,) = children_of(pid_of(gateway))
        self.addCleanup(kill_group, kernel)
        (first,) = watchdogs_of(pid_of(gateway))
        files = {entry.name: os.readlink(entry) for entry in Path(f"/proc/{first}/fd").iterdir()}
        self.assertEqual(set(files), {"0", "1", "2"})
        self.assertTrue(files["0"].startswith("pipe:"), files)
        self.assertEqual(Path(f"/proc/{first}/environ").read_bytes(), b"")
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(first, signum)
        self.assertEqual(watchdogs_of(pid_of(gateway)), [first])
        os.kill(first, signal.SIGKILL)
        await until(
            lambda: watchdogs_of(pid_of(gateway)) not in ([], [first]), "there is another watchdog"
        )
        self.assertEqual(len(watchdogs_of(pid_of(gateway))), 1)
        await gateway.stop(signal.SIGKILL)
        await until(lambda: not alive(kernel), "the kernel is gone")

    async def test_orderly_end(self) -> None:
        """
        When the gateway ends in order, the watchdog is gone before it.
        """
        gateway = await self.gateway()
        (watchdog,) = watchdogs_of(pid_of(gateway))
        self.assertEqual(await gateway.stop(), 0)
        self.assertFalse(alive(watchdog))
        self.assertNotIn("watchdog", gateway.output)

    async def test_files_are_swept(self) -> None:
        """
        If the watchdog is killed too, the next gateway removes the files.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        (kernel,) = children_of(pid_of(gateway))
        self.addCleanup(kill_group, kernel)
        (watchdog,) = watchdogs_of(pid_of(gateway))
        gateway.kill(signal.SIGSTOP)
        os.kill(watchdog, signal.SIGKILL)
        await gateway.stop(signal.SIGKILL)
        self.assertTrue(any(kernel_id in name for name in self.leftovers()))
        gateway = await self.gateway()
        self.assertFalse(any(kernel_id in name for name in self.leftovers()))


class FewDescriptorsTests(GatewayTestCase):
    """
    Too few open files.
    """

    def few(self, count: int, soft: int | None = None) -> tuple[str, ...]:
        """
        :return: What starts a gateway with so many.
        """
        lower = f"ulimit -Sn {soft or count} && ulimit -Hn {count}"
        return ("/bin/sh", "-c", f'{lower} && exec "$@"', "sh")

    async def test_complaint(self) -> None:
        """
        A limit that is too low for the kernels that there may be is said in one line; one that is
        not is not.
        """
        for options, says in (
            (("--max-kernels=100",), "--max-kernels=100 needs about 1664"),
            (("--max-kernels=10",), ""),
            ((), "only 256 files may be open at a time, which is very little"),
        ):
            gateway = await self.gateway(*options, through=self.few(256))
            lines = [line for line in gateway.output.splitlines() if "files may be open" in line]
            self.assertEqual(len(lines), 1 if says else 0, gateway.output)
            self.assertIn(says, "".join(lines))
            await gateway.stop()

    async def test_kernels_have_the_usual_limit(self) -> None:
        """
        The gateway takes what it may, kernels get what was there before.
        """
        say = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)"
        self.add_spec("say", [sys.executable, "-c", say, "{connection_file}"])
        gateway = await self.gateway(through=self.few(2000, 1000))
        limits = Path(f"/proc/{pid_of(gateway)}/limits").read_text()
        self.assertRegex(limits, r"Max open files +2000 +2000")
        await self.start_kernel(gateway.port, name="say")
        await until(lambda: "(1000, 2000)" in gateway.output, lambda: gateway.output)

    async def test_running_out(self) -> None:
        """
        When hundreds connect at once, what is open goes on, without a spinning reactor and with one
        line in the log; when they have gone, everybody is served again.
        """
        gateway = await self.gateway(through=self.few(256))
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("hello")
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(400)]
        for each in crowd:
            self.addCleanup(each.close)
        await until(lambda: "almost all of the 256 files" in gateway.output, lambda: gateway.output)
        used = processor_time(pid_of(gateway))
        for number in range(20):
            self.assertEqual(stdout(await client.execute(f"hello {number}")), f"hello {number}")
        self.assertLess(processor_time(pid_of(gateway)) - used, 1.0)
        for each in crowd:
            each.close()
        another = await self.start_kernel(gateway.port)
        other = await self.connect(gateway.port, another)
        self.assertEqual(stdout(await other.execute("hello")), "hello")
        self.assertIn("new connections are accepted again", gateway.output)
        self.assertEqual(gateway.output.count("almost all of"), 1)
        self.assertNotIn("EMFILE", gateway.output)
        self.assertNotIn("Traceback", gateway.output)
        self.assertEqual(stdout(await client.execute("bye")), "bye")

    async def test_kernels_and_clients(self) -> None:
        """
        When kernels and clients take all there is, those that find none are told so, and those
        that are there go on.
        """
        gateway = await self.gateway(through=self.few(128))
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("hello")
        # These are there before anything is scarce.
        early = [HTTPConnection("127.0.0.1", gateway.port, timeout=30) for _ in range(20)]
        for each in early:
            self.addCleanup(each.close)
            each.connect()
        for each in early:
            status, answer = await deferToThread(post_kernel, each)
            if status != 201:
                break
        self.assertEqual(status, 500)
        self.assertIn("open files", answer)
        self.assertEqual(stdout(await client.execute("still here")), "still here")
        self.assertNotIn("Traceback", gateway.output)


class KeptTests(GatewayTestCase):
    """
    ``--keep-kernels``.
    """

    async def test_kept(self) -> None:
        """
        However the gateway ends, its kernels run on and can be reached with their connection files,
        which the next gateway leaves alone as long as they run.
        """
        for signum, status in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
            gateway = await self.gateway("--keep-kernels")
            self.assertEqual(watchdogs_of(pid_of(gateway)), [])
            stays, ends = [await self.start_kernel(gateway.port) for _ in range(2)]
            groups = children_of(pid_of(gateway))
            for group in groups:
                self.addCleanup(kill_group, group)
            for kernel_id in (stays, ends):
                client = await self.connect(gateway.port, kernel_id)
                await client.execute("hello")
            records = self.records()
            self.assertEqual(set(records.values()), set(groups))
            self.assertEqual(await gateway.stop(signum), status, gateway.output)
            os.kill(records[ends], signal.SIGKILL)
            await until(lambda: not alive(records[ends]), "one has ended")  # noqa: B023
            gateway = await self.gateway()
            self.assertIn("has left kernels running", gateway.output)
            left = [Path(name).name for name in self.leftovers()]
            self.assertEqual([name for name in left if ends in name], [])
            self.assertIn(f"kernel-{stays}.json", left)
            self.assertTrue(alive(records[stays]))
            await gateway.stop()
            self.assertEqual(set(self.records()), {stays})
            kill_group(records[stays])
            await until(lambda: not alive(records[stays]), "the other has ended")  # noqa: B023
            await (await self.gateway()).stop()
            self.assertEqual(self.leftovers(), [])

    def records(self) -> dict[str, int]:
        """
        :return: Kernel id to process id, of those that are kept.
        """
        return {
            file.name.removeprefix("kernel-").removesuffix(".process"): json.loads(
                file.read_text()
            )["pid"]
            for file in self.runtime.glob("kgd/*/kernel-*.process")
        }

    async def test_output(self) -> None:
        """
        What a kept kernel prints goes to a file, so that it does not die of printing.
        """
        talker = "import os, time\nwhile True:\n    os.write(1, b'tick\\n')\n    time.sleep(0.01)"
        self.add_spec("talker", [sys.executable, "-c", talker, "{connection_file}"])
        gateway = await self.gateway("--keep-kernels")
        kernel_id = await self.start_kernel(gateway.port, name="talker")
        (pid,) = children_of(pid_of(gateway))
        self.addCleanup(kill_group, pid)
        await until(lambda: [*self.runtime.glob("kgd/*/*.log")], "it has a file")
        (log,) = self.runtime.glob(f"kgd/*/kernel-{kernel_id}.log")
        await gateway.stop()
        size = log.stat().st_size
        await until(lambda: log.stat().st_size > size, "it prints on")
        self.assertTrue(alive(pid))

    async def test_stopped(self) -> None:
        """
        A kernel that a client stops is not kept, nor is anything of it.
        """
        gateway = await self.gateway("--keep-kernels")
        kernel_id = await self.start_kernel(gateway.port)
        response = await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204)
        self.assertEqual(await gateway.stop(), 0)
        self.assertEqual(self.leftovers(), [])
