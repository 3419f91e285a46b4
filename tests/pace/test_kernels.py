"""
How soon a kernel can be used, with the real ipykernel, and how soon its end is known.
"""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor

from tests.support.gateway import GatewayTestCase, children_of, http, stdout, until
from tests.support.notebooks import notebook

PYTHON = "--default-kernel-name=python3"


class KernelTests(GatewayTestCase):
    """
    Promises in milliseconds.
    """

    timeout = 300

    async def test_warm(self) -> None:
        """
        From a warm pool, a request for a kernel leads to an answer within 50 ms, if nothing else
        takes the processor.
        """
        seed = self.home / "work" / "seed.ipynb"
        seed.write_bytes(notebook(("code", "x = 41")))
        gateway = await self.gateway(PYTHON, "--prespawn-count=8", f"--seed-uri={seed}")
        assert gateway.transport is not None
        self.assertEqual(len(children_of(gateway.transport.pid)), 8)
        self.assertEqual((await http(gateway.port, "GET", "/api/kernels")).json, [])
        delays = []
        for _ in range(5):
            began = reactor.seconds()
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id, v1=True)
            messages = await client.execute("print(x)")
            delays.append(reactor.seconds() - began)
            self.assertEqual(stdout(messages), "41\n")
        self.assertEqual(len((await http(gateway.port, "GET", "/api/kernels")).json), 5)
        self.assertLess(min(delays), 0.05, delays)
        await until(
            lambda: len(children_of(gateway.transport.pid)) == 13,  # type: ignore[union-attr]
            "the pool is full again",
        )

    async def test_noticed_at_once(self) -> None:
        """
        50 times a kernel is killed, five times each of ten: their clients know within 100 ms. What
        kind of kernel it was makes no difference.
        """
        gateway = await self.gateway()
        pid_of_gateway = gateway.transport.pid  # type: ignore[union-attr]
        clients = []
        for _ in range(10):
            kernel_id = await self.start_kernel(gateway.port)
            clients.append(await self.connect(gateway.port, kernel_id))
        delays = []
        for _ in range(5):
            for client in clients:
                pid = int(stdout(await client.execute('{"do": "pid"}')))
                del client.messages[:]
                killed = reactor.seconds()
                os.kill(pid, signal.SIGKILL)
                await client.status("restarting")
                delays.append(reactor.seconds() - killed)
        # Kernels that start again meanwhile, and whatever else goes on, may take both processors of
        # a small machine for a moment.
        self.assertLess(sorted(delays)[25], 0.1, delays)
        await until(lambda: len(children_of(pid_of_gateway)) == 10, "there is one of each")
