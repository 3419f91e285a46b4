"""
Servers of Jupyter's that have their kernels behind a gateway.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionRefusedError as RefusedError

from tests.clients.programs import ClientTestCase, Program
from tests.support.gateway import TIMEOUT, Response, http

UPSTREAM_TOKEN = "an-upstream-token"
HEADERS = {"Authorization": f"token {UPSTREAM_TOKEN}"}


class Upstream(Program):
    """
    A Jupyter Server.
    """

    @property
    def port(self) -> int:
        """
        Where it answers, which it says last.
        """
        found = re.findall(r"http://127\.0\.0\.1:(\d+)/\w*\?token=", self.output)
        return int(found[-1])

    async def request(self, method: str, path: str, body: Any = None) -> Response:
        """
        Make a request.
        """
        return await http(self.port, method, path, body, HEADERS)


class UpstreamTestCase(ClientTestCase):
    """
    Tests that start such a server.
    """

    async def upstream(
        self, port: int, token: str = "", *options: str, module: str = "jupyter_server"
    ) -> Upstream:
        """
        Start a server that knows a gateway.

        :param module: What is started.
        """
        upstream = Upstream()
        env = self.environment(KERNEL_MARK="from upstream", JUPYTER_GATEWAY_AUTH_TOKEN=token)
        # Its kernels are the gateway's business.
        env["JUPYTER_PATH"] = env["JUPYTER_RUNTIME_DIR"] = str(self.home / "upstream")
        self.start_program(
            sys.executable, "-m", module, f"--gateway-url=http://127.0.0.1:{port}",
            "--ip=127.0.0.1", "--port=0", "--no-browser", "--allow-root",
            f"--IdentityProvider.token={UPSTREAM_TOKEN}",
            f"--ServerApp.root_dir={self.home / 'work'}", *options,
            env=env, program=upstream,
        )  # fmt: skip
        await upstream.prints("?token=")
        # It says so a moment before it is so.
        deadline = reactor.seconds() + TIMEOUT
        while True:
            try:
                await upstream.request("GET", "/api")
            except RefusedError:
                self.assertLess(reactor.seconds(), deadline, upstream.output)
            else:
                return upstream
