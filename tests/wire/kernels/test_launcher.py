"""
The local launcher and its spawner, with real child processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutput, getProcessValue
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SkipTest, TestCase

from kgd.errors import KernelStartFailed, UnusableKernelSpec
from kgd.interfaces import NO_LIMITS, ExitStatus, IKernelLauncher, Limits, StartRequest
from kgd.kernels.local import exec_kernel
from kgd.kernels.local.launcher import LocalLauncher
from kgd.kernels.local.oom import OUT_OF_MEMORY, OutOfMemoryKills
from kgd.kernels.local.output import MAX_LINE, MAX_LINES_PER_SECOND
from kgd.kernels.local.process import LocalProcess, ProcessSpawner, find_executable
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.users import KernelUser
from kgd.observability.scrubbing import Scrubber
from kgd.settings import Settings
from kgd.testing.kernels import FakeRelay, LauncherContract, kernel_spec
from tests.support.processes import LONG, is_alive, running_reactor, until, within

PATH = {"PATH": "/usr/bin:/bin"}
KERNEL_ID = "1-2-3-4-5"
# Signals 32 and 33 belong to the C library, which does not let programs change them.
THREADS = 0b11 << 31


def _holds(file: Path, content: str) -> bool:
    return file.exists() and file.read_text() == content


class LocalLauncherContractTests(LauncherContract, TestCase):
    """
    The local launcher is a launcher.
    """

    timeout = LONG

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """
        See :py:func:`running_reactor`.
        """
        return running_reactor()

    async def test_command_that_cannot_be_run(self) -> None:
        """
        The failure names the file in which the command line is wrong.
        """
        commands: tuple[list[str], ...] = ([], ["kgd-not-there"], ["/etc/passwd"], ["/etc"])
        for argv in commands:
            launching = self.provision(argv).launch(lambda _: None)
            error = await self.assertFailure(launching, UnusableKernelSpec)
            self.assertIn("argv", str(error))
            self.assertTrue(str(error).endswith(" in /nonexistent/kernels/python3/kernel.json"))

    async def test_private_directory(self) -> None:
        """
        A kernel that is to have a directory of its own has it for all of its processes.
        """
        launcher = self.make_launcher()
        spec = kernel_spec(argv=("sh", "-c", "echo x >> file; exec sleep 60"))
        request = StartRequest(path="no/matter", has_private_directory=True)
        one, other = (launcher.prepare(f"1-2-3-4-{n}", spec, request) for n in "56")
        self.assertFalse(one.is_like(other))
        directory = Path(one.cwd)
        self.assertFalse(directory.exists())
        provisioner = launcher.provision(one)
        for content in ("x\n", "x\nx\n"):
            process = (await self.launch_with(provisioner)).process
            await until("the kernel's file", partial(_holds, directory / "file", content))
            process.signal(signal.SIGKILL)
            await process.when_ended()
        self.assertFalse(Path(other.cwd).exists())
        parent = directory.parent
        provisioner.cleanup()
        self.assertFalse(directory.exists())
        await until("the end of the directory", lambda: not [*parent.glob("*.work")])
        provisioner.cleanup()

    def make_launcher(self) -> IKernelLauncher:
        """
        One that starts real processes.
        """
        runtime = RuntimeDirectory(Path(self.mktemp()).resolve())
        runtime.open()
        self.addCleanup(runtime.close)
        keys = FakeRelay().new_curve_keys
        return LocalLauncher(reactor, Settings(), runtime, PATH, keys)


class ProcessSpawnerTests(TestCase):
    """
    What a kernel that was started here finds, and what becomes of it.
    """

    timeout = 2 * LONG

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """
        Make a place to work in, and catch what is logged.
        """
        self.directory = Path(tempfile.mkdtemp(dir=self.mktemp_parent())).resolve()
        # A system of our own, so that nothing is read into what happens elsewhere meanwhile.
        self.oom = OutOfMemoryKills(self.directory / "proc", self.directory / "cgroup")
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return running_reactor()

    def mktemp_parent(self) -> Path:
        """
        Where trial wants temporary files.
        """
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return path

    async def launch(
        self,
        *argv: str,
        env: Mapping[str, str] = PATH,
        cwd: str = "",
        limits: Limits = NO_LIMITS,
        runtime: RuntimeDirectory | None = None,
        **options: Any,
    ) -> LocalProcess:
        """
        Launch something that does not outlive the test.

        :param options: Of the spawner.
        """
        spawner = ProcessSpawner(reactor, runtime or RuntimeDirectory(), oom=self.oom, **options)
        where = cwd or str(self.directory)
        process = await spawner.spawn(KERNEL_ID, argv, env, where, limits)

        def end() -> Deferred[ExitStatus]:
            process.signal(signal.SIGKILL)
            return within("the end after SIGKILL", process.when_ended())

        self.addCleanup(end)
        return process

    def spawner(self) -> ProcessSpawner:
        """
        One for what is not to run.
        """
        return ProcessSpawner(reactor, RuntimeDirectory())

    async def python(self, code: str, **kwargs: Any) -> LocalProcess:
        """
        Launch a Python program.
        """
        return await self.launch(sys.executable, "-I", "-S", "-c", code, **kwargs)

    async def end_of(self, process: LocalProcess) -> ExitStatus:
        """
        Wait for a process that ends by itself.
        """
        return await within("the end of the process", process.when_ended())

    def lines(self, level: LogLevel = LogLevel.info) -> list[str]:
        """
        What the kernel's output has brought into the log.
        """
        return [
            event["line"]
            for event in self.events
            if event.get("kernel_id") == KERNEL_ID
            and event["log_level"] is level
            and "line" in event
        ]

    async def test_exit_code(self) -> None:
        """
        A process that exits at once tells its exit code.
        """
        process = await self.launch("sh", "-c", "exit 3")
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=3))

    async def test_good_end(self) -> None:
        """
        Exit code 0 is an end like others.
        """
        self.assertEqual(await self.end_of(await self.launch("true")), ExitStatus(exit_code=0))

    async def test_out_of_memory(self) -> None:
        """
        A process that the system killed because memory ran out says so; one that was killed in
        another way, or by us, does not, nor does one that ended by itself.
        """
        (self.directory / "proc").mkdir()
        counter = self.directory / "proc" / "vmstat"
        for kills, kill, says in (
            (1, lambda process: os.kill(process.pid, signal.SIGKILL), OUT_OF_MEMORY),
            (0, lambda process: os.kill(process.pid, signal.SIGKILL), ""),
            (1, lambda process: os.kill(process.pid, signal.SIGTERM), ""),
            (1, lambda process: process.signal(signal.SIGKILL), ""),
            (1, lambda process: os.kill(process.pid, signal.SIGRTMIN + 6), ""),
        ):
            counter.write_text("oom_kill 0\n")
            self.oom = OutOfMemoryKills(self.directory / "proc", self.directory / "cgroup")
            process = await self.launch("sleep", "60")
            counter.write_text(f"oom_kill {kills}\n")
            kill(process)
            self.assertEqual((await self.end_of(process)).cause, says)

    async def test_missing_executable(self) -> None:
        """
        A missing executable is named together with what to do, and nothing is started.
        """
        launching = self.spawner().spawn(KERNEL_ID, ["kgd-not-there"], PATH, "/")
        error = self.failureResultOf(launching, KernelStartFailed)
        self.assertIn("'kgd-not-there'", str(error.value))
        self.assertIn("install it", str(error.value))

    async def test_no_argv(self) -> None:
        """
        A kernelspec without a command line is refused in its own words.
        """
        launching = self.spawner().spawn(KERNEL_ID, [], PATH, "/")
        error = self.failureResultOf(launching, KernelStartFailed)
        self.assertIn("argv", str(error.value))

    async def test_environment_too_large(self) -> None:
        """
        What the system refuses to start is a failure with the system's words.
        """
        env = PATH | {"A": "x" * 200_000}
        launching = self.spawner().spawn(KERNEL_ID, ["true"], env, "/")
        error = self.failureResultOf(launching, KernelStartFailed)
        self.assertIn("Argument list too long", str(error.value))

    async def test_cannot_run(self) -> None:
        """
        A file that is no program ends with 127 and one clear line in the log.
        """
        script = self.directory / "script"
        script.write_text("#!/nonexistent/interpreter\n")
        script.chmod(0o755)
        process = await self.launch("./script")
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=127))
        self.assertEqual(len(self.lines()), 1, self.lines())
        self.assertIn("cannot run", self.lines()[0])
        self.assertIn("No such file", self.lines()[0])

    async def test_directory_is_gone(self) -> None:
        """
        So does a working directory that was removed in the last moment.
        """
        process = await self.launch("true", cwd=str(self.directory / "gone"))
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=127))
        self.assertIn("cannot enter the directory", self.lines()[0])

    async def test_relative_to_its_directory(self) -> None:
        """
        A relative executable is looked for in the kernel's directory, not in ours.
        """
        script = self.directory / "script"
        script.write_text("#!/bin/sh\nexit 7\n")
        script.chmod(0o755)
        process = await self.launch("./script")
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=7))

    async def test_own_session(self) -> None:
        """
        The process leads a session and a process group of its own.
        """
        process = await self.python("import os; print(os.getsid(0), os.getpgid(0), os.getpid())")
        await self.end_of(process)
        self.assertEqual(self.lines(), [f"{process.pid} {process.pid} {process.pid}"])

    async def test_environment(self) -> None:
        """
        The environment is exactly the one that was asked for, with or without a locale.
        """
        for env in ({"A": "1", "B": "\u00e4 b"}, {"LC_CTYPE": "C"}, {}):
            self.events.clear()
            code = "print(ascii(open('/proc/self/environ', 'rb').read()))"
            await self.end_of(await self.python(code, env=env))
            expected = b"".join(f"{k}={v}\0".encode() for k, v in env.items())
            self.assertEqual(self.lines(), [ascii(expected)])

    async def test_working_directory(self) -> None:
        """
        The process runs in the directory that was asked for.
        """
        await self.end_of(await self.launch("pwd", "-P"))
        self.assertEqual(self.lines(), [str(self.directory)])

    async def test_no_inherited_descriptors(self) -> None:
        """
        Of all our descriptors, inheritable ones too, the process has none but its own pipes.
        """
        leak = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, leak)
        os.set_inheritable(leak, True)
        process = await self.python("import signal; print('ready', flush=True); signal.pause()")
        await until("the program's first line", self.lines)
        found = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
        self.assertEqual(set(found), {"0", "1", "2"})
        self.assertTrue(all(target.startswith("pipe:") for target in found.values()), found)

    async def test_input_is_closed(self) -> None:
        """
        A process that reads its input finds its end at once.
        """
        self.assertEqual(await self.end_of(await self.launch("cat")), ExitStatus(exit_code=0))

    async def test_signals_are_as_usual(self) -> None:
        """
        The process neither ignores nor blocks any signal, though this one does.
        """
        before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, masked)
        await self.end_of(await self.launch("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
        found = [int(line.split("\t")[1], 16) & ~THREADS for line in self.lines()]
        self.assertEqual(found, [0, 0])

    async def test_limits(self) -> None:
        """
        A process has the limits that it was given, and can raise none of them.
        """
        code = (
            "import os, resource as r\n"
            "for name in ('DATA', 'CPU', 'NOFILE', 'NPROC', 'FSIZE'):\n"
            "    print(name, r.getrlimit(getattr(r, 'RLIMIT_' + name)))\n"
            "print('nice', os.nice(0))\n"
        )
        limits = Limits(
            memory=2**30, cpu_seconds=7, open_files=50, processes=5000, file_size=4096, nice=3
        )
        await self.end_of(await self.python(code, limits=limits))
        self.assertEqual(
            self.lines(),
            [
                f"DATA {(2**30, 2**30)}",
                "CPU (7, 12)",
                "NOFILE (50, 50)",
                "NPROC (5000, 5000)",
                "FSIZE (4096, 4096)",
                f"nice {os.nice(0) + 3}",
            ],
        )

    async def test_too_much_memory(self) -> None:
        """
        A process that asks for more memory than it may have gets an error from the system.
        """
        code = "try: bytearray(2**29)\nexcept MemoryError: print('no')\nbytearray(2**20)"
        process = await self.python(code, limits=Limits(memory=2**28))
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=0))
        self.assertEqual(self.lines(), ["no"])

    async def test_too_much_work(self) -> None:
        """
        A process that has used up its processor time says so.
        """
        process = await self.python("while True: pass", limits=Limits(cpu_seconds=1))
        ended = await self.end_of(process)
        self.assertEqual(ended.signal, signal.SIGXCPU)
        self.assertIn("processor time", ended.cause)
        self.assertIn("--kernel-cpu-seconds", ended.cause)

    async def test_too_large_file(self) -> None:
        """
        So does one that wrote too large a file, unless it takes that for an error like others.
        """
        code = (
            "import os, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "os.write(os.open('large', os.O_CREAT | os.O_WRONLY), b'x' * 4096)\n"
            "os.write(os.open('large', os.O_APPEND | os.O_WRONLY), b'x')\n"
        )
        ended = await self.end_of(await self.python(code, limits=Limits(file_size=4096)))
        self.assertEqual(ended.signal, signal.SIGXFSZ)
        self.assertIn("--kernel-file-size", ended.cause)

    async def test_user(self) -> None:
        """
        A process of another user has that user's groups and no way back.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can start processes of other users")
        runtime = RuntimeDirectory()
        runtime.user = KernelUser(
            name="x", uid=12345, gid=23456, groups=(23456, 34567), environment={}
        )
        self.directory.chmod(0o700)
        command = ("grep", "-E", "^(Uid|Gid|Groups)", "/proc/self/status")
        await self.end_of(await self.launch(*command, runtime=runtime, cwd="/"))
        ids = ["Uid:" + 4 * "\t12345", "Gid:" + 4 * "\t23456", "Groups:\t23456 34567 "]
        self.assertEqual(self.lines(), ids)
        # It is that user who enters the directory.
        self.events.clear()
        process = await self.launch("true", runtime=runtime)
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=127))
        self.assertIn("Permission denied", self.lines()[0])

    async def test_effective_user(self) -> None:
        """
        A gateway that has changed its effective user only does not give root to kernels.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can change its effective user")
        # As the gateway, it has its root rights in reserve.
        wrapper = (
            "import os, runpy, sys\n"
            "os.setresgid(0, 23456, 0)\n"
            "os.setresuid(0, 12345, 0)\n"
            "sys.argv = ['', '/', '', '', '', '/bin/grep', 'grep', 'id:', '/proc/self/status']\n"
            f"exec({Path(exec_kernel.__file__).read_text()!r})\n"
        )
        printed = await getProcessOutput(
            sys.executable, ["-I", "-S", "-c", wrapper], errortoo=True, reactor=reactor
        )
        self.assertIn("Uid:" + 4 * "\t12345", printed.decode())
        self.assertIn("Gid:" + 4 * "\t23456", printed.decode())

    async def test_parent_is_gone(self) -> None:
        """
        Nothing becomes a kernel when the gateway has died meanwhile.
        """
        marker = self.directory / "marker"
        argv = ["/", "", "", "parent=1", "/usr/bin/touch", "touch", str(marker)]
        status = await getProcessValue(
            sys.executable, ["-I", "-S", exec_kernel.__file__, *argv], reactor=reactor
        )
        self.assertEqual((status, marker.exists()), (127, False))

    async def test_output_to_a_file(self) -> None:
        """
        A kernel that is to be kept prints to a file; what keeps it from starting is in the log.
        """
        runtime = RuntimeDirectory(self.directory, keeps_kernels=True)
        runtime.open()
        self.addCleanup(runtime.close)
        for word in ("one", "two"):
            await self.end_of(await self.launch("echo", word, runtime=runtime))
        self.assertEqual(Path(runtime.output_file(KERNEL_ID)).read_text(), "one\ntwo\n")
        self.assertEqual(self.lines(), [])
        await self.end_of(await self.launch("true", runtime=runtime, cwd="/nowhere"))
        self.assertIn("cannot enter the directory /nowhere", self.lines()[0])

    async def test_last_output(self) -> None:
        """
        How a process ended has its last lines of stderr, or of stdout if there are none, of bounded
        length and without secrets; also if they are in a file.
        """
        kept = RuntimeDirectory(self.directory, keeps_kernels=True)
        kept.open()
        self.addCleanup(kept.close)
        for runtime in (RuntimeDirectory(), kept):
            for script, expected in (
                ("exit 1", ""),
                ("echo no package >&2", "no package"),
                ("echo a >&2; echo; printf 'b\\033' >&2", "a\nb\\x1b"),
                ("echo out", "out"),
                ("seq 1000 >&2", "\n".join(map(str, range(991, 1001)))),
                ("printf %05000d 1 >&2", f"{1:01000d}"),
                ("echo x; printf '%0990d\\n%0100d' 1 2 >&2", f"{2:0100d}"),
                ("echo token=s3cret >&2", "token=***"),
            ):
                ended = await self.end_of(
                    await self.launch("sh", "-c", script, runtime=runtime, scrub=Scrubber())
                )
                self.assertEqual(ended.output, expected, script)
        ended = await self.end_of(await self.launch("true", runtime=kept, cwd="/nowhere"))
        self.assertIn("cannot enter the directory /nowhere", ended.output)

    async def test_output_file_of_another_kind(self) -> None:
        """
        The kernel's user cannot make the gateway show a file that only the gateway may read.
        """
        kept = RuntimeDirectory(self.directory, keeps_kernels=True)
        kept.open()
        self.addCleanup(kept.close)
        secret = self.directory / "secret"
        secret.write_text("secret\n")
        file = kept.output_file(KERNEL_ID)
        for put in ("ln -s", "ln"):
            script = f"rm -f {file}; {put} {secret} {file}"
            ended = await self.end_of(await self.launch("sh", "-c", script, runtime=kept))
            self.assertEqual((ended.exit_code, ended.output), (0, ""))
            os.unlink(file)

    async def test_out_of_memory_score(self) -> None:
        """
        When memory runs out, the system ends a kernel and its children before the gateway.
        """
        own = int(Path("/proc/self/oom_score_adj").read_text())
        script = "cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj; true'"
        for wanted, expected in (
            (0, own),
            (1, max(1, min(own + 100, 1000))),
            (700, max(700, min(own + 100, 1000))),
        ):
            self.events.clear()
            await self.end_of(await self.launch("sh", "-c", script, oom_score_adj=wanted))
            self.assertEqual(self.lines(), [str(expected)] * 2)

    async def test_output_reaches_the_log(self) -> None:
        """
        Each line of both outputs, the last one too, comes with the kernel's id.
        """
        await self.end_of(await self.launch("sh", "-c", "echo one; echo two >&2; printf three"))
        self.assertEqual(set(self.lines()), {"one", "two", "three"})
        self.assertEqual(len(self.lines()), 3)

    async def test_odd_output(self) -> None:
        """
        Control characters are escaped, and an endless line is cut.
        """
        code = "import os; os.write(1, b'\\x1b[31mred\\xff\\n' + 10000 * b'x' + b'\\n')"
        await self.end_of(await self.python(code))
        first, *rest = self.lines()
        self.assertEqual(first, "\\x1b[31mred\\xff")
        self.assertEqual("".join(rest), 10000 * "x")
        self.assertTrue(all(len(line) <= MAX_LINE for line in rest))

    async def test_flood(self) -> None:
        """
        A kernel that prints without end is not held up, and the log gets a part of it together
        with the number of what is missing.
        """
        code = "for n in range(200_000): print(n)"
        await self.end_of(await self.python(code))
        lines = self.lines()
        self.assertEqual(lines[:3], ["0", "1", "2"])
        self.assertGreaterEqual(len(lines), MAX_LINES_PER_SECOND)
        dropped = [event["count"] for event in self.events if "count" in event]
        self.assertEqual(len(lines) + sum(dropped), 200_000)

    async def test_ignores_sigterm(self) -> None:
        """
        A process that ignores SIGTERM goes on, and SIGKILL ends it.
        """
        code = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); "
        process = await self.python(code + "signal.pause(); signal.pause()")
        await until("the program's first line", self.lines)
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGKILL)
        self.assertEqual(await self.end_of(process), ExitStatus(signal=signal.SIGKILL))

    async def test_signal_before_the_group_is_there(self) -> None:
        """
        A signal that is sent while the wrapper starts reaches the process.
        """
        process = await self.launch("sleep", "60")
        process.signal(signal.SIGTERM)
        self.assertEqual(await self.end_of(process), ExitStatus(signal=signal.SIGTERM))

    async def test_signals_go_to_the_group(self) -> None:
        """
        A child of the kernel gets the signal too.
        """
        process = await self.launch("sh", "-c", "sleep 60 & echo $!; wait")
        await until("the child's pid", self.lines)
        child = int(self.lines()[0])
        process.signal(signal.SIGTERM)
        await self.end_of(process)
        await until("the end of the child", lambda: not is_alive(child))

    async def test_grandchildren_are_killed(self) -> None:
        """
        When the leader exits, its children that hold its output are neither waited for nor left.
        """
        process = await self.launch("sh", "-c", "trap '' TERM HUP; sleep 60 & echo $!; exit 4")
        self.assertEqual(await self.end_of(process), ExitStatus(exit_code=4))
        child = int(self.lines()[0])
        await until("the end of the child", lambda: not is_alive(child))

    async def test_escaped_grandchild(self) -> None:
        """
        One that went into a session of its own is not ours any more, and its hold on our pipes
        does not keep anything open here.
        """
        # The reactor's own descriptors come with the first child.
        await self.end_of(await self.launch("true"))
        before = len(os.listdir("/proc/self/fd"))
        code = (
            "import subprocess; print(subprocess.Popen(['sleep', '60'], start_new_session=1).pid)"
        )
        await self.end_of(await self.python(code))
        self.addCleanup(_kill, int(self.lines()[0]))
        await until("the pipes' end", lambda: len(os.listdir("/proc/self/fd")) <= before)


class FindExecutableTests(TestCase):
    """
    Where a kernel's executable is looked for.
    """

    def test_on_the_path(self) -> None:
        """
        On the kernel's PATH, not on ours.
        """
        self.assertTrue(str(find_executable("sh", PATH, "/")).endswith("/sh"))
        error = self.assertRaises(
            UnusableKernelSpec, find_executable, "sh", {"PATH": "/nonexistent"}, "/"
        )
        self.assertIn("'sh' was not found", str(error))

    def test_without_a_path(self) -> None:
        """
        Without a PATH in the system's usual places.
        """
        self.assertTrue(find_executable("sh", {}, "/").endswith("/sh"))

    def test_not_executable(self) -> None:
        """
        Neither a directory nor a file that must not be run is an executable, which is told.
        """
        for name, env, says in (
            ("/tmp", PATH, "/tmp is a directory"),
            ("/etc/passwd", PATH, "/etc/passwd is not executable; make it so with chmod +x"),
            ("passwd", {"PATH": "/nowhere:/etc"}, "/etc/passwd is not executable"),
            ("", PATH, "not found"),
        ):
            error = self.assertRaises(UnusableKernelSpec, find_executable, name, env, "/")
            self.assertIn(says, str(error))
            self.assertIn("correct argv", str(error))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
