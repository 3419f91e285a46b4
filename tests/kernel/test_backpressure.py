"""
A client that stops reading while its kernel prints: who pays?
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor

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
