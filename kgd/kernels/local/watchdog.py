"""
Runs the watchdog process, which cleans up after a gateway that is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.observability.logs import make_logger

_PROGRAM = str(Path(__file__).with_name("watchdog_process.py"))
# Seconds to wait before starting another process, when one has ended or cannot be started.
RESTART_DELAY = 1.0


class Watchdog:
    """
    A small process that outlives the gateway for a moment, ends the kernels that still run and
    removes the runtime directory. After an orderly end of the gateway it finds nothing to do.

    It starts with the first :py:meth:`set_directory`, and is started again if it ends too early.
    """

    _log = make_logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._directory: Path | None = None
        self._groups: set[int] = set()
        self._pipe = -1
        self._process: _WatchdogProtocol | None = None
        self._restart_call: IDelayedCall | None = None
        self._ended: Waiters[None] = Waiters()

    def set_directory(self, directory: Path) -> None:
        """
        Remove this directory after the gateway's end, instead of the one of the last call.
        """
        self._directory = directory
        if self._process is None and self._restart_call is None:
            self._start()
        else:
            self._send([os.fsencode(directory)])

    def watch(self, group: int) -> None:
        """
        End this process group after the gateway's end.
        """
        self._groups.add(group)
        self._send([b"+%d" % group])

    def unwatch(self, group: int) -> None:
        """
        Leave this process group alone: it has ended.
        """
        self._groups.discard(group)
        self._send([b"-%d" % group])

    def stop(self) -> Deferred[None]:
        """
        End the watchdog process, which first ends what it still watches.

        :return: Fires when the process is gone.
        """
        self._directory = None
        restart_call, self._restart_call = self._restart_call, None
        if restart_call is not None:
            restart_call.cancel()
        if self._process is None:
            return succeed(None)
        self._close()
        return self._ended.wait()

    def _start(self) -> None:
        self._restart_call = None
        child_end, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        process = _WatchdogProtocol(self)
        devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._reactor.spawnProcess(
                process,
                sys.executable,
                [sys.executable, "-I", "-S", _PROGRAM],
                # Only what Python itself may need.
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                childFDs={0: child_end, 1: devnull, 2: devnull},
            )
        except OSError as error:
            self._close()
            self._restart_later(f"cannot be started: {error.strerror}")
            return
        finally:
            os.close(child_end)
            os.close(devnull)
        self._process = process
        assert self._directory is not None
        self._send([os.fsencode(self._directory), *(b"+%d" % group for group in self._groups)])

    def _send(self, lines: Iterable[bytes]) -> None:
        if self._pipe < 0:
            # Another process is about to start, and is told everything.
            return
        try:
            os.write(self._pipe, b"".join(line + b"\n" for line in lines))
        except BlockingIOError:
            # The process has left 64 KiB of such lines unread: it hangs.
            assert self._process is not None
            self._process.transport.signalProcess(signal.SIGKILL)
            self._close()
        except BrokenPipeError:
            # It has ended, which is reported in a moment.
            self._close()

    def _close(self) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def process_ended(self) -> None:
        """
        Start another process, unless this one was stopped.
        """
        self._process = None
        self._close()
        self._ended.fire(None)
        if self._directory is not None:
            self._restart_later("has ended")

    def _restart_later(self, why: str) -> None:
        self._log.warn(
            "the process that ends kernels after a gateway that was killed {why}; trying again "
            "in {pause:g} s",
            why=why,
            pause=RESTART_DELAY,
        )
        self._restart_call = self._reactor.callLater(RESTART_DELAY, self._start)


class _WatchdogProtocol(ProcessProtocol):
    transport: Any

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    def processExited(self, reason: Failure) -> None:
        self._watchdog.process_ended()
