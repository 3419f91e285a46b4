"""
Kernels as children of the gateway.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.util import cache_from_source
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import KernelStartFailed
from kgd.interfaces import NO_LIMITS, Ended, IKernelLauncher, IKernelProcess, Limits
from kgd.kernels.local import exec_kernel
from kgd.kernels.local.oom import OUT_OF_MEMORY, OutOfMemoryKills
from kgd.kernels.local.output import LINES_A_SECOND, OutputLines
from kgd.kernels.local.rlimits import orders
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.watchdog import Watchdog
from kgd.observability.logs import make_logger

_log = make_logger()
# Compiled, if possible: every kernel would wait for that otherwise.
_COMPILED = cache_from_source(exec_kernel.__file__)
_WRAPPER = _COMPILED if os.path.isfile(_COMPILED) else exec_kernel.__file__
_OUTPUTS = (1, 2)
# What may still be in the pipe of an ended process: Linux lets it grow up to this.
_PIPE_SIZE = 1024 * 1024
_READ_SIZE = 64 * 1024
# What to say of a process that a limit has ended, by the signal that the system sends then.
_LIMIT_REACHED: dict[int, str] = {
    signal.SIGXCPU: "it has used all the processor time that it may have; use less, or raise "
    "--kernel-cpu-seconds or the kernelspec's cpu_seconds",
    signal.SIGXFSZ: "it has written a larger file than it may; write less, or raise "
    "--kernel-file-size or the kernelspec's file_size",
}


def find_executable(name: str, env: Mapping[str, str], cwd: str) -> str | None:
    """
    Find a program as the kernel's own environment and directory would have it.

    :return: Its absolute path, or ``None``.
    """
    places = [""] if "/" in name else env.get("PATH", os.defpath).split(os.pathsep)
    for place in places:
        candidate = os.path.join(cwd, place, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


@implementer(IKernelLauncher)
class LocalLauncher:
    """
    Starts kernels on this machine, with the reactor's ``spawnProcess``.

    :param oom: Knows whether the system killed a process because memory ran out.
    :param open_files: The soft limit of open files for kernels that are given none; that of now by
        default.
    :param runtime: Knows as whom kernels run, and what becomes of them when the gateway is killed.
    """

    def __init__(
        self,
        reactor: Any,
        oom: OutOfMemoryKills | None = None,
        runtime: RuntimeDirectory | None = None,
        open_files: int | None = None,
    ) -> None:
        self._reactor = reactor
        self._oom = oom or OutOfMemoryKills()
        self._runtime = runtime or RuntimeDirectory()
        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._open_files = now if open_files is None else open_files

    def launch(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[IKernelProcess]:
        """
        Start a process, and do not wait for anything.
        """
        try:
            return succeed(self._launch(kernel_id, argv, env, cwd, limits))
        except KernelStartFailed as error:
            return fail(error)

    def _launch(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits,
    ) -> IKernelProcess:
        if not argv:
            raise KernelStartFailed("The kernelspec has no argv; mend its kernel.json")
        executable = find_executable(argv[0], env, cwd)
        if executable is None:
            raise KernelStartFailed(
                f"The executable {argv[0]!r} was not found; install it, or mend argv in the "
                "kernelspec's kernel.json"
            )
        lc_ctype = f"={env['LC_CTYPE']}" if "LC_CTYPE" in env else ""
        runtime = self._runtime
        ordered = orders(
            limits,
            runtime.user,
            parent_pid=None if runtime.keeps else os.getpid(),
            open_files=self._open_files,
        )
        wrapper = [sys.executable, "-I", "-S", _WRAPPER, cwd, lc_ctype, runtime.output(kernel_id),
                   ordered, executable, *argv]  # fmt: skip
        process = LocalProcess(self._reactor, kernel_id, self._oom, runtime.watchdog)
        try:
            # Without a path, so that the reactor can use posix_spawn.
            self._reactor.spawnProcess(process, sys.executable, wrapper, env=dict(env), path=None)
        except OSError as error:
            raise KernelStartFailed(
                f"The process could not be started: {error.strerror}; the system's limits on "
                "processes, memory or open files may be too low"
            ) from None
        except ValueError as error:
            raise KernelStartFailed(f"The process could not be started: {error}") from None
        return process


@implementer(IKernelProcess)
class LocalProcess(ProcessProtocol):
    """
    A child of the gateway's, the leader of a process group.
    """

    pid: int = 0
    transport: Any

    def __init__(
        self, reactor: Any, kernel_id: str, oom: OutOfMemoryKills, watchdog: Watchdog | None
    ) -> None:
        self._kernel_id = kernel_id
        self._watchdog = watchdog
        self._oom = oom
        self._oom_before = oom.read()
        self._we_killed = False
        self._ended: Ended | None = None
        self._waiters: Waiters[Ended] = Waiters()
        self._lines = OutputLines(reactor, self._say, self._say_dropped)

    def _say(self, line: str) -> None:
        _log.info(
            "kernel {kernel_id}: {line}",
            kernel_id=self._kernel_id,
            line=line,
            # How much that may be has been decided for each kernel already.
            log_unlimited=True,
        )

    def _say_dropped(self, count: int) -> None:
        _log.warn(
            "kernel {kernel_id}: {count} lines were left out, it prints more than {most} a second",
            kernel_id=self._kernel_id,
            count=count,
            most=LINES_A_SECOND,
        )

    def signal(self, signum: int) -> None:
        """
        Send a signal to the process group.
        """
        # As long as the reactor has not reaped it, the pid cannot be anybody else's.
        if self._ended is not None:
            return
        self._we_killed |= signum == signal.SIGKILL
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            # The wrapper has not yet made the group.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def when_ended(self) -> Deferred[Ended]:
        """
        :return: Fires when the leader has ended.
        """
        return self._waiters.wait() if self._ended is None else succeed(self._ended)

    def connectionMade(self) -> None:
        """
        The process runs. A kernel reads its input from ZeroMQ.
        """
        self.pid = self.transport.pid
        if self._watchdog is not None:
            self._watchdog.watch(self.pid)
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        The process printed something.
        """
        self._lines.received(childFD, data)

    def processExited(self, reason: Failure) -> None:
        """
        The leader has ended. Its descendants are not left behind, and not waited for.
        """
        # The group's number is ours as long as anybody is in it, and nobody else can have got it
        # in the moment since the leader was reaped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._watchdog is not None:
            self._watchdog.forget(self.pid)
        signum = getattr(reason.value, "signal", None)
        self._ended = Ended(getattr(reason.value, "exitCode", None), signum, self._cause_of(signum))
        for child_fd in _OUTPUTS:
            self._drain(child_fd)
        self._lines.finish()
        self._waiters.fire(self._ended)

    def _cause_of(self, signum: int | None) -> str:
        if signum != signal.SIGKILL or self._we_killed:
            return "" if signum is None else _LIMIT_REACHED.get(signum, "")
        return OUT_OF_MEMORY if self._oom.happened_since(self._oom_before) else ""

    def _drain(self, child_fd: int) -> None:
        """
        Take what is left in a pipe and close it, whoever else holds its other end.
        """
        reader = self.transport.pipes.get(child_fd)
        if reader is None:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(_PIPE_SIZE // _READ_SIZE):
                data = os.read(reader.fileno(), _READ_SIZE)
                if not data:
                    break
                self._lines.received(child_fd, data)
        self.transport.closeChildFD(child_fd)
