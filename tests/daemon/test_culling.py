"""
Kernels that the gateway stops because nobody uses them any more.
"""

from __future__ import annotations

import json
import sys

from tests.support.gateway import TINY_KERNEL, GatewayProcess, GatewayTestCase, http, pause, until


class CullingTests(GatewayTestCase):
    """
    Culling, as clients see it. Where a client has to come before the kernel goes, there is time
    enough for it on a busy machine.
    """

    async def ended(self, gateway: GatewayProcess, kernel_id: str) -> str:
        """
        Wait until a kernel is gone.

        :return: What is said of it.
        """
        while True:
            response = await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")
            if response.code == 404:
                return str(response.json["message"])
            self.assertEqual(response.code, 200, response.body)
            await pause()

    async def test_idle(self) -> None:
        """
        The close frame says why, and so does the 404 afterwards; a silent WebSocket is no use.
        """
        gateway = await self.gateway(
            "--cull-idle-timeout=1", "--cull-interval=0.05", "--cull-connected"
        )
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        says = "Kernel culled: it was unused for 1 s"
        self.assertEqual(await client.when_closed(), (1000, says))
        self.assertEqual(
            await self.ended(gateway, kernel_id),
            f"Kernel does not exist: {kernel_id} (it ended: {says})",
        )
        self.assertIn(f"culling kernel {kernel_id} (tiny): it was unused for 1 s", gateway.output)
        self.assertEqual((await http(gateway.port, "GET", "/api/kernels")).json, [])
        self.assertEqual([path for path in self.leftovers() if kernel_id in path], [])

    async def test_connected(self) -> None:
        """
        By default a WebSocket holds a kernel; a kernel that never had one goes meanwhile.
        """
        gateway = await self.gateway("--cull-idle-timeout=1", "--cull-interval=0.05")
        held = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, held)
        # It is younger, so without the WebSocket the other would go first.
        alone = await self.start_kernel(gateway.port)
        self.assertIn("Kernel culled: it was unused", await self.ended(gateway, alone))
        self.assertIsNone(client.closed)
        client.sendClose()
        self.assertIn("Kernel culled: it was unused", await self.ended(gateway, held))

    async def test_executing(self) -> None:
        """
        A kernel that executes in silence is not idle, even with nobody there; afterwards it is.
        """
        gateway = await self.gateway(
            "--cull-idle-timeout=1", "--cull-interval=0.05", "--cull-connected"
        )
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        replies = await client.execute(json.dumps({"do": "sleep", "seconds": 1.5}))
        self.assertTrue(any(each.content.get("text") == "slept" for each in replies))
        says = "Kernel culled: it was unused for 1 s"
        self.assertEqual(await client.when_closed(), (1000, says))

    async def test_busy_for_too_long(self) -> None:
        """
        A kernel that is busy for too long is stopped under its clients' eyes.
        """
        gateway = await self.gateway("--cull-busy-limit=0.2", "--cull-interval=0.05")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        client.request("execute_request", {"code": json.dumps({"do": "sleep", "seconds": 60})})
        says = "Kernel culled: it was busy for more than 0.2 s"
        self.assertEqual(await client.when_closed(), (1000, says))
        self.assertIn(says, await self.ended(gateway, kernel_id))

    async def test_kernelspecs_timeout(self) -> None:
        """
        A kernelspec has its own timeout, without any for the gateway; never is one, too.
        """
        argv = [sys.executable, "-I", str(TINY_KERNEL), "-f", "{connection_file}"]
        self.add_spec("brief", argv, metadata={"cull_idle_timeout": 0.2})
        self.add_spec("wrong", argv, metadata={"cull_idle_timeout": "soon"})
        gateway = await self.gateway("--cull-interval=0.05")
        stays = await self.start_kernel(gateway.port)
        wrong = await self.start_kernel(gateway.port, name="wrong")
        brief = await self.start_kernel(gateway.port, name="brief")
        says = "Kernel culled: it was unused for 0.2 s"
        self.assertIn(says, await self.ended(gateway, brief))
        kernels = (await http(gateway.port, "GET", "/api/kernels")).json
        self.assertEqual([kernel["id"] for kernel in kernels], [stays, wrong])
        await until(
            lambda: (
                "cull_idle_timeout = 'soon' in the metadata of the kernelspec wrong"
                in gateway.output
            ),
            "the warning is there",
        )

    async def test_never(self) -> None:
        """
        A kernelspec may rule out being culled.
        """
        argv = [sys.executable, "-I", str(TINY_KERNEL), "-f", "{connection_file}"]
        self.add_spec("forever", argv, metadata={"cull_idle_timeout": 0})
        gateway = await self.gateway("--cull-idle-timeout=0.2", "--cull-interval=0.05")
        forever = await self.start_kernel(gateway.port, name="forever")
        self.assertIn("culled", await self.ended(gateway, await self.start_kernel(gateway.port)))
        kernels = (await http(gateway.port, "GET", "/api/kernels")).json
        self.assertEqual([kernel["id"] for kernel in kernels], [forever])
