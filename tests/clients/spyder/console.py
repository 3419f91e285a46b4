"""
What a console of Spyder 6 asks of a remote server, in Spyder's order, with Spyder's own comm.

Arguments: the gateway's URL, and a token.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
import sys
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
from jupyter_client.session import Session, json_packer
from spyder_kernels.comms.commbase import CommBase

TIMEOUT = 30
V1 = "v1.kernel.websocket.jupyter.org"
NAMESPACE_VIEW = {
    "check_all": False, "exclude_private": True, "exclude_uppercase": False,
    "exclude_capitalized": False, "exclude_unsupported": False,
    "exclude_callables_and_modules": True, "excluded_names": [], "minmax": False,
    "show_callable_attributes": True, "show_special_attributes": False, "filter_on": True,
}  # fmt: skip


def encode(channel: str, parts: list[bytes]) -> bytes:
    """
    :return: A frame of the subprotocol.
    """
    parts = [channel.encode(), *parts]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    return b"".join([*(number.to_bytes(8, "little") for number in numbers), *parts])


def decode(frame: bytes) -> tuple[str, list[bytes]]:
    """
    :return: Channel and parts.
    """
    count = int.from_bytes(frame[:8], "little")
    at = [int.from_bytes(frame[8 * (i + 1) : 8 * (i + 2)], "little") for i in range(count)]
    channel, *parts = (frame[a:b] for a, b in itertools.pairwise(at))
    return channel.decode(), parts


class Comm:
    """
    The frontend's end of a comm.

    :ivar channel: Where it sends.
    """

    def __init__(self, console: Console) -> None:
        self.comm_id = uuid.uuid4().hex
        self.channel = "shell"
        self._console = console

    def send(self, data: Any, buffers: list[bytes] | None = None) -> None:
        content = {"comm_id": self.comm_id, "data": data}
        self._console.send("comm_msg", content, self.channel, buffers or [])

    def on_msg(self, _callback: object) -> None:
        """
        The console passes messages on itself.
        """

    on_close = on_msg


class Console(CommBase):
    """
    A console, which calls its kernel, and is called by it.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.prompts: list[str] = []
        self.failures: list[str] = []
        self.comm: Comm
        self._socket = socket
        self._session = Session()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        self._ready = False
        self.register_call_handler("_comm_ready", self._comm_ready)
        self.register_call_handler("update_state", self.states.append)
        self.register_call_handler("pdb_input", self._pdb_input)
        self.register_call_handler("show_pdb_output", lambda _text: None)
        self.register_call_handler("_async_error", self.failures.append)

    async def close(self) -> None:  # type: ignore[override]
        for task in self._tasks:
            task.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                channel, parts = decode(frame.data)
                header, parent, _, content = map(json.loads, parts[:4])
                message = {"channel": channel, "msg_type": header["msg_type"], "parent": parent,
                           "content": content, "buffers": parts[4:]}  # fmt: skip
                if channel == "iopub" and header["msg_type"] == "comm_msg":
                    self._comm_message(message)
                self.messages.append(message)
                self._changed.set()
        except Exception as error:
            self.failures.append(repr(error))
            self._changed.set()
            raise

    async def _write(self) -> None:
        while True:
            await self._socket.send_bytes(await self._outgoing.get())

    async def until(self, condition: Callable[[], object]) -> None:
        """
        Wait for something that messages bring about.
        """
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                assert not self.failures, self.failures
                assert not self._socket.closed, self._socket.close_code
                self._changed.clear()
                await self._changed.wait()

    def send(
        self,
        msg_type: str,
        content: Any,
        channel: str = "shell",
        buffers: list[bytes] | None = None,
    ) -> str:
        message = self._session.msg(msg_type, content)
        names = ("header", "parent_header", "metadata", "content")
        parts = [json_packer(message[name]) for name in names]
        self._outgoing.put_nowait(encode(channel, [*parts, *(buffers or [])]))
        return str(message["msg_id"])

    def of(self, msg_id: str, msg_type: str) -> list[dict[str, Any]]:
        """
        :return: What came because of a request.
        """
        return [
            message
            for message in self.messages
            if message["parent"].get("msg_id") == msg_id and message["msg_type"] == msg_type
        ]

    def text(self, msg_id: str) -> str:
        """
        :return: What was printed because of a request.
        """
        return "".join(each["content"]["text"] for each in self.of(msg_id, "stream"))

    async def request(self, msg_type: str, content: Any, channel: str = "shell") -> dict[str, Any]:
        """
        :return: The reply's content.
        """
        msg_id = self.send(msg_type, content, channel)
        reply_type = msg_type.replace("_request", "_reply")
        await self.until(lambda: self.of(msg_id, reply_type))
        content = self.of(msg_id, reply_type)[0]["content"]
        assert isinstance(content, dict)
        return content

    def begin(self, code: str) -> str:
        """
        Execute code, without waiting for its end.
        """
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": True, "stop_on_error": True}  # fmt: skip
        return self.send("execute_request", content)

    async def finish(self, msg_id: str) -> dict[str, Any]:
        """
        :return: The reply's content.
        """
        await self.until(
            lambda: (
                self.of(msg_id, "execute_reply")
                and any(
                    each["content"]["execution_state"] == "idle"
                    for each in self.of(msg_id, "status")
                )
            )
        )
        content = self.of(msg_id, "execute_reply")[0]["content"]
        assert isinstance(content, dict)
        return content

    async def open_comm(self) -> None:
        """
        Open the comm, and wait until the kernel says through it that it is there.
        """
        info = self.send("kernel_info_request", {})
        self.comm = Comm(self)
        self._comms.clear()
        self._register_comm(self.comm)
        self._ready = False
        data = {"pickle_highest_protocol": pickle.HIGHEST_PROTOCOL}
        content = {"comm_id": self.comm.comm_id, "target_name": self._comm_name, "data": data}
        self.send("comm_open", content)
        await self.until(lambda: self._ready and self.of(info, "kernel_info_reply"))
        (reply,) = self.of(info, "kernel_info_reply")
        version, _executable = reply["content"]["spyder_kernels_info"]
        assert version.startswith("3."), version

    async def configure(self, folder: str) -> None:
        """
        Send the settings.
        """
        configuration = {
            "matplotlib": {"pylab/backend": "inline", "pylab/autoload": False},
            "cwd": folder, "color scheme": "dark", "faulthandler": True, "wurlitzer": True,
            "namespace_view_settings": NAMESPACE_VIEW, "pdb": {"pdb_use_exclamation_mark": True},
            "jedi_completer": False, "greedy_completer": False, "autocall": 0,
        }  # fmt: skip
        answer = await self.call("set_configuration", configuration)
        assert answer["faulthandler"], answer
        await self.call("update_syspath", None, False, interrupt=True)
        environment = await self.call("get_pythonenv_info", interrupt=True)
        assert environment["python_version"], environment

    async def call(self, name: str, *args: Any, interrupt: bool = False) -> Any:
        """
        Call the kernel.

        :param interrupt: On the control channel, which is served while code runs.
        """
        answers: list[Any] = []
        self.comm.channel = "control" if interrupt else "shell"
        getattr(self.remote_call(callback=answers.append, interrupt=interrupt), name)(*args)
        await self.until(lambda: answers)
        return answers[0]

    # What the kernel calls, and answering it.

    def _comm_ready(self) -> None:
        self._ready = True

    def _pdb_input(self, prompt: str, state: Any = None) -> None:
        self.prompts.append(prompt)

    def _set_call_return_value(self, *args: Any, **kwargs: Any) -> None:
        self.comm.channel = "control"
        super()._set_call_return_value(*args, **kwargs)

    def _async_error(self, error_wrapper: Any) -> None:
        self.failures.extend(error_wrapper.format_error())


