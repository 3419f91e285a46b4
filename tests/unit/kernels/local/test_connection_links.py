"""
Links to connection files, where other programs look for them.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kgd.kernels.local import watchdog_process
from kgd.kernels.local.connection_links import ConnectionFileLinks
from kgd.kernels.local.runtime_directory import RuntimeDirectory

ONE, TWO = "1-2-3-4-5", "1-2-3-4-6"


class LinksTests(SynchronousTestCase):
    """
    The links of gateways that have a base in common.
    """

    def setUp(self) -> None:
        """
        Another directory for links than for the gateways themselves.
        """
        self.base = Path(self.mktemp()).absolute()
        self.links = self.base / "jupyter"

    def open(self, base: Path | None = None, *, keeps_kernels: bool = False) -> RuntimeDirectory:
        """
        A gateway that makes links.
        """
        links = ConnectionFileLinks(self.links)
        runtime = RuntimeDirectory(base or self.base, links=links, keeps_kernels=keeps_kernels)
        runtime.open()
        self.addCleanup(runtime.close)
        return runtime

    def die(self, runtime: RuntimeDirectory) -> None:
        """
        End a gateway as if it was killed.
        """
        os.close(runtime._lock)
        runtime._path, runtime._lock = None, -1

    def names(self) -> list[str]:
        """
        :return: What is in the directory for links.
        """
        return sorted(path.name for path in self.links.iterdir())

    def test_life(self) -> None:
        """
        There is a link for each kernel, from its first process to its end. The file itself stays
        what it is: private, and in a private directory.
        """
        self.addCleanup(os.umask, os.umask(0))
        runtime = self.open()
        self.assertEqual(stat.S_IMODE(self.links.stat().st_mode), 0o700)
        for content in (b"one", b"two"):
            file = runtime.write_connection_file(ONE, content)
            link = self.links / f"kernel-{ONE}.json"
            self.assertEqual((os.readlink(link), link.read_bytes()), (str(file), content))
            self.assertEqual(stat.S_IMODE(link.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(runtime.path.stat().st_mode), 0o700)
        runtime.write_connection_file(TWO, b"{}")
        runtime.remove(ONE)
        self.assertEqual(self.names(), [f"kernel-{TWO}.json"])
        runtime.remove(ONE)
        runtime.close()
        self.assertEqual(self.names(), [])

    def test_kernel_removes_its_file(self) -> None:
        """
        Some kernels remove their connection files when they end.
        """
        runtime = self.open()
        for kernel_id in (ONE, TWO):
            runtime.write_connection_file(kernel_id, b"{}").unlink()
        runtime.write_connection_file(ONE, b"{}")
        self.assertTrue((self.links / f"kernel-{ONE}.json").exists())
        runtime.close()
        self.assertEqual(self.names(), [])

    def test_off(self) -> None:
        """
        Without links nothing is made anywhere else.
        """
        runtime = RuntimeDirectory(self.base)
        runtime.open()
        self.addCleanup(runtime.close)
        runtime.write_connection_file(ONE, b"{}")
        self.assertFalse(self.links.exists())

    def test_others(self) -> None:
        """
        What is there of others stays as it is, also at the end: a file, a link, and a kernel of
        another gateway that has the same id.
        """
        other = self.open()
        other.write_connection_file(ONE, b"of the other")
        (self.links / f"kernel-{TWO}.json").write_bytes(b"theirs")
        (self.links / "kernel-x.json").symlink_to("/nowhere/kernel-x.json")
        (self.links / "jpserver-1.json").symlink_to("/nowhere/jpserver-1.json")
        before = self.names()
        runtime = self.open()
        with capturedLogs() as logged:
            for kernel_id in (ONE, TWO, "x"):
                runtime.write_connection_file(kernel_id, b"ours")
        self.assertEqual(len(logged), 3)
        self.assertIn("belongs to another kernel", formatEvent(logged[0]))
        self.assertIn(str(runtime.connection_file(ONE)), formatEvent(logged[0]))
        for kernel_id in (ONE, TWO, "x"):
            runtime.remove(kernel_id)
        runtime.close()
        self.assertEqual(self.names(), before)
        self.assertEqual((self.links / f"kernel-{ONE}.json").read_bytes(), b"of the other")
        self.assertEqual((self.links / f"kernel-{TWO}.json").read_bytes(), b"theirs")

    def test_killed(self) -> None:
        """
        What a gateway has left that was killed goes when the next one begins, whether or not that
        makes links, and however its directory is spelled; another's that lives stays.
        """
        for makes_links in (True, False):
            dead, alive = self.open(), self.open()
            dead.write_connection_file(ONE, b"{}")
            alive.write_connection_file(TWO, b"{}")
            self.die(dead)
            self.assertEqual(len(self.names()), 2)
            alias = self.base.with_name(f"{self.base.name}-alias-{makes_links}")
            alias.symlink_to(self.base)
            if makes_links:
                self.open(alias)
            else:
                plain = RuntimeDirectory(alias)
                plain.open()
                self.addCleanup(plain.close)
            self.assertEqual(self.names(), [f"kernel-{TWO}.json"])
            alive.close()

    def test_watchdog(self) -> None:
        """
        A gateway's watchdog removes its links, and no others.
        """
        dead, alive = self.open(), self.open()
        dead.write_connection_file(ONE, b"{}")
        alive.write_connection_file(TWO, b"{}")
        (self.links / "kernel-x.json").write_bytes(b"{}")
        watchdog_process.remove_links(os.fsencode(dead.path))
        self.assertEqual(self.names(), [f"kernel-{TWO}.json", "kernel-x.json"])
        # Without links there is nothing to do.
        (alive.path / "links").unlink()
        for path in (alive.path, self.base / "nowhere"):
            watchdog_process.remove_links(os.fsencode(path))
        self.assertEqual(len(self.names()), 2)

    def test_kept_kernels(self) -> None:
        """
        A kernel that outlives its gateway can still be found; one that has ended cannot.
        """
        runtime = self.open(keeps_kernels=True)
        for kernel_id in (ONE, TWO):
            runtime.write_connection_file(kernel_id, b"{}")
        runtime.record(ONE, os.getpid(), "")
        runtime.close()
        self.assertEqual(self.names(), [f"kernel-{ONE}.json"])
        self.assertEqual((self.links / f"kernel-{ONE}.json").read_bytes(), b"{}")

    def test_removed(self) -> None:
        """
        If somebody removes the gateway's directory, its links go with it, and new ones come.
        """
        runtime = self.open()
        runtime.write_connection_file(ONE, b"{}")
        shutil.rmtree(runtime.path)
        runtime.write_connection_file(TWO, b"{}")
        self.assertEqual(self.names(), [f"kernel-{TWO}.json"])
        # Or the directory for links, which does no harm.
        shutil.rmtree(self.links)
        with capturedLogs() as logged:
            runtime.write_connection_file(ONE, b"{}")
        self.assertIn("cannot be linked", formatEvent(logged[0]))
        runtime.remove(ONE)

    def test_cannot_be_made(self) -> None:
        """
        A gateway without a place for links says so once, and is otherwise the same.
        """
        self.base.mkdir()
        self.links.write_bytes(b"not a directory")
        with capturedLogs() as logged:
            runtime = self.open()
            for kernel_id in (ONE, TWO):
                runtime.write_connection_file(kernel_id, b"{}")
                runtime.remove(kernel_id)
        self.assertEqual(len(logged), 1)
        self.assertIn("--no-link-connection-files", formatEvent(logged[0]))
