"""
Files below one directory, on a real file system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd import errors
from kgd.web import confined
from kgd.web.confined import ConfinedDirectory, FileInfo, Listing, OpenedFile


def anything(present: FileInfo | None) -> None:
    """
    Check nothing.
    """


class ConfinedDirectoryTests(SynchronousTestCase):
    """
    With ``openat2``, if the system has it.
    """

    def setUp(self) -> None:
        self.top = Path(self.mktemp()).resolve()
        self.root = self.top / "root"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "a.txt").write_bytes(b"hello")
        (self.root / "sub" / "b.txt").write_bytes(b"below")
        (self.top / "secret").write_bytes(b"secret")
        self.directory = ConfinedDirectory(str(self.root))

    def read(self, path: str) -> bytes:
        """
        :return: What a file holds.
        """
        opened = self.directory.open(path)
        assert isinstance(opened, OpenedFile)
        content = opened.read(0, 100)
        self.assertEqual(opened.info.size, len(content))
        opened.close()
        opened.close()
        return content

    def write(self, path: str, content: bytes = b"new", **options: Any) -> bool:
        """
        :return: Whether there was no such file before.
        """
        check = options.pop("check", anything)
        info, is_new = self.directory.write(path, content, check, **options)
        self.assertEqual((info.type, info.size), ("file", len(content)))
        opened = self.directory.open(path)
        assert isinstance(opened, OpenedFile)
        self.assertEqual(opened.info.tag, info.tag)
        opened.close()
        return is_new

    def names(self, folder: str = "") -> list[str]:
        """
        What is really in there, also files that should not be.
        """
        return sorted(os.listdir(self.root / folder))

    def test_read(self) -> None:
        """
        Files and directories are found by their paths.
        """
        self.assertEqual(self.read("a.txt"), b"hello")
        self.assertEqual(self.read("sub/b.txt"), b"below")
        listing = self.directory.open("")
        assert isinstance(listing, Listing)
        self.assertEqual(list(listing.entries), ["a.txt", "sub"])
        self.assertEqual([each.type for each in listing.entries.values()], ["file", "directory"])
        self.assertTrue(listing.is_complete)
        below = self.directory.open("sub")
        assert isinstance(below, Listing)
        self.assertEqual([*below.entries], ["b.txt"])

    def test_missing(self) -> None:
        """
        What is not there is not found, in whatever way it is not there.
        """
        for path in ("no", "no/no", "a.txt/no", "sub/no", "nul\0byte", "a.txt\0"):
            self.assertRaises(errors.NoSuchResource, self.directory.open, path)
            self.assertRaises(errors.NoSuchResource, self.directory.remove, path, anything)
        for path in ("x" * 300, "sub/" + "x" * 300, "a/" * 3000 + "b"):
            self.assertRaises(errors.InvalidRequest, self.directory.open, path)
            self.assertRaises(errors.InvalidRequest, self.write, path)

    def test_links_that_lead_out(self) -> None:
        """
        No link leads out: neither at the end of a path nor on the way, relative, absolute or
        through the system's own links.
        """
        links = {
            "up": "../secret",
            "absolute": str(self.top / "secret"),
            "parent": "..",
            "further": "sub/../../secret",
            "magic": f"/proc/{os.getpid()}/cwd",
            "slash": "/",
        }
        for name, target in links.items():
            (self.root / name).symlink_to(target)
        secret = str(self.top / "secret").lstrip("/")
        for path in (*links, "parent/secret", "parent/new", f"slash/{secret}", "magic/new"):
            self.assertRaises(errors.ResourceForbidden, self.directory.open, path)
        for path in (
            "parent/secret",
            "parent/new",
            "parent/deep/new",
            f"slash/{secret}",
            "slash/x",
        ):
            self.assertRaises(errors.ResourceForbidden, self.directory.write, path, b"", anything)
            self.assertRaises(errors.ResourceForbidden, self.directory.remove, path, anything)
        for name in links:
            self.assertRaises(errors.FileConflict, self.directory.write, name, b"", anything)
        self.assertEqual((self.top / "secret").read_bytes(), b"secret")
        self.assertEqual(sorted(os.listdir(self.top)), ["root", "secret"])
        # The link itself may go.
        for name in links:
            self.directory.remove(name, anything)
        self.assertEqual(self.names(), ["a.txt", "sub"])

    def test_links_inside(self) -> None:
        """
        A link to what is inside is followed, and never replaced by accident; a loop is refused.
        """
        (self.root / "same").symlink_to("sub/b.txt")
        (self.root / "folder").symlink_to("sub")
        (self.root / "loop").symlink_to("loop")
        self.assertEqual(self.read("same"), b"below")
        self.assertEqual(self.read("folder/b.txt"), b"below")
        self.assertRaises(errors.FileConflict, self.write, "same")
        self.assertTrue(self.write("folder/c.txt"))
        self.assertEqual(self.names("sub"), ["b.txt", "c.txt"])
        self.assertRaises(errors.ResourceForbidden, self.directory.open, "loop")
        listing = self.directory.open("")
        assert isinstance(listing, Listing)
        self.assertEqual(listing.entries["same"].type, "link")

    def test_dots(self) -> None:
        """
        Not even a path with dots, which no route lets through, leads out.
        """
        for path in ("../secret", "sub/../../secret", "/etc/passwd"):
            self.assertRaises(errors.ResourceForbidden, self.directory.open, path)
            self.assertRaises(errors.ResourceForbidden, self.directory.remove, path, anything)
        self.assertRaises(errors.ResourceForbidden, self.write, "../new")
        self.assertFalse((self.top / "new").exists())

    def test_the_root_becomes_a_link(self) -> None:
        """
        A link in the place of the directory itself, or of one above it, is not followed.
        """
        self.root.rename(self.top / "other")
        self.root.symlink_to(self.top / "other")
        self.assertRaises(errors.NoSuchResource, self.directory.open, "a.txt")
        self.root.unlink()
        self.assertRaises(errors.NoSuchResource, self.directory.open, "")
        self.assertRaises(errors.NoSuchResource, self.directory.remove, "a.txt", anything)

    def test_special_files(self) -> None:
        """
        Nothing but files and directories is opened, so that nothing waits for a pipe.
        """
        os.mkfifo(self.root / "pipe")
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.open(self.root, os.O_PATH)
            self.addCleanup(os.close, here)
            listening.bind(f"/proc/self/fd/{here}/socket")
        names = ["pipe", "socket"]
        try:
            os.mknod(self.root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pass
        else:
            names.append("null")
        for name in names:
            self.assertRaises(errors.ResourceForbidden, self.directory.open, name)
            self.assertRaises(errors.ResourceForbidden, self.write, name)
        listing = self.directory.open("")
        assert isinstance(listing, Listing)
        self.assertEqual({listing.entries[name].type for name in names}, {"other"})

    def test_write(self) -> None:
        """
        A file is written in one step; what was open before stays as it was, and the permissions
        remain.
        """
        old = self.directory.open("a.txt")
        assert isinstance(old, OpenedFile)
        (self.root / "a.txt").chmod(0o640)
        self.assertFalse(self.write("a.txt", b"changed"))
        self.assertEqual(old.read(0, 10), b"hello")
        old.close()
        self.assertEqual(self.read("a.txt"), b"changed")
        self.assertEqual(stat.S_IMODE((self.root / "a.txt").stat().st_mode), 0o640)
        self.assertTrue(self.write("b.txt", b""))
        self.assertTrue(self.write("deep/er/c.txt"))
        self.assertTrue(self.write("sub/er/d.txt"))
        self.assertEqual(self.names(), ["a.txt", "b.txt", "deep", "sub"])
        self.assertEqual(self.names("deep/er"), ["c.txt"])

    def test_write_instead_of_something_else(self) -> None:
        """
        A directory is not replaced by a file, and a file is no directory.
        """
        self.assertRaises(errors.FileConflict, self.write, "sub")
        for path in ("a.txt/x", "a.txt/x/y"):
            self.assertRaises(errors.FileConflict, self.write, path)
        self.assertEqual(self.names(), ["a.txt", "sub"])

    def test_failed_writes_leave_nothing(self) -> None:
        """
        A write that fails in the middle changes nothing, and leaves nothing behind.
        """

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "write", full)
        for path in ("a.txt", "new.txt"):
            self.assertRaises(errors.StorageFull, self.directory.write, path, b"x", anything)
        self.assertEqual(self.names(), ["a.txt", "sub"])
        self.assertEqual(self.read("a.txt"), b"hello")

    def test_checks(self) -> None:
        """
        What is there is looked at before and after the content is written.
        """
        seen: list[Any] = []

        def look(present: FileInfo | None) -> None:
            seen.append(present and present.size)
            if len(seen) == 2:
                raise errors.PreconditionFailed("no")

        self.assertRaises(errors.PreconditionFailed, self.write, "a.txt", check=look)
        self.assertEqual(seen, [5, 5])
        self.assertEqual(self.names(), ["a.txt", "sub"])
        seen.clear()
        self.assertRaises(errors.PreconditionFailed, self.write, "x/y", check=self.refuse)
        self.assertEqual(self.names(), ["a.txt", "sub"])
        self.assertRaises(errors.PreconditionFailed, self.directory.remove, "a.txt", self.refuse)
        self.assertEqual(self.read("a.txt"), b"hello")

    def refuse(self, present: FileInfo | None) -> None:
        """
        Find fault with anything.
        """
        raise errors.PreconditionFailed("no")

    def test_only_new(self) -> None:
        """
        A file that somebody else has just made is left as it is.
        """

        def make(present: FileInfo | None) -> None:
            (self.root / "new.txt").write_bytes(b"theirs")

        self.assertTrue(self.write("other.txt", only_new=True))
        self.assertRaises(
            errors.PreconditionFailed, self.write, "new.txt", check=make, only_new=True
        )
        self.assertEqual(self.read("new.txt"), b"theirs")
        self.assertEqual(self.names(), ["a.txt", "new.txt", "other.txt", "sub"])

    def test_remove(self) -> None:
        """
        Files go, and directories that are empty.
        """
        error = self.assertRaises(errors.FileConflict, self.directory.remove, "sub", anything)
        self.assertIn("sub", str(error))
        self.directory.remove("sub/b.txt", anything)
        self.directory.remove("sub", anything)
        self.directory.remove("a.txt", anything)
        self.assertEqual(self.names(), [])
        self.assertRaises(errors.NoSuchResource, self.directory.remove, "a.txt", anything)

    def test_tags(self) -> None:
        """
        The tag changes with the content, also if size and time stay the same.
        """
        first = FileInfo.of(os.stat(self.root / "a.txt"))
        self.assertEqual(first, FileInfo.of(os.stat(self.root / "a.txt")))
        self.write("a.txt", b"HELLO")
        os.utime(self.root / "a.txt", (first.modified, first.modified))
        second = FileInfo.of(os.stat(self.root / "a.txt"))
        self.assertNotEqual(first.tag, second.tag)
        self.assertRegex(first.tag, r'\A"[\w-]+"\Z')

    def test_listings_are_bounded(self) -> None:
        """
        A listing says when it is not complete: there are too many names, or one is not UTF-8.
        """
        self.patch(confined, "MAX_ENTRIES", 3)
        (self.root / "c").touch()
        listing = self.directory.open("")
        assert isinstance(listing, Listing)
        self.assertEqual((len(listing.entries), listing.is_complete), (3, True))
        (self.root / "d").touch()
        listing = self.directory.open("")
        assert isinstance(listing, Listing)
        self.assertEqual((len(listing.entries), listing.is_complete), (3, False))
        Path(os.fsdecode(os.fsencode(self.root / "sub") + b"/\xff")).touch()
        listing = self.directory.open("sub")
        assert isinstance(listing, Listing)
        self.assertEqual(([*listing.entries], listing.is_complete), (["b.txt"], False))

    def test_strange_times(self) -> None:
        """
        A time that no calendar has is the nearest that one has.
        """
        for given, shown in ((-5.0, 0.0), (10.0, 10.0), (2.0**36, 253402300799.0)):
            os.utime(self.root / "a.txt", (given, given))
            found = os.stat(self.root / "a.txt")
            if found.st_mtime == given:
                self.assertEqual(FileInfo.of(found).modified, shown)

    def test_nothing_stays_open(self) -> None:
        """
        No descriptor is left, whatever goes wrong.
        """
        os.mkfifo(self.root / "pipe")
        (self.root / "out").symlink_to("..")
        before = len(os.listdir("/proc/self/fd"))
        for path in ("", "sub", "no", "pipe", "out", "out/secret", "a.txt/x", "a.txt"):
            for act in (
                self.directory.open,
                lambda path: self.directory.write(path, b"", self.refuse),
                lambda path: self.directory.remove(path, self.refuse),
            ):
                with contextlib.suppress(errors.GatewayError):
                    act(path)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class WalkTests(ConfinedDirectoryTests):
    """
    The same where a filter of system calls knows no ``openat2``, as in some containers.
    """

    def setUp(self) -> None:
        super().setUp()

        def refused(*_: Any) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        self.patch(confined, "_openat2", refused)

    def test_links_inside(self) -> None:
        """
        Then no link is followed at all.
        """
        (self.root / "same").symlink_to("sub/b.txt")
        (self.root / "folder").symlink_to("sub")
        for path in ("same", "folder", "folder/b.txt"):
            self.assertRaises(errors.ResourceForbidden, self.directory.open, path)
        self.assertRaises(errors.ResourceForbidden, self.write, "folder/new")