async def variables(console: Console) -> None:
    """
    The variable explorer sees what code does, and changes it.
    """
    reply = await console.finish(console.begin("x = 6; blob = bytes(range(256)) * 4000"))
    assert reply["status"] == "ok", reply
    await console.until(lambda: console.states and "x" in (console.states[-1]["namespace_view"]))
    view = console.states[-1]["namespace_view"]
    assert (view["x"]["type"], view["x"]["view"]) == ("int", "6"), view
    assert (await console.call("get_value", "x", interrupt=True)) == 6
    # Bytes are buffers, in both directions.
    assert (await console.call("get_value", "blob", interrupt=True)) == bytes(range(256)) * 4000
    await console.call("set_value", "y", bytes(range(255, -1, -1)), interrupt=True)
    running = console.begin("print(y == bytes(range(255, -1, -1)), input('? '))")
    await console.until(lambda: console.of(running, "input_request"))
    console.send("input_reply", {"value": "typed"}, "stdin")
    await console.finish(running)
    assert console.text(running) == "True typed\n", console.text(running)


async def interrupts(console: Console, interrupt: Callable[[], Any]) -> None:
    """
    While code runs, the kernel answers on the control channel.
    """
    running = console.begin("print('go', flush=True)\nwhile True: x += 1")
    await console.until(lambda: "go" in console.text(running))
    first = await console.call("get_value", "x", interrupt=True)
    async with asyncio.timeout(TIMEOUT):
        while (await console.call("get_value", "x", interrupt=True)) == first:
            pass
    reply = await console.request("complete_request", {"code": "blo", "cursor_pos": 3}, "control")
    assert "blob" in reply["matches"], reply
    await interrupt()
    reply = await console.finish(running)
    assert reply["ename"] == "KeyboardInterrupt", reply


