"""
The daemon as a process: what is left of it when it is killed, as whom it runs, and what happens
when there is no room for more.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from kgd.kernels.local.ports import is_free
from tests.support.gateway import (
    ROOT,
    TINY_KERNEL,
    GatewayProcess,
    GatewayTestCase,
    alive,
    children_of,
    http,
    stdout,
    until,
    watchdogs_of,
)

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
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


def get_kernels(connection: HTTPConnection) -> int:
    """
    List the kernels, and keep the connection.
    """
    connection.request("GET", "/api/kernels")
    response = connection.getresponse()
    response.read()
    return response.status


def end(pid: int) -> None:
    """
    Kill a process that may be there no more.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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
        # When it answers, it has told the new one about its kernel.
        await http(gateway.port, "GET", "/api")
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
            (("--max-kernels=100",), "--max-kernels=100 needs about 1748"),
            (("--max-kernels=10",), ""),
            ((), "only 256 files may be open at a time, which is too few"),
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
        When kernels and clients take all there is, further ones are told so, those that are there
        go on, and there is room for requests: to see the kernels, to restart one, and to delete
        one, after which another can be started.
        """
        gateway = await self.gateway(through=self.few(160))
        port = gateway.port
        kernel_id = await self.start_kernel(port)
        client = await self.connect(port, kernel_id, query="?session_id=me")
        await client.execute("hello")
        # They keep their connections.
        idle = [HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(10)]
        for each in idle:
            self.addCleanup(each.close)
            self.assertEqual(await deferToThread(get_kernels, each), 200)
        started = [kernel_id]
        for _ in range(50):
            response = await http(port, "POST", "/api/kernels", {})
            if response.code != 201:
                break
            started.append(response.json["id"])
            await (await self.connect(port, started[-1])).execute("hello")
        self.assertEqual(response.code, 503, response.body)
        self.assertGreater(int(response.headers["retry-after"]), 0)
        self.assertIn("open", response.json["message"])
        self.assertIn("LimitNOFILE", response.json["message"])
        self.assertGreater(len(started), 3)
        for _ in range(50):
            if not await self.admits(port, started[0]):
                break
        refused = await http(port, "GET", f"/api/kernels/{started[0]}/channels", headers=HANDSHAKE)
        self.assertEqual(refused.code, 503)
        self.assertIn("retry-after", refused.headers)
        session = await http(port, "POST", "/api/sessions", {"path": "a", "type": "x"})
        self.assertEqual(session.code, 503)
        # There is room for requests, and what is there goes on: also one who comes back.
        listed = await http(port, "GET", "/api/kernels")
        self.assertEqual([each["id"] for each in listed.json], started)
        self.assertEqual(stdout(await client.execute("still here")), "still here")
        client = await self.connect(port, kernel_id, query="?session_id=me")
        response = await http(port, "POST", f"/api/kernels/{kernel_id}/restart", {})
        self.assertEqual(response.code, 200, response.body)
        self.assertEqual(stdout(await client.execute("restarted")), "restarted")
        self.assertEqual((await http(port, "POST", "/api/kernels", {})).code, 503)
        for other_id in started[1:3]:
            response = await http(port, "DELETE", f"/api/kernels/{other_id}")
            self.assertEqual(response.code, 204, response.body)
        another = await self.connect(port, await self.start_kernel(port))
        self.assertEqual(stdout(await another.execute("another")), "another")
        self.assertEqual(gateway.output.count("new kernels and WebSockets are refused"), 1)
        self.assertNotIn("Traceback", gateway.output)

    async def admits(self, port: int, kernel_id: str) -> bool:
        """
        Whether another client is let in, which stays then.
        """
        stays = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(stays.close)
        lines = [f"GET /api/kernels/{kernel_id}/channels HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in HANDSHAKE.items()]
        stays.sendall("\r\n".join([*lines, "", ""]).encode())
        answer: bytes = await deferToThread(stays.recv, 100)
        return b" 101 " in answer


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
            self.assertIn("left kernels running", gateway.output)
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


# Runs a command where everybody can get to the Python that runs here, which may be in somebody's
# home, without changing anything for others.
OPEN_HOME = """
set -e
mount -t tmpfs -o mode=755 none /mnt
mkdir /mnt/python
mount --bind "$1" /mnt/python
mount -t tmpfs -o mode=755 none "$2"
mkdir -p "$1"
mount --bind /mnt/python "$1"
shift 2
exec "$@"
"""
NOBODY = "nobody"
# Ports below this one are root's.
UNPRIVILEGED_FROM = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


def closed_to_others(path: Path) -> list[Path]:
    """
    :return: The directories on the way to a file that others cannot enter, the nearest first.
    """
    return [each for each in path.parents if not each.stat().st_mode & 0o001]


class UserTests(GatewayTestCase):
    """
    Other users, and other roots.
    """

    def for_everybody(self) -> tuple[str, ...]:
        """
        Let other users get to the gateway's directories.

        :return: What lets a gateway run where they can use our Python.
        :raises SkipTest: when that cannot be had.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can change the user")
        needed = (self.home / "work" / "x", Path(sys.prefix) / "bin", ROOT / "kgd")
        for each in {each for path in needed for each in closed_to_others(path)}:
            # tox and trial have made these.
            if each.is_relative_to(ROOT) or each.is_relative_to(Path.cwd()):
                each.chmod(0o711)
        if any(map(closed_to_others, needed)):
            raise SkipTest("other users cannot enter the directory of these tests")
        prefix = Path(sys.base_prefix)
        closed = closed_to_others(prefix)
        if not closed:
            return ()
        unshare = shutil.which("unshare") or "/usr/bin/unshare"
        through = (unshare, "-m", "/bin/sh", "-c", OPEN_HOME, "sh", str(prefix), str(closed[-1]))
        if subprocess.run([*through, "true"], capture_output=True, check=False).returncode:
            raise SkipTest(f"other users cannot use the Python in {prefix}")
        return through

    def own(self, *paths: Path) -> pwd.struct_passwd:
        """
        Give directories to nobody.
        """
        nobody = pwd.getpwnam(NOBODY)
        for path in paths:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        return nobody

    def add_introvert(self) -> None:
        """
        Install a kernelspec whose kernel says who it is.
        """
        code = (
            "import os, runpy, sys\n"
            "print('I am', os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME'],"
            " os.environ['USER'], flush=True)\n"
            "sys.argv = sys.argv[1:]\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        argv = [sys.executable, "-c", code, str(TINY_KERNEL), "-f", "{connection_file}"]
        self.add_spec("introvert", argv, metadata={"supported_transports": ["ipc"]})

    async def answers(self, port: int, name: str) -> None:
        """
        Use a kernel.
        """
        client = await self.connect(port, await self.start_kernel(port, name=name))
        self.assertEqual(stdout(await client.execute("hello")), "hello")

    async def test_uid(self) -> None:
        """
        ``twistd --uid`` lets the gateway, its files and its kernels be that user's; relative paths
        are those of the directory where twistd was started; pid file and log file work.
        """
        through = self.for_everybody()
        work = self.home / "work"
        nobody = self.own(self.runtime, work)
        self.add_introvert()
        (work / "public").mkdir()
        (work / "public" / "page").write_text("hello")
        options = ("--port=0", "--static-path=public")
        process = self.launch(
            *options,
            twistd=(f"--uid={NOBODY}", "--rundir=/", "--umask=022", "--pidfile=the.pid",
                    "--logfile=the.log"),
            env={"JUPYTER_RUNTIME_DIR": os.path.relpath(self.runtime, work)},
            daemonize=True,
            through=through,
        )  # fmt: skip
        self.assertEqual(await process.ended(), 0, process.output)
        log = work / "the.log"
        await until(lambda: "is available at" in log.read_text(), log.read_text)
        pid = int((work / "the.pid").read_text())
        self.addCleanup(end, pid)
        port = int(log.read_text().split("is available at http://127.0.0.1:")[1].split()[0])
        owned = [*self.runtime.rglob("*")]
        self.assertEqual({path.stat().st_uid for path in owned}, {nobody.pw_uid})
        await self.answers(port, "introvert")
        ids = f"{3 * (nobody.pw_uid,)} {3 * (nobody.pw_gid,)}"
        self.assertIn(f"I am {ids}", log.read_text())
        self.assertIn(f"{nobody.pw_dir} {NOBODY}", log.read_text())
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not alive(pid), "the daemon ends")
        self.assertFalse((work / "the.pid").exists())
        self.assertEqual(self.leftovers(), [])
        self.assertNotIn("Traceback", log.read_text())

    async def test_unreadable(self) -> None:
        """
        Nobody can run what is installed where only root can read it, and is told so.
        """
        through = self.for_everybody()
        self.own(self.runtime, self.home / "work")
        closed = self.home / "closed"
        closed.mkdir(mode=0o700)
        (closed / "kgd").symlink_to(ROOT / "kgd")
        process = self.launch(
            "--port=0",
            twistd=(f"--uid={NOBODY}",),
            env={"PYTHONPATH": str(closed)},
            through=through,
        )
        self.assertEqual(await process.ended(), 1)
        self.assertIn("cannot start: the user of --uid cannot read modules of kgd", process.output)
        self.assertNotIn("Traceback", process.output)

    async def test_closed_home(self) -> None:
        """
        Whoever runs it with a HOME that is somebody else's, as in a container, gets a gateway that
        reads no files there and says so.
        """
        through = self.for_everybody()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise SkipTest("there is no setpriv")
        closed = self.home / "closed"
        closed.mkdir(mode=0o700)
        nobody = self.own(self.runtime)
        process = self.launch(
            "--port=0",
            "--default-kernel-name=tiny",
            env={"HOME": str(closed), "JUPYTER_RUNTIME_DIR": "", "JUPYTER_CONFIG_DIR": "",
                 "TMPDIR": str(self.runtime)},
            through=(*through, setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
                     "--clear-groups"),
        )  # fmt: skip
        await process.ready()
        self.assertIn(f"cannot read configuration from {closed}", process.output)
        await self.answers(process.port, "tiny")
        self.assertEqual(await process.stop(), 0)
        self.assertNotIn("Traceback", process.output)

    async def test_awaited(self) -> None:
        """
        ``twistd`` comes back when the daemon answers, or with an error when it cannot; the log
        tells all, also who has set what is wrong.
        """
        usual = ("--pidfile=the.pid", "--logfile=the.log")
        work = self.home / "work"
        process = self.launch(
            "--port=0",
            twistd=usual,
            daemonize=True,
            env={"KGD_IP": "192.0.2.1", "KG_AUTH_TOKEN": "t"},
        )
        self.assertEqual(await process.ended(), 1)
        self.assertIn("cannot listen on port 0 of 192.0.2.1", process.output)
        await until(lambda: not (work / "the.pid").exists(), "the daemon has ended, too")
        log = (work / "the.log").read_text()
        self.assertIn("--port or --ip (--ip is set in the variable KGD_IP)", log)
        process = self.launch("--port=0", twistd=usual, daemonize=True)
        self.assertEqual(await process.ended(), 0, process.output)
        self.addCleanup(end, int((work / "the.pid").read_text()))
        log = (work / "the.log").read_text()
        port = int(log.split("is available at http://127.0.0.1:")[1].split()[0])
        self.assertEqual((await http(port, "GET", "/api")).code, 200)

    async def test_secrets_of_root(self) -> None:
        """
        With ``--uid`` the files with the token and the key may be root's alone, and the port one of
        those that only root may have; what SIGHUP cannot read afterwards stays as it is.
        """
        through = self.for_everybody()
        self.own(self.runtime, self.home / "work")
        token, pem = self.home / "token", self.home / "key.pem"
        token.write_text("s3cret-of-root")
        leaf = trustme.CA().issue_cert("localhost")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(pem))
        for path in (token, pem):
            path.chmod(0o400)
        auth = {"Authorization": "Bearer s3cret-of-root"}
        port = next(filter(is_free, range(UNPRIVILEGED_FROM - 1, 0, -1)), None)
        if port is None:
            raise SkipTest("no port is for root only")
        for options in (
            (f"--port={port}", "--port-retries=0", f"--certfile={pem}"),
            (f"--listen=ssl:{port}:privateKey={pem}:interface=127.0.0.1",),
            (f"--listen=tcp:{port}:interface=127.0.0.1",),
        ):
            process = self.launch(
                f"--auth-token-file={token}", "--default-kernel-name=tiny", *options,
                twistd=(f"--uid={NOBODY}",), through=through,
            )  # fmt: skip
            await process.ready()
            self.assertEqual(process.port, port)
            self.assertEqual(
                Path(f"/proc/{pid_of(process)}").stat().st_uid, pwd.getpwnam(NOBODY).pw_uid
            )
            endpoint: Any = HostnameEndpoint(reactor, "127.0.0.1", port)
            if process.url.startswith("https"):
                # Who the server is does not matter here.
                endpoint = wrapClientTLS(ssl.CertificateOptions(), endpoint)
            self.assertEqual((await http(port, "GET", "/api", endpoint=endpoint)).code, 401)
            await self.start_kernel(port, headers=auth, endpoint=endpoint)
            process.kill(signal.SIGHUP)
            await until(
                lambda p=process: "the token stays as it is" in p.output,  # type: ignore[misc]
                "it is said",
            )
            again = await http(port, "GET", "/api", headers=auth, endpoint=endpoint)
            self.assertEqual(again.code, 200)
            self.assertEqual(await process.stop(), 0)
            self.assertNotIn("Traceback", process.output)
            self.assertNotIn("s3cret", process.output)

    async def test_chroot(self) -> None:
        """
        In a jail, paths that were given outside are found inside; others are refused at once.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can change the root")
        process = self.launch(
            f"--root-dir={self.home}", "--static-path=/usr", twistd=(f"--chroot={self.home}",)
        )
        self.assertEqual(await process.ended(), 1)
        self.assertIn("--static-path=/usr is outside of --chroot=", process.output)
        gateway = await self.gateway(f"--root-dir={self.home}/work", twistd=("--chroot=/",))
        await self.answers(gateway.port, "tiny")

    async def test_kernel_user(self) -> None:
        """
        With ``--kernel-user`` kernels are that user's, who gets their connection files and sockets
        and nothing else; the gateway can still do what it wants with them.
        """
        through = self.for_everybody()
        nobody = pwd.getpwnam(NOBODY)
        self.runtime.chmod(0o711)
        self.add_introvert()
        gateway = await self.gateway(f"--kernel-user={NOBODY}", through=through)
        self.assertEqual(Path(f"/proc/{pid_of(gateway)}").stat().st_uid, 0)
        for name in ("introvert", "tiny"):
            await self.answers(gateway.port, name)
        ids = f"{3 * (nobody.pw_uid,)} {3 * (nobody.pw_gid,)}"
        self.assertIn(f"I am {ids}", gateway.output)
        modes = {}
        for path in self.runtime.rglob("*"):
            found = path.stat()
            modes[path.name.split("-")[0]] = (found.st_uid, oct(stat.S_IMODE(found.st_mode)))
        (own,) = self.runtime.glob("kgd/*")
        theirs = nobody.pw_uid
        # The sockets' own modes are the kernel's choice.
        self.assertEqual(modes.pop("1")[0], theirs)
        self.assertEqual(
            modes,
            {
                "kgd": (0, "0o711"),
                own.name: (0, "0o711"),
                "lock": (0, "0o600"),
                "s": (theirs, "0o700"),
                "kernel": (theirs, "0o600"),
            },
        )
        await self.use_files(gateway.port, nobody.pw_uid)
        kernels = children_of(pid_of(gateway))
        self.assertEqual(await gateway.stop(), 0)
        self.assertEqual([pid for pid in kernels if alive(pid)], [])
        self.assertEqual(self.leftovers(), [])

    async def use_files(self, port: int, uid: int) -> None:
        """
        A kernel's own directory is its user's, and so is what clients write there; they read only
        what the user may.
        """
        kernel_id = await self.start_kernel(port, name="tiny", workdir="private")
        path = f"/api/kernels/{kernel_id}/files/sub/a"
        self.assertEqual((await http(port, "PUT", path, b"content")).code, 201)
        (directory,) = self.runtime.glob(f"kgd/*/kernel-{kernel_id}.work")
        for written in (directory, directory / "sub", directory / "sub" / "a"):
            self.assertEqual(written.stat().st_uid, uid)
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        self.assertEqual((await http(port, "GET", path)).body, b"content")
        os.chown(directory / "sub" / "a", 0, 0)
        (directory / "sub" / "a").chmod(0o600)
        self.assertEqual((await http(port, "GET", path)).code, 403)
        self.assertEqual((await http(port, "DELETE", f"/api/kernels/{kernel_id}")).code, 204)
        await until(lambda: not directory.exists(), "the directory goes")

    async def test_wrong_kernel_user(self) -> None:
        """
        A user that cannot be had is said in one line, before anything begins; a directory that the
        user cannot enter, when a kernel is started.
        """
        process = self.launch("--port=0", "--kernel-user=kgd-no-such-user")
        self.assertEqual(await process.ended(), 1)
        self.assertIn("cannot start: --kernel-user=kgd-no-such-user", process.output)
        self.assertNotIn("Traceback", process.output)
        if os.geteuid() != 0:
            return
        # It is 0700, and so nobody else's.
        process = self.launch("--port=0", f"--kernel-user={NOBODY}")
        self.assertEqual(await process.ended(), 1)
        self.assertIn("cannot get to the runtime directory", process.output)
        self.runtime.chmod(0o711)
        (self.home / "work").chmod(0o700)
        gateway = await self.gateway(f"--kernel-user={NOBODY}")
        response = await http(gateway.port, "POST", "/api/kernels")
        self.assertEqual(response.code, 500)
        self.assertIn("--root-dir", response.json["message"])


class LimitsTests(GatewayTestCase):
    """
    Limits of kernelspecs.
    """

    async def test_of_a_kernelspec(self) -> None:
        """
        A kernelspec's limits win over the settings'; nonsense in one is told to whoever wants such
        a kernel, with its name.
        """
        say = "import resource; print('data', resource.getrlimit(resource.RLIMIT_DATA), flush=True)"
        argv = [sys.executable, "-c", say, "{connection_file}"]
        for name, memory in (("more", "2GiB"), ("wrong", "much")):
            self.add_spec(name, argv, metadata={"kgd": {"limits": {"memory": memory}}})
        self.add_spec("usual", argv)
        gateway = await self.gateway("--kernel-memory=1GiB", "--restart-limit=0")
        for name, size in (("more", 2**31), ("usual", 2**30)):
            await self.start_kernel(gateway.port, name=name)
            await until(lambda: f"data {(size, size)}" in gateway.output, "it says so")  # noqa: B023
        response = await http(gateway.port, "POST", "/api/kernels", {"name": "wrong"})
        self.assertEqual(response.code, 500)
        self.assertIn("of the kernelspec wrong have 'much' as memory", response.json["message"])
