"""
schemathesis: asks for whatever the descriptions of the APIs allow, and for what they do not allow,
and compares the answers with them.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

from tests.clients.programs import TOKEN, ClientTestCase
from tests.support.gateway import GatewayProcess, until
from tests.support.notebooks import python_notebook

AUTHORIZED = f"Authorization: token {TOKEN}"
IMPORTS = "import json\nfrom IPython.display import JSON, display"
REPLY = """
def reply(status, body=None):
    answer = {"status": status, "json": body}
    display({"application/vnd.kgd.response+json": answer}, raw=True)
"""
HTML = "{'text/html': '<p>', 'application/json': {}}"
INFO = "{'status': 202, 'headers': {'Content-Type': 'application/json'}}"
#: Cells that can bear any request.
PLAIN_CELLS = (
    "# GET /hello\nprint('hello')",
    "# GET /echo/:a/and/:b\nprint(json.loads(REQUEST)['path'])",
    "# GET /below/.*\nprint('there')",
    "# POST /body\nprint(json.loads(REQUEST).get('body'))",
    "# PUT /body\nprint(json.loads(REQUEST).get('body'))",
    "# DELETE /body\nprint(json.loads(REQUEST).get('body'))",
    "# GET /data as application/json\nJSON({'a': [1, 2]})",
    f"# GET /kinds as text/html, application/json\ndisplay({HTML}, raw=True)",
    "# GET /lines streamed\nprint('one')\nprint('two')",
    "# GET /events streamed as text/event-stream\nprint('data: 1\\n')",
    "# GET /info\nprint('{}')",
    f"# ResponseInfo GET /info\nprint(json.dumps({INFO}))",
)
#: The first of these decides on statuses and media types for all others.
FREE_CELLS = (
    REPLY,
    "# GET /free/:status\nreply(404, {'free': True})",
    "# DELETE /free/:status\nreply(204)",
    "# GET /free\nprint('not so free')",
)


class SchemathesisTests(ClientTestCase):
    """
    It finds nothing.
    """

    CONFIG = Path(__file__).with_name("schemathesis.toml")

    async def finds_nothing(self, document: str, *options: str) -> str:
        """
        Run all of its checks. It always asks the same.

        :param document: The URL of a description.
        :return: What it says about that.
        """
        # In the test's own directory, because it leaves files.
        return await self.start_program(
            sys.executable, "-m", "schemathesis.cli", f"--config-file={self.CONFIG}",
            "run", document, "--generation-deterministic", "--continue-on-failure", "--workers=1",
            "--request-timeout=20", "--warnings=off", *options,
            cwd=self.home,
        ).succeeds()  # fmt: skip

    def assert_asked(self, said: str, gateway: GatewayProcess, *codes: int) -> None:
        """
        It has asked for a lot, among it what is answered with these statuses, and nothing has gone
        wrong that the gateway would log.
        """
        (count,) = re.findall(r"(\d+) generated", said)
        self.assertGreater(int(count), 50)
        logged = {int(code) for code in re.findall(r"] (\d\d\d) [A-Z]+ /", gateway.output)}
        self.assertLessEqual({*codes}, logged)
        self.assert_no_traceback(gateway)

    async def test_kernels(self) -> None:
        """
        The API of kernels, for whoever comes, with few kernels.
        """
        gateway = await self.gateway("--max-kernels=2", "--access-log")
        said = await self.finds_nothing(f"{gateway.url}/api/swagger.json", "--max-examples=5")
        self.assert_asked(said, gateway, 200, 201, 204, 400, 403, 404, 405, 501)

    async def test_token(self) -> None:
        """
        The same with a token, in a base URL and without lists, from the description in YAML.
        """
        gateway = await self.gateway(
            "--no-list-kernels", "--base-url=/b", "--access-log", env={"KGD_AUTH_TOKEN": TOKEN}
        )
        said = await self.finds_nothing(
            f"{gateway.url}/api/swagger.yaml",
            f"--header={AUTHORIZED}",
            "--max-examples=3",
            "--phases=coverage,fuzzing",
        )
        self.assert_asked(said, gateway, 200, 201, 401, 403, 404)

    async def test_kernels_openapi(self) -> None:
        """
        The API of kernels with a token, from the description in OpenAPI 3.1.
        """
        gateway = await self.gateway(
            "--max-kernels=2", "--list-kernels", "--access-log", env={"KGD_AUTH_TOKEN": TOKEN}
        )
        said = await self.finds_nothing(
            f"{gateway.url}/api/openapi.json",
            f"--header={AUTHORIZED}",
            "--max-examples=2",
        )
        self.assert_asked(said, gateway, 200, 201, 204, 400, 401, 403, 404, 405)

    async def test_draining(self) -> None:
        """
        A gateway that is drained, until its last kernel ends.
        """
        gateway = await self.gateway("--access-log")
        await self.start_kernel(gateway.port)
        gateway.kill(signal.SIGUSR1)
        await until(lambda: "draining: " in gateway.output, "it is drained")
        said = await self.finds_nothing(
            f"{gateway.url}/api/swagger.json",
            "--exclude-method=DELETE",
            "--max-examples=3",
            "--phases=coverage,fuzzing",
        )
        self.assert_asked(said, gateway, 200, 404, 503)

    async def test_notebooks(self) -> None:
        """
        What is said of notebooks: one whose responses are as it says, and one whose code decides.
        """
        for name, cells in (("plain", PLAIN_CELLS), ("free", FREE_CELLS)):
            path = self.home / "work" / f"{name}.ipynb"
            path.write_bytes(python_notebook(IMPORTS, *cells))
        gateway = await self.gateway(
            "--api=notebook_http",
            "--seed-uri=plain.ipynb",
            "--seed-uri=/free=free.ipynb",
            "--access-log",
            env={"KGD_AUTH_TOKEN": TOKEN},
        )
        for prefix in ("", "/free"):
            said = await self.finds_nothing(
                f"{gateway.url}{prefix}/_api/spec/openapi.json",
                f"--header={AUTHORIZED}",
                "--max-examples=4",
                "--phases=coverage,fuzzing",
            )
            self.assert_asked(said, gateway, 200, 401)
        self.assert_asked(said, gateway, 202, 204, 404)
