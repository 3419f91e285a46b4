"""
The runtime directory.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError, KernelStartFailed
from kgd.kernels.local.runtime_directory import RuntimeDirectory

KERNEL_ID = "1-2-3-4-5"


def mode(path: Path) -> int:
    """
    The permissions of a file.
    """
    return stat.S_IMODE(path.lstat().st_mode)


class RuntimeDirectoryTests(SynchronousTestCase):
    """
    A gateway's own directory.
    """

    def setUp(self) -> None:
        """
        A base of its own for each test.
        """
        self.base = Path(self.mktemp()).absolute()
        self.runtime = RuntimeDirectory(self.base)
        self.addCleanup(self.runtime.close)

    def entries(self) -> list[str]:
        """
        What is there of all gateways.
        """
        return sorted(path.name for path in (self.base / "kgd").iterdir())

    def test_nothing_before_open(self) -> None:
        """
        Making one touches nothing, and using it too early is a mistake.
        """
        self.assertFalse(self.base.exists())
        self.assertRaises(RuntimeError, self.runtime.write_connection_file, KERNEL_ID, b"{}")
        self.runtime.remove(KERNEL_ID)
        self.runtime.close()

    def test_private(self) -> None:
        """
        No other user may enter, even if all could before.
        """
        (self.base / "kgd").mkdir(parents=True, mode=0o777)
        (self.base / "kgd").chmod(0o777)
        self.runtime.open()
        self.assertEqual(mode(self.base / "kgd"), 0o700)
        self.assertEqual(mode(self.runtime.path), 0o700)
        self.assertEqual(self.runtime.path.parent, self.base / "kgd")

    def test_write(self) -> None:
        """
        Whatever the umask, only the gateway's user can read a connection file; it is the only file.
        """
        self.addCleanup(os.umask, os.umask(0))
        self.runtime.open()
        file = self.runtime.write_connection_file(KERNEL_ID, b"one")
        self.assertEqual(file.name, f"kernel-{KERNEL_ID}.json")
        self.assertEqual((mode(file), file.read_bytes()), (0o600, b"one"))
        self.assertEqual({path.name for path in file.parent.iterdir()}, {file.name, "lock"})

    def test_replace(self) -> None:
        """
        A second file replaces the first, even if a link was put in its place.
        """
        self.runtime.open()
        victim = self.base / "victim"
        victim.write_bytes(b"precious")
        self.runtime.connection_file(KERNEL_ID).symlink_to(victim.resolve())
        file = self.runtime.write_connection_file(KERNEL_ID, b"two")
        self.assertEqual(file.read_bytes(), b"two")
        self.assertEqual(victim.read_bytes(), b"precious")

    def test_remove(self) -> None:
        """
        A file is removed, and it does not matter if it is gone already.
        """
        self.runtime.open()
        file = self.runtime.write_connection_file(KERNEL_ID, b"{}")
        self.runtime.remove(KERNEL_ID)
        self.assertFalse(file.exists())
        self.runtime.remove(KERNEL_ID)

    def test_working_directory(self) -> None:
        """
        A kernel's own working directory is private; it stays as it is for the next process, and is
        removed with all that is in it, but for what links lead to.
        """
        self.runtime.open()
        path = self.runtime.working_directory(KERNEL_ID)
        self.assertEqual(path.parent, self.runtime.path)
        self.assertFalse(path.exists())
        self.runtime.remove_working_directory(str(path))()
        self.runtime.make_working_directory(str(path))
        self.assertEqual(mode(path), 0o700)
        outside = self.base / "outside"
        outside.mkdir()
        (outside / "precious").touch()
        (path / "link").symlink_to(outside.resolve())
        (path / "deep" / "er").mkdir(parents=True)
        (path / "deep" / "er" / "file").touch()
        self.runtime.make_working_directory(str(path))
        self.assertTrue((path / "deep" / "er" / "file").exists())
        before = {each.name for each in self.runtime.path.iterdir()}
        remove = self.runtime.remove_working_directory(str(path))
        # The next kernel of this id may have its own at once.
        self.assertFalse(path.exists())
        remove()
        after = {each.name for each in self.runtime.path.iterdir()}
        self.assertEqual(before - after, {path.name})
        self.assertTrue((outside / "precious").exists())
        error = self.assertRaises(
            KernelStartFailed, self.runtime.make_working_directory, str(path / "no" / "no")
        )
        self.assertIn("start another kernel", str(error))

    def test_sockets(self) -> None:
        """
        A kernel's sockets are removed for its next process and at its end, another's stay.
        """
        self.runtime.open()
        paths = [self.runtime.path / name for name in ("1-1", "1-5", "11-1")]
        for remove in (self.runtime.clear_sockets, self.runtime.remove_sockets):
            for path in paths:
                path.touch()
            remove("1")
            self.assertEqual([path.exists() for path in paths], [False, False, True])
            remove("2")
        self.assertEqual(self.runtime.clear_sockets("1"), self.runtime.path / "1")

    def test_a_socket_that_stays(self) -> None:
        """
        A socket that cannot be removed is logged, and does no other harm.
        """
        self.runtime.open()
        (self.runtime.path / "1-1").mkdir()
        with capturedLogs() as logged:
            self.runtime.remove_sockets("1")
        self.assertIn("1-1 cannot be removed: Is a directory", formatEvent(logged[0]))

    def test_absolute(self) -> None:
        """
        A relative base is one of the gateway's, not of the kernels' working directories.
        """
        runtime = RuntimeDirectory(Path(os.path.relpath(self.base)))
        runtime.open()
        self.addCleanup(runtime.close)
        self.assertEqual(runtime.path.parent, self.base / "kgd")

    def test_close(self) -> None:
        """
        Everything of ours is removed, and twice is not too often.
        """
        self.runtime.open()
        self.runtime.write_connection_file(KERNEL_ID, b"{}")
        self.runtime.close()
        self.runtime.close()
        self.assertEqual(self.entries(), [])

    def test_disk_full(self) -> None:
        """
        A full disk is a clear failure, leaves nothing, and does not last longer than it does.
        """
        self.runtime.open()
        original = os.open

        def full(path: Path, flags: int, permissions: int = 0o777) -> int:
            if "kernel-" in str(path):
                # A device that can be opened, and then is full.
                return original("/dev/full", os.O_WRONLY)
            return original(path, flags, permissions)

        self.patch(os, "open", full)
        error = self.assertRaises(
            KernelStartFailed, self.runtime.write_connection_file, KERNEL_ID, b"x" * 9000
        )
        self.assertIn("No space left on device", str(error))
        self.assertIn("JUPYTER_RUNTIME_DIR", str(error))
        self.patch(os, "open", original)
        self.assertEqual([path.name for path in self.runtime.path.iterdir()], ["lock"])
        self.runtime.write_connection_file(KERNEL_ID, b"{}")

    def test_directory_vanished(self) -> None:
        """
        When the directory was removed, another is made for the next kernel.
        """
        self.runtime.open()
        shutil.rmtree(self.base)
        file = self.runtime.write_connection_file(KERNEL_ID, b"{}")
        self.assertEqual(file.read_bytes(), b"{}")
        self.assertEqual(mode(file.parent), 0o700)
        shutil.rmtree(self.base)
        self.assertTrue(self.runtime.clear_sockets("1").parent.is_dir())

    def test_cannot_be_made(self) -> None:
        """
        A base that is no directory is a configuration error that says what to do.
        """
        self.base.write_bytes(b"")
        error = self.assertRaises(ConfigurationError, self.runtime.open)
        self.assertIn("JUPYTER_RUNTIME_DIR", str(error))

    def test_link(self) -> None:
        """
        A link in the place of our directory is not followed.
        """
        self.base.mkdir()
        (self.base / "elsewhere").mkdir()
        (self.base / "kgd").symlink_to("elsewhere")
        self.assertRaises(ConfigurationError, self.runtime.open)

    def test_too_many_open_files(self) -> None:
        """
        A file that cannot be opened for want of descriptors can be written later: that is told from
        what stays wrong.
        """
        self.runtime.open()

        def none_left(*_: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "open", none_left)
        write = self.runtime.write_connection_file
        error = self.assertRaises(OSError, write, KERNEL_ID, b"{}")
        self.assertEqual(error.errno, errno.EMFILE)

    def test_vanished_for_good(self) -> None:
        """
        When it cannot be made again, the kernel's start fails, and nothing else.
        """
        self.runtime.open()
        shutil.rmtree(self.base)
        self.base.write_bytes(b"")
        self.assertRaises(KernelStartFailed, self.runtime.write_connection_file, KERNEL_ID, b"{}")


class KeptTests(SynchronousTestCase):
    """
    Kernels that outlive their gateway.
    """

    def setUp(self) -> None:
        """
        A gateway that keeps its two kernels: one is this process, the other has ended.
        """
        self.base = Path(self.mktemp())
        self.runtime = RuntimeDirectory(self.base, keeps_kernels=True)
        self.runtime.open()
        self.path = self.runtime.path
        for kernel_id, name in (("a", "1"), ("b", "11")):
            self.runtime.write_connection_file(kernel_id, b"{}")
            Path(self.runtime.output_file(kernel_id)).touch()
            self.runtime.record(kernel_id, os.getpid(), name)
            (self.path / f"{name}-1").touch()
        self.runtime.make_directory("uploads")

    def change(self, kernel_id: str, **changes: Any) -> None:
        """
        Change a record.
        """
        file = self.path / f"kernel-{kernel_id}.process"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    def names(self) -> set[str]:
        """
        What is there of kernels.
        """
        return {file.name for file in self.path.glob("*") if file.is_file()} - {"lock"}

    def test_working_directories(self) -> None:
        """
        The own directory of a kernel that runs stays when its gateway ends, and that of another
        goes.
        """
        for kernel_id in ("a", "b", "c"):
            directory = self.runtime.working_directory(kernel_id)
            self.runtime.make_working_directory(str(directory))
            (directory / "sub").mkdir()
        self.change("b", start_time=1)
        self.runtime.close()
        found = {path.name for path in self.path.iterdir() if path.name.endswith(".work")}
        self.assertEqual(found, {"kernel-a.work"})
        self.assertTrue((self.path / "kernel-a.work" / "sub").is_dir())

    def test_the_living_stay(self) -> None:
        """
        What a kernel needs that runs stays when its gateway ends, and when others begin; what
        belongs to others goes.
        """
        expected = {"kernel-a.json", "kernel-a.log", "kernel-a.process", "1-1"}
        for wrong in ({"start_time": 1}, {"boot_id": "another"}, {"pid": "?"}):
            self.change("b", **wrong)
            self.runtime.close()
            self.assertEqual(self.names(), expected)
            with capturedLogs() as logged:
                another = RuntimeDirectory(self.base)
                another.open()
            self.assertIn("left kernels running: 1 in", formatEvent(logged[0]))
            another.close()
            self.assertEqual(self.names(), expected)
            self.setUp()

    def test_all_have_ended(self) -> None:
        """
        When no kernel runs any more, nothing stays.
        """
        for kernel_id in ("a", "b"):
            self.change(kernel_id, start_time=1)
        self.runtime.close()
        self.assertFalse(self.path.exists())

    def test_stopped(self) -> None:
        """
        A kernel that is stopped leaves nothing.
        """
        self.runtime.remove("a")
        self.runtime.remove_sockets("1")
        self.assertEqual(
            self.names(), {"kernel-b.json", "kernel-b.log", "kernel-b.process", "11-1"}
        )

    def test_cannot_be_recorded(self) -> None:
        """
        A process that has ended already cannot be recorded, which is said.
        """
        with capturedLogs() as logged:
            self.runtime.record("c", 2**22 + 1, "")
        self.assertIn("kernel c will not be found again", formatEvent(logged[0]))


class SweepTests(SynchronousTestCase):
    """
    What dead gateways left behind.
    """

    def setUp(self) -> None:
        """
        A base of its own for each test.
        """
        self.base = Path(self.mktemp())

    def open(self) -> RuntimeDirectory:
        """
        Another gateway's directory.
        """
        runtime = RuntimeDirectory(self.base)
        runtime.open()
        self.addCleanup(runtime.close)
        return runtime

    def test_living_neighbours_stay(self) -> None:
        """
        Gateways side by side leave each other alone.
        """
        first = self.open()
        file = first.write_connection_file(KERNEL_ID, b"{}")
        second = self.open()
        self.assertTrue(file.exists())
        self.assertNotEqual(first.path, second.path)

    def test_dead_neighbours_go(self) -> None:
        """
        A directory whose lock is free is removed with all that is in it.
        """
        first = self.open()
        file = first.write_connection_file(KERNEL_ID, b"{}")
        with (first.path / "lock").open() as lock:
            # As if the process had ended: another descriptor would not do.
            os.close(first._lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.open()
            self.assertTrue(file.exists())
        self.open()
        self.assertFalse(file.parent.exists())
        first._lock = os.open(os.devnull, os.O_RDONLY)

    def test_half_removed(self) -> None:
        """
        What is left of an interrupted sweep goes too.
        """
        rest = self.base / "kgd" / "rest"
        rest.mkdir(parents=True)
        (rest / "kernel-x.json").touch()
        self.open()
        self.assertFalse(rest.exists())

    def test_being_born(self) -> None:
        """
        A directory that another gateway is just making is left alone, unless it began long ago.
        """
        young, old = self.base / "kgd" / ".new-a", self.base / "kgd" / ".new-b"
        young.mkdir(parents=True)
        old.mkdir()
        os.utime(old, (1, 1))
        self.open()
        self.assertTrue(young.exists())
        self.assertFalse(old.exists())

    def test_strange_things(self) -> None:
        """
        What is not ours is not touched, and does not stop us.
        """
        strange = self.base / "kgd" / "file"
        strange.parent.mkdir(parents=True)
        strange.touch()
        (self.base / "kgd" / "link").symlink_to("/nonexistent")
        self.open()
        self.assertTrue(strange.exists())
