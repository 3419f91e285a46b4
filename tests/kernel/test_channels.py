"""
What clients rely on at a kernel's channels, with the real ipykernel.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest

from tests.support.gateway import (
    Channels,
    GatewayProcess,
    GatewayTestCase,
    alive,
    children_of,
    http,
    pause,
    stdout,
    until,
)

PYTHON = "--default-kernel-name=python3"
STATEFUL = {"silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}


def descriptors(gateway: GatewayProcess) -> int:
    """
    :return: How many a gateway has open.
    """
    return len(list(Path(f"/proc/{gateway.transport.pid}/fd").iterdir()))  # type: ignore[union-attr]


class ChannelsTests(GatewayTestCase):
    """
    One kernel.
    """

    timeout = 240

    async def begin(self, *options: str) -> None:
        """
        Start a kernel.
        """
        self.daemon = await self.gateway(PYTHON, *options)
        self.port = self.daemon.port
        self.kernel_id = await self.start_kernel(self.port)

    async def come(self, query: str = "", *, v1: bool = False) -> Channels:
        """
        Open a socket.
        """
        return await self.connect(self.port, self.kernel_id, v1=v1, query=query)

    async def model(self, key: str) -> object:
        """
        What the kernel's model says.
        """
        return (await http(self.port, "GET", f"/api/kernels/{self.kernel_id}")).json[key]

    async def becomes(self, key: str, value: object) -> None:
        """
        Wait until the model says it.
        """
        deadline = reactor.seconds() + 30
        while (found := await self.model(key)) != value:
            self.assertLess(reactor.seconds(), deadline, f"{key} is {found!r}")
            await pause()

    def execute_soon(self, client: Channels, code: str) -> str:
        """
        Execute, and do not wait.
        """
        return client.request("execute_request", STATEFUL | {"code": code})

    async def test_connections(self) -> None:
        """
        The model counts open sockets.
        """
        await self.begin()
        self.assertEqual(await self.model("connections"), 0)
        client = await self.come("?session_id=a")
        self.assertEqual(await self.model("connections"), 1)
        client.sendClose(1000)
        await self.becomes("connections", 0)
        await self.come("?session_id=a")
        self.assertEqual(await self.model("connections"), 1)

    async def test_states(self) -> None:
        """
        A kernel that nobody has connected to is idle when it answers; one that executes is busy,
        and stays so while it answers on control; after an interrupt it is idle. Using it moves its
        last activity, asking about it does not.
        """
        await self.begin()
        await self.becomes("execution_state", "idle")
        before = str(await self.model("last_activity"))
        self.assertRegex(before, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        client = await self.come()
        await client.answered(client.request("kernel_info_request", {}))
        self.assertEqual(await self.model("last_activity"), before)
        cell = self.execute_soon(client, "import signal; signal.pause()")
        await until(lambda: client.of(cell, "execute_input"), "it executes")
        await self.becomes("execution_state", "busy")
        self.assertGreater(str(await self.model("last_activity")), before)
        debug = {"type": "request", "seq": 1, "command": "debugInfo", "arguments": {}}
        asked = client.request("debug_request", debug, channel="control")
        await until(lambda: client.of(asked, "debug_reply"), "control answers")
        self.assertEqual(await self.model("execution_state"), "busy")
        other = await self.come()
        info = other.request("kernel_info_request", {}, channel="control")
        await until(lambda: other.of(info, "kernel_info_reply"), "control answers others, too")
        path = f"/api/kernels/{self.kernel_id}/interrupt"
        self.assertEqual((await http(self.port, "POST", path)).code, 204)
        messages = await client.answered(cell)
        names = [each.content["ename"] for each in messages if each.type == "error"]
        self.assertEqual(names, ["KeyboardInterrupt"])
        await self.becomes("execution_state", "idle")

    async def test_states_of_subshells(self) -> None:
        """
        A kernel stays busy as long as its main shell works, whatever others end meanwhile.
        """
        await self.begin()
        client = await self.come()
        info = await client.answered(client.request("kernel_info_request", {}))
        features = next(each.content for each in info if each.type == "kernel_info_reply")
        if "kernel subshells" not in features.get("supported_features", ()):
            raise SkipTest("this ipykernel has no subshells")
        made = client.request("create_subshell_request", {}, channel="control")
        (reply,) = [each for each in await client.answered(made) if each.type.endswith("_reply")]
        subshell = {"subshell_id": reply.content["subshell_id"]}
        cell = self.execute_soon(client, "import signal; signal.pause()")
        await until(lambda: client.of(cell, "execute_input"), "it executes")
        code = STATEFUL | {"code": "1"}
        await client.answered(client.request("execute_request", code, header=subshell))
        self.assertEqual(await self.model("execution_state"), "busy")
        await client.answered(client.request("list_subshell_request", {}, channel="control"))
        self.assertEqual(await self.model("execution_state"), "busy")
        path = f"/api/kernels/{self.kernel_id}/interrupt"
        self.assertEqual((await http(self.port, "POST", path)).code, 204)
        await client.answered(cell)
        await self.becomes("execution_state", "idle")

    async def test_headers_of_other_types(self) -> None:
        """
        What the kernel can answer is answered, whatever the types of fields that we do not need;
        what it cannot answer does not end the connection.
        """
        await self.begin()
        fields: list[dict[str, Any]] = [
            {name: value}
            for name in ("date", "session", "username", "msg_id", "traceId")
            for value in (1795716739.56, 7, None, ["x"], {"a": [1]}, True)
        ]
        for v1 in (False, True):
            client = await self.come(v1=v1)
            for field in fields:
                # ipykernel drops a message with the signature of an earlier one.
                content = STATEFUL | {"code": f"print('yes') # {v1}"}
                sent = client.request("execute_request", content, header=field)
                messages = await client.answered(sent)
                (value,) = field.values()
                # ipykernel answers arrays and objects, too, but cannot print under all of them.
                if not isinstance(value, list | dict):
                    self.assertEqual(stdout(messages), "yes\n", field)
            for version in (5, None, [5]):
                client.request("execute_request", {}, header={"version": version})
            odd: list[Any] = [[], "x", 5]
            for each in odd:
                client.request("execute_request", each)
            self.assertEqual(stdout(await client.execute("print(1)")), "1\n")

    async def test_session_ids(self) -> None:
        """
        Any text is a good name, and so is none.
        """
        await self.begin()
        for query in ("", "?session_id=", "?session_id=%C3%BC%20!", f"?session_id={'x' * 255}"):
            client = await self.come(query)
            self.assertEqual(stdout(await client.execute("print(1)")), "1\n")
        for query in (f"?session_id={'x' * 300}", "?session_id=%00x", "?session_id=%FF"):
            path = f"/api/kernels/{self.kernel_id}/channels{query}"
            headers = {"Upgrade": "websocket", "Connection": "Upgrade",
                       "Sec-WebSocket-Version": "13",
                       "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
            response = await http(self.port, "GET", path, headers=headers)
            self.assertEqual(response.code, 400)
            self.assertIn("session_id", response.json["message"])

    async def test_odd_channels(self) -> None:
        """
        A request on a channel that takes none is ignored, and the connection stays.
        """
        await self.begin()
        client = await self.come()
        for channel in ("iopub", "nonsense"):
            client.request("execute_request", STATEFUL | {"code": "print('no')"}, channel=channel)
        self.assertEqual(stdout(await client.execute("print('yes')")), "yes\n")
        self.assertEqual(stdout(client.messages), "yes\n")

    async def test_replaced(self) -> None:
        """
        Of two sockets under one name the older is closed cleanly, and the newer works.
        """
        await self.begin()
        old = await self.come("?session_id=s")
        await old.execute("pass")
        new = await self.come("?session_id=s")
        self.assertEqual(await old.when_closed(), (1000, "Replaced by a newer connection"))
        self.assertEqual(stdout(await new.execute("print(1)")), "1\n")
        self.assertEqual(await self.model("connections"), 1)

    async def test_shutdown_request(self) -> None:
        """
        A client that shuts the kernel down by a message gets its reply, and another process.
        """
        await self.begin()
        client = await self.come()
        pid = int(stdout(await client.execute("import os; print(os.getpid())")))
        asked = client.request("shutdown_request", {"restart": False}, channel="control")
        await until(lambda: client.of(asked, "shutdown_reply"), "the kernel replies")
        await client.status("restarting")
        self.assertNotEqual(int(stdout(await client.execute("import os; print(os.getpid())"))), pid)

    async def test_an_impatient_client(self) -> None:
        """
        100 times a client opens a socket, asks for something and goes; nothing is left of it.
        """
        await self.begin()
        client = await self.come("?session_id=s")
        await client.execute("pass")
        client.sendClose(1000)
        await client.when_closed()
        before = descriptors(self.daemon)
        for number in range(100):
            client = await self.come("?session_id=s", v1=bool(number % 2))
            self.execute_soon(client, "pass")
            client.dropConnection(abort=True)
            await until(lambda c=client: c.closed, "it is gone")  # type: ignore[misc]
        await self.becomes("connections", 0)
        self.assertLessEqual(descriptors(self.daemon), before + 5)

    async def test_a_kernel_that_never_answers(self) -> None:
        """
        Sockets on a kernel that does not answer open at once, and leave nothing behind either.
        """
        self.add_spec("deaf", ["sleep", "1000"])
        gateway = await self.gateway("--default-kernel-name=deaf", "--ws-start-wait=0")
        kernel_id = await self.start_kernel(gateway.port)
        first = await self.connect(gateway.port, kernel_id)
        before = descriptors(gateway)
        for _ in range(100):
            client = await self.connect(gateway.port, kernel_id)
            client.request("kernel_info_request", {})
            client.dropConnection(abort=True)
            await until(lambda c=client: c.closed, "it is gone")  # type: ignore[misc]
        path = f"/api/kernels/{kernel_id}"
        while (await http(gateway.port, "GET", path)).json["connections"] > 1:
            await pause()
        self.assertLessEqual(descriptors(gateway), before + 5)
        self.assertIsNone(first.closed)

    async def test_fragments(self) -> None:
        """
        A message in several frames, with pings between them, is one message.
        """
        await self.begin()
        client = await self.come()
        sent: list[bytes] = []
        self.patch(client, "sendMessage", lambda payload, isBinary: sent.append(payload))
        msg_id = self.execute_soon(client, "print('whole')")
        (payload,) = sent
        client.beginMessage()
        for start in range(0, len(payload), 50):
            piece = payload[start : start + 50]
            client.beginMessageFrame(len(piece))
            client.sendMessageFrameData(piece)
            client.sendPing(b"between")
        client.endMessage()
        self.assertEqual(stdout(await client.answered(msg_id)), "whole\n")

    async def test_rest_during_a_flood(self) -> None:
        """
        While a kernel prints as fast as it can, REST answers.
        """
        await self.begin()
        client = await self.come(v1=True)
        cell = self.execute_soon(client, "for i in range(200_000): print(i)")
        await until(lambda: client.of(cell, "stream"), "it prints")
        delays = []
        for _ in range(20):
            began = reactor.seconds()
            self.assertEqual((await http(self.port, "GET", "/api")).code, 200)
            delays.append(reactor.seconds() - began)
        self.assertLess(max(delays), 1.0)
        await client.answered(cell)

    async def test_lost_end(self) -> None:
        """
        A kernel that has dropped the last of its output is idle again, nevertheless, and the
        client is told both.
        """
        await self.begin("--default-kernel-name=python3")
        client = await self.come()
        messages = await client.execute(
            "kernel = get_ipython().kernel\n"
            "def forget(state, *others, publish=kernel._publish_status, **more):\n"
            "    if state == 'busy': publish(state, *others, **more)\n"
            "kernel._publish_status = forget"
        )
        self.assertIn(
            "kgd: the kernel has lost the end of this output", messages[-2].content["text"]
        )
        self.assertEqual(messages[-1].content, {"execution_state": "idle"})
        self.assertEqual(await self.model("execution_state"), "idle")

    async def test_secrets(self) -> None:
        """
        Neither the environment of a kernel, nor its arguments, nor what it inherits holds the
        gateway's token or its settings.
        """
        self.daemon = await self.gateway(
            PYTHON, env={"KG_AUTH_TOKEN": "s3cret", "KGD_FOO_TOKEN": "s3cret2"}
        )
        self.port = self.daemon.port
        headers = {"Authorization": "token s3cret"}
        response = await http(self.port, "POST", "/api/kernels", {}, headers)
        self.kernel_id = response.json["id"]
        client = await self.come("?token=s3cret")
        code = (
            "import os; print(dict(os.environ), open('/proc/self/environ').read(),"
            "open('/proc/self/cmdline').read())"
        )
        shown = stdout(await client.execute(code))
        self.assertIn("KERNEL_GATEWAY", shown)
        self.assertNotIn("s3cret", shown)
        (pid,) = children_of(self.daemon.transport.pid)  # type: ignore[union-attr]
        self.assertNotIn(b"s3cret", Path(f"/proc/{pid}/environ").read_bytes())
        listing = "import os; print(sorted(os.readlink(f'/proc/self/fd/{n}') for n in range(3)))"
        self.assertIn("pipe:", stdout(await client.execute(listing)))

    async def test_killed_gateway(self) -> None:
        """
        When the gateway is killed, the kernel ends by itself.
        """
        await self.begin()
        client = await self.come()
        pid = int(stdout(await client.execute("import os; print(os.getpid())")))
        self.daemon.kill(signal.SIGKILL)
        await self.daemon.ended()
        await until(lambda: not alive(pid), "the kernel is gone")
