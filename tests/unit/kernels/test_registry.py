"""
The life of kernels in the registry, on fakes and a clock that the test moves.
"""

from __future__ import annotations

import errno
import json
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import (
    InvalidRequest,
    KernelLimitReached,
    KernelStartFailed,
    NoSuchKernel,
    RestartFailed,
)
from kgd.interfaces import ExitStatus, IKernels, StartRequest
from kgd.kernels.controller import POSTPONED
from kgd.kernels.restart_policy import backoff
from kgd.settings import Settings
from kgd.testing.kernels import (
    KernelsContract,
    kernel_spec,
)
from tests.support.kernel_rig import CRASH, NOTHING, Case, Rig


class KernelRegistryContractTests(KernelsContract, SynchronousTestCase):
    """
    The registry keeps kernels as promised.
    """

    def make_kernels(self, settings: Settings) -> IKernels:
        """
        One on fakes.
        """
        return Rig(settings).kernels


class StartTests(Case):
    """
    From the request to the first answer.
    """

    settings = Settings(max_kernels=2, transport="tcp")

    def test_connected_before_launched(self) -> None:
        """
        The sockets are open before the process begins, at the address that its file tells.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        self.assertNoResult(starting)
        connection = self.rig.relay.opened["a-b-c-d-e"].connection
        assert connection is not None
        self.assertEqual(self.rig.runtime.files["a-b-c-d-e"], connection.to_json())
        self.assertEqual(self.rig.ports.leased, set(connection.ports.values()))
        self.assertEqual(len(set(connection.ports.values())), 5)
        self.assertEqual(len(connection.key), 32)
        self.launcher.release()
        self.successResultOf(starting)

    def test_keys_differ(self) -> None:
        """
        No two kernels have the same key.
        """
        self.start()
        self.start()
        keys = {json.loads(file)["key"] for file in self.rig.runtime.files.values()}
        self.assertEqual(len(keys), 2)

    def test_what_is_launched(self) -> None:
        """
        The kernelspec's command, with the environment and the directory that the request implies.
        """
        kernel = self.start(env={"KERNEL_A": "1"}, path="/nowhere/to/be/found.ipynb")
        process = self.rig.process
        self.assertEqual(process.argv[-1], f"/run/kernel-{kernel.kernel_id}.json")
        self.assertEqual((process.env["KERNEL_A"], process.env["KERNEL_GATEWAY"]), ("1", "1"))
        self.assertNotIn("KG_AUTH_TOKEN", process.env)
        self.assertEqual(process.cwd, str(Path.cwd().resolve()))

    def test_token_by_any_name(self) -> None:
        """
        A variable that holds the token is hidden from kernels, whatever its name is.
        """
        rig = Rig(Settings(auth_token="/root", env_process_whitelist=frozenset({"HOME"})))
        wanted: tuple[dict[str, str] | None, ...] = (None, {})
        for env in wanted:
            rig.kernels.start(StartRequest(env=env))
            found = rig.process.env
            self.assertEqual((found["PATH"], "HOME" in found), ("/bin", False))

    def test_environments_are_not_shared(self) -> None:
        """
        One request's environment does not show in another's kernel.
        """
        self.launcher.hold()
        for env in ({"KERNEL_A": "1"}, None):
            self.kernels.start(StartRequest(env=env))
        self.launcher.release()
        self.assertEqual([p.env.get("KERNEL_A") for p in self.launcher.processes], ["1", None])

    def test_ready(self) -> None:
        """
        A kernel is starting until it answers, then idle, and nothing is waited for any more.
        """
        kernel = self.start()
        self.assertEqual(kernel.execution_state, "starting")
        self.channels.answer()
        self.assertEqual(kernel.execution_state, "idle")
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_ready_before_the_launcher_says_so(self) -> None:
        """
        A launcher may be slower than the kernel.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        self.rig.relay.opened["a-b-c-d-e"].answer()
        self.launcher.release()
        self.assertEqual(self.successResultOf(starting).execution_state, "idle")
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_limit_holds_for_parallel_starts(self) -> None:
        """
        Of many starts at once, only as many succeed as there is room for.
        """
        self.launcher.hold()
        starting = [self.kernels.start(StartRequest()) for _ in range(5)]
        for refused in starting[2:]:
            self.failureResultOf(refused, KernelLimitReached)
        self.launcher.release()
        for accepted in starting[:2]:
            self.successResultOf(accepted)

    def test_one_that_stops_takes_its_place(self) -> None:
        """
        The place is free when the process is gone, not sooner.
        """
        kernel = self.ready()
        self.start()
        stopping = self.kernels.stop(kernel.kernel_id)
        self.assertNoResult(stopping)
        self.assertFalse(self.kernels.has_room())
        self.launcher.processes[0].end()
        self.successResultOf(stopping)
        self.assertTrue(self.kernels.has_room())

    def test_launch_fails(self) -> None:
        """
        A failed launch is told, and leaves nothing behind.
        """
        self.launcher.error = KernelStartFailed("no such program")
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        failure = self.failureResultOf(starting, KernelStartFailed)
        self.assertEqual(str(failure.value), "no such program")
        self.assertIsNotNone(self.rig.relay.opened["a-b-c-d-e"].closed)
        self.assert_nothing_left()
        error = self.assertRaises(NoSuchKernel, self.kernels.get, "a-b-c-d-e")
        self.assertEqual(str(error), "Kernel does not exist: a-b-c-d-e")

    def test_disk_full(self) -> None:
        """
        So does a connection file that cannot be written.
        """
        self.rig.runtime.error = KernelStartFailed("disk full")
        self.failureResultOf(self.kernels.start(StartRequest()), KernelStartFailed)
        self.assert_nothing_left()

    def test_sockets_run_out(self) -> None:
        """
        So does an unexpected failure; it is logged, and the client does not get its details.
        """
        opened = self.rig.relay.open

        def failing(*args: Any) -> Any:
            channels = opened(*args)
            channels.error = OSError("Too many open files")  # type: ignore[attr-defined]
            return channels

        self.patch(self.rig.relay, "open", failing)
        starting = self.kernels.start(StartRequest())
        failure = self.failureResultOf(starting, KernelStartFailed)
        self.assertNotIn("Too many", str(failure.value))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assert_nothing_left()

    def test_other_provisioner(self) -> None:
        """
        A kernelspec of another provisioner is refused.
        """
        for name, fails in (("k8s", True), ("local-provisioner", False)):
            metadata = {"kernel_provisioner": {"provisioner_name": name}}
            rig = Rig(None, kernel_spec(metadata=metadata))
            starting = rig.kernels.start(StartRequest())
            if fails:
                failure = self.failureResultOf(starting, KernelStartFailed)
                self.assertIn("k8s", str(failure.value))
                self.assertEqual(rig.leftovers(), NOTHING)
            else:
                self.successResultOf(starting)

    def test_same_id_while_starting(self) -> None:
        """
        Two that ask for the same id get the same kernel and one process, and fail together.
        """
        self.launcher.hold()
        request = StartRequest(kernel_id="a-b-c-d-e")
        starting = [self.kernels.start(request) for _ in range(2)]
        self.launcher.release()
        first, second = (self.successResultOf(each) for each in starting)
        self.assertIs(first, second)
        self.assertEqual(len(self.launcher.processes), 1)
        self.launcher.error = KernelStartFailed("no")
        self.launcher.hold()
        starting = [self.kernels.start(StartRequest(kernel_id="f-g-h-i-j")) for _ in range(2)]
        self.launcher.release()
        for each in starting:
            self.failureResultOf(each, KernelStartFailed)

    def test_same_id_while_stopping(self) -> None:
        """
        A start under the id of a kernel that is being stopped gives a new kernel when that is gone.
        """
        old = self.ready(kernel_id="a-b-c-d-e")
        stopping = self.kernels.stop("a-b-c-d-e")
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        self.assertNoResult(starting)
        self.rig.process.end()
        self.successResultOf(stopping)
        self.assertIsNot(self.successResultOf(starting), old)
        self.assertEqual(len(self.launcher.alive), 1)

    def test_impatient_client(self) -> None:
        """
        A client that hangs up does not stop the kernel that others wait for.
        """
        self.launcher.hold()
        request = StartRequest(kernel_id="a-b-c-d-e")
        first, second = (self.kernels.start(request) for _ in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        self.launcher.release()
        self.assertEqual(self.successResultOf(second).execution_state, "starting")
        self.assertEqual(len(self.launcher.alive), 1)

    def test_never_answers(self) -> None:
        """
        A process that does not answer in time is killed, and the kernel is dead with a hint.
        """
        kernel = self.start()
        self.rig.pass_time(29.9)
        self.assertIsNone(self.rig.process.ended)
        self.rig.pass_time(0.2)
        self.assertEqual(self.rig.process.signals, [signal.SIGKILL])
        says = (
            "did not answer within 30 s; if it needs longer to start, raise --kernel-info-timeout"
        )
        self.assertIn(says, self.reason_of(kernel))
        self.assertEqual((kernel.execution_state, kernel.reason), ("dead", says))
        self.assertEqual(self.channels.closed, (1011, f"The kernel died: {says}"))
        self.assertLess(len(f"The kernel died: {says}"), 124)
        self.assertEqual(self.channels.statuses, ["dead"])
        self.assert_nothing_left()


class CrashTests(Case):
    """
    Processes that end by themselves.
    """

    def test_restarted_at_once(self) -> None:
        """
        The first time another process follows at once, under the same ports; clients are told.
        """
        kernel = self.ready()
        file = self.rig.runtime.files[kernel.kernel_id]
        self.crash()
        self.assertEqual((kernel.execution_state, kernel.reason), ("restarting", "exit code 1"))
        self.assertEqual(self.channels.statuses, ["restarting"])
        self.assertIsNone(self.channels.connection)
        self.rig.pass_time(0)
        self.assertEqual(len(self.launcher.processes), 2)
        self.assertIsNotNone(self.channels.connection)
        self.assertEqual(self.rig.runtime.files[kernel.kernel_id], file)
        self.assertEqual(self.launcher.processes[0].argv, self.launcher.processes[1].argv)
        self.channels.answer()
        self.assertEqual((kernel.execution_state, kernel.reason), ("idle", ""))

    def test_cause(self) -> None:
        """
        The cause of an end, if the launcher knows it, is part of every reason.
        """
        self.rig = Rig(Settings(restart_limit=1))
        self.kernels, self.launcher = self.rig.kernels, self.rig.launcher
        kernel = self.ready()
        self.rig.process.end(ExitStatus(signal=9, cause="no memory"))
        self.assertEqual(kernel.reason, "signal 9: no memory")
        self.rig.pass_time(0)
        self.rig.process.end(ExitStatus(signal=9, cause="no memory"))
        says = "signal 9: no memory (restarted once)"
        self.assertEqual(self.channels.closed, (1000, f"The kernel died: {says}"))
        self.assertIn(says, self.reason_of(kernel))

    def test_no_autorestart(self) -> None:
        """
        Without autorestart, a kernel is dead after one crash, whether it has ever worked or not.
        """
        for begin in (self.ready, self.start):
            self.rig = Rig(Settings(autorestart=False))
            self.kernels, self.launcher = self.rig.kernels, self.rig.launcher
            kernel = begin()
            self.crash()
            self.assertEqual(self.channels.statuses, ["dead"])
            self.assertIn("it ended: exit code 1)", self.reason_of(kernel))
            self.assert_nothing_left()

    def test_stable_start_time(self) -> None:
        """
        A kernel that has worked for long enough begins to count anew; how long that is, is an
        option.
        """
        for worked, restarts in ((2.9, 1), (3.0, 2)):
            self.rig = Rig(Settings(restart_limit=1, stable_start_time=3.0))
            self.kernels, self.launcher = self.rig.kernels, self.rig.launcher
            self.ready()
            self.crash()
            self.rig.pass_time(0)
            self.channels.answer()
            self.rig.pass_time(worked)
            self.crash()
            expected = ["restarting"] * restarts + ["dead"] * (2 - restarts)
            self.assertEqual(self.channels.statuses, expected)

    def test_none_allowed(self) -> None:
        """
        With room for none, every start is refused; without a limit, none is.
        """
        kernels = Rig(Settings(max_kernels=0)).kernels
        self.failureResultOf(kernels.start(StartRequest()), KernelLimitReached)

    def test_last_words(self) -> None:
        """
        What the old process is still heard to say does not make the kernel idle.
        """
        kernel = self.ready()
        self.crash()
        self.channels.publish("status", "shutdown_request", "idle")
        self.assertEqual(kernel.execution_state, "restarting")

    def test_new_ports_unless_ever_ready(self) -> None:
        """
        Ports that have never worked are exchanged for others.
        """
        self.rig = Rig(Settings(transport="tcp"))
        self.kernels = self.rig.kernels
        kernel = self.start()
        before = set(self.rig.ports.leased)
        self.crash()
        self.rig.pass_time(0)
        after = set(self.rig.ports.leased)
        self.assertEqual((len(after), before & after), (5, set()))
        info = json.loads(self.rig.runtime.files[kernel.kernel_id])
        self.assertEqual({info[f"{c}_port"] for c in ("shell", "iopub", "hb")} - after, set())

    def test_back_off(self) -> None:
        """
        The pauses grow; after five restarts that fail the kernel is dead.
        """
        kernel = self.start()
        for code, pause_before in enumerate((0, 0.5, 1, 2, 4), 1):
            started = len(self.launcher.processes)
            self.rig.process.end(ExitStatus(exit_code=code))
            self.assertEqual(len(self.launcher.processes), started)
            if pause_before:
                self.rig.pass_time(pause_before - 0.01)
                self.assertEqual(len(self.launcher.processes), started)
            self.rig.pass_time(0.01)
            self.assertEqual(len(self.launcher.processes), started + 1)
        self.rig.process.end(ExitStatus(exit_code=6))
        self.assertEqual(self.channels.statuses, ["restarting"] * 5 + ["dead"])
        says = "The kernel died: exit code 6 (restarted 5 times)"
        self.assertEqual(self.channels.closed, (1011, says))
        self.assertEqual(
            self.reason_of(kernel),
            f"Kernel does not exist: {kernel.kernel_id} "
            "(it ended: exit code 6 (restarted 5 times))",
        )
        self.assert_nothing_left()

    def test_fails_the_same_way_twice(self) -> None:
        """
        A kernel that has never answered gets no third process if the second ends as the first did;
        numbers in its output make no difference, a user's restart begins anew.
        """
        output = "pid 17: no package called X"
        for first, second, dead in (
            (ExitStatus(exit_code=1), ExitStatus(exit_code=1), True),
            (ExitStatus(exit_code=1), ExitStatus(exit_code=2), False),
            (ExitStatus(exit_code=1), ExitStatus(signal=1), False),
            (ExitStatus(1, output=output), ExitStatus(1, output=output.replace("7", "a4")), True),
            (ExitStatus(1, output=output), ExitStatus(1, output="port in use"), False),
        ):  # fmt: skip
            kernel = self.start()
            self.rig.process.end(first)
            self.rig.pass_time(0)
            self.rig.process.end(second)
            self.assertEqual(kernel.execution_state, "dead" if dead else "restarting")
        kernel = self.start()
        for _ in range(3):
            self.crash()
            self.rig.pass_time(0)
            self.successResultOf(self.kernels.restart(kernel.kernel_id))
            self.rig.pass_time(0)
        self.assertEqual(kernel.execution_state, "starting")

    def test_output(self) -> None:
        """
        What a process that has never answered printed last is part of the reason for those who may
        use the kernel: in replies, statuses, over REST. It is left out of the close frame.
        """
        failed = ExitStatus(exit_code=1, output="Error:\nno package called X")
        kernel = self.start()
        self.rig.process.end(failed)
        says = "exit code 1\nError:\nno package called X"
        self.assertEqual(kernel.reason, says)
        self.assertEqual(self.channels.status_reason, says)
        self.rig.pass_time(0)
        self.rig.process.end(failed)
        final = "exit code 1 (restarted once)\nError:\nno package called X"
        self.assertEqual(self.channels.status_reason, final)
        # The first crash had no connection of its own to end for the second time.
        self.assertEqual(self.channels.disconnect_errors[-1][1], f"the kernel died: {says}")
        self.assertIn(final, self.reason_of(kernel))
        self.assertEqual(
            self.channels.closed, (1011, "The kernel died: exit code 1 (restarted once)")
        )

    def test_no_output(self) -> None:
        """
        It is not told of a process that has worked, nor where tracebacks are not shown.
        """
        failed = ExitStatus(exit_code=1, output="Traceback: s3cret")
        kernel = self.ready()
        self.rig.process.end(failed)
        self.assertEqual(kernel.reason, "exit code 1")
        self.rig = Rig(Settings(allow_tracebacks=False))
        self.kernels = self.rig.kernels
        kernel = self.start()
        self.rig.process.end(failed)
        self.assertEqual(kernel.reason, "exit code 1")

    def test_keys_in_the_output(self) -> None:
        """
        The key of the connection is not told, however it is printed.
        """
        kernel = self.start()
        key = json.loads(self.rig.runtime.files[kernel.kernel_id])["key"]
        self.rig.process.end(ExitStatus(exit_code=1, output=f"key: {key}; bad"))
        self.assertEqual(kernel.reason, "exit code 1\nkey: ***; bad")

    def test_output_of_a_slow_start(self) -> None:
        """
        A kernel that does not answer in time may have printed why.
        """
        kernel = self.start()
        self.rig.process.deadly_signals = set()
        self.rig.pass_time(30)
        self.rig.process.end(ExitStatus(signal=9, output="waiting for the license server"))
        self.assertIn("did not answer", self.reason_of(kernel))
        self.assertIn("license server", self.reason_of(kernel))

    def test_too_many_open_files(self) -> None:
        """
        A process that cannot be started again for want of descriptors is not given up: it comes
        when there are some, without counting as a failure, also when a user restarts the kernel.
        """
        for restart in (False, True):
            kernel = self.ready()
            self.launcher.error = OSError(errno.EMFILE, "Too many open files")  # type: ignore[assignment]
            restarting = self.kernels.restart(kernel.kernel_id) if restart else None
            self.rig.process.end(CRASH)
            for _ in range(20):
                self.rig.pass_time(POSTPONED)
                self.assertEqual(kernel.execution_state, "restarting")
                self.assertIn("LimitNOFILE", kernel.reason)
            self.assertEqual(len(self.channels.statuses), 1 if restart else 2)
            self.launcher.error = None
            self.rig.pass_time(POSTPONED)
            if restarting is not None:
                self.successResultOf(restarting)
            self.channels.answer()
            self.assertEqual((kernel.execution_state, kernel.reason), ("idle", ""))

    def test_stopped_for_want_of_files(self) -> None:
        """
        A kernel that waits for descriptors can be stopped, and a new one fails at once.
        """
        kernel = self.ready()
        self.launcher.error = OSError(errno.EMFILE, "Too many open files")  # type: ignore[assignment]
        self.crash()
        self.rig.pass_time(POSTPONED, POSTPONED)
        self.successResultOf(self.kernels.stop(kernel.kernel_id))
        starting = self.kernels.start(StartRequest())
        self.assertIn("LimitNOFILE", str(self.failureResultOf(starting, KernelStartFailed).value))
        self.assert_nothing_left()

    def test_dies_after_it_worked(self) -> None:
        """
        A kernel that has worked once is closed with 1000, which clients take for final.
        """
        self.ready()
        for _ in range(5):
            self.crash()
            self.rig.pass_time(30)
        self.crash()
        assert self.channels.closed is not None
        self.assertEqual(self.channels.closed[0], 1000)

    def test_stable(self) -> None:
        """
        A kernel that answered for ten seconds begins with a clean record.
        """
        kernel = self.ready()
        for _ in range(20):
            self.rig.pass_time(10)
            self.crash()
            self.rig.pass_time(0)
            self.channels.answer()
        self.assertEqual(kernel.execution_state, "idle")

    def test_not_stable(self) -> None:
        """
        One that merely starts for long does not.
        """
        kernel = self.start()
        for code in range(1, 6):
            self.rig.pass_time(20)
            self.rig.process.end(ExitStatus(exit_code=code))
            self.rig.pass_time(4)
        self.rig.pass_time(20)
        self.crash()
        self.assertIn("restarted 5 times", self.reason_of(kernel))

    def test_failed_relaunch_counts(self) -> None:
        """
        A process that cannot be started again is a failure like others.
        """
        kernel = self.ready()
        self.launcher.error = KernelStartFailed("gone")
        self.crash()
        self.rig.pass_time(0, 0.5, 1, 2)
        self.assertEqual(kernel.execution_state, "restarting")
        self.rig.pass_time(4)
        self.assertIn("(it ended: gone (restarted 5 times))", self.reason_of(kernel))
        self.assert_nothing_left()

    def test_overdue_after_a_crash(self) -> None:
        """
        A restarted process that does not answer ends the kernel without another try.
        """
        kernel = self.ready()
        self.crash()
        self.rig.pass_time(0, 31)
        self.assertIn("did not answer", self.reason_of(kernel))
        self.assertEqual(len(self.launcher.processes), 2)

    def test_not_remembered_for_ever(self) -> None:
        """
        Only of the last hundred is it known why they ended.
        """
        rig = Rig(Settings(restart_limit=0))
        ended = []
        for _ in range(101):
            ended.append(self.successResultOf(rig.kernels.start(StartRequest())).kernel_id)
            rig.process.end(CRASH)
        for kernel_id, remembered in ((ended[0], False), (ended[1], True)):
            error = self.assertRaises(NoSuchKernel, rig.kernels.get, kernel_id)
            self.assertEqual("exit code 1" in str(error), remembered)
        self.assertEqual(rig.leftovers(), NOTHING)

    def test_pauses(self) -> None:
        """
        However often a kernel may fail, it is never left alone for longer than half a minute.
        """
        self.assertEqual([backoff(n) for n in (1, 2, 3, 9, 5000)], [0, 0.5, 1, 30, 30])


class RestartTests(Case):
    """
    Restarts that a user asks for.
    """

    def test_restart(self) -> None:
        """
        The kernel is asked to end, and the next process is just like it; no ``restarting`` is told.
        """
        kernel = self.ready(env={"KERNEL_A": "1"})
        file = self.rig.runtime.files[kernel.kernel_id]
        restarting = self.kernels.restart(kernel.kernel_id)
        self.assertEqual(self.channels.control_requests, ["restart"])
        self.assertNoResult(restarting)
        self.rig.wall = 2000.0
        self.rig.process.end()
        self.successResultOf(restarting)
        old, new = self.launcher.processes
        self.assertEqual((old.argv, old.env, old.cwd), (new.argv, new.env, new.cwd))
        self.assertEqual(self.rig.runtime.files[kernel.kernel_id], file)
        self.assertEqual((kernel.execution_state, kernel.last_activity), ("starting", 2000.0))
        self.assertEqual(self.channels.statuses, [])
        self.channels.answer()
        self.assertEqual(kernel.execution_state, "idle")

    def test_obliging_kernel(self) -> None:
        """
        A kernel that ends the moment it is asked is no crash.
        """
        kernel = self.ready()
        self.channels.on_shutdown = lambda _restart: self.rig.process.end()
        self.successResultOf(self.kernels.restart(kernel.kernel_id))
        self.assertEqual(self.channels.statuses, [])

    def test_busy(self) -> None:
        """
        A busy kernel is interrupted before it is asked, an idle one is not.
        """
        kernel = self.ready()
        self.channels.publish("status", "execute_request", "busy")
        self.kernels.restart(kernel.kernel_id)
        self.assertEqual(self.rig.process.signals, [signal.SIGINT])
        self.assertEqual(self.channels.control_requests, ["restart"])

    def test_stubborn(self) -> None:
        """
        One that does not listen gets SIGTERM after half the time, and SIGKILL after all of it.
        """
        kernel = self.ready()
        process = self.rig.process
        process.deadly_signals = {signal.SIGKILL}
        restarting = self.kernels.restart(kernel.kernel_id)
        self.rig.pass_time(2.4)
        self.assertEqual(process.signals, [])
        self.rig.pass_time(0.2)
        self.assertEqual(process.signals, [signal.SIGTERM])
        self.rig.pass_time(2.5)
        self.assertEqual(process.signals, [signal.SIGTERM, signal.SIGKILL])
        self.successResultOf(restarting)

    def test_two_at_once(self) -> None:
        """
        Two restarts at once are one.
        """
        kernel = self.ready()
        first, second = (self.kernels.restart(kernel.kernel_id) for _ in range(2))
        self.rig.process.end()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.launcher.processes), 2)

    def test_impatient(self) -> None:
        """
        Giving up waiting for a restart does not end it.
        """
        kernel = self.ready()
        first, second = (self.kernels.restart(kernel.kernel_id) for _ in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        self.rig.process.end()
        self.successResultOf(second)

    def test_while_starting(self) -> None:
        """
        A kernel that has not answered yet is not asked.
        """
        kernel = self.start()
        self.successResultOf(self.kernels.restart(kernel.kernel_id))
        self.assertEqual(self.channels.control_requests, [])
        self.assertEqual(self.launcher.processes[0].signals, [signal.SIGTERM])
        self.assertEqual(len(self.launcher.alive), 1)

    def test_while_launching(self) -> None:
        """
        A process that is just being started is the one that is wanted.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        restarting = self.kernels.restart("a-b-c-d-e")
        self.launcher.release()
        self.successResultOf(starting)
        self.successResultOf(restarting)
        self.assertEqual(len(self.launcher.processes), 1)

    def test_during_back_off(self) -> None:
        """
        A restart ends the pause after a crash.
        """
        kernel = self.ready()
        self.crash()
        self.rig.pass_time(0)
        self.crash()
        self.assertEqual(len(self.launcher.alive), 0)
        self.successResultOf(self.kernels.restart(kernel.kernel_id))
        self.assertEqual(len(self.launcher.alive), 1)
        self.assertEqual((kernel.execution_state, kernel.reason), ("starting", ""))

    def test_while_recovering(self) -> None:
        """
        A process that is being started after a crash will do, and must not fail.
        """
        kernel = self.ready()
        self.launcher.hold()
        self.crash()
        self.rig.pass_time(0)
        restarting = self.kernels.restart(kernel.kernel_id)
        self.assertEqual(kernel.execution_state, "starting")
        self.launcher.error = KernelStartFailed("gone")
        self.launcher.release()
        self.failureResultOf(restarting, RestartFailed)
        self.assert_nothing_left()

    def test_fails(self) -> None:
        """
        When the next process cannot be started the kernel is gone, and clients are told.
        """
        kernel = self.ready()
        restarting = self.kernels.restart(kernel.kernel_id)
        self.launcher.error = KernelStartFailed("disk on fire")
        self.rig.process.end()
        failure = self.failureResultOf(restarting, RestartFailed)
        self.assertEqual(str(failure.value), "Exception restarting kernel: disk on fire")
        self.assertIn("disk on fire", self.reason_of(kernel))
        self.assertEqual(self.channels.statuses, ["dead"])
        self.assertEqual(self.channels.closed, (1000, "The kernel died: disk on fire"))
        self.assert_nothing_left()

    def test_forgives(self) -> None:
        """
        What went wrong before a restart does not count afterwards.
        """
        kernel = self.start()
        for code in range(1, 6):
            self.rig.process.end(ExitStatus(exit_code=code))
            self.rig.pass_time(4)
        self.successResultOf(self.kernels.restart(kernel.kernel_id))
        self.crash()
        self.assertEqual(kernel.execution_state, "restarting")

    def test_overdue(self) -> None:
        """
        Asking for a restart in the moment in which a slow kernel is killed saves it.
        """
        kernel = self.start()
        self.rig.process.deadly_signals = set()
        self.rig.pass_time(30)
        restarting = self.kernels.restart(kernel.kernel_id)
        self.rig.process.end(ExitStatus(signal=9))
        self.successResultOf(restarting)
        self.assertEqual(kernel.execution_state, "starting")

    def test_cannot_be_killed(self) -> None:
        """
        A process that even SIGKILL does not end is given up in the end.
        """
        kernel = self.ready()
        process = self.rig.process
        process.deadly_signals = set()
        restarting = self.kernels.restart(kernel.kernel_id)
        self.rig.pass_time(2.5, 2.5, 5)
        self.failureResultOf(restarting, RestartFailed)
        self.assertIn("cannot be killed", self.reason_of(kernel))
        process.end()
        self.assert_nothing_left()


class StopTests(Case):
    """
    Stops.
    """

    def test_stop(self) -> None:
        """
        A kernel is asked, stays listed until it is gone, and then all of it is.
        """
        kernel = self.ready()
        stopping = self.kernels.stop(kernel.kernel_id)
        self.assertEqual(self.channels.control_requests, ["shutdown"])
        self.assertEqual(list(self.kernels.list()), [kernel])
        self.rig.process.end()
        self.successResultOf(stopping)
        self.assertEqual(self.channels.closed, (1000, "Kernel shut down"))
        self.assertEqual(self.channels.statuses, [])
        self.assertNotIn("it ended", self.reason_of(kernel))
        self.assert_nothing_left()

    def test_unfinished_kernel_is_not_asked(self) -> None:
        """
        A kernel that has never answered gets SIGTERM at once.
        """
        kernel = self.start()
        self.successResultOf(self.kernels.stop(kernel.kernel_id))
        self.assertEqual(self.channels.control_requests, [])
        self.assertEqual(self.rig.process.signals, [signal.SIGTERM])
        self.assert_nothing_left()

    def test_all_who_wait(self) -> None:
        """
        Several stops all end together, a cancelled one harms none, and the schedule goes on.
        """
        kernel = self.ready()
        self.rig.process.deadly_signals = {signal.SIGKILL}
        stopping = [self.kernels.stop(kernel.kernel_id) for _ in range(3)]
        stopping[0].addErrback(lambda _: None)
        stopping[0].cancel()
        self.rig.pass_time(2.5, 2.5)
        for each in stopping:
            self.successResultOf(each)
        self.assertEqual(self.rig.process.signals, [signal.SIGTERM, signal.SIGKILL])
        self.assert_nothing_left()

    def test_while_launching(self) -> None:
        """
        A stop during the launch disappoints who waits for the start, and leaves no orphan.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        restarting = self.kernels.restart("a-b-c-d-e")
        stopping = self.kernels.stop("a-b-c-d-e")
        self.failureResultOf(starting, KernelStartFailed)
        self.failureResultOf(restarting, NoSuchKernel)
        self.assertNoResult(stopping)
        self.failureResultOf(self.kernels.restart("a-b-c-d-e"), NoSuchKernel)
        self.launcher.release()
        self.successResultOf(stopping)
        self.assertEqual(self.rig.process.signals, [signal.SIGTERM])
        self.assert_nothing_left()

    def test_launch_that_never_ends(self) -> None:
        """
        A stop does not wait for ever for a launch; a process that comes late is killed.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        stopping = self.kernels.stop("a-b-c-d-e")
        self.failureResultOf(starting, KernelStartFailed)
        self.rig.pass_time(5)
        self.successResultOf(stopping)
        self.launcher.release()
        self.assertEqual(self.rig.process.signals, [signal.SIGKILL])
        self.assert_nothing_left()

    def test_launch_that_fails(self) -> None:
        """
        A launch that fails while the kernel is being stopped ends the stop.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        stopping = self.kernels.stop("a-b-c-d-e")
        self.launcher.error = KernelStartFailed("no")
        self.launcher.release()
        self.failureResultOf(starting, KernelStartFailed)
        self.successResultOf(stopping)
        self.assert_nothing_left()

    def test_during_restart(self) -> None:
        """
        A stop wins over a restart at any of its steps.
        """
        for steps in (0, 1, 2):
            kernel = self.ready()
            self.rig.process.deadly_signals = set()
            restarting = self.kernels.restart(kernel.kernel_id)
            self.rig.pass_time(*[2.5] * steps)
            stopping = self.kernels.stop(kernel.kernel_id)
            self.failureResultOf(restarting, NoSuchKernel)
            self.failureResultOf(self.kernels.restart(kernel.kernel_id), NoSuchKernel)
            self.rig.process.end()
            self.successResultOf(stopping)
            self.assert_nothing_left()

    def test_during_back_off(self) -> None:
        """
        A stop between two processes is immediate.
        """
        kernel = self.ready()
        self.crash()
        self.successResultOf(self.kernels.stop(kernel.kernel_id))
        self.assertEqual(kernel.reason, "")
        self.rig.pass_time(60)
        self.assertEqual(len(self.launcher.processes), 1)
        self.assert_nothing_left()

    def test_first_reason_counts(self) -> None:
        """
        A second stop changes neither the stop nor its reason.
        """
        for reasons in (("Idle", ""), ("", "Idle"), ("Idle", "Old")):
            kernel = self.ready()
            for reason in reasons:
                self.kernels.stop(kernel.kernel_id, *filter(None, [reason]))
            self.rig.process.end()
            first = reasons[0] or "Kernel shut down"
            self.assertEqual(self.channels.closed, (1000, first))
            self.assertEqual("Idle" in self.reason_of(kernel), first == "Idle")
            self.assertNotIn("Old", self.reason_of(kernel))

    def test_reason_of_a_kernel_that_starts(self) -> None:
        """
        A kernel in any state gets the reason; a new kernel of the same id does not.
        """
        self.launcher.hold()
        self.kernels.start(StartRequest(kernel_id="a-b-c-d-e")).addErrback(lambda _: None)
        channels = self.rig.relay.opened["a-b-c-d-e"]
        self.kernels.stop("a-b-c-d-e", "Idle")
        self.launcher.release()
        self.assertEqual(channels.closed, (1000, "Idle"))
        kernel = self.ready(kernel_id="a-b-c-d-e")
        self.assertEqual(kernel.reason, "")
        self.kernels.stop("a-b-c-d-e")
        self.rig.process.end()
        self.assertNotIn("Idle", self.reason_of(kernel))

    def test_overdue(self) -> None:
        """
        A stop of a kernel that was just killed for its slowness is a stop.
        """
        kernel = self.start()
        self.rig.process.deadly_signals = set()
        self.rig.pass_time(30)
        stopping = self.kernels.stop(kernel.kernel_id)
        self.rig.process.end()
        self.successResultOf(stopping)
        self.assertEqual(self.channels.closed, (1000, "Kernel shut down"))

    def test_cannot_be_killed(self) -> None:
        """
        A stop ends even if the system does not let the process go.
        """
        kernel = self.ready()
        self.rig.process.deadly_signals = set()
        stopping = self.kernels.stop(kernel.kernel_id)
        self.rig.pass_time(2.5, 2.5, 5)
        self.successResultOf(stopping)
        self.rig.process.end()
        self.assert_nothing_left()

    def test_from_a_callback(self) -> None:
        """
        A kernel may be stopped in the very moment in which it has started.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest())
        stopped: list[Deferred[None]] = []
        starting.addCallback(lambda kernel: stopped.append(self.kernels.stop(kernel.kernel_id)))
        self.launcher.release()
        self.successResultOf(stopped[0])
        self.assert_nothing_left()


class StopAllTests(Case):
    """
    The end of the gateway.
    """

    def test_parallel(self) -> None:
        """
        All are asked at once; those that listen are gone at once, and the rest within 5 seconds.
        """
        stubborn, polite = self.ready(), self.ready()
        self.rig.channels(polite).on_shutdown = lambda _: self.launcher.processes[1].end()
        self.launcher.processes[0].deadly_signals = {signal.SIGKILL}
        begun = self.rig.clock.seconds()
        stopping = self.kernels.stop_all()
        self.assertEqual(list(self.kernels.list()), [stubborn])
        while not self.launcher.processes[0].ended:
            self.rig.pass_time(0.1)
        self.successResultOf(stopping)
        self.assertAlmostEqual(self.rig.clock.seconds() - begun, 3.0, delta=0.2)
        self.assert_nothing_left()

    def test_bounded(self) -> None:
        """
        It takes less than 5 seconds, in any state of a kernel and with any signals ignored.
        """
        for start in (self.ready, self.ready, self.start, self.start):
            kernel = start()
            self.rig.process.deadly_signals = set()
            if len(self.launcher.processes) % 2:
                self.kernels.stop(kernel.kernel_id)
        self.launcher.hold()
        self.kernels.start(StartRequest()).addErrback(lambda _: None)
        stopping = self.kernels.stop_all()
        self.rig.pass_time(*[0.1] * 49)
        self.successResultOf(stopping)

    def test_refuses_new_ones(self) -> None:
        """
        No kernel starts afterwards, nor one that waited for its id to become free.
        """
        self.ready(kernel_id="a-b-c-d-e")
        self.kernels.stop("a-b-c-d-e")
        waiting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        stopping = self.kernels.stop_all()
        self.failureResultOf(self.kernels.start(StartRequest()), KernelStartFailed)
        self.rig.process.end()
        self.successResultOf(stopping)
        self.failureResultOf(waiting, KernelStartFailed)
        self.assert_nothing_left()

    def test_again(self) -> None:
        """
        It may be called twice.
        """
        self.ready()
        first, second = self.kernels.stop_all(), self.kernels.stop_all()
        self.rig.process.end()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.kernels.stop_all())


class KeepTests(Case):
    """
    Leaving kernels running when everything ends.
    """

    settings = Settings(keep_kernels=True)

    def test_left(self) -> None:
        """
        A kernel that runs is neither signalled nor waited for, its files stay, its clients are
        told, and its later end changes nothing. The same holds for a kernel that starts.
        """
        for begin in (self.ready, self.start):
            kernel = begin()
            self.assertNotIn("JPY_PARENT_PID", self.rig.process.env)
            process, channels = self.rig.process, self.channels
            self.successResultOf(self.kernels.stop_all())
            self.assertEqual(process.signals, [])
            self.assertIsNone(process.ended)
            self.assertIn(kernel.kernel_id, self.rig.runtime.files)
            self.assertEqual(channels.closed, (1001, "The gateway is shutting down"))
            self.assertEqual(self.rig.clock.getDelayedCalls(), [])
            self.successResultOf(kernel.stop())
            process.end(CRASH)
            self.assertEqual(self.rig.clock.getDelayedCalls(), [])
            self.assertIs(self.rig.process, process)
            self.setUp()

    def test_not_left(self) -> None:
        """
        A kernel whose process is being replaced, is being launched or is being stopped ends.
        """
        for begin in ("restart", "stop"):
            kernel = self.ready()
            getattr(kernel, begin)().addErrback(lambda _: None)
            self.rig.process.deadly_signals = {signal.SIGTERM}
            stopping = self.kernels.stop_all()
            self.assertNoResult(stopping)
            self.rig.pass_time(5)
            self.successResultOf(stopping)
            self.assertIn(signal.SIGTERM, self.rig.process.signals)
            self.assertEqual(self.rig.runtime.files, {})
            self.setUp()
        self.launcher.hold()
        self.kernels.start(StartRequest()).addErrback(lambda _: None)
        stopping = self.kernels.stop_all()
        self.launcher.release()
        self.rig.pass_time(5)
        self.successResultOf(stopping)
        self.assertEqual(self.rig.runtime.files, {})


class InterruptTests(Case):
    """
    Interrupts.
    """

    def test_signal(self) -> None:
        """
        In signal mode the process group gets SIGINT.
        """
        kernel = self.ready()
        self.successResultOf(self.kernels.interrupt(kernel.kernel_id))
        self.assertEqual(self.rig.process.signals, [signal.SIGINT])

    def test_message(self) -> None:
        """
        In message mode a message is sent, and no signal.
        """
        self.rig = Rig(None, kernel_spec(interrupt_mode="message"))
        self.kernels = self.rig.kernels
        kernel = self.ready()
        self.successResultOf(self.kernels.interrupt(kernel.kernel_id))
        self.assertEqual(
            (self.channels.control_requests, self.rig.process.signals), (["interrupt"], [])
        )

    def test_no_process(self) -> None:
        """
        Between two processes there is nothing to interrupt, nor is there before the first answer,
        when a signal could end the process.
        """
        kernel = self.start()
        self.successResultOf(self.kernels.interrupt(kernel.kernel_id))
        self.assertEqual(self.rig.process.signals, [])
        self.channels.answer()
        self.crash()
        self.successResultOf(self.kernels.interrupt(kernel.kernel_id))


class NearestWrongUseTests(Case):
    """
    What callers may get wrong.
    """

    def test_env_is_checked_before_anything_is_taken(self) -> None:
        """
        A bad environment leaves nothing behind, and is not logged as ours.
        """
        bad: Any = {"A": 1}
        self.failureResultOf(self.kernels.start(StartRequest(env=bad)), InvalidRequest)
        self.assert_nothing_left()

    def test_kernel_object_after_its_end(self) -> None:
        """
        The object of a kernel that is gone does no harm.
        """
        kernel = self.start()
        self.successResultOf(self.kernels.stop(kernel.kernel_id))
        self.successResultOf(kernel.stop())
        self.failureResultOf(kernel.restart(), NoSuchKernel)
        kernel.interrupt()
        self.channels.answer()
        self.channels.publish("status", execution_state="idle")
        self.assertEqual(kernel.execution_state, "dead")
        self.assert_nothing_left()
