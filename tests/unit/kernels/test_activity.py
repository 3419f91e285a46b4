"""
What a kernel's messages tell of what it is doing.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.kernels.activity import MAX_SHELLS, Activity
from kgd.protocol.messages import MsgId

STATES = {"starting", "idle", "busy", "restarting", "dead"}


class ActivityTests(SynchronousTestCase):
    """
    State and time of last use.
    """

    def setUp(self) -> None:
        """
        A kernel that was made at 1000 and answers.
        """
        self.now = 1000.0
        # The other clock began to run a day later.
        self.activity = Activity(lambda: self.now, lambda: self.now - 86400)
        self.now = 2000.0

    def ready_at_once(self) -> None:
        """
        Let the kernel answer as soon as it was made.
        """
        self.now = 1000.0
        self.activity.became_ready()
        self.now = 2000.0

    def used_at(self) -> float:
        """
        :return: When the kernel was last used, which both clocks must agree on.
        """
        self.assertEqual(self.activity.last_used, self.activity.last_activity - 86400)
        return self.activity.last_activity

    def test_new(self) -> None:
        """
        A new kernel is starting, was used when it was made, and is idle when it answers.
        """
        self.assertEqual(self.activity.execution_state, "starting")
        self.assertEqual(self.activity.last_activity, 1000.0)
        self.activity.became_ready()
        self.assertEqual(self.activity.execution_state, "idle")
        self.assertEqual(self.activity.last_activity, 1000.0)

    def test_starting_is_use(self) -> None:
        """
        A kernel that is being started counts as used, however long that takes. One that starts
        again after a crash does not.
        """
        for start in (lambda: None, self.activity.restarted):
            start()
            self.now += 500.0
            self.assertEqual(self.activity.last_used, self.now - 86400)
            self.activity.became_ready()
            ready = self.activity.last_used
            self.now += 500.0
            self.assertEqual(self.activity.last_used, ready)
            self.assertEqual(ready, self.now - 500.0 - 86400)
            self.activity.crashed()
            self.assertEqual(self.activity.last_used, ready)
            self.activity.became_ready()
            self.assertEqual(self.activity.last_used, ready)

    def test_handed_out(self) -> None:
        """
        A spare kernel is used from when it is handed out.
        """
        self.ready_at_once()
        self.activity.handed_out()
        self.assertEqual(self.used_at(), 2000.0)

    def test_not_ready_before_it_answers(self) -> None:
        """
        What an earlier process may still have said changes nothing.
        """
        self.activity.published("status", "execute_request", "busy")
        self.assertEqual(self.activity.execution_state, "starting")

    def test_executing(self) -> None:
        """
        A kernel that executes is busy, and in use with everything that it says meanwhile.
        """
        self.ready_at_once()
        self.activity.published("status", "execute_request", "busy")
        self.assertEqual(self.activity.execution_state, "busy")
        self.now = 3000.0
        self.activity.published("stream", "kernel_info_request", None)
        self.assertEqual(self.used_at(), 3000.0)
        self.activity.published("status", "execute_request", "idle")
        self.assertEqual(self.activity.execution_state, "idle")

    def test_busy_since(self) -> None:
        """
        The time for which a kernel has been busy without a break is known, also while it prints.
        """
        self.activity.became_ready()
        self.assertIsNone(self.activity.busy_since)
        self.activity.published("status", "execute_request", "busy")
        self.assertEqual(self.activity.busy_since, 2000.0 - 86400)
        self.now = 3000.0
        self.activity.published("stream", "execute_request", None)
        self.activity.published("status", "debug_request", "idle")
        self.activity.published("status", "execute_request", "busy")
        self.assertEqual(self.activity.busy_since, 2000.0 - 86400)
        self.activity.published("status", "execute_request", "idle")
        self.assertIsNone(self.activity.busy_since)
        self.activity.published("status", "comm_msg", "busy")
        self.assertEqual(self.activity.busy_since, 3000.0 - 86400)

    def test_not_busy_without_a_process(self) -> None:
        """
        A kernel whose process is gone is not busy with what that was doing.
        """
        for end in ("crashed", "restarted", "ended"):
            self.activity.became_ready()
            self.activity.published("status", "execute_request", "busy")
            getattr(self.activity, end)()
            self.assertIsNone(self.activity.busy_since)

    def test_crash_while_busy(self) -> None:
        """
        A kernel that executed in silence was in use until it crashed, one that idled was not.
        """
        self.ready_at_once()
        self.activity.crashed()
        self.assertEqual(self.used_at(), 1000.0)
        self.activity.became_ready()
        self.activity.published("status", "execute_request", "busy")
        self.now = 5000.0
        self.activity.crashed()
        self.assertEqual(self.used_at(), 5000.0)

    def test_questions_do_not_count(self) -> None:
        """
        Asking a kernel what it is does not make it busy, and is no use of it.
        """
        self.ready_at_once()
        for parent in ("kernel_info_request", "debug_request", "shutdown_request"):
            self.activity.published("status", parent, "busy")
            self.assertEqual(self.activity.execution_state, "idle")
        self.assertEqual(self.used_at(), 1000.0)

    def test_other_questions(self) -> None:
        """
        What counts as no use is an option.
        """
        untracked = frozenset({"complete_request", "complete_reply", "status"})
        self.activity = Activity(lambda: self.now, lambda: self.now - 86400, untracked)
        self.activity.became_ready()
        since = self.used_at()
        self.now = 3000.0
        self.activity.published("status", "complete_request", "busy")
        self.assertEqual((self.used_at(), self.activity.execution_state), (since, "idle"))
        self.activity.published("status", "kernel_info_request", "busy")
        self.assertEqual((self.used_at(), self.activity.execution_state), (3000.0, "busy"))

    def test_busy_kernel_stays_busy(self) -> None:
        """
        A debugger that asks in the meantime does not make the kernel idle.
        """
        self.activity.became_ready()
        self.activity.published("status", "execute_request", "busy")
        self.activity.published("status", "debug_request", "idle")
        self.assertEqual(self.activity.execution_state, "busy")

    def status(
        self, state: str, msg_id: MsgId, shell: bytes = b"", parent_type: str = "execute_request"
    ) -> str:
        """
        Publish a status.

        :return: The state of the kernel.
        """
        self.activity.published("status", parent_type, state, shell, msg_id)
        return self.activity.execution_state

    def test_several_shells(self) -> None:
        """
        A kernel is busy as long as any of its shells is, without a break.
        """
        self.activity.became_ready()
        self.assertEqual(self.status("busy", "a"), "busy")
        for shell, parent_type in (
            (b'"one"', "execute_request"),
            (b'"two"', "comm_msg"),
            (b"7", "execute_request"),
            (b"control", "usage_request"),
            (b"control", "execute_request"),
        ):
            self.now += 1
            self.assertEqual(self.status("busy", "a", shell, parent_type), "busy")
            self.assertEqual(self.status("idle", "a", shell, parent_type), "busy")
        self.assertEqual(self.activity.busy_since, 2000.0 - 86400)
        self.assertEqual(self.status("idle", "a"), "idle")
        self.assertIsNone(self.activity.busy_since)
        self.status("busy", "b", b'"one"')
        self.status("busy", "c")
        self.assertEqual(self.status("idle", "c"), "busy", "a subshell works")
        self.assertEqual(self.status("idle", "b", b'"one"'), "idle")

    def test_ends_that_are_lost(self) -> None:
        """
        The next request of a shell makes up for an end that is missing, and so does what the kernel
        says without a request. Nothing makes it busy for ever.
        """
        sequences: list[list[tuple[str, MsgId]]] = [
            [("busy", "a"), ("busy", "b"), ("idle", "b")],
            [("busy", "a"), ("busy", "a"), ("idle", "a")],
            [("busy", "same"), ("idle", "same"), ("busy", "same"), ("idle", "same")],
            [("busy", 7), ("idle", 7.0)],
            [("busy", None), ("idle", None)],
            [("busy", "a"), ("idle", "a"), ("idle", "a")],
            [("busy", ""), ("idle", "a")],
        ]
        for sequence in sequences:
            self.activity.restarted()
            self.activity.became_ready()
            states = [self.status(state, msg_id) for state, msg_id in sequence]
            self.assertEqual((states[0], states[-1]), ("busy", "idle"), sequence)
        for parent_type, state in (("", "idle"), ("", "starting"), ("execute_request", "starting")):
            self.status("busy", "a")
            self.status("busy", "b", b'"one"')
            expected = "starting" if state == "starting" else "idle"
            self.assertEqual(self.status(state, "", parent_type=parent_type), expected)
            self.assertIsNone(self.activity.busy_since)

    def test_late_end(self) -> None:
        """
        An end that is made up late does not hide that the shell works on another request by now.
        """
        self.activity.became_ready()
        self.status("busy", "a")
        self.status("busy", "b")
        self.assertEqual(self.status("idle", "a"), "busy")
        self.assertEqual(self.status("idle", "b"), "idle")

    def test_shells_of_an_old_process(self) -> None:
        """
        What an old process was doing is forgotten.
        """
        for end in ("crashed", "restarted"):
            self.activity.became_ready()
            self.status("busy", "a", b'"one"')
            getattr(self.activity, end)()
            self.activity.became_ready()
            self.assertEqual(self.activity.execution_state, "idle")
            self.status("busy", "b")
            self.assertEqual(self.status("idle", "b"), "idle")

    def test_many_shells(self) -> None:
        """
        Any number of names of subshells, which clients may make up, does not fill the memory.
        """
        self.activity.became_ready()
        names = [b"%d" % number for number in range(MAX_SHELLS + 50)]
        for name in names:
            self.assertEqual(self.status("busy", "a", name), "busy")
        for name in names[50:]:
            self.assertEqual(self.activity.execution_state, "busy")
            self.status("idle", "a", name)
        self.assertEqual(self.activity.execution_state, "idle")

    def test_comm_traffic_counts(self) -> None:
        """
        Comm messages are use.
        """
        self.ready_at_once()
        self.activity.published("comm_msg", "kernel_info_request", None)
        self.assertEqual(self.used_at(), 2000.0)

    def test_starting_by_itself(self) -> None:
        """
        A kernel that says that it starts again is idle as soon as it answers anything.
        """
        self.activity.became_ready()
        self.activity.published("status", "", "starting")
        self.assertEqual(self.activity.execution_state, "starting")
        self.activity.published("status", "kernel_info_request", "idle")
        self.assertEqual(self.activity.execution_state, "idle")

    def test_ready_again(self) -> None:
        """
        Hearing twice that it answers does not make a busy kernel idle.
        """
        self.activity.became_ready()
        self.activity.published("status", "execute_request", "busy")
        self.activity.became_ready()
        self.assertEqual(self.activity.execution_state, "busy")

    def test_crash(self) -> None:
        """
        A crashed kernel is restarting until it answers; late messages of the old one do nothing.
        """
        self.activity.became_ready()
        self.activity.crashed()
        self.activity.published("status", "shutdown_request", "idle")
        self.activity.published("status", "", "busy")
        self.assertEqual(self.activity.execution_state, "restarting")
        self.activity.became_ready()
        self.assertEqual(self.activity.execution_state, "idle")

    def test_restart(self) -> None:
        """
        A restart is use.
        """
        self.activity.became_ready()
        self.activity.restarted()
        self.assertEqual(self.activity.execution_state, "starting")
        self.assertEqual(self.used_at(), 2000.0)

    def test_unknown_state(self) -> None:
        """
        Words that clients do not know are not passed on.
        """
        self.activity.became_ready()
        for word in ("dead", "restarting", "sleeping", ""):
            self.activity.published("status", "execute_request", word)
            self.assertEqual(self.activity.execution_state, "idle")

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["status", "stream", "comm_msg"]),
                st.sampled_from(["", "execute_request", "kernel_info_request"]),
                st.sampled_from([None, "idle", "busy", "starting", "dead", "x"]),
            )
            | st.sampled_from(["became_ready", "crashed", "restarted", "ended"])
        )
    )
    def test_always_one_of_five(self, steps: list[tuple[str, str, str | None] | str]) -> None:
        """
        The state is always one that clients know.
        """
        for step in steps:
            if isinstance(step, str):
                getattr(self.activity, step)()
            else:
                self.activity.published(*step)
            self.assertIn(self.activity.execution_state, STATES)
            busy = self.activity.execution_state == "busy"
            self.assertEqual(self.activity.busy_since is not None, busy)
