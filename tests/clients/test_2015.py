"""
The first versions of ``jupyter-js-services``, and what they check.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tests.clients.programs import PYTHON, NodeTestCase
from tests.support.gateway import Channels, GatewayTestCase, http, stdout, until

PACKAGES = ("jupyter-js-services-first", "jupyter-js-services")


class JupyterJSServicesTests(NodeTestCase):
    """
    The package itself, in two versions.
    """

    SOURCE = Path(__file__).with_name("node_2015")

    async def test_example(self) -> None:
        """
        The example of the time prints what the code prints.
        """
        folder = await self.node_folder(self.SOURCE)
        gateway = await self.gateway(PYTHON)
        for package in PACKAGES:
            printed = await self.run_node(
                "hello.js", package, cwd=folder, GATEWAY_HOST=f"127.0.0.1:{gateway.port}"
            )
            self.assertIn("  Content: Hello world!\n", printed)

    async def test_everything(self) -> None:
        """
        Starting, outputs, interrupts, restarts, a kernel that dies and shutting down work, and the
        validator has nothing to say.
        """
        folder = await self.node_folder(self.SOURCE)
        for package, (gateway, token) in zip(PACKAGES, await self.gateways(), strict=True):
            await self.run_node(
                "everything.js", f"127.0.0.1:{gateway.port}", token, package, cwd=folder
            )
            self.assert_no_traceback(gateway)


class StrictChannels(Channels):
    """
    A client in the legacy framing that checks each frame as the first versions do.
    """

    FIELDS = ("header", "parent_header", "metadata", "content", "channel", "buffers")
    HEADER_FIELDS = ("username", "version", "session", "msg_id", "msg_type")

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0
        self.complaints: list[object] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        A frame came.
        """
        super().onMessage(payload, isBinary)
        self.frames += 1
        if isBinary:
            # The client makes the list itself, of what is behind the JSON.
            (end,) = struct.unpack_from("!I", payload, 8)
            (start,) = struct.unpack_from("!I", payload, 4)
            message = json.loads(payload[start:end]) | {"buffers": self.messages[-1].buffers}
        else:
            message = json.loads(payload)
        if not self.is_valid(message):
            self.complaints.append(message)

    def is_valid(self, message: dict[str, Any]) -> bool:
        """
        :return: Whether the first versions would have it.
        """
        if any(field not in message for field in self.FIELDS):
            return False
        header, parent, content = message["header"], message["parent_header"], message["content"]
        valid = (
            all(isinstance(message[field], dict) for field in self.FIELDS[:4])
            and all(isinstance(header.get(field), str) for field in self.HEADER_FIELDS)
            and (not parent or all(isinstance(parent.get(f), str) for f in self.HEADER_FIELDS))
            and isinstance(message["channel"], str)
            and isinstance(message["buffers"], list)
        )
        if header["msg_type"] in ("comm_open", "comm_msg", "comm_close"):
            valid &= isinstance(content["comm_id"], str) and "data" in content
        if header["msg_type"] == "status":
            states = ("starting", "idle", "busy", "restarting", "dead")
            valid &= content["execution_state"] in states
        return valid


# Ends the kernel before it has answered.
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
OUTPUTS = """
import sys
from IPython.display import clear_output, display
from ipykernel.comm import Comm
print("out"); print("err", file=sys.stderr)
handle = display("shown", display_id=True); handle.update("updated"); clear_output()
comm = Comm("nobody", data={}, buffers=[b"1", b"22"])
comm.send({}, buffers=[b""]); comm.close()
print(input("? "))
6 * 7
"""