async def debugs(console: Console) -> None:
    """
    The debugger asks through the comm, and gets its commands on the control channel.
    """
    running = console.begin("z = 6\nbreakpoint()\nprint('after', z)")
    await console.until(lambda: len(console.prompts) == 1)
    await console.call("pdb_input_reply", "z = 7", interrupt=True)
    await console.until(lambda: len(console.prompts) == 2)
    assert (await console.call("get_value", "z", interrupt=True)) == 7
    await console.call("pdb_input_reply", "!continue", interrupt=True)
    await console.finish(running)
    assert "after 7\n" in console.text(running), console.text(running)


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"token {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(method: str, path: str, status: int, body: Any = None) -> Any:
            async with session.request(method, f"{url}/api/{path}", json=body) as answer:
                assert answer.status == status, (path, answer.status, await answer.text())
                return await answer.json() if status != 204 else None

        specs = await ask("GET", "kernelspecs", 200)
        assert "spyder" in specs["kernelspecs"], specs
        kernel = await ask("POST", "kernels", 201, {"spyder_kernel": True, "name": "spyder"})
        path = f"kernels/{kernel['id']}"
        # A pong has to come within a second.
        socket = await session.ws_connect(
            f"{url}/api/{path}/channels?session_id={uuid.uuid4().hex}&token={token}".replace(
                "http", "ws", 1
            ),
            protocols=(V1,), heartbeat=2.0, max_msg_size=0,
        )  # fmt: skip
        assert socket.protocol == V1, socket.protocol
        console = Console(socket)
        await console.open_comm()
        await console.configure("/")
        await variables(console)
        await interrupts(console, lambda: ask("POST", f"{path}/interrupt", 204))
        await debugs(console)

        # The connection stays; the comm is opened anew.
        await ask("POST", f"{path}/restart", 200)
        await console.open_comm()
        await console.configure("/")
        reply = await console.finish(console.begin("x"))
        assert reply["ename"] == "NameError", reply
        await console.close()
        await ask("DELETE", path, 204)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
    print("All is well.")
