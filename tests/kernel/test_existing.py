"""
Programs that connect to a gateway's kernel directly, as ``jupyter console --existing`` does.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.gateway import GatewayTestCase, http, stdout, until

PYTHON = "--default-kernel-name=python3"
#: Prints what the code prints that an existing kernel runs.
CLIENT = """
import sys
from jupyter_client import BlockingKernelClient, find_connection_file
name, code = sys.argv[1:]
client = BlockingKernelClient(connection_file=find_connection_file(name))
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
reply = client.execute_interactive(code, timeout=60, allow_stdin=False)
client.stop_channels()
assert reply["content"]["status"] == "ok", reply
"""


class ExistingTests(GatewayTestCase):
    """
    jupyter_client, which knows nothing of the gateway.
    """

    async def client(self, name: str, code: str) -> str:
        """
        :param name: Of a connection file, or a part of it.
        :return: What the code has printed.
        """
        spawned: Any = getProcessOutputAndValue(
            sys.executable, ["-c", CLIENT, name, code], self.environment(), reactor=reactor
        )
        out, err, status = await spawned
        self.assertEqual(status, 0, (out + err).decode())
        return str(out.decode())

    async def test_in_place_of_jupyters(self) -> None:
        """
        In place of the Jupyter Kernel Gateway, kernels are found by their ids and by the names of
        their files, whatever their transport; clients of the gateway share them. The links go with
        the kernels.
        """
        for transport in ("ipc", "tcp"):
            gateway = await self.gateway(
                PYTHON, "--drop-in", f"--transport={transport}", "notebook.ipynb"
            )
            self.assertIn("'notebook.ipynb' on the command line has no effect", gateway.output)
            kernel_id = await self.start_kernel(gateway.port)
            link = self.runtime / f"kernel-{kernel_id}.json"
            self.assertEqual(json.loads(link.read_bytes())["transport"], transport)
            self.assertEqual(link.stat().st_mode & 0o777, 0o600)
            channels = await self.connect(gateway.port, kernel_id)
            await channels.execute("x = 'from the gateway'")
            for name in (kernel_id, link.name, str(link)):
                self.assertEqual(await self.client(name, "print(x)"), "from the gateway\n")
            await self.client(kernel_id, "x = 'from the console'")
            self.assertEqual(stdout(await channels.execute("print(x)")), "from the console\n")
            # Another process has the same address, or another one.
            path = f"/api/kernels/{kernel_id}"
            self.assertEqual((await http(gateway.port, "POST", f"{path}/restart")).code, 200)
            # The client takes a process that does not answer yet for a dead one.
            channels = await self.connect(gateway.port, kernel_id)
            await channels.execute("x = 'after the restart'")
            self.assertEqual(await self.client(kernel_id, "print(x)"), "after the restart\n")
            self.assertEqual((await http(gateway.port, "DELETE", path)).code, 204)
            self.assertFalse(link.is_symlink())
            self.assertEqual(await gateway.stop(), 0)
            self.assertEqual(self.leftovers(), [])

    async def test_killed(self) -> None:
        """
        The links of a gateway that is killed do not stay; those of another one do.
        """
        gateway = await self.gateway("--link-connection-files")
        other = await self.gateway("--link-connection-files")
        await self.start_kernel(gateway.port)
        kernel_id = await self.start_kernel(other.port)
        self.assertEqual(len([*self.runtime.glob("kernel-*.json")]), 2)
        gateway.kill(signal.SIGKILL)
        await gateway.ended()
        await until(
            lambda: (
                [*self.runtime.glob("kernel-*.json")] == [self.runtime / f"kernel-{kernel_id}.json"]
            ),
            "only the other one's link is left",
        )
