"""
Kernel processes as children of the gateway: starting them, signalling them, noticing their end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import cache_from_source
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import KernelStartFailed, UnusableKernelSpec, is_out_of_files
from kgd.interfaces import NO_LIMITS, ExitStatus, IKernelProcess, Limits
from kgd.kernels.local import exec_kernel
from kgd.kernels.local.oom import OUT_OF_MEMORY, OutOfMemoryKills
from kgd.kernels.local.output import (
    MAX_LAST_BYTES,
    MAX_LINES_PER_SECOND,
    LastOutput,
    OutputLines,
    last_lines,
)
from kgd.kernels.local.rlimits import exec_arguments
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.watchdog import Watchdog
from kgd.observability.logs import make_logger

_log = make_logger()
# The compiled program if there is one: otherwise every kernel would wait for its compilation.
_COMPILED = cache_from_source(exec_kernel.__file__)
_EXEC_KERNEL = _COMPILED if os.path.isfile(_COMPILED) else exec_kernel.__file__
_OUTPUT_FDS = (1, 2)
# Bytes that may be left in the pipe of an ended process, which Linux lets grow up to this.
_PIPE_SIZE = 1024 * 1024
_READ_SIZE = 64 * 1024
# The cause of an end by a limit, by the signal that the system sends then.
_LIMIT_REACHED: dict[int, str] = {
    signal.SIGXCPU: "it has used all the processor time that it may have; use less, or raise "
    "--kernel-cpu-seconds or the kernelspec's cpu_seconds",
    signal.SIGXFSZ: "it has written a larger file than it may; write less, or raise "
    "--kernel-file-size or the kernelspec's file_size",
}


def find_executable(name: str, env: Mapping[str, str], cwd: str) -> str:
    """
    Find a program on the kernel's own PATH, from its own directory.

    :return: An absolute path.
    :raises kgd.errors.UnusableKernelSpec: when there is none.
    """
    directories = [""] if "/" in name else env.get("PATH", os.defpath).split(os.pathsep)
    unusable = ""
    for directory in directories:
        candidate = os.path.join(cwd, directory, name)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            unusable = unusable or f"{candidate} is not executable; make it so with chmod +x"
        elif "/" in name and os.path.isdir(candidate):
            unusable = f"{candidate} is a directory; name a program in it"
    raise UnusableKernelSpec(
        f"The executable {name!r} cannot be run: {unusable}, or correct argv"
        if unusable
        else f"The executable {name!r} was not found; install it, or correct argv"
    )


class ProcessSpawner:
    """
    Starts processes with the reactor's ``spawnProcess``, through :py:mod:`.exec_kernel`.

    :param runtime: Knows as which user kernels run, and what becomes of them when the gateway is
        killed.
    :param oom: Knows whether the system killed a process because memory ran out.
    :param open_files: The soft limit of open files for kernels that are given none; by default the
        present one.
    :param oom_score_adj: As in the settings.
    :param scrub: Removes secrets from a text.
    """

    def __init__(
        self,
        reactor: Any,
        runtime: RuntimeDirectory,
        *,
        oom: OutOfMemoryKills | None = None,
        open_files: int | None = None,
        oom_score_adj: int = 0,
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._reactor = reactor
        self._runtime = runtime
        self._oom_score_adj = oom_score_adj
        self._scrub = scrub
        self._oom = oom or OutOfMemoryKills()
        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._open_files = now if open_files is None else open_files

    def spawn(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[LocalProcess]:
        """
        Start a process in a session of its own, without any inherited descriptor.

        :param env: The complete environment; nothing is inherited.
        :param limits: Limits that hold before any of the kernel's own code runs.
        :return: Has fired already; fails with :py:exc:`kgd.errors.KernelStartFailed`, or with
            ``OSError`` when the gateway may not open more files.
        """
        try:
            return succeed(self._spawn(kernel_id, argv, env, cwd, limits))
        except (KernelStartFailed, OSError) as error:
            return fail(error)

    def _spawn(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits,
    ) -> LocalProcess:
        if not argv:
            raise UnusableKernelSpec("The kernelspec has no argv; add one")
        executable = find_executable(argv[0], env, cwd)
        lc_ctype = f"={env['LC_CTYPE']}" if "LC_CTYPE" in env else ""
        runtime = self._runtime
        setup = exec_arguments(
            limits,
            runtime.user,
            parent_pid=None if runtime.keeps_kernels else os.getpid(),
            open_files=self._open_files,
            oom_score_adj=self._oom_score_adj,
        )
        output = runtime.output_file(kernel_id)
        wrapper = [sys.executable, "-I", "-S", _EXEC_KERNEL, cwd, lc_ctype, output, setup,
                   executable, *argv]  # fmt: skip
        process = LocalProcess(
            self._reactor, kernel_id, self._oom, runtime.watchdog, output, self._scrub
        )
        try:
            # Without a path, so that the reactor can use posix_spawn.
            self._reactor.spawnProcess(process, sys.executable, wrapper, env=dict(env), path=None)
        except OSError as error:
            if is_out_of_files(error):
                raise
            raise KernelStartFailed(
                f"The process could not be started: {error.strerror}; the system's limits on "
                "processes or memory may be too low"
            ) from None
        except ValueError as error:
            raise KernelStartFailed(f"The process could not be started: {error}") from None
        return process


@implementer(IKernelProcess)
class LocalProcess(ProcessProtocol):
    """
    A child process of the gateway, which leads a process group.

    :ivar pid: The process id, which is also the process group's.
    """

    pid: int = 0
    transport: Any

    def __init__(
        self,
        reactor: Any,
        kernel_id: str,
        oom: OutOfMemoryKills,
        watchdog: Watchdog | None,
        output_file: str = "",
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._kernel_id = kernel_id
        self._output_file = output_file
        # What is in the file already is of an earlier process.
        self._output_before = _size_of(output_file)
        self._scrub = scrub
        self._last_output = LastOutput()
        self._watchdog = watchdog
        self._oom = oom
        self._oom_before = oom.read()
        self._sent_sigkill = False
        self._ended: ExitStatus | None = None
        self._waiters: Waiters[ExitStatus] = Waiters()
        self._lines = OutputLines(reactor, self._write, self._report_dropped)

    def _write(self, line: str) -> None:
        _log.info(
            "kernel {kernel_id}: {line}",
            kernel_id=self._kernel_id,
            line=line,
            # OutputLines has limited each kernel already.
            log_unlimited=True,
        )

    def _report_dropped(self, count: int) -> None:
        _log.warn(
            "kernel {kernel_id}: {count} lines were left out, it prints more than {most} a second",
            kernel_id=self._kernel_id,
            count=count,
            most=MAX_LINES_PER_SECOND,
        )

    def signal(self, signum: int) -> None:
        # As long as the reactor has not reaped it, no other process can have the pid.
        if self._ended is not None:
            return
        self._sent_sigkill |= signum == signal.SIGKILL
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            # The wrapper has not yet made the group.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def describe(self) -> str:
        return f"process {self.pid}"

    def when_ended(self) -> Deferred[ExitStatus]:
        return self._waiters.wait() if self._ended is None else succeed(self._ended)

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        if self._watchdog is not None:
            self._watchdog.watch(self.pid)
        # A kernel gets its input over ZeroMQ.
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._lines.received(childFD, data)
        self._last_output.received(childFD, data)

    def processExited(self, reason: Failure) -> None:
        # The leader has ended: its descendants are killed, and not waited for. No other group can
        # have the number as long as one of them lives, nor in the moment since the leader was
        # reaped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._watchdog is not None:
            self._watchdog.unwatch(self.pid)
        signum = getattr(reason.value, "signal", None)
        for child_fd in _OUTPUT_FDS:
            self._drain(child_fd)
        self._lines.finish()
        self._ended = ExitStatus(
            getattr(reason.value, "exitCode", None),
            signum,
            self._cause_of(signum),
            self._scrub(self._output()),
        )
        self._waiters.fire(self._ended)

    def _output(self) -> str:
        printed = self._last_output.text()
        if printed or not self._output_file:
            return printed
        return last_lines(_end_of_file(self._output_file, self._output_before))

    def _cause_of(self, signum: int | None) -> str:
        if signum != signal.SIGKILL or self._sent_sigkill:
            return "" if signum is None else _LIMIT_REACHED.get(signum, "")
        return OUT_OF_MEMORY if self._oom.happened_since(self._oom_before) else ""

    def _drain(self, child_fd: int) -> None:
        """
        Read what is left in a pipe and close it, even if another process holds its other end.
        """
        reader = self.transport.pipes.get(child_fd)
        if reader is None:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(_PIPE_SIZE // _READ_SIZE):
                data = os.read(reader.fileno(), _READ_SIZE)
                if not data:
                    break
                self.childDataReceived(child_fd, data)
        self.transport.closeChildFD(child_fd)


def _size_of(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def _end_of_file(path: str, begin: int) -> bytes:
    """
    :return: The last bytes of a regular file, but none before ``begin``; nothing if it cannot be
        read.
    """
    try:
        # Its writer may be another user, who must not make us read something else.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            return b""
        return os.pread(file, MAX_LAST_BYTES, max(begin, found.st_size - MAX_LAST_BYTES))
    finally:
        os.close(file)
