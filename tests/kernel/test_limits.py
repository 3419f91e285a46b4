"""
What an operator can forbid or limit, with the real ipykernel.
"""

from __future__ import annotations

import json

from tests.support.gateway import Channels, GatewayTestCase, Message, stdout, until

PYTHON = "--default-kernel-name=python3"


def stderr(messages: list[Message]) -> list[Message]:
    """
    What came on stderr.
    """
    return [each for each in messages if each.type == "stream" and each.content["name"] == "stderr"]


class LimitTests(GatewayTestCase):
    """
    One kernel, one client, one option.
    """

    async def client(self, *options: str, v1: bool = False) -> Channels:
        """
        A client of a new kernel.
        """
        gateway = await self.gateway(PYTHON, *options)
        return await self.connect(gateway.port, await self.start_kernel(gateway.port), v1=v1)

    async def assert_withheld(self, client: Channels, code: str, warning: str) -> None:
        """
        Output is withheld and said to be, in a message that clients can place; the status comes,
        and the next cell works.
        """
        messages = await client.execute(code)
        (notice,) = stderr(messages)
        self.assertTrue(notice.content["text"].startswith(warning), notice.content["text"])
        self.assertEqual(notice.parent["msg_type"], "execute_request")
        self.assertEqual(stdout(await client.execute("print('next')")), "next\n")

    async def test_message_rate(self) -> None:
        """
        More messages than the limit.
        """
        client = await self.client("--limit-rate", "--iopub-msg-rate-limit=100")
        code = "from IPython.display import display\nfor i in range(1000): display(i)"
        await self.assert_withheld(client, code, "IOPub message rate exceeded.")

    async def test_data_rate(self) -> None:
        """
        More text than the limit.
        """
        client = await self.client("--limit-rate")
        await self.assert_withheld(client, "print('x' * 10_000_000)", "IOPub data rate exceeded.")

    async def test_no_rate_limits(self) -> None:
        """
        Unless the operator wants limits there are none.
        """
        client = await self.client()
        # A kernel that is a thousand messages ahead of the gateway would drop some itself.
        valve = self.valve()
        code = (
            "print('x' * 10_000_000)\n"
            "for i in range(5000):\n"
            "    print(i, flush=True)\n"
            "    if i % 500 == 499:\n"
            f"        {valve.wait}"
        )
        msg_id = client.request("execute_request", {"code": code, "silent": False})
        for last in range(499, 5000, 500):
            await until(
                # What one call prints may come in two messages.
                lambda last=last: stdout(client.messages[-4:]).endswith(f"{last}\n"),  # type: ignore[misc]
                f"{last} is printed",
            )
            valve.open()
        messages = await client.answered(msg_id)
        self.assertEqual(stderr(messages), [])
        self.assertTrue(stdout(messages).endswith("4998\n4999\n"))
        self.assertGreater(len(stdout(messages)), 10_000_000)

    async def test_allowed_message_types(self) -> None:
        """
        Other types are silently dropped, and the connection stays.
        """
        client = await self.client("--allowed-message-types=execute_request, kernel_info_request")
        dropped = client.request("complete_request", {"code": "pri", "cursor_pos": 3})
        self.assertEqual(stdout(await client.execute("print(1)")), "1\n")
        self.assertEqual(client.of(dropped), [])

    async def test_tracebacks(self) -> None:
        """
        What went wrong is hidden in the output and in the reply, and later cells work.
        """
        client = await self.client(
            "--no-allow-tracebacks", "--traceback-replacement-message=ask your operator"
        )
        messages = await client.execute("secret = 1/0")
        (error,) = [each for each in messages if each.type == "error"]
        self.assertEqual(
            error.content,
            {
                "ename": "ExecutionError",
                "evalue": "Execution error",
                "traceback": ["ask your operator"],
            },
        )
        (reply,) = [each for each in messages if each.type == "execute_reply"]
        self.assertEqual(reply.content["status"], "error")
        self.assertNotIn("ZeroDivision", json.dumps(reply.content))
        self.assertEqual(stdout(await client.execute("print('later')")), "later\n")

    async def test_legacy_only(self) -> None:
        """
        An operator can insist on the legacy framing.
        """
        for option in ("--kernel-ws-protocol=", "--kernel-ws-protocol=legacy"):
            gateway = await self.gateway(PYTHON, option)
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id, v1=True)
            self.assertFalse(client.v1)
            self.assertEqual(stdout(await client.execute("print(1)")), "1\n")
        gateway = self.launch("--port=0", "--kernel-ws-protocol=v2")
        self.assertNotEqual(await gateway.ended(), 0)
        self.assertIn("--kernel-ws-protocol", gateway.output)
