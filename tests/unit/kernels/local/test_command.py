"""
What is run for a kernel, and where.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.kernels.local.command import kernel_command, working_directory


def command(*argv: str) -> list[str]:
    """
    A command line filled in.
    """
    return kernel_command(
        argv,
        connection_file=Path("/run/k.json"),
        resource_dir=Path("/specs/x"),
        executable="/our/python",
        prefix="/our",
    )


class KernelCommandTests(SynchronousTestCase):
    """
    A kernelspec's argv.
    """

    def test_fields(self) -> None:
        """
        The fields are filled in, anywhere in a word; other braces stay.
        """
        self.assertEqual(
            command("{prefix}/bin/k", "-f={connection_file}", "{resource_dir}{x}", "{}"),
            ["/our/bin/k", "-f=/run/k.json", "/specs/x{x}", "{}"],
        )

    def test_this_python(self) -> None:
        """
        "python" is the gateway's own interpreter, another version is not.
        """
        minor = sys.version_info.minor
        for word in ("python", "python3", f"python3.{minor}"):
            self.assertEqual(command(word, "python"), ["/our/python", "python"])
        for word in ("python2", f"python3.{minor + 1}", "/usr/bin/python3"):
            self.assertEqual(command(word), [word])

    def test_empty(self) -> None:
        """
        A kernelspec without argv gives none.
        """
        self.assertEqual(command(), [])


class WorkingDirectoryTests(SynchronousTestCase):
    """
    The directory that an API path means.
    """

    def setUp(self) -> None:
        """
        A root with a directory, a file, and ways out of it.
        """
        outside = Path(self.mktemp())
        self.root = outside / "root"
        (self.root / "a" / "b").mkdir(parents=True)
        (self.root / "note.ipynb").touch()
        (outside / "root-not").mkdir()
        (self.root / "out").symlink_to(outside.resolve())
        (self.root / "sibling").symlink_to((outside / "root-not").resolve())
        (self.root / "loop").symlink_to("loop")
        (self.root / "in").symlink_to("a")

    def below(self, path: str | None) -> str:
        """
        The directory, relative to the root.
        """
        found = Path(working_directory(str(self.root), path))
        return str(found.relative_to(self.root.resolve()))

    def test_directories(self) -> None:
        """
        A directory is found with or without slashes around it.
        """
        for path, found in (
            (None, "."),
            ("", "."),
            ("/", "."),
            ("a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./a/.", "a"),
            ("in/b", "a/b"),
        ):
            self.assertEqual(self.below(path), found)

    def test_nearest(self) -> None:
        """
        Of a path that is not there, or leads to a file, the nearest directory counts.
        """
        for path, found in (("note.ipynb", "."), ("a/x/b", "a"), ("a/b/n.ipynb", "a/b")):
            self.assertEqual(self.below(path), found)

    def test_confined(self) -> None:
        """
        No path leads out of the root.
        """
        for path in ("..", "../..", "a/../../..", "out", "out/root", "sibling", "/etc", "../root"):
            self.assertEqual(self.below(path), ".")
        self.assertEqual(self.below("../a/../a"), "a")

    def test_nonsense(self) -> None:
        """
        A name that no path can have ends the search.
        """
        for path in ("loop/x", "\0", "a/\0/b", "x" * 5000, "\ud800", "a/" * 1_000_000):
            self.assertIn(self.below(path), (".", "a"))

    def test_no_root(self) -> None:
        """
        Even without a root there is a directory.
        """
        found = working_directory(str(self.root / "gone" / "far"), "a")
        self.assertEqual(found, str(self.root.resolve() / "a"))

    @given(st.text(alphabet="ab./\\ou\0%", max_size=20))
    def test_any_path(self, path: str) -> None:
        """
        It never fails, and never leaves the root.
        """
        self.below(path)
