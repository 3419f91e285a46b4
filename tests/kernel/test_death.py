"""
Kernels that die: what their clients learn, and how soon.
"""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor

from tests.support.gateway import GatewayTestCase, children_of, stdout, until

PYTHON = "--default-kernel-name=python3"


class DeathTests(GatewayTestCase):
    """
    The real ipykernel, killed.
    """

    timeout = 300

    async def test_unanswered_requests(self) -> None:
        """
        A cell that kills its kernel gets an error reply, an error in its output and an idle status,
        and so do those behind it; then comes ``restarting``.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        valve = self.valve()
        for v1 in (True, False):
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            await client.execute("pass")
            code = (
                f"open({valve.path!r}).readline()\n"
                "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
            )
            content = {"code": code, "silent": False, "allow_stdin": False}
            first = client.request("execute_request", content)
            second = client.request("complete_request", {"code": "x", "cursor_pos": 1})
            # Whatever was sent before this has been passed on.
            third = client.request("kernel_info_request", {}, channel="control")
            await until(lambda c=client, m=third: c.of(m, "kernel_info_reply"), "it is")  # type: ignore[misc]
            valve.open()
            messages = await client.answered(first)
            (reply,) = [each for each in messages if each.type == "execute_reply"]
            self.assertEqual((reply.channel, reply.content["ename"]), ("shell", "KernelDied"))
            self.assertIn("signal 9", reply.content["evalue"])
            (error,) = [each for each in messages if each.type == "error"]
            self.assertEqual((error.channel, error.content["ename"]), ("iopub", "KernelDied"))
            (reply,) = [m for m in await client.answered(second) if m.type == "complete_reply"]
            self.assertEqual(reply.content["status"], "error")
            await client.status("restarting")
            kinds = [
                each.content.get("execution_state", each.type)
                for each in client.messages
                if each.type in ("execute_reply", "status")
            ]
            self.assertLess(kinds.index("execute_reply"), kinds.index("restarting"))
            await client.execute("pass")

    async def test_noticed_at_once(self) -> None:
        """
        50 times a kernel is killed, five times each of ten: their clients know within 100 ms.
        """
        gateway = await self.gateway(PYTHON)
        pid_of_gateway = gateway.transport.pid  # type: ignore[union-attr]
        clients = []
        for _ in range(10):
            kernel_id = await self.start_kernel(gateway.port)
            clients.append(await self.connect(gateway.port, kernel_id))
        delays = []
        for _ in range(5):
            for client in clients:
                pid = int(stdout(await client.execute("import os; print(os.getpid())")))
                del client.messages[:]
                killed = reactor.seconds()
                os.kill(pid, signal.SIGKILL)
                await client.status("restarting")
                delays.append(reactor.seconds() - killed)
        # Kernels that start again meanwhile, and whatever else goes on, may take both processors of
        # a small machine for a moment.
        self.assertLess(sorted(delays)[25], 0.1, delays)
        await until(lambda: len(children_of(pid_of_gateway)) == 10, "there is one of each")
