"""
The gateway as a child process, and clients of our own for it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.support.valve import Valve

ROOT = Path(__file__).resolve().parents[2]
TINY_KERNEL = Path(__file__).with_name("tiny_kernel.py")
TIMEOUT = 30
V1 = "v1.kernel.websocket.jupyter.org"
# The script ``twistd``, wherever it is installed.
DAEMONIZE = "from twisted.scripts.twistd import run; run()"
#: In the command line of a gateway's watchdog.
WATCHDOG = b"/watchdog_process.py\0"
_AVAILABLE = "is available at "


async def until(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    """
    Let the reactor run until something is the case.
    """
    deadline = reactor.seconds() + TIMEOUT
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError(
                f"waited {TIMEOUT} s until {what if isinstance(what, str) else what()}"
            )
        await deferLater(reactor, 0.002)


async def pause() -> None:
    """
    Wait before a gateway is asked again: asking all the time would take the processor away from
    what is waited for.
    """
    await deferLater(reactor, 0.02)


class GatewayProcess(ProcessProtocol):
    """
    One daemon, with directories of its own.
    """

    def __init__(self) -> None:
        self.output = ""
        self.url = ""
        self.status: int | None = None
        self._ended: list[Deferred[int]] = []

    def outReceived(self, data: bytes) -> None:
        """
        It logs to stdout.
        """
        self.output += data.decode("utf-8", "replace")
        if not self.url and _AVAILABLE in self.output:
            line = self.output.split(_AVAILABLE, 1)[1]
            if "\n" in line:
                # In a log of JSON, more follows.
                self.url = line.split()[0].split('"')[0]

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, and its output has been read.
        """
        value = reason.value
        if isinstance(value, ProcessTerminated):
            self.status = value.exitCode if value.signal is None else -value.signal
        else:
            assert isinstance(value, ProcessDone)
            self.status = 0
        ended, self._ended = self._ended, []
        for each in ended:
            each.callback(self.status)

    @property
    def port(self) -> int:
        """
        Where it answers.
        """
        return int(self.url.split(":")[2].split("/")[0])

    async def ready(self) -> None:
        """
        Wait until it says that it answers.
        """
        await until(
            lambda: self.url or self.status is not None,
            lambda: f"the gateway says where it is; it said: {self.output}",
        )
        assert self.url, f"the gateway ended with {self.status}: {self.output}"

    def kill(self, signum: int) -> None:
        """
        Send it a signal.
        """
        assert self.transport is not None
        os.kill(self.transport.pid, signum)

    async def ended(self) -> int:
        """
        :return: Its exit status, or the negative number of the signal that ended it.
        """
        await until(lambda: self.status is not None, lambda: f"it ends; it said: {self.output}")
        assert self.status is not None
        return self.status

    async def stop(self, signum: int = signal.SIGTERM) -> int:
        """
        Stop it.
        """
        if self.status is None:
            self.kill(signum)
        return await self.ended()


class Response:
    """
    An HTTP response.
    """

    def __init__(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.code = code
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """
        The body.
        """
        return json.loads(self.body)


class _Raw(Protocol):
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.received = b""
        self.lost = False

    def connectionMade(self) -> None:
        self.transport.write(self.request)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(ProcessDone(0))) -> None:  # noqa: B008
        self.lost = True


async def raw(port: int, request: bytes, endpoint: Any = None) -> bytes:
    """
    Send these bytes, and return all that comes until the server closes.

    :param endpoint: Where to, if not to this port over plain TCP.
    """
    protocol = _Raw(request)
    endpoint = endpoint or HostnameEndpoint(reactor, "127.0.0.1", port)
    await endpoint.connect(Factory.forProtocol(lambda: protocol))
    try:
        await until(lambda: protocol.lost, lambda: f"the server closes: {protocol.received!r}")
    finally:
        if not protocol.lost:
            protocol.transport.abortConnection()  # type: ignore[union-attr]
    return protocol.received


