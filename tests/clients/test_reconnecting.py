"""
``@jupyterlab/services`` when the network fails it.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.clients.programs import NODE_CLIENT, NODE_SCRIPTS, PYTHON, Lane, NodeTestCase, Program
from tests.support.gateway import GatewayProcess, http, until


class ReconnectingTests(NodeTestCase):
    """
    The connection is cut in the middle of a cell; the library comes back by itself.
    """

    async def begin(self, framing: str) -> None:
        """
        Start a gateway, a way to it, and a program that uses it.
        """
        folder = await self.node_folder(NODE_CLIENT)
        self.gateway_process: GatewayProcess = await self.gateway(PYTHON)
        self.way: Lane
        self.way, port = await self.lane(self.gateway_process)
        self.waits = self.valve()
        self.program: Program = self.start_program(
            self.command("node"), str(NODE_SCRIPTS / "reconnect.js"), f"127.0.0.1:{port}", framing,
            self.waits.path, cwd=folder,
        )  # fmt: skip

    async def cut(self) -> None:
        """
        Cut the connection, and hold up who comes back, until the gateway has noticed.
        """
        self.way.hold()
        self.way.cut()
        kernel_id = await self.kernel_of(self.program)
        await self.when_model(self.gateway_process, kernel_id, "connections", 0)

    async def kernel_of(self, program: Program) -> str:
        """
        :return: The id that a program prints.
        """
        found: list[str] = []

        def has_printed() -> bool:
            found[:] = re.findall(r"^kernel (\S+)\n", program.printed, re.MULTILINE)
            return bool(found) or program.status is not None

        await until(has_printed, lambda: f"it names its kernel: {program.output}")
        assert found, program.output
        return found[0]

    async def back(self, times: int) -> None:
        """
        Let the program through, and wait until it has come back so many times.
        """
        self.way.let_through()
        await until(
            lambda: self.program.printed.count("status connected") == times,
            lambda: f"it comes back: {self.program.output}",
        )

    async def _three_cuts(self, framing: str) -> None:
        await self.begin(framing)
        await self.program.prints("waiting 0")
        # The kernel prints everything of a round while the program is away.
        await self.cut()
        self.waits.open()
        await until(Path(f"{self.waits.path}.round0").exists, "the first round is over")
        await self.back(1)
        await self.program.prints("waiting 1")
        # It waits all the time that the program is away.
        await self.cut()
        await self.back(2)
        self.waits.open()
        await self.program.prints("waiting 2")
        # It prints when the program is about to come back; then it asks, and replies.
        await self.cut()
        self.waits.open()
        self.way.let_through()
        await self.program.succeeds()
        self.assertEqual(await self.listed(self.gateway_process), [])
        self.assert_no_traceback(self.gateway_process)

    async def test_v1(self) -> None:
        """
        All outputs, a question and the reply come once, with the subprotocol.
        """
        await self._three_cuts("v1")

    async def test_legacy(self) -> None:
        """
        The same without it.
        """
        await self._three_cuts("legacy")

    async def test_deleted(self) -> None:
        """
        A kernel that somebody else deletes is gone for good: the library does not try again.
        """
        folder = await self.node_folder(NODE_CLIENT)
        gateway = await self.gateway(PYTHON)
        for framing in ("v1", "legacy"):
            program = self.start_program(
                self.command("node"), str(NODE_SCRIPTS / "gone.js"), f"127.0.0.1:{gateway.port}",
                framing, cwd=folder,
            )  # fmt: skip
            path = f"/api/kernels/{await self.kernel_of(program)}"
            self.assertEqual((await http(gateway.port, "DELETE", path)).code, 204)
            await program.succeeds()