class ValidatorTests(GatewayTestCase):
    """
    Every frame that a kernel or the gateway sends would pass the first versions' validator.
    """

    async def come(self, *options: str, **env: str) -> tuple[int, str, StrictChannels]:
        """
        :return: The port of a gateway, a kernel's id, and a client that checks.
        """
        gateway = await self.gateway(PYTHON, *options, env=env)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(
            gateway.port, kernel_id, query="?session_id=s", protocol=StrictChannels
        )
        assert isinstance(client, StrictChannels)
        return gateway.port, kernel_id, client

    def assert_content(self, client: StrictChannels, frames: int) -> None:
        """
        The validator has seen at least so many frames, and had nothing to say.
        """
        self.assertEqual(client.complaints, [])
        self.assertGreaterEqual(client.frames, frames)

    async def test_typical(self) -> None:
        """
        Outputs of every kind, input, an error, and requests of other types.
        """
        _, _, client = await self.come()
        msg_id = client.request(
            "execute_request", {"code": OUTPUTS, "silent": False, "allow_stdin": True}
        )
        await until(lambda: client.of(msg_id, "input_request"), "it asks")
        (asked,) = client.of(msg_id, "input_request")
        client.request("input_reply", {"value": "typed"}, "stdin", parent=asked.header)
        kinds = {each.type for each in await client.answered(msg_id)}
        self.assertLessEqual(
            {"status", "execute_input", "stream", "display_data", "update_display_data",
             "clear_output", "comm_open", "comm_msg", "comm_close", "input_request",
             "execute_result", "execute_reply"},
            kinds,
        )  # fmt: skip
        await client.execute("1/0")
        for msg_type, content in (
            ("kernel_info_request", {}),
            ("complete_request", {"code": "pri", "cursor_pos": 3}),
            ("inspect_request", {"code": "print", "cursor_pos": 3, "detail_level": 0}),
            ("comm_info_request", {}),
        ):
            await client.answered(client.request(msg_type, content))
        self.assert_content(client, 30)

    async def test_warning(self) -> None:
        """
        The gateway's own notice that it withholds output.
        """
        _, _, client = await self.come("--limit-rate", "--iopub-msg-rate-limit=50")
        messages = await client.execute("for i in range(500): print(i, flush=True)")
        self.assertIn(
            "IOPub message rate exceeded",
            "".join(each.content["text"] for each in messages if each.type == "stream"),
        )
        self.assert_content(client, 10)

    async def test_hidden_tracebacks(self) -> None:
        """
        Errors that the gateway has changed.
        """
        _, _, client = await self.come(KGD_ALLOW_TRACEBACKS="no")
        await client.execute("1/0")
        self.assert_content(client, 5)

    async def test_restart(self) -> None:
        """
        A restart, idle and in the middle of a cell.
        """
        port, kernel_id, client = await self.come()
        await client.execute("pass")
        for code in ("pass", "print('go', flush=True)\nwhile True: pass"):
            msg_id = client.request(
                "execute_request", {"code": code, "silent": False, "allow_stdin": False}
            )
            await until(lambda msg_id=msg_id: client.of(msg_id), "it begins")  # type: ignore[misc]
            response = await http(port, "POST", f"/api/kernels/{kernel_id}/restart")
            self.assertEqual(response.code, 200)
            self.assertEqual(stdout(await client.execute("print('back')")), "back\n")
        self.assert_content(client, 10)

    async def test_death(self) -> None:
        """
        A kernel that dies with requests unanswered, starts again, and in the end does not.
        """
        port, kernel_id, client = await self.come("--restart-limit=1")
        await client.execute("pass")
        await client.execute(DIE)
        await client.status("restarting")
        await client.execute("pass")
        await client.execute(DIE)
        await client.status("dead")
        self.assertEqual((await http(port, "GET", f"/api/kernels/{kernel_id}")).code, 404)
        self.assert_content(client, 15)

    async def test_replay(self) -> None:
        """
        What was kept while the client was away.
        """
        port, kernel_id, client = await self.come()
        await client.execute("pass")
        client.request(
            "execute_request", {"code": "print(input())", "silent": False, "allow_stdin": True}
        )
        client.sendClose(1000)
        await client.when_closed()
        again = await self.connect(port, kernel_id, query="?session_id=s", protocol=StrictChannels)
        assert isinstance(again, StrictChannels)
        await until(lambda: any(m.type == "input_request" for m in again.messages), "it asks")
        self.assert_content(again, 2)
        self.assert_content(client, 3)