async def http(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    endpoint: Any = None,
) -> Response:
    """
    Make one request on a connection of its own.

    :param body: Bytes, or what to send as JSON.
    :param endpoint: As for :py:func:`raw`.
    """
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Connection: close",
        *(
            f"{name}: {value}"
            for name, value in {"Host": f"127.0.0.1:{port}", **(headers or {})}.items()
        ),
        *([f"Content-Length: {len(data)}"] if data or method in ("POST", "PATCH") else []),
        "",
        "",
    ]
    answer = await raw(port, "\r\n".join(lines).encode() + data, endpoint)
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    parsed = dict(field.lower().split(": ", 1)[:1] + field.split(": ", 1)[1:] for field in fields)
    return Response(int(first.split()[1]), parsed, rest)


class Message:
    """
    A Jupyter message as a client sees it.
    """

    def __init__(self, channel: str, fields: list[Any], buffers: list[bytes]) -> None:
        self.channel = channel
        self.header, self.parent, self.metadata, self.content = fields
        self.buffers = buffers

    @property
    def type(self) -> str:
        """
        Its ``msg_type``.
        """
        return str(self.header["msg_type"])

    def __repr__(self) -> str:
        return f"<{self.channel} {self.type} {str(self.content)[:80]}>"


def decode(payload: bytes, is_binary: bool, v1: bool) -> Message:
    """
    Read a frame, independently of the gateway's own codecs.
    """
    if v1:
        (count,) = struct.unpack_from("<Q", payload)
        at = struct.unpack_from(f"<{count}Q", payload, 8)
        parts = [payload[a:b] for a, b in itertools.pairwise(at)]
        return Message(parts[0].decode(), [json.loads(part) for part in parts[1:5]], parts[5:])
    buffers: list[bytes] = []
    if is_binary:
        (count,) = struct.unpack_from("!I", payload)
        at = (*struct.unpack_from(f"!{count}I", payload, 4), len(payload))
        payload, *buffers = (payload[a:b] for a, b in itertools.pairwise(at))
    fields = json.loads(payload)
    names = ("header", "parent_header", "metadata", "content")
    assert is_binary or fields["buffers"] == [], "validators want this"
    assert fields["msg_type"] == fields["header"]["msg_type"]
    return Message(fields["channel"], [fields[name] for name in names], buffers)


def encode(channel: str, parts: list[Any], buffers: list[bytes], v1: bool) -> tuple[bytes, bool]:
    """
    Write a frame.
    """
    if v1:
        raw_parts = [channel.encode(), *(json.dumps(part).encode() for part in parts), *buffers]
        at = [8 * (len(raw_parts) + 2)]
        for part in raw_parts:
            at.append(at[-1] + len(part))
        return struct.pack(f"<{len(at) + 1}Q", len(at), *at) + b"".join(raw_parts), True
    names = ("header", "parent_header", "metadata", "content")
    text = json.dumps(dict(zip(names, parts, strict=True)) | {"channel": channel}).encode()
    if not buffers:
        return text, False
    pieces = [text, *buffers]
    at = [4 * (len(pieces) + 1)]
    for piece in pieces[:-1]:
        at.append(at[-1] + len(piece))
    return struct.pack(f"!{len(pieces) + 1}I", len(pieces), *at) + b"".join(pieces), True


