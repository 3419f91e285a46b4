"""
``--help`` and ``--help-all``.
"""

from __future__ import annotations

import os
import re
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from kgd.config.command_line import ACTION_NAMES, Options
from kgd.config.help import Terminal
from kgd.config.options import ESSENTIAL, OPTIONS, OWN


class Screen(StringIO):
    """
    A terminal.
    """

    def isatty(self) -> bool:
        """
        It is one.
        """
        return True


class HelpTests(SynchronousTestCase):
    """
    What is printed, for which output.
    """

    def setUp(self) -> None:
        self.patch(os, "environ", {"COLUMNS": "80"})
        self.patch(sys, "argv", ["/usr/bin/kgd"])

    def printed(self, option: str, stream: StringIO | None = None) -> str:
        """
        :return: What the option prints before the process ends with 0.
        """
        stream = stream or StringIO()
        self.patch(sys, "stdout", stream)
        error = self.assertRaises(SystemExit, Options().parseOptions, [option])
        self.assertEqual(error.code, 0)
        return stream.getvalue()

    def test_essential_options_come_first(self) -> None:
        """
        The ten options that most people need are explained before the names of all options.
        """
        text = self.printed("--help")
        self.assertEqual(text, self.printed("-h"))
        explained, _, names = text.partition("All options by subject")
        self.assertEqual(len(ESSENTIAL), 10)
        first = re.findall(r"^  (?:-\w, )?--([a-z-]+)", explained, re.MULTILINE)
        self.assertEqual(first[:10], list(ESSENTIAL))
        words = " ".join(explained.split())
        self.assertIn("Port to listen on; 0 takes any free port. [default: 8888]", words)
        listed = re.findall(r"--([a-z-]+)", names.partition("\nEvery option")[0])
        self.assertEqual(listed, ["help-all", *(option.name for option in OPTIONS)])

    def test_all(self) -> None:
        """
        Every option is explained under its subject, with its default; every action is, too.
        """
        text = self.printed("--help-all")
        words = " ".join(text.split())
        position = 0
        for group, options in OWN.groups().items():
            position = text.index(f"\n{group}:\n", position)
            for option in options:
                found = re.compile(rf"^  (-\w, )?--{option.name}\b", re.MULTILINE).search(
                    text, position
                )
                assert found is not None, option.name
                position = found.start()
                self.assertIn(" ".join(option.help.split()), words)
                if not option.no_effect:
                    self.assertIn(f"[default: {option.shown_default}]", words)
        for action in ACTION_NAMES:
            self.assertRegex(text[position:], rf"(?m)^  (-\w, )?--{action}\b")

    def test_groups(self) -> None:
        """
        Every option has a subject, and the options of a subject are together.
        """
        self.assertNotIn("", OWN.groups())
        together = [option for options in OWN.groups().values() for option in options]
        self.assertEqual(together, list(OPTIONS))

    def test_width(self) -> None:
        """
        Lines fit the terminal, except for words that do not, and are never longer than 100.
        """
        for columns, longest in (("60", 60), ("80", 80), ("300", 100)):
            os.environ["COLUMNS"] = columns
            for option in ("--help", "--help-all"):
                for line in self.printed(option).splitlines():
                    if len(line.split()) > 1 and not line.startswith("  -"):
                        self.assertLessEqual(len(line), longest, line)

    def test_colors(self) -> None:
        """
        A terminal gets colours, unless the user wants none; a pipe and a file get none.
        """
        self.assertNotIn("\x1b", self.printed("--help"))
        colored = self.printed("--help", Screen())
        self.assertIn("\x1b[1mMost used options:\x1b[0m\n", colored)
        self.assertEqual(re.sub(r"\x1b\[\d+m", "", colored), self.printed("--help"))
        for name, value, expected in (
            ("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False),
        ):  # fmt: skip
            self.assertEqual(Terminal.of(Screen(), {name: value}).has_colors, expected)

    def test_synopsis(self) -> None:
        """
        The first line has the command that was used.
        """
        for command, line in (
            ("/usr/bin/kgd", "Usage: kgd [options]"),
            ("/x/bin/jupyter-kgd", "Usage: jupyter-kgd [options]"),
            ("/x/kgd/__main__.py", "Usage: kgd [options]"),
        ):
            self.patch(sys, "argv", [command])
            for option in ("--help", "--help-all"):
                synopsis, _, rest = self.printed(option).partition("\n\n")
                first, *others = synopsis.splitlines()
                self.assertEqual(first, line)
                self.assertTrue(rest.startswith("Starts Jupyter"))
                # Only this command has others.
                named = [other.split()[1] for other in others]
                self.assertEqual(named, [] if "jupyter" in command else ["run", "kernels"])
