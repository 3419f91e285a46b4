"""
The real ipykernel through the running gateway.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import Any

from twisted.internet.defer import DeferredList, ensureDeferred

from tests.support.gateway import (
    Channels,
    GatewayProcess,
    GatewayTestCase,
    alive,
    children_of,
    http,
    stdout,
    until,
)

PYTHON = "--default-kernel-name=python3"


class IPykernelTests(GatewayTestCase):
    """
    What users do.
    """

    async def python(self, *options: str) -> tuple[GatewayProcess, str]:
        """
        :return: A gateway, and the id of a kernel that it started a moment ago.
        """
        gateway = await self.gateway(PYTHON, *options)
        return gateway, await self.start_kernel(gateway.port)

    def kernel_pid(self, gateway: GatewayProcess) -> int:
        """
        Of the only kernel.
        """
        assert gateway.transport is not None
        (pid,) = children_of(gateway.transport.pid)
        return pid

    async def test_execute_at_once(self) -> None:
        """
        Everything that belongs to a request sent at once after opening arrives, exactly once, in
        order: on a kernel that was started a moment ago, on one that idles, in both framings.
        """
        gateway, kernel_id = await self.python()
        for number in range(20):
            client = await self.connect(gateway.port, kernel_id, v1=bool(number % 2))
            messages = await client.execute(f"print({number}); {number}")
            self.assertEqual(stdout(messages), f"{number}\n")
            iopub = [each for each in messages if each.channel == "iopub"]
            self.assertEqual(
                [each.type for each in iopub if each.type != "stream"],
                ["status", "execute_input", "execute_result", "status"],
            )
            self.assertEqual([m.type for m in messages if m.channel == "shell"], ["execute_reply"])
            self.assertEqual(len({each.header["msg_id"] for each in messages}), len(messages))
            client.sendClose(1000)

    async def test_fresh_kernels(self) -> None:
        """
        The same on kernels that are each used as soon as they are started.
        """
        gateway = await self.gateway(PYTHON)
        for number in range(4):
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id, v1=bool(number % 2))
            self.assertEqual(stdout(await client.execute("print('hi')")), "hi\n")
            self.assertEqual(client.messages[0].parent.get("msg_type"), "execute_request")

    async def test_a_busy_kernel(self) -> None:
        """
        A client that comes while another's code runs gets its answer when its turn comes.
        """
        gateway, kernel_id = await self.python()
        first = await self.connect(gateway.port, kernel_id)
        slow = first.request(
            "execute_request", {"code": "input('?')", "allow_stdin": True, "silent": False}
        )
        await until(lambda: first.of(slow, "input_request"), "the first client is asked")
        second = await self.connect(gateway.port, kernel_id, v1=True)
        waiting = second.request("execute_request", {"code": "print('second')", "silent": False})
        first.request("input_reply", {"value": "x"}, "stdin")
        await first.answered(slow)
        self.assertEqual(stdout(await second.answered(waiting)), "second\n")

    async def test_two_clients(self) -> None:
        """
        Output goes to everybody, replies and prompts to who asked.
        """
        gateway, kernel_id = await self.python()
        one = await self.connect(gateway.port, kernel_id)
        two = await self.connect(gateway.port, kernel_id, v1=True)
        model = (await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")).json
        self.assertEqual(model["connections"], 2)
        await two.execute("1")
        msg_id = one.request(
            "execute_request", {"code": "print(input('? '))", "allow_stdin": True, "silent": False}
        )
        await until(lambda: one.of(msg_id, "input_request"), "the prompt comes")
        one.request("input_reply", {"value": "an answer"}, "stdin")
        self.assertEqual(stdout(await one.answered(msg_id)), "an answer\n")
        await until(lambda: len(two.of(msg_id, "status")) == 2, "the other sees the output")
        self.assertEqual({each.channel for each in two.of(msg_id)}, {"iopub"})

    async def test_no_stdin(self) -> None:
        """
        Without allow_stdin, asking is an error and not a wait.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        messages = await client.execute("input()")
        (error,) = [each for each in messages if each.type == "error"]
        self.assertEqual(error.content["ename"], "StdinNotImplementedError")

    async def test_interrupt(self) -> None:
        """
        An endless loop ends by REST, or by a request on control while the kernel is busy.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("pass")
        code = "print('go', flush=True)\nwhile True: pass"

        async def interrupted(how: str) -> None:
            msg_id = client.request("execute_request", {"code": code, "silent": False})
            await until(lambda: client.of(msg_id, "stream"), "the loop runs")
            if how == "REST":
                response = await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/interrupt")
                self.assertEqual((response.code, response.body), (204, b""))
            else:
                await self.info_on_control(client)
                client.request("interrupt_request", {}, "control")
            messages = await client.answered(msg_id)
            (error,) = [each for each in messages if each.type == "error"]
            self.assertEqual(error.content["ename"], "KeyboardInterrupt")

        await interrupted("REST")
        await interrupted("control")

    async def info_on_control(self, client: Channels) -> None:
        """
        Control answers while the kernel is busy.
        """
        msg_id = client.request("kernel_info_request", {}, "control")
        await until(lambda: client.of(msg_id, "kernel_info_reply"), "control answers")

    async def test_restart(self) -> None:
        """
        A restart keeps the id and the socket; the next request is answered by the new process.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("x = 1")
        pid = self.kernel_pid(gateway)
        responses = await DeferredList(
            [
                ensureDeferred(http(gateway.port, "POST", f"/api/kernels/{kernel_id}/restart"))
                for _ in range(2)
            ]
        )
        for _, response in responses:
            self.assertEqual(response.code, 200)
            self.assertEqual(response.json["id"], kernel_id)
            self.assertEqual(response.json["execution_state"], "starting")
        messages = await client.execute("x")
        self.assertEqual([m.content["ename"] for m in messages if m.type == "error"], ["NameError"])
        self.assertNotEqual(self.kernel_pid(gateway), pid)
        states = [m.content.get("execution_state") for m in client.messages if m.type == "status"]
        self.assertNotIn("restarting", states)

    async def test_killed(self) -> None:
        """
        Clients of a kernel that is killed are told at once, and go on with its successor on the
        same socket.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("pass")
        os.kill(self.kernel_pid(gateway), signal.SIGKILL)
        await client.status("restarting")
        self.assertEqual(stdout(await client.execute("print('again')")), "again\n")
        model = (await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")).json
        self.assertIn(model["execution_state"], ("idle", "busy"))

    async def test_comms(self) -> None:
        """
        Binary buffers arrive as they are in both directions and framings, empty ones too.
        """
        gateway, kernel_id = await self.python()
        for v1 in (False, True):
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            await client.execute(
                "from ipykernel.comm import Comm\n"
                "def opened(comm, message):\n"
                "    comm.on_msg(lambda m: comm.send(m['content']['data'], None,"
                " [bytes(b)[::-1] for b in m['buffers']]))\n"
                "get_ipython().kernel.comm_manager.register_target('echo', opened)"
            )
            client.request("comm_open", {"comm_id": "c", "target_name": "echo", "data": {}})
            sent = [b"abc", b"", bytes(range(256)) * 1000]
            msg_id = client.request("comm_msg", {"comm_id": "c", "data": {"x": 1}}, buffers=sent)
            await until(lambda: client.of(msg_id, "comm_msg"), "the echo comes")  # noqa: B023
            (echo,) = client.of(msg_id, "comm_msg")
            self.assertEqual(echo.content["data"], {"x": 1})
            self.assertEqual(echo.buffers, [each[::-1] for each in sent])

    async def test_much_output(self) -> None:
        """
        Of much output every line arrives, in order, before the idle status.
        """
        gateway, kernel_id = await self.python()
        for v1 in (False, True):
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            messages = await client.execute("for i in range(50000): print(i)")
            expected = "".join(f"{number}\n" for number in range(50000))
            self.assertEqual(stdout(messages), expected)

    async def test_large_display(self) -> None:
        """
        Large messages arrive whole.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        messages = await client.execute(
            "from IPython.display import display\n"
            "display({'text/plain': 'x' * 12_000_000}, raw=True)"
        )
        (shown,) = [each for each in messages if each.type == "display_data"]
        self.assertEqual(len(shown.content["data"]["text/plain"]), 12_000_000)

    async def test_directory_and_environment(self) -> None:
        """
        A kernel works where its path says, and has the variables that its client may set.
        """
        gateway = await self.gateway(PYTHON, "--env-whitelist=MINE")
        (self.home / "work" / "sub").mkdir()
        env = {"KERNEL_A": "1", "MINE": "2", "THEIRS": "3", "KERNEL_GATEWAY": "x"}
        kernel_id = await self.start_kernel(gateway.port, path="sub/x.ipynb", env=env)
        client = await self.connect(gateway.port, kernel_id)
        code = "import os, json; print(json.dumps([os.getcwd(), dict(os.environ)]))"
        cwd, environ = json.loads(stdout(await client.execute(code)))
        self.assertEqual(cwd, str(self.home / "work" / "sub"))
        self.assertEqual(
            [environ.get(name) for name in ("KERNEL_A", "MINE", "THEIRS", "KERNEL_GATEWAY")],
            ["1", "2", None, "1"],
        )

    async def test_delete(self) -> None:
        """
        A deleted kernel is gone with its process, and its clients are closed and told why.
        """
        gateway, kernel_id = await self.python()
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("pass")
        pid = self.kernel_pid(gateway)
        path = f"/api/kernels/{kernel_id}"
        self.assertEqual((await http(gateway.port, "DELETE", path)).code, 204)
        self.assertFalse(alive(pid))
        self.assertEqual(await client.when_closed(), (1000, "Kernel shut down"))
        self.assertIn("shutdown_reply", [each.type for each in client.messages])
        self.assertEqual((await http(gateway.port, "GET", path)).code, 404)
        self.assertEqual((await http(gateway.port, "DELETE", path)).code, 404)


