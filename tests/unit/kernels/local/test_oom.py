"""
Finding out whether the system killed a process because memory ran out.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.interfaces import ExitStatus
from kgd.kernels.local.oom import OUT_OF_MEMORY, OutOfMemoryKills

V1 = "9:name=systemd:/x\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n"
V2 = "0::/a/b\n"


class OutOfMemoryTests(SynchronousTestCase):
    """
    Counting, on files of our own.
    """

    def setUp(self) -> None:
        """
        A system that counts nothing.
        """
        self.root = Path(self.mktemp()).resolve()
        self.kills = OutOfMemoryKills(self.root / "proc", self.root / "cgroup")

    def write(self, path: str, content: str | bytes) -> None:
        """
        Write a file of the system's.
        """
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def count(self) -> int | None:
        """
        :return: What is read.
        """
        reading = self.kills.read()
        return None if reading is None else reading.count

    def test_v2(self) -> None:
        """
        In cgroup v2 it is the gateway's own group that counts.
        """
        self.write("proc/self/cgroup", V2)
        self.write("cgroup/a/b/memory.events", "low 0\noom 7\noom_kill 3\noom_group_kill 9\n")
        self.write("cgroup/memory.events", "oom_kill 100\n")
        self.write("proc/vmstat", "oom_kill 200\n")
        self.assertEqual(self.count(), 3)

    def test_v1(self) -> None:
        """
        In cgroup v1 too, in the hierarchy that is about memory.
        """
        self.write("proc/self/cgroup", V1)
        self.write("cgroup/memory/a/b/memory.oom_control", "under_oom 0\noom_kill 3\n")
        self.write("cgroup/memory.events", "oom_kill 100\n")
        self.write("cgroup/memory/memory.oom_control", "oom_kill 100\n")
        self.assertEqual(self.count(), 3)

    def test_shared_hierarchy(self) -> None:
        """
        Memory may share its hierarchy with others.
        """
        self.write("proc/self/cgroup", "4:cpu,memory:/a\n")
        self.write("cgroup/memory/a/memory.oom_control", "oom_kill 3\n")
        self.assertEqual(self.count(), 3)

    def test_group_that_does_not_count(self) -> None:
        """
        A group that leaves memory to the one above it is counted there; a container sees the path
        of its group outside, but only has what is below.
        """
        for where, count in (("cgroup", 5), ("cgroup/a", 4)):
            self.write("proc/self/cgroup", V2)
            self.write(f"{where}/memory.events", f"oom_kill {count}\n")
            self.assertEqual(self.count(), count)

    def test_outside(self) -> None:
        """
        A group outside of what is mounted is no way out of it.
        """
        self.write("x/memory.events", "oom_kill 100\n")
        self.write("cgroup/memory.events", "oom_kill 5\n")
        for path in ("/../x", "/a/../../x", "x", ""):
            self.write("proc/self/cgroup", f"0::{path}\n")
            self.assertEqual(self.count(), 5, path)

    def test_whole_system(self) -> None:
        """
        Without a count of the group's own, that of the system is taken.
        """
        self.write("proc/vmstat", "nr_free_pages 1\noom_kill 8\n")
        self.assertEqual(self.count(), 8)
        for groups in (V1, V2, "nonsense\n", "::::\n\n"):
            self.write("proc/self/cgroup", groups)
            self.assertEqual(self.count(), 8, groups)
        # Linux before 4.13.
        self.write("cgroup/memory/a/b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")
        self.write("proc/self/cgroup", V1)
        self.assertEqual(self.count(), 8)

    def test_nothing_is_counted(self) -> None:
        """
        Where nothing can be known, nothing is claimed, and nothing raises.
        """
        self.assertIsNone(self.count())
        self.assertFalse(self.kills.happened_since(self.kills.read()))
        for content in ("", "oom_kill\n", "oom_kill x\n", "oom_kill -1\n", b"oom_kill \xff\n"):
            self.write("proc/vmstat", content)
            self.assertIsNone(self.count(), content)
        (self.root / "cgroup" / "a" / "b" / "memory.events").mkdir(parents=True)
        self.write("proc/self/cgroup", V2 + "0::/nul\0\n")
        self.assertIsNone(self.count())

    def test_it_rose(self) -> None:
        """
        A kill that came since then has happened, an earlier one has not.
        """
        self.write("proc/vmstat", "oom_kill 8\n")
        before = self.kills.read()
        self.assertFalse(self.kills.happened_since(before))
        self.write("proc/vmstat", "oom_kill 9\n")
        self.assertTrue(self.kills.happened_since(before))
        self.assertFalse(self.kills.happened_since(self.kills.read()))

    def test_one_kill_explains_one_end(self) -> None:
        """
        Of several processes as many were killed for it as the system says.
        """
        self.write("proc/vmstat", "oom_kill 8\n")
        before = self.kills.read()
        self.write("proc/vmstat", "oom_kill 10\n")
        ends = [self.kills.happened_since(before) for _ in range(4)]
        self.assertEqual(ends, [True, True, False, False])
        later = self.kills.read()
        self.assertFalse(self.kills.happened_since(later))
        self.write("proc/vmstat", "oom_kill 11\n")
        self.assertTrue(self.kills.happened_since(later))

    def test_not_comparable(self) -> None:
        """
        What cannot be compared says nothing: another source, or none at one of the times.
        """
        self.write("proc/vmstat", "oom_kill 8\n")
        before = self.kills.read()
        self.write("proc/self/cgroup", V2)
        self.write("cgroup/a/b/memory.events", "oom_kill 900\n")
        self.assertFalse(self.kills.happened_since(before))
        self.assertFalse(self.kills.happened_since(None))
        (self.root / "cgroup/a/b/memory.events").unlink()
        (self.root / "proc/vmstat").unlink()
        self.assertFalse(self.kills.happened_since(before))

    def test_counter_that_fell(self) -> None:
        """
        A count that fell explains nothing.
        """
        self.write("proc/vmstat", "oom_kill 8\n")
        before = self.kills.read()
        self.write("proc/vmstat", "oom_kill 1\n")
        self.assertFalse(self.kills.happened_since(before))

    @given(st.text(), st.binary())
    @settings(max_examples=50)
    def test_never_raises(self, groups: str, counts: bytes) -> None:
        """
        Unexpected contents of the files raise nothing.
        """
        self.write("proc/self/cgroup", groups.encode("utf-8", "replace"))
        for name in ("cgroup/memory.events", "proc/vmstat"):
            self.write(name, counts)
        self.kills.happened_since(self.kills.read())

    def test_this_system(self) -> None:
        """
        Linux counts.
        """
        reading = OutOfMemoryKills().read()
        if not Path("/proc/vmstat").exists():
            self.assertIsNone(reading)
            return
        assert reading is not None
        self.assertGreaterEqual(reading.count, 0)

    def test_fits(self) -> None:
        """
        The close frame has room for the whole reason.
        """
        ended = ExitStatus(signal=9, cause=OUT_OF_MEMORY)
        self.assertEqual(str(ended), f"signal 9: {OUT_OF_MEMORY}")
        self.assertEqual(str(ExitStatus(exit_code=3, cause="why")), "exit code 3: why")
        reason = f"The kernel died: {ended} (restarted 1000 times)"
        self.assertLessEqual(len(reason.encode()), 123)
