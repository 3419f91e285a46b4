"""
Clients that do not read what kernels print, and kernels that do not read what clients send.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet import reactor

from kgd.web.server.delivery import unsent_size
from tests.support.gateway import GatewayProcess, GatewayTestCase, http, stdout, until

PYTHON = "--default-kernel-name=python3"
MEBIBYTE = 1024 * 1024
# What is printed at a time. A kernel that is a thousand messages ahead of the gateway drops some
# itself, and then nobody knows of them.
BURST = 20_000_000


def resident(gateway: GatewayProcess) -> int:
    """
    :return: The memory of a gateway, in bytes.
    """
    pages = Path(f"/proc/{gateway.transport.pid}/statm").read_text().split()[1]  # type: ignore[union-attr]
    return int(pages) * 4096


async def from_kernels(gateway: GatewayProcess) -> float:
    """
    :return: What kernels have sent the gateway, in bytes.
    """
    metrics = (await http(gateway.port, "GET", "/metrics")).body.decode()
    return float(
        metrics.partition('kgd_kernel_bytes_total{direction="from_kernels"} ')[2].split()[0]
    )


class BackpressureTests(GatewayTestCase):
    """
    200 MB of output.
    """

    timeout = 240

    async def test_stalled(self) -> None:
        """
        It costs the gateway a bounded amount of memory, nobody else notices, and the client learns
        how much it missed; status and reply are not among that.
        """
        gateway = await self.gateway(PYTHON)
        noisy = await self.start_kernel(gateway.port)
        quiet = await self.start_kernel(gateway.port)
        stalled = await self.connect(gateway.port, noisy, v1=True)
        other = await self.connect(gateway.port, quiet, v1=True)
        for client in (stalled, other):
            await client.execute("pass")
        before = resident(gateway)
        valve = self.valve()
        printed = await from_kernels(gateway)
        stalled.transport.pauseProducing()  # type: ignore[union-attr]
        msg_id = stalled.request(
            "execute_request",
            {
                "code": "import sys\n"
                "for i in range(2000):\n"
                "    print('%6d' % i, 'x' * 100_000)\n"
                "    sys.stdout.flush()\n"
                "    if i % 200 == 199:\n"
                f"        {valve.wait}",
                "silent": False,
                "allow_stdin": False,
            },
        )
        delays = []
        most = before
        states = ["idle"]
        while len(states) < 2 or states[-1] != "idle":
            model = (await http(gateway.port, "GET", f"/api/kernels/{noisy}")).json
            if model["execution_state"] != states[-1]:
                states.append(model["execution_state"])
            began = reactor.seconds()
            await other.execute("pass")
            delays.append(reactor.seconds() - began)
            most = max(most, resident(gateway))
            if await from_kernels(gateway) > printed + BURST:
                printed += BURST
                valve.open()
        self.assertLess(most - before, 64 * MEBIBYTE)
        self.assertLess(sorted(delays)[len(delays) // 2], 0.1)
        self.assertEqual((await http(gateway.port, "GET", "/api")).code, 200)
        stalled.transport.resumeProducing()  # type: ignore[union-attr]
        messages = await stalled.answered(msg_id)
        notices = [m for m in messages if m.type == "stream" and m.content["name"] == "stderr"]
        self.assertTrue(notices)
        for notice in notices:
            self.assertRegex(notice.content["text"], r"kgd: \d+ messages \(\d+ bytes\)")
        said = sum(int(notice.content["text"].split("(")[1].split()[0]) for notice in notices)
        got = len(stdout(messages))
        self.assertGreater(got, 16 * MEBIBYTE)
        self.assertGreater(got + said, 200_000_000, "every byte arrived or was said to be missing")
        kinds = [each.type for each in messages]
        self.assertEqual(kinds.count("execute_reply"), 1)
        await until(lambda: stdout(stalled.messages), "it can go on")
        self.assertEqual(stdout(await stalled.execute("print('on')")), "on\n")


class StoppedKernelTests(GatewayTestCase):
    """
    What clients send to a kernel that does not take it.
    """

    async def test_one_large_request(self) -> None:
        """
        A request may have any size up to the limit of messages, which is larger than what may wait.
        """
        gateway = await self.gateway(PYTHON)
        kernel_id = await self.start_kernel(gateway.port)
        for v1 in (False, True):
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            content = {"code": "print('ok')", "silent": False, "padding": "x" * 64 * MEBIBYTE}
            messages = await client.answered(client.request("execute_request", content))
            self.assertEqual(stdout(messages), "ok\n")

    async def test_a_kernel_that_is_stopped(self) -> None:
        """
        The client has to wait, pings included, and the gateway needs little memory for it. Nobody
        else has to, and when the kernel goes on, it gets everything.
        """
        gateway = await self.gateway(PYTHON, "--ws-ping-interval=0.1")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id, v1=True)
        other = await self.connect(gateway.port, kernel_id, v1=True)
        pid = int(stdout(await client.execute("import os; print(os.getpid())")))
        before = resident(gateway)
        os.kill(pid, signal.SIGSTOP)
        try:
            total = 100
            padding = "x" * MEBIBYTE
            requests = [
                client.request(
                    "execute_request",
                    {"code": f"print({number})", "silent": False, "padding": padding},
                )
                for number in range(total)
            ]
            most = before
            unsent = unsent_size(client.transport)
            # Until the gateway has read nothing for a while, though there is more.
            quiet = 0
            while quiet < 100:
                self.assertEqual((await http(gateway.port, "GET", "/api")).code, 200)
                most = max(most, resident(gateway))
                now = unsent_size(client.transport)
                quiet = quiet + 1 if now == unsent else 0
                unsent = now
            self.assertGreater(unsent, total // 2 * MEBIBYTE)
            self.assertLess(most - before, 32 * MEBIBYTE)
            waiting = other.request("kernel_info_request", {}, "control")
            self.assertEqual(
                (await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/interrupt")).code, 204
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        await other.answered(waiting)
        printed = "".join([stdout(await client.answered(each)) for each in requests])
        self.assertEqual(printed.split(), [str(number) for number in range(total)])
        self.assertIsNone(client.closed)

    async def test_restart(self) -> None:
        """
        A kernel that is stopped can be restarted; what it had not taken is answered in its place,
        and the client goes on with its successor.
        """
        gateway = await self.gateway(PYTHON, "--shutdown-wait-time=0.1")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id, v1=True)
        pid = int(stdout(await client.execute("import os; print(os.getpid())")))
        os.kill(pid, signal.SIGSTOP)
        content = {"code": "pass", "silent": False, "padding": "x" * MEBIBYTE}
        requests = [client.request("execute_request", content) for _ in range(30)]
        restarted = await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/restart")
        self.assertEqual(restarted.code, 200)
        for each in requests:
            await client.answered(each)
        self.assertEqual(stdout(await client.execute("print('on')")), "on\n")
