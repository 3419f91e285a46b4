"""
How outputs are shown.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.cli.screen import Screen

PICTURE = base64.b64encode(b"\x89PNG").decode()


class Terminal(io.StringIO):
    """
    A terminal.
    """

    def isatty(self) -> bool:
        """
        It is one.
        """
        return True


def display(**data: str) -> dict[str, Any]:
    """
    :return: A display; ``_`` stands for ``/``.
    """
    return {
        "output_type": "display_data",
        "data": {name.replace("_", "/", 1): value for name, value in data.items()},
        "metadata": {},
    }


ERROR = {
    "output_type": "error",
    "ename": "E",
    "evalue": "v",
    "traceback": ["\x1b[31mE\x1b[39m", "v"],
}


class ScreenTests(SynchronousTestCase):
    """
    ``Screen``.
    """

    def screen(self, kind: type[io.StringIO] = io.StringIO, steps: int | None = None) -> Screen:
        """
        :return: A screen that writes to a pipe, or to a terminal.
        """
        self.out, self.err = kind(), kind()
        self.folder = Path(self.mktemp())
        screen = Screen(self.folder, steps, self.out, self.err)
        self.addCleanup(screen.close)
        return screen

    def test_pipe(self) -> None:
        """
        What goes to stdout goes there, what goes to stderr goes there, and nothing else does.
        """
        screen = self.screen()
        self.assertFalse(screen.wants_colors)
        screen.progress("running")
        screen.output({"output_type": "stream", "name": "stdout", "text": "a"})
        screen.output({"output_type": "stream", "name": "stderr", "text": "b"})
        screen.output(display(text_plain="c", text_html="<b>"))
        screen.output({"output_type": "clear_output", "wait": False})
        screen.output(display(text_html="<b>"))
        screen.output(ERROR)
        screen.failure("E", "v", ["again"])
        screen.close()
        self.assertEqual(self.out.getvalue(), "ac\n")
        self.assertEqual(self.err.getvalue(), "bE\nv\n")

    def test_terminal(self) -> None:
        """
        A terminal gets colours, unless the user wants none.
        """
        for variable, value, wanted in (("NO_COLOR", "", True), ("NO_COLOR", "1", False)):
            self.patch(__import__("os"), "environ", {variable: value, "TERM": "xterm"})
            screen = self.screen(Terminal)
            self.assertEqual(bool(screen.wants_colors), wanted)
            screen.output(ERROR)
            self.assertEqual("\x1b[31m" in self.err.getvalue(), wanted)
            screen.close()

    def test_failure(self) -> None:
        """
        An error that was not among the outputs is shown, in one line if it has no traceback.
        """
        screen = self.screen()
        screen.failure("KernelDied", "exit code 3", [])
        self.assertEqual(self.err.getvalue(), "KernelDied: exit code 3\n")

    def test_pictures(self) -> None:
        """
        Pictures become files, whose names are said, and no file is replaced.
        """
        screen = self.screen()
        self.folder.mkdir()
        (self.folder / "kgd-1.png").write_bytes(b"mine")
        screen.output(display(image_png=PICTURE, text_plain="<Figure>"))
        screen.output(display(**{"image_svg+xml": "<svg/>"}))
        self.assertEqual((self.folder / "kgd-1.png").read_bytes(), b"mine")
        self.assertEqual((self.folder / "kgd-2.png").read_bytes(), b"\x89PNG")
        self.assertEqual((self.folder / "kgd-1.svg").read_bytes(), b"<svg/>")
        self.assertEqual(self.out.getvalue(), "")
        self.assertEqual(
            self.err.getvalue(),
            f"picture written to {self.folder}/kgd-2.png\n"
            f"picture written to {self.folder}/kgd-1.svg\n",
        )

    def test_bad_picture(self) -> None:
        """
        One that cannot be written is said to be so.
        """
        screen = self.screen()
        screen.output(display(image_png="a"))
        self.assertIn("a picture (image/png) could not be written", self.err.getvalue())

    def test_progress(self) -> None:
        """
        Progress is removed before something is printed.
        """
        screen = self.screen(Terminal, steps=4)
        assert screen._progressing is not None
        screen.progress("cell 2", 1)
        screen._progressing._show()
        screen.output({"output_type": "stream", "name": "stdout", "text": "a\n"})
        screen.close()
        shown = self.err.getvalue()
        self.assertIn("cell 2", shown)
        self.assertIn("1/4", shown)
        # The line is erased.
        self.assertTrue(shown.endswith("\x1b[2K"), shown)
        self.assertEqual(self.out.getvalue(), "a\n")
