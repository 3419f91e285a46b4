"""
Clients that come and go while the real ipykernel works: nothing is lost, nothing comes twice.
"""

from __future__ import annotations

import random

from tests.support.gateway import Channels, GatewayTestCase, Message, http, pause, stdout, until

PYTHON = "--default-kernel-name=python3"
# Prints numbers until it is interrupted; the pauses let the interrupt in.
COUNT = """
import signal, sys, time
interrupts = []
# An exception could come between a number and the end of its line.
signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
number = 0
while not interrupts:
    for _ in range(20):
        print(number)
        number += 1
    sys.stdout.flush()
    time.sleep(0.002)
print("end", number)
"""


class ReconnectTests(GatewayTestCase):
    """
    One session_id, many sockets.
    """

    timeout = 300

    async def begin(self, *options: str) -> None:
        """
        Start a kernel.
        """
        self.gateway_process = await self.gateway(PYTHON, *options)
        self.port = self.gateway_process.port
        self.kernel_id = await self.start_kernel(self.port)
        self.gate = self.valve()

    async def come(self, session_id: str = "s", *, v1: bool = True) -> Channels:
        """
        Open another socket.
        """
        return await self.connect(
            self.port, self.kernel_id, v1=v1, query=f"?session_id={session_id}"
        )

    async def leave(self, client: Channels) -> None:
        """
        Close a socket, and take all that still comes.
        """
        client.sendClose(1000)
        await client.when_closed()

    async def connections(self, count: int) -> None:
        """
        Wait until the kernel has so many.
        """

        async def shown() -> int:
            model = (await http(self.port, "GET", f"/api/kernels/{self.kernel_id}")).json
            return int(model["connections"])

        while await shown() != count:
            await pause()

    def request_code(self, client: Channels, code: str) -> str:
        """
        Execute, and do not wait.
        """
        return client.request(
            "execute_request",
            {"code": code, "silent": False, "store_history": False, "user_expressions": {},
             "allow_stdin": True},
        )  # fmt: skip

    async def test_away(self) -> None:
        """
        All that came while a client was away comes when it is back, in order, once: output, the
        reply and the idle status; in another framing, too.
        """
        await self.begin()
        for back_as_v1 in (True, False):
            client = await self.come()
            msg_id = self.request_code(
                client,
                f"for i in range(10): print(i, flush=True)\n{self.gate.wait}\n"
                "for i in range(10, 20): print(i, flush=True)",
            )
            await until(lambda c=client, m=msg_id: c.of(m, "stream"), "it has begun")  # type: ignore[misc]
            await self.leave(client)
            await self.connections(0)
            watcher = await self.come("w")
            self.gate.open()
            await until(
                lambda w=watcher, m=msg_id: any(  # type: ignore[misc]
                    each.content["execution_state"] == "idle" for each in w.of(m, "status")
                ),
                "it is done",
            )
            await self.leave(watcher)
            again = await self.come(v1=back_as_v1)
            late = await again.answered(msg_id)
            messages = [*client.of(msg_id), *late]
            self.assertEqual(stdout(messages), "".join(f"{i}\n" for i in range(20)))
            kinds = [each.type for each in messages]
            self.assertEqual(kinds.count("execute_reply"), 1)
            self.assertEqual(len({each.header["msg_id"] for each in messages}), len(messages))
            await self.leave(again)

    async def test_another_name(self) -> None:
        """
        Under another name nothing is replayed.
        """
        await self.begin()
        client = await self.come()
        await client.execute("print('mine')")
        await self.leave(client)
        other = await self.come("other")
        messages = await other.execute("print('yours')")
        self.assertEqual(stdout(other.messages), "yours\n")
        self.assertTrue(messages)

    async def test_switched_off(self) -> None:
        """
        An operator can do without: then nothing is kept.
        """
        await self.begin("--no-buffer-offline-messages")
        client = await self.come()
        msg_id = self.request_code(client, f"{self.gate.wait}\nprint('missed')")
        await until(lambda: client.of(msg_id, "execute_input"), "it has begun")
        await self.leave(client)
        await self.connections(0)
        watcher = await self.come("w")
        self.gate.open()
        await until(lambda: watcher.of(msg_id, "stream"), "it has printed")
        again = await self.come()
        await again.execute("pass")
        self.assertEqual(again.of(msg_id, "stream"), [])

    async def test_a_prompt(self) -> None:
        """
        A prompt that came while the client was away can be answered when it is back.
        """
        await self.begin()
        client = await self.come()
        msg_id = self.request_code(client, f"{self.gate.wait}\nprint(input('?') * 2)")
        await until(lambda: client.of(msg_id, "execute_input"), "it has begun")
        await self.leave(client)
        await self.connections(0)
        self.gate.open()
        again = await self.come()
        await until(lambda: again.of(msg_id, "input_request"), "the prompt comes")
        prompt = again.of(msg_id, "input_request")[0]
        again.request("input_reply", {"value": "ab"}, "stdin", parent=prompt.header)
        self.assertEqual(stdout(await again.answered(msg_id)), "abab\n")

    async def test_bounded(self) -> None:
        """
        What is kept is bounded; what is missing is said where it is missing, and neither the reply
        nor the status are.
        """
        await self.begin("--replay-bytes=100KiB")
        client = await self.come()
        msg_id = self.request_code(
            client,
            f"{self.gate.wait}\nfor i in range(100): print('x' * 10000, flush=True)",
        )
        await until(lambda: client.of(msg_id, "execute_input"), "it has begun")
        await self.leave(client)
        await self.connections(0)
        self.gate.open()
        watcher = await self.come("w")
        await watcher.execute("pass")
        again = await self.come()
        late = await again.answered(msg_id)
        self.assertLess(len(stdout(late)), 200_000)
        (notice,) = [m for m in late if m.type == "stream" and m.content["name"] == "stderr"]
        self.assertRegex(notice.content["text"], r"kgd: \d+ messages \(\d+ bytes\) of output")
        kinds = [each.type for each in late]
        self.assertEqual(kinds.count("execute_reply"), 1)
        (idle,) = [each for each in late if each.content.get("execution_state") == "idle"]
        self.assertLess(late.index(notice), late.index(idle), "before the end of its request")

    async def test_a_thousand_reconnects(self) -> None:
        """
        While a kernel prints numbers without a pause, a client comes and goes 1000 times, now and
        then before its predecessor has gone: all numbers arrive, in order, once.
        """
        await self.begin()
        chance = random.Random(1)
        sockets = [await self.come()]
        msg_id = self.request_code(sockets[0], COUNT)
        for _ in range(1000):
            before = sockets[-1]
            if chance.random() < 0.5:
                await self.leave(before)
                sockets.append(await self.come(v1=chance.random() < 0.5))
            else:
                sockets.append(await self.come(v1=chance.random() < 0.5))
                await before.when_closed()
        await http(self.port, "POST", f"/api/kernels/{self.kernel_id}/interrupt")
        await sockets[-1].answered(msg_id)
        messages: list[Message] = [each for client in sockets for each in client.of(msg_id)]
        *numbers, end = stdout(messages).split("\n")[:-1]
        self.assertEqual(end, f"end {len(numbers)}")
        self.assertEqual(numbers, [str(number) for number in range(len(numbers))])
        self.assertGreater(len(numbers), 1000)
        await self.connections(1)
