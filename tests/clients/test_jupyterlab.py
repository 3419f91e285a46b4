"""
JupyterLab in a headless Chromium, its server with ``--gateway-url=...``.
"""

from __future__ import annotations

from tests.clients.programs import PYTHON, TOKEN, NodeTestCase
from tests.clients.upstream import UPSTREAM_TOKEN, UpstreamTestCase
from tests.support.notebooks import python_notebook

# Each line takes the place of the last. They are fewer than a kernel can lose.
CLEARING = """\
from IPython.display import clear_output
for number in range(300): clear_output(wait=True); print(number)
'the end'"""
CELLS = (
    "x = 6\nprint('hello')\nx * 7",
    "from IPython.display import HTML\nHTML('<b>bold</b>')",
    "print(input('? ') + '!')",
    CLEARING,
    "print('go', flush=True)\nwhile True: pass",
    "x",
    "import os; os._exit(1)",
)


class JupyterLabTests(UpstreamTestCase, NodeTestCase):
    """
    What a person sees and does.
    """

    async def test_notebook(self) -> None:
        """
        Cells run and show what they print, ask, are interrupted, and begin anew after a restart and
        after the kernel has died.
        """
        (self.home / "work" / "a.ipynb").write_bytes(python_notebook(*CELLS))
        gateway = await self.gateway(PYTHON, env={"KGD_AUTH_TOKEN": TOKEN})
        lab = await self.upstream(
            gateway.port, TOKEN, "--expose-app-in-browser",
            # Nobody is asked for news.
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None", module="jupyterlab",
        )  # fmt: skip
        url = f"http://127.0.0.1:{lab.port}/lab/tree/a.ipynb?token={UPSTREAM_TOKEN}"
        await self.run_chromium("lab.js", url)
        self.assertEqual(await self.listed(gateway, TOKEN), [])
        self.assert_no_traceback(gateway)
