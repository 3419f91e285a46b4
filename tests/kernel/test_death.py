"""
Kernels that die: what their clients learn, and how soon.
"""

from __future__ import annotations

from tests.support.gateway import GatewayTestCase, until

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
            code = f"{valve.wait}\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
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
