"""
A gateway for one ``kgd run``, which ends with it.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kgd.client.values import ClientError

_PR_SET_PDEATHSIG = 1
# Seconds.
_START, _STOP = 30.0, 20.0
_LAST_LINES = 5


@contextmanager
def own_gateway() -> Iterator[tuple[str, str]]:
    """
    Start a gateway on a free port of this machine, and end it with all of its kernels.

    Files and variables with options are not for it. Its token is in a file that only this user can
    read.

    :return: Its URL and its token.
    :raises ClientError: when it does not start.
    """
    token = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="kgd-run-", ignore_cleanup_errors=True) as directory:
        folder = Path(directory)
        ports, config, log = folder / "ports", folder / "kgd.toml", folder / "log"
        # mkdtemp lets nobody else in.
        config.write_text(f'auth-token = "{token}"\nport = 0\n', "utf-8")
        process = _start(config, ports, log)
        try:
            yield f"http://127.0.0.1:{_port(process, ports, log)}", token
        finally:
            _end(process)


def _start(config: Path, ports: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("KGD_", "KG_"))
    }
    command = [sys.executable, "-m", "kgd", f"--config={config}", f"--port-file={ports}"]
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            # Ctrl-C is for the code.
            start_new_session=True,
            preexec_fn=_ends_with_parent(),  # noqa: PLW1509
        )


def _ends_with_parent() -> Callable[[], None] | None:
    """
    :return: What has the new process end even if this one is killed, where the system can do that.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


def _port(process: subprocess.Popen[bytes], ports: Path, log: Path) -> int:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        if ports.exists():
            return int(ports.read_text().split()[0])
        time.sleep(0.01)
    said = log.read_text("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
    raise ClientError("a gateway of its own does not start; it said:\n" + "\n".join(said))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
