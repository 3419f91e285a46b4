"""
What a real kernel finds of the gateway's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.gateway import GatewayTestCase, children_of, stdout

PYTHON = "--default-kernel-name=python3"
TOKEN = "s3cret-of-the-gateway"
# Where the descriptors of the process lead, who it is, and what it was told.
LOOK = """
import json, os
files = {}
for name in os.listdir("/proc/self/fd"):
    try:
        files[name] = os.readlink("/proc/self/fd/" + name)
    except OSError:
        pass
print(json.dumps({
    "files": files, "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgrp(),
    "environment": dict(os.environ), "command": open("/proc/self/cmdline").read(),
    "terminal": open("/proc/self/stat").read().rpartition(")")[2].split()[4],
}))
"""


def links(files: Iterable[str]) -> set[str]:
    """
    :return: Those that lead to pipes and sockets, which have a number of their own.
    """
    return {link for link in files if link.startswith(("pipe:", "socket:"))}


class IsolationTests(GatewayTestCase):
    """
    The real ipykernel, looking around.
    """

    timeout = 180

    async def look(self, port: int) -> dict[str, Any]:
        """
        :return: What a new kernel finds.
        """
        headers = {"Authorization": f"token {TOKEN}"}
        kernel_id = await self.start_kernel(port, headers=headers)
        client = await self.connect(port, kernel_id, headers=headers)
        found: dict[str, Any] = json.loads(stdout(await client.execute(LOOK)))
        return found

    async def test_nothing_of_the_gateway(self) -> None:
        """
        Kernels, over Unix sockets and over TCP, have a session of their own, no descriptor of the
        gateway's or of each other's, and nothing that is secret.
        """
        (self.home / "token").write_text(TOKEN)
        for transport in ("--transport=ipc", "--transport=tcp"):
            gateway = await self.gateway(
                PYTHON, transport,
                env={
                    "KG_AUTH_TOKEN_FILE": str(self.home / "token"), "KGD_SECRET": TOKEN,
                    "KG_SECRET": TOKEN, "LISTEN_FDNAMES": "x", "NOTIFY_SOCKET": "/none",
                    "WATCHDOG_USEC": "0",
                },
            )  # fmt: skip
            assert gateway.transport is not None
            pid = gateway.transport.pid
            kernels = [await self.look(gateway.port) for _ in range(2)]
            self.assertEqual(sorted(each["pid"] for each in kernels), sorted(children_of(pid)))
            of_gateway = links(os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
            for kernel, other in (kernels, kernels[::-1]):
                self.assertEqual((kernel["session"], kernel["group"]), 2 * (kernel["pid"],))
                self.assertEqual(kernel["terminal"], "0")
                own = links(kernel["files"].values())
                # What it prints, and what it says of errors, goes to the gateway.
                shared = own & of_gateway
                self.assertLessEqual(len(shared), 2)
                self.assertEqual([link for link in shared if not link.startswith("pipe:")], [])
                self.assertEqual(own & links(other["files"].values()), set())
                self.assertNotIn("/lock", json.dumps(kernel["files"]))
                self.assertNotIn(TOKEN, json.dumps(kernel))
                names = [
                    name
                    for name in kernel["environment"]
                    if name.startswith(("KG_", "KGD_", "LISTEN_", "WATCHDOG_", "NOTIFY_"))
                ]
                self.assertEqual(names, [])
            self.assertEqual(await gateway.stop(), 0)
            self.assertNotIn(TOKEN, gateway.output)
