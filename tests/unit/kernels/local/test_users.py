"""
The rights of another user.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path
from threading import Event, Thread

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kgd import errors
from kgd.kernels.local.users import KernelUser, file_rights
from kgd.web.confined import ConfinedDirectory, FileInfo, OpenedFile

USER = KernelUser(name="x", uid=12345, gid=23456, groups=(23456, 34567), environment={})


class FileRightsTests(SynchronousTestCase):
    """
    As root, which alone can have the rights of others.
    """

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can take the rights of other users")
        # Others must get there.
        self.root = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.root)
        self.root.chmod(0o777)
        self.directory = ConfinedDirectory(str(self.root), lambda: file_rights(USER))

    def put(self, path: str) -> os.stat_result:
        """
        Write a file.
        """

        def anything(present: FileInfo | None) -> None:
            pass

        self.directory.write(path, b"x", anything)
        return os.stat(self.root / path)

    def test_written(self) -> None:
        """
        What is written is the user's, with the directories that it needed.
        """
        found = self.put("a/b")
        self.assertEqual((found.st_uid, found.st_gid), (12345, 23456))
        found = os.stat(self.root / "a")
        self.assertEqual((found.st_uid, found.st_gid), (12345, 23456))
        opened = self.directory.open("a/b")
        assert isinstance(opened, OpenedFile)
        self.assertEqual(opened.read(0, 5), b"x")

    def test_forbidden(self) -> None:
        """
        What the user may not read or write is refused, although the gateway may; groups count.
        """
        for name, owner, group, mode, is_readable in (
            ("roots", 0, 0, 0o600, False),
            ("groups", 0, 0, 0o660, False),
            ("all", 0, 0, 0o644, True),
            ("own", 12345, 0, 0o600, True),
            ("first", 0, 23456, 0o640, True),
            ("second", 0, 34567, 0o640, True),
            ("own-no", 12345, 23456, 0o060, False),
        ):
            path = self.root / name
            path.write_bytes(b"secret")
            os.chown(path, owner, group)
            path.chmod(mode)
            if is_readable:
                opened = self.directory.open(name)
                assert isinstance(opened, OpenedFile)
                opened.close()
            else:
                self.assertRaises(errors.ResourceForbidden, self.directory.open, name)
        self.root.chmod(0o755)
        self.assertRaises(errors.ResourceForbidden, self.put, "new")
        self.assertRaises(errors.ResourceForbidden, self.put, "own")
        self.root.chmod(0o700)
        self.assertRaises(errors.ResourceForbidden, self.directory.open, "all")

    def test_only_there(self) -> None:
        """
        Other threads keep the gateway's rights, and this one gets them back.
        """
        path = self.root / "roots"
        path.touch()
        path.chmod(0o600)
        groups = os.getgroups()
        found: list[bytes] = []
        begin, end = Event(), Event()

        def read() -> None:
            begin.wait()
            found.append(path.read_bytes())
            end.set()

        other = Thread(target=read)
        other.start()
        with file_rights(USER):
            self.assertRaises(PermissionError, path.read_bytes)
            self.assertEqual(sorted(os.getgroups()), [23456, 34567])
            begin.set()
            end.wait()
        other.join()
        self.assertEqual(found, [b""])
        self.assertEqual(path.read_bytes(), b"")
        self.assertEqual(os.getgroups(), groups)
        self.assertRaises(ZeroDivisionError, self.fail_within)
        self.assertEqual(path.read_bytes(), b"")

    def fail_within(self) -> None:
        """
        Fail with the user's rights.
        """
        with file_rights(USER):
            raise ZeroDivisionError

    def test_unknown_machine(self) -> None:
        """
        Where it is not known how, nothing is served rather than too much.
        """
        self.patch(platform, "machine", lambda: "pdp11")
        error = self.assertRaises(errors.NotSupported, self.directory.open, "")
        self.assertIn("pdp11", str(error))