class ConcurrencyTests(GatewayTestCase):
    """
    Many at once; the tiny kernel is enough for these.
    """

    async def test_limit(self) -> None:
        """
        Of many starts at once, exactly as many succeed as there may be kernels; places are given
        back.
        """
        gateway = await self.gateway("--max-kernels=3")
        starts = [ensureDeferred(http(gateway.port, "POST", "/api/kernels")) for _ in range(12)]
        responses = [result for _, result in await DeferredList(starts)]
        self.assertEqual(Counter(each.code for each in responses), {201: 3, 403: 9})
        refused = next(each for each in responses if each.code == 403)
        self.assertEqual(refused.json, {"reason": "Forbidden", "message": "Resource Limit"})
        kernel_id = next(each for each in responses if each.code == 201).json["id"]
        await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual((await http(gateway.port, "POST", "/api/kernels")).code, 201)

    async def test_environments_do_not_mix(self) -> None:
        """
        Each kernel gets the variables of its own request, and one without any gets none.
        """
        gateway = await self.gateway()

        async def user_of(body: dict[str, Any]) -> str | None:
            kernel_id = await self.start_kernel(gateway.port, **body)
            client = await self.connect(gateway.port, kernel_id)
            environ = json.loads(stdout(await client.execute('{"do": "env"}')))
            user = environ.get("KERNEL_USERNAME")
            assert user is None or isinstance(user, str)
            return user

        bodies: list[dict[str, object]] = [
            {"env": {"KERNEL_USERNAME": f"user{number}"}} for number in range(5)
        ]
        bodies += [{}, {}]
        results = await DeferredList([ensureDeferred(user_of(body)) for body in bodies])
        self.assertEqual(
            [result for _, result in results], [f"user{n}" for n in range(5)] + [None, None]
        )

    async def test_delete_while_starting(self) -> None:
        """
        A kernel that is deleted while it starts leaves no process.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        responses = await DeferredList(
            [
                ensureDeferred(http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")),
                ensureDeferred(http(gateway.port, "POST", f"/api/kernels/{kernel_id}/restart")),
                ensureDeferred(http(gateway.port, "POST", f"/api/kernels/{kernel_id}/interrupt")),
            ]
        )
        for _, response in responses:
            self.assertIn(response.code, (200, 204, 404), response.body)
        assert gateway.transport is not None
        self.assertEqual(children_of(gateway.transport.pid), [])
        self.assertEqual((await http(gateway.port, "GET", "/api/kernels")).json, [])
