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
PAUSE = 1.0


class Watchdog:
    """
    A small process that outlives the gateway for a moment, ends the kernels that still run and
    removes the runtime directory. After an orderly end of the gateway it finds nothing to do.

    It starts with the first :py:meth:`guard`, and is started again if it ends too early.
    """

    _log = make_logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._directory: Path | None = None
        self._groups: set[int] = set()
        self._pipe = -1
        self._process: _Process | None = None
        self._later: IDelayedCall | None = None
        self._ended: Waiters[None] = Waiters()

    def guard(self, directory: Path) -> None:
        """
        Remove this directory after the gateway's end, instead of the one of the last call.
        """
        self._directory = directory
        if self._process is None and self._later is None:
            self._start()
        else:
            self._tell([os.fsencode(directory)])

    def watch(self, group: int) -> None:
        """
        End this process group after the gateway's end.
        """
        self._groups.add(group)
        self._tell([b"+%d" % group])

    def forget(self, group: int) -> None:
        """
        Leave this process group alone: it has ended.
        """
        self._groups.discard(group)
        self._tell([b"-%d" % group])

    def stop(self) -> Deferred[None]:
        """
        End the watchdog process, which first ends what it still watches.

        :return: Fires when the process is gone.
        """
        self._directory = None
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        if self._process is None:
            return succeed(None)
        self._close()
        return self._ended.wait()

    def _start(self) -> None:
        self._later = None
        theirs, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        process = _Process(self)
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._reactor.spawnProcess(
                process,
                sys.executable,
                [sys.executable, "-I", "-S", _PROGRAM],
                # Only what Python itself may need.
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                childFDs={0: theirs, 1: nothing, 2: nothing},
            )
        except OSError as error:
            self._close()
            self._again(f"cannot be started: {error.strerror}")
            return
        finally:
            os.close(theirs)
            os.close(nothing)
        self._process = process
        assert self._directory is not None
        self._tell([os.fsencode(self._directory), *(b"+%d" % group for group in self._groups)])

    def _tell(self, lines: Iterable[bytes]) -> None:
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

    def ended(self) -> None:
        """
        Start another process, unless this one was stopped.
        """
        self._process = None
        self._close()
        self._ended.fire(None)
        if self._directory is not None:
            self._again("has ended")

    def _again(self, why: str) -> None:
        self._log.warn(
            "the process that ends kernels after a gateway that was killed {why}; trying again "
            "in {pause:g} s",
            why=why,
            pause=PAUSE,
        )
        self._later = self._reactor.callLater(PAUSE, self._start)


class _Process(ProcessProtocol):
    transport: Any

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    def processExited(self, reason: Failure) -> None:
        self._watchdog.ended()
