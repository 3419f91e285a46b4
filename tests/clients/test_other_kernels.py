"""
Kernels for other languages than Python.
"""

from __future__ import annotations

import shutil
import sys

from twisted.trial.unittest import SkipTest

from tests.clients.programs import ClientTestCase
from tests.support.gateway import Channels, GatewayProcess, http, stdout, until


class OtherKernelTests(ClientTestCase):
    """
    Executing, errors, interrupts, restarts and deaths.
    """

    async def install(self, *argv: str) -> None:
        """
        Let a kernel install its kernelspec among the test's.
        """
        env = self.environment(JUPYTER_DATA_DIR=str(self.home / "share"))
        await self.start_program(*argv, env=env).succeeds()

    async def begin(self, name: str) -> tuple[GatewayProcess, str, Channels]:
        """
        :return: A gateway, a kernel's id, and a client that it has answered.
        """
        gateway = await self.gateway(f"--default-kernel-name={name}")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id, v1=True)
        return gateway, kernel_id, client

    async def interrupted(
        self, gateway: GatewayProcess, kernel_id: str, client: Channels, code: str
    ) -> None:
        """
        Interrupt code as soon as it has printed something.
        """
        msg_id = client.request(
            "execute_request", {"code": code, "silent": False, "allow_stdin": False}
        )
        await until(lambda: "go" in stdout(client.of(msg_id)), lambda: f"{client.messages}")
        response = await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/interrupt")
        self.assertEqual(response.code, 204)
        await client.answered(msg_id)

    async def restarted(self, gateway: GatewayProcess, kernel_id: str) -> None:
        """
        Restart a kernel.
        """
        response = await http(gateway.port, "POST", f"/api/kernels/{kernel_id}/restart")
        self.assertEqual((response.code, response.json["id"]), (200, kernel_id))

    async def test_bash(self) -> None:
        """
        ``bash_kernel``, which has a shell as its child.
        """
        if shutil.which("bash") is None:
            raise SkipTest("there is no bash here")
        await self.install(sys.executable, "-m", "bash_kernel.install", "--user")
        gateway, kernel_id, client = await self.begin("bash")
        specs = (await http(gateway.port, "GET", "/api/kernelspecs/bash")).json
        self.assertEqual(specs["spec"]["language"], "bash")
        self.assertEqual(stdout(await client.execute("x=6; echo $((x * 7))")), "42\n")
        messages = await client.execute("false")
        (reply,) = [each for each in messages if each.type == "execute_reply"]
        self.assertEqual(reply.content["status"], "error")
        # What prints is what is to be interrupted: between two commands, bash can miss a signal.
        await self.interrupted(gateway, kernel_id, client, "sh -c 'echo go; exec sleep 1000'")
        self.assertEqual(stdout(await client.execute("echo $x")), "6\n")
        await self.restarted(gateway, kernel_id)
        self.assertEqual(stdout(await client.execute('echo "[$x]"')), "[]\n")
        response = await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204)
        self.assert_no_traceback(gateway)

    async def test_r(self) -> None:
        """
        ``irkernel``.
        """
        if shutil.which("R") is None:
            raise SkipTest("there is no R here; Debian has it as r-cran-irkernel")
        found = self.start_program("R", "--slave", "-e", "q(status = !require(IRkernel))")
        if await found.ended():
            raise SkipTest("R has no IRkernel here; Debian has it as r-cran-irkernel")
        installed = self.start_program(
            "R", "--slave", "-e", "IRkernel::installspec(user = TRUE)",
            env=self.environment(JUPYTER_DATA_DIR=str(self.home / "share")),
        )  # fmt: skip
        await installed.succeeds()
        gateway, kernel_id, client = await self.begin("ir")
        self.assertEqual(stdout(await client.execute("x <- 6; cat(x * 7, '\\n')")), "42 \n")
        (shown,) = [each for each in await client.execute("7 * x") if each.type == "display_data"]
        self.assertEqual(shown.content["data"]["text/plain"], "[1] 42")
        self.assertEqual(shown.content["data"]["text/html"], "42")
        messages = await client.execute("stop('no')")
        (reply,) = [each for each in messages if each.type == "execute_reply"]
        self.assertEqual(reply.content["status"], "error")
        await self.interrupted(
            gateway, kernel_id, client, "cat('go\\n'); flush(stdout()); repeat {}"
        )
        self.assertEqual(stdout(await client.execute("cat(x)")), "6")
        await self.restarted(gateway, kernel_id)
        self.assertEqual(stdout(await client.execute("cat(exists('x'))")), "FALSE")
        response = await http(gateway.port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 204)
        self.assert_no_traceback(gateway)