class Channels(WebSocketClientProtocol):
    """
    A client of one kernel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.opened = False
        self.closed: tuple[int | None, str] | None = None
        self.pings = 0

    def onOpen(self) -> None:
        """
        The handshake is done.
        """
        self.opened = True
        self.v1 = self.websocket_protocol_in_use == V1

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        A frame came.
        """
        self.messages.append(decode(payload, isBinary, self.v1))

    def onPing(self, payload: bytes) -> None:
        """
        A ping came.
        """
        self.pings += 1
        super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        It is over.
        """
        self.closed = (code, reason or "")

    def request(
        self,
        msg_type: str,
        content: Any,
        channel: str = "shell",
        buffers: list[bytes] | None = None,
        parent: Any = None,
        header: dict[str, Any] | None = None,
    ) -> str:
        """
        Send a request; return its id.

        :param header: Fields to add to its header.
        """
        msg_id = os.urandom(8).hex()
        header = {"msg_id": msg_id, "msg_type": msg_type, "username": "t", "session": "t",
                  "version": "5.3", "date": "2026-01-01T00:00:00Z", **(header or {})}  # fmt: skip
        frame, is_binary = encode(
            channel, [header, parent or {}, {}, content], buffers or [], self.v1
        )
        self.sendMessage(frame, is_binary)
        sent_id: str = header["msg_id"]
        return sent_id

    def of(self, msg_id: str, msg_type: str | None = None) -> list[Message]:
        """
        What came because of a request.
        """
        return [
            message
            for message in self.messages
            if message.parent.get("msg_id") == msg_id and msg_type in (None, message.type)
        ]

    async def answered(self, msg_id: str) -> list[Message]:
        """
        Wait for the reply and the idle status of a request; return all that came because of it.
        """

        def done() -> bool:
            replied = any(each.type.endswith("_reply") for each in self.of(msg_id))
            return replied and any(
                each.content.get("execution_state") == "idle" for each in self.of(msg_id, "status")
            )

        await until(
            lambda: done() or self.closed,
            lambda: f"request {msg_id} is answered; came: {self.messages[-20:]}",
        )
        assert done(), f"closed with {self.closed} before the answer; came: {self.messages[-20:]}"
        return self.of(msg_id)

    async def execute(self, code: str, **more: Any) -> list[Message]:
        """
        Run code; return all that came because of it.
        """
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                   "allow_stdin": False, **more}  # fmt: skip
        return await self.answered(self.request("execute_request", content))

    async def status(self, execution_state: str) -> None:
        """
        Wait for a status that belongs to no request.
        """
        await until(
            lambda: any(
                each.type == "status" and each.content["execution_state"] == execution_state
                for each in self.messages
                if not each.parent
            ),
            lambda: f"status {execution_state}; came: {self.messages[-20:]}, {self.closed}",
        )

    async def when_closed(self) -> tuple[int | None, str]:
        """
        :return: The close code and its reason.
        """
        await until(lambda: self.closed, lambda: f"it is closed; came: {self.messages[-20:]}")
        assert self.closed is not None
        return self.closed


def stdout(messages: list[Message]) -> str:
    """
    :return: What was printed.
    """
    return "".join(
        each.content["text"]
        for each in messages
        if each.type == "stream" and each.content["name"] == "stdout"
    )


class GatewayTestCase(TestCase):
    """
    Tests that start gateways and connect to them. Everything ends with the test.
    """

    timeout = 120

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        self.home = Path(self.mktemp()).resolve()
        # Short, because the path of a Unix socket must be.
        self.runtime = Path(tempfile.mkdtemp(prefix="kgd-"))
        self.addCleanup(shutil.rmtree, self.runtime, ignore_errors=True)
        self.specs = self.home / "share" / "kernels"
        for folder in (self.specs, self.home / "work", self.home / "config"):
            folder.mkdir(parents=True)
        self.add_spec("tiny", [sys.executable, "-I", str(TINY_KERNEL), "-f", "{connection_file}"])
        # A child that ends before the reactor really runs would leave trial without SIGCHLD.
        return deferLater(reactor, 0)

    def add_spec(self, name: str, argv: list[str], **more: Any) -> None:
        """
        Install a kernelspec.
        """
        folder = self.specs / name
        folder.mkdir()
        spec = {"argv": argv, "display_name": name, "language": "x", **more}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def environment(self, **more: str) -> dict[str, str]:
        """
        Of a gateway.
        """
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KG_", "KGD_", "JUPYTER"))
        }
        return {
            **ours,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), ours.get("PYTHONPATH")])),
            "HOME": str(self.home),
            "JUPYTER_PATH": str(self.home / "share"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "IPYTHONDIR": str(self.home / "ipython"),
            **more,
        }

    def launch(
        self,
        *options: str,
        twistd: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        daemonize: bool = False,
        through: tuple[str, ...] = (),
    ) -> GatewayProcess:
        """
        Start a gateway, without waiting for it.

        :param twistd: Options for twistd itself.
        :param through: What becomes the gateway, with the gateway's command line after it.
        :param daemonize: Let ``twistd`` run it, instead of ``python -m kgd``.
        """
        process = GatewayProcess()
        before = [*twistd, "--"] if twistd else []
        command = (
            [sys.executable, "-m", "kgd", *before, *options]
            if not daemonize
            else [sys.executable, "-c", DAEMONIZE, *twistd, "kgd", *options]
        )
        argv = [*through, *command]
        reactor.spawnProcess(
            process,
            argv[0],
            argv,
            env=self.environment(**(env or {})),
            path=str(self.home / "work"),
        )
        self.addCleanup(process.stop, signal.SIGKILL)
        self.addCleanup(self._end_gently, process)
        return process

    async def _end_gently(self, process: GatewayProcess) -> None:
        if process.status is None:
            await process.stop()

    async def gateway(self, *options: str, **more: Any) -> GatewayProcess:
        """
        Start a gateway, and wait until it answers.
        """
        process = self.launch(
            "--port=0", "--default-kernel-name=tiny", "--list-kernels", *options, **more
        )
        await process.ready()
        return process

    async def start_kernel(
        self, port: int, *, base: str = "", endpoint: Any = None, headers: Any = None, **body: Any
    ) -> str:
        """
        :return: The new kernel's id.
        """
        response = await http(port, "POST", f"{base}/api/kernels", body, headers, endpoint)
        self.assertEqual(response.code, 201, response.body)
        return str(response.json["id"])

    async def connect(
        self,
        port: int,
        kernel_id: str,
        *,
        v1: bool = False,
        base: str = "",
        query: str = "",
        headers: Any = None,
        protocol: type[Channels] = Channels,
        endpoint: Any = None,
    ) -> Channels:
        """
        Open a WebSocket on a kernel.
        """
        client: Any
        factory = WebSocketClientFactory(
            f"ws://127.0.0.1:{port}{base}/api/kernels/{kernel_id}/channels{query}",
            protocols=[V1] if v1 else None,
            headers=headers,
            reactor=reactor,
        )
        factory.protocol = protocol
        # Without time-outs, so that no timer outlives a test.
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        endpoint = endpoint or HostnameEndpoint(reactor, "127.0.0.1", port)
        client = await endpoint.connect(factory)
        self.addCleanup(self._drop, client)
        await until(lambda: client.opened or client.closed, "the WebSocket opens")
        self.assertTrue(client.opened, f"refused: {client.closed}")
        channels: Channels = client
        return channels

    async def _drop(self, client: Channels) -> None:
        if client.closed is None:
            client.dropConnection(abort=True)
        await until(lambda: client.closed, "the connection is gone")

    def valve(self, name: str = "valve") -> Valve:
        """
        :return: Something that code in a kernel can wait for.
        """
        valve = Valve(self.home / name)
        self.addCleanup(valve.close)
        return valve

    def leftovers(self) -> list[str]:
        """
        :return: Files and sockets that gateways have left in the runtime directory.
        """
        return [str(path) for path in self.runtime.rglob("*") if not path.is_dir()]


def alive(pid: int) -> bool:
    """
    Whether a process is there, and is no zombie.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """
    The processes that a process has started; of a gateway, without its watchdog.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and WATCHDOG not in command:
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


def listening(pid: int) -> list[int]:
    """
    The TCP ports that a process has open for others.
    """
    files = Path(f"/proc/{pid}/fd").iterdir()
    sockets = {os.readlink(file) for file in files}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    ]
