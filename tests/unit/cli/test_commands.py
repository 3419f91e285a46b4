"""
The command lines of ``kgd run`` and ``kgd kernels``.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from kgd.cli import main as entry
from kgd.cli.commands import main, parser


def said(*arguments: str) -> tuple[int, str, str]:
    """
    :return: The exit status, and what was printed to stdout and to stderr.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


class CommandsTests(SynchronousTestCase):
    """
    ``main``.
    """

    def test_wrong(self) -> None:
        """
        What cannot be meant is refused before anything is started, with a remedy.
        """
        empty = Path(self.mktemp())
        empty.write_text("\n")
        for arguments, reason in (
            (["run"], "required: CODE|FILE"),
            (["run", "1", "--timeout", "0"], "'0' is not a number of seconds above 0"),
            (["run", "1", "--timeout", "inf"], "'inf' is not a number of seconds above 0"),
            (["run", "a.ipynb", "-p", "x"], "'x' is not NAME=VALUE"),
            (["run", "1", "-p", "a=1"], "-o and -p are for notebooks"),
            (["run", "1", "-o", "a.ipynb"], "-o and -p are for notebooks"),
            (["run", "1", "--kernel-id", "1"], "name that with --url"),
            (["run", "1", "--token-file", "t"], "for a gateway that --url names"),
            (["run", "1", "--url", "u", "--kernel-id", "1", "--kernel", "k"], "exclude each other"),
            (["run", "a.ipynb", "--url", "u", "--kernel-id", "1"], "without --kernel-id"),
            (["run", "nothing.py"], "nothing.py cannot be read: No such file"),
            (["run", "nothing.ipynb"], "nothing.ipynb cannot be read: No such file"),
            (["run", str(empty), "--url", "u"], "'u' is not the URL of a gateway"),
            (["run", "1", "--url", "http://h", "--token-file", "nothing"], "cannot be read"),
            (["run", "1", "--url", "http://h", "--token-file", str(empty)], "is empty; write"),
            (["run", "1", "--url", "https://h", "--ca-file", "nothing"], "nothing cannot be used"),
            (["kernels", "stop"], "stop needs the ID of a kernel"),
            (["kernels", "list", "1"], "list takes no ID"),
            (["kernels", "drop", "1"], "invalid choice: 'drop'"),
        ):
            status, out, err = said(*arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertIn(reason, err)
            self.assertNotIn("Traceback", err)

    def test_not_a_notebook(self) -> None:
        """
        Neither a file that is no notebook nor a directory that is not there stops anything late.
        """
        path = Path(self.mktemp() + ".ipynb")
        path.write_text("{")
        self.assertIn("is not JSON", said("run", str(path))[2])
        path.write_text('{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}')
        self.assertIn("no such directory", said("run", str(path), "-o", "no/where.ipynb")[2])

    def test_parameters(self) -> None:
        """
        A parameter is JSON, one of Python's constants, or text.
        """
        for text, value in (
            ("1", 1), ("0.1", 0.1), ("true", True), ("False", False), ("None", None),
            ('"1"', "1"), ("[1, 2]", [1, 2]), ("some text", "some text"), ("NaN", "NaN"),
            ("", ""), ("a=b", "a=b"),
        ):  # fmt: skip
            parsed = parser().parse_args(["run", "n.ipynb", "-p", f"alpha={text}"])
            self.assertEqual(parsed.parameter, [("alpha", value)])

    def test_extra(self) -> None:
        """
        Without the libraries that it needs, the command says what has them.
        """
        for library in ("httpx", "rich"):
            with patch.dict(sys.modules, {library: None}):
                status, _, err = said("run", "1")
            self.assertEqual(status, 2)
            self.assertIn(
                f'needs {library}, which is not installed; pip install "kgd[client]"', err
            )

    def test_dispatch(self) -> None:
        """
        The first word decides; everything else is the gateway's.
        """
        ran: list[object] = []

        def run(arguments: list[str]) -> int:
            ran.append(arguments)
            return 3

        self.patch(sys.modules["kgd.cli.commands"], "main", run)
        for arguments in (["run", "1"], ["kernels"]):
            self.patch(sys, "argv", ["kgd", *arguments])
            with self.assertRaises(SystemExit) as ended:
                entry.main()
            self.assertEqual(ended.exception.code, 3)
        self.assertEqual(ran, [["run", "1"], ["kernels"]])
