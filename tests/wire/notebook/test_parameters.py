"""
Cells that set parameters, read by the programs of their languages.
"""

from __future__ import annotations

import shutil
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kgd.notebook.parameters import parameters_cell

# Every character that is special somewhere, but for 0, and some that are long.
TEXT = "".join(map(chr, (*range(1, 0x180), 0x2028, 0x1F600)))


class ReadTests(SynchronousTestCase):
    """
    A text is the same text again, and nothing in it is run.
    """

    def run_script(self, program: str, script: str) -> str:
        """
        :return: What a program prints.
        """
        found = shutil.which(program)
        if found is None:
            raise SkipTest(f"{program} is not installed")
        option = "-c" if program == "bash" else "-e"
        environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        ended = subprocess.run(
            [found, option, script], capture_output=True, check=True, env=environment
        )
        return ended.stdout.decode()

    def test_bash(self) -> None:
        """
        A text, and a list with it.
        """
        cell = parameters_cell("bash", {"x": TEXT, "y": [TEXT, 1, None]})
        script = f'{cell}\nprintf %s "$x" "${{y[0]}}" "${{#y[@]}}"'
        self.assertEqual(self.run_script("bash", script), f"{TEXT}{TEXT}3")

    def test_r(self) -> None:
        """
        A text, and a list of lists with it.
        """
        cell = parameters_cell("R", {"x": TEXT, "y": [1, {TEXT: [TEXT, None, True]}]})
        script = f"{cell}\ncat(x, names(y[[2]]), y[[2]][[1]][[1]], length(y[[2]][[1]]), sep='')"
        self.assertEqual(self.run_script("Rscript", script), f"{TEXT}{TEXT}{TEXT}3")
