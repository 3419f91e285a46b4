"""
Culling of unused kernels.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import NoSuchKernel
from kgd.interfaces import StartRequest
from kgd.kernels.culler import Culler, cull_reason
from kgd.settings import Settings
from kgd.testing.kernel_channels import FakeClient
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernel, MemoryKernels, kernel_spec
from tests.support.kernel_rig import NOTHING, Rig

UNUSED = "it was unused for 600 s"


class LogCase(SynchronousTestCase):
    """
    Tests that read the log.
    """

    def setUp(self) -> None:
        """
        Collect what is logged.
        """
        self.events = self.enterContext(capturedLogs())
        self.told = 0

    def logged(self, level: LogLevel) -> list[str]:
        """
        :return: What was logged at this level since the last call.
        """
        events = self.events[self.told :]
        self.told = len(self.events)
        return [formatEvent(event) for event in events if event.get("log_level") is level]


class WhyCullTests(SynchronousTestCase):
    """
    The decision.
    """

    def setUp(self) -> None:
        """
        A kernel that was started at 1000 and answers.
        """
        self.specs = FakeKernelSpecs()
        kernels = MemoryKernels(specs=self.specs, monotonic=lambda: 1000.0)
        kernel = self.successResultOf(kernels.start(StartRequest()))
        assert isinstance(kernel, MemoryKernel)
        self.kernel = kernel
        self.kernel.execution_state = "idle"

    def why(self, now: float, **settings: Any) -> str | None:
        """
        :return: Why to cull the kernel at this time.
        """
        return cull_reason(self.kernel, Settings(**settings), now)

    def test_idle(self) -> None:
        """
        A kernel is culled when it has been unused for longer than the timeout, not sooner.
        """
        self.kernel.last_used = 2000.0
        self.assertIsNone(self.why(2600.0, cull_idle_timeout=600.0))
        self.assertEqual(self.why(2600.1, cull_idle_timeout=600.0), UNUSED)

    def test_off(self) -> None:
        """
        By default nothing is culled, ever.
        """
        self.kernel.busy_since = 1000.0
        for state in ("starting", "idle", "busy", "restarting"):
            self.kernel.execution_state = state
            self.assertIsNone(self.why(1e9))

    def test_switches(self) -> None:
        """
        What executes is idle only with cull_busy, what has a WebSocket only with cull_connected;
        to execute is to be busy, or to owe a client an answer.
        """
        for busy, owing, connected, cull_busy, cull_connected in product((False, True), repeat=5):
            self.kernel.execution_state = "busy" if busy else "idle"
            self.kernel.channels.pending_executions = 2 if owing else 0
            self.kernel.channels.attachments.clear()
            if connected:
                self.kernel.channels.attach("s", FakeClient())
            reason = self.why(
                1601.0,
                cull_idle_timeout=600.0,
                cull_busy=cull_busy,
                cull_connected=cull_connected,
            )
            spared = ((busy or owing) and not cull_busy) or (connected and not cull_connected)
            self.assertEqual(
                reason,
                None if spared else UNUSED,
                (busy, owing, connected, cull_busy, cull_connected),
            )

    def test_client_that_went(self) -> None:
        """
        A hold on the kernel whose client went is no open WebSocket.
        """
        client = FakeClient()
        self.kernel.channels.attach("s", client).detach(client)
        self.assertEqual(self.why(1601.0, cull_idle_timeout=600.0), UNUSED)

    def test_open_websocket_is_no_use(self) -> None:
        """
        Idleness counts from the last use, not from when the last WebSocket was closed.
        """
        client = FakeClient()
        attachment = self.kernel.channels.attach("s", client)
        self.assertIsNone(self.why(5000.0, cull_idle_timeout=600.0))
        attachment.detach(client)
        self.assertEqual(self.why(5000.0, cull_idle_timeout=600.0), UNUSED)

    def test_not_answering_yet(self) -> None:
        """
        The state alone is no use: a kernel that starts again after a crash counts as unused.
        """
        for state in ("starting", "restarting"):
            self.kernel.execution_state = state
            self.assertEqual(self.why(1601.0, cull_idle_timeout=600.0), UNUSED)

    def test_max_age(self) -> None:
        """
        A kernel that is too old is culled, also when it is busy or has clients.
        """
        self.kernel.execution_state = "busy"
        self.kernel.busy_since = self.kernel.last_used = 1599.0
        self.kernel.channels.pending_executions = 1
        self.kernel.channels.attach("s", FakeClient())
        self.assertIsNone(self.why(1600.0, cull_max_age=600.0))
        self.assertEqual(self.why(1600.1, cull_max_age=600.0), "it is older than 600 s")

    def test_busy_limit(self) -> None:
        """
        A kernel that is busy for too long is culled, also when it prints or has clients.
        """
        self.kernel.channels.attach("s", FakeClient())
        self.kernel.channels.pending_executions = 1
        self.assertIsNone(self.why(9999.0, cull_busy_limit=600.0))
        self.kernel.execution_state = "busy"
        self.kernel.busy_since = 2000.0
        self.kernel.last_used = 2600.0
        self.assertIsNone(self.why(2600.0, cull_busy_limit=600.0))
        says = "it was busy for more than 600 s"
        self.assertEqual(self.why(2600.1, cull_busy_limit=600.0), says)

    def test_dead(self) -> None:
        """
        A dead kernel is removed at once.
        """
        self.kernel.execution_state = "dead"
        self.kernel.channels.attach("s", FakeClient())
        for settings in ({"cull_idle_timeout": 600.0}, {"cull_max_age": 600.0}):
            self.assertEqual(self.why(1000.0, **settings), "it is dead")

    def test_override(self) -> None:
        """
        A kernelspec's timeout wins over the gateway's, up or down; 0 is never.
        """
        for override, timeout, culled_after in (
            (10, 0.0, 10),
            (10, 600.0, 10),
            (600, 10.0, 600),
            (0, 10.0, None),
            (0, 0.0, None),
            (0.5, 10.0, 0.5),
        ):
            self.override(override)
            if culled_after is None:
                self.assertIsNone(self.why(1e9, cull_idle_timeout=timeout))
                continue
            self.assertIsNone(self.why(1000 + culled_after, cull_idle_timeout=timeout))
            self.assertEqual(
                self.why(1000.1 + culled_after, cull_idle_timeout=timeout),
                f"it was unused for {culled_after} s",
            )

    def override(self, value: Any) -> None:
        """
        Let the kernel's kernelspec say this.
        """
        self.kernel.spec = kernel_spec(metadata={"cull_idle_timeout": value})

    def test_override_heeds_the_rest(self) -> None:
        """
        A kernelspec changes the idle timeout and nothing else.
        """
        self.override(10)
        self.kernel.channels.pending_executions = 1
        self.assertIsNone(self.why(1011.0))
        self.kernel.channels.pending_executions = 0
        self.kernel.channels.attach("s", FakeClient())
        self.assertIsNone(self.why(1011.0))
        self.assertEqual(self.why(1011.0, cull_connected=True), "it was unused for 10 s")
        self.override(0)
        self.assertEqual(self.why(1011.0, cull_max_age=10.0), "it is older than 10 s")

    def test_wrong_override(self) -> None:
        """
        What is no number of seconds counts as not said.
        """
        wrong: list[Any] = ["10", -1, True, False, [10], {}, None, float("nan"), float("inf"), -0.5]
        for value in wrong:
            self.override(value)
            self.assertIsNone(self.why(1e9), value)
            self.assertIsNone(self.why(1600.0, cull_idle_timeout=600.0), value)
            self.assertEqual(self.why(1600.1, cull_idle_timeout=600.0), UNUSED, value)

    def test_readable(self) -> None:
        """
        However long the times are, they are written as people write them, and fit a close frame.
        """
        for seconds, written in (
            (2592000.0, "2592000 s"),
            (0.25, "0.25 s"),
            (1e11, "100000000000 s"),
        ):
            for settings in ("cull_idle_timeout", "cull_max_age", "cull_busy_limit"):
                self.kernel.busy_since = 0.0 if settings == "cull_busy_limit" else None
                reason = self.why(1e15, **{settings: seconds})
                assert reason is not None
                self.assertIn(written, reason)
                self.assertLessEqual(len(f"Kernel culled: {reason}".encode()), 123)


class StubbornKernels(MemoryKernels):
    """
    Kernels of which some cannot be stopped.

    :ivar refusing: Kernel id to what its stop raises, or fails with.
    :ivar asked: The ids of kernels that were to be stopped.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.refusing: dict[str, Exception | Deferred[None]] = {}
        self.asked: list[str] = []

    def stop(self, kernel_id: str, reason: str = "") -> Deferred[None]:
        """
        Refuse, or stop.
        """
        self.asked.append(kernel_id)
        refusal = self.refusing.get(kernel_id)
        if isinstance(refusal, Deferred):
            return refusal
        if refusal is not None:
            raise refusal
        return super().stop(kernel_id, reason)


class CullerTests(LogCase):
    """
    The rounds.
    """

    def culler(self, *specs: Any, **settings: Any) -> None:
        """
        Make a culler, and kernels for it.
        """
        self.clock = Clock()
        self.settings = Settings(**settings)
        self.kernels = StubbornKernels(
            self.settings, FakeKernelSpecs(*specs), monotonic=self.clock.seconds
        )
        self.culler_ = Culler(self.clock, self.clock.seconds, self.settings, self.kernels)

    def start(self, name: str | None = None) -> MemoryKernel:
        """
        Start a kernel.
        """
        kernel = self.successResultOf(self.kernels.start(StartRequest(name=name)))
        assert isinstance(kernel, MemoryKernel)
        kernel.execution_state = "idle"
        self.culler_.watch(kernel)
        return kernel

    def test_culled(self) -> None:
        """
        In the first round after its time-out a kernel is stopped, and its clients are told why.
        """
        self.culler(cull_idle_timeout=15.0, cull_interval=10.0)
        kernel = self.start()
        self.clock.pump([9.9, 0.1, 9.9])
        self.assertIsNone(kernel.channels.closed)
        self.clock.advance(0.1)
        says = "Kernel culled: it was unused for 15 s"
        self.assertEqual(kernel.channels.closed, (1000, says))
        error = self.assertRaises(NoSuchKernel, self.kernels.get, kernel.kernel_id)
        self.assertIn(says, str(error))
        self.assertEqual(
            self.logged(LogLevel.info),
            [f"culling kernel {kernel.kernel_id} (python3): it was unused for 15 s"],
        )

    def test_used(self) -> None:
        """
        Use postpones it.
        """
        self.culler(cull_idle_timeout=15.0, cull_interval=10.0)
        kernel = self.start()
        for _ in range(10):
            self.clock.advance(10)
            kernel.last_used = self.clock.seconds()
        self.assertIsNone(kernel.channels.closed)

    def test_the_others_stay(self) -> None:
        """
        Each kernel has a time of its own.
        """
        self.culler(cull_idle_timeout=15.0, cull_interval=10.0)
        old = self.start()
        self.clock.advance(10)
        new = self.start()
        self.clock.advance(10)
        self.assertEqual(list(self.kernels.list()), [new])
        self.assertIsNotNone(old.channels.closed)
        self.clock.pump([10, 10])
        self.assertEqual(list(self.kernels.list()), [])

    def test_no_timer_without_need(self) -> None:
        """
        There are no rounds when nothing may be culled: no kernels, or none with any limit.
        """
        self.culler()
        self.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        never = kernel_spec("never", metadata={"cull_idle_timeout": 0})
        self.culler(never, kernel_spec(), cull_idle_timeout=5.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.start("never")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_timer_ends_and_begins_again(self) -> None:
        """
        When the last kernel that may be culled is gone, so are the rounds, until there is another.
        """
        never = kernel_spec("never", metadata={"cull_idle_timeout": 0})
        self.culler(never, kernel_spec(), cull_idle_timeout=5.0, cull_interval=10.0)
        self.start("never")
        for _ in range(3):
            self.start()
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.advance(10)
            self.assertEqual(len(self.kernels.list()), 1)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_limit_needs_the_timer(self) -> None:
        """
        Any limit is enough for rounds, a kernelspec's alone too.
        """
        mine = kernel_spec("mine", metadata={"cull_idle_timeout": 1})
        for settings in (
            {"cull_idle_timeout": 1.0},
            {"cull_max_age": 1.0},
            {"cull_busy_limit": 1.0},
            {},
        ):
            self.culler(mine, kernel_spec(), cull_interval=1.0, **settings)
            kernel = self.start(None if settings else "mine")
            if "cull_busy_limit" in settings:
                kernel.execution_state = "busy"
                kernel.busy_since = self.clock.seconds()
            self.clock.pump([1, 1])
            self.assertIsNotNone(kernel.channels.closed, settings)

    def test_interval(self) -> None:
        """
        An interval that is none is 300 s, with a warning.
        """
        for interval in (0.0, -5.0):
            self.culler(cull_idle_timeout=1.0, cull_interval=interval)
            self.assertIn(
                f"--cull-interval={interval:g} is not positive", "".join(self.logged(LogLevel.warn))
            )
            kernel = self.start()
            self.clock.advance(299.9)
            self.assertIsNone(kernel.channels.closed)
            self.clock.advance(0.1)
            self.assertIsNotNone(kernel.channels.closed)

    def test_wrong_override_is_told(self) -> None:
        """
        A kernelspec's timeout that makes no sense is named when a kernel starts, and no more.
        """
        for value in ("10", -1, True, [10]):
            wrong = kernel_spec("wrong", metadata={"cull_idle_timeout": value})
            self.culler(wrong, cull_idle_timeout=15.0, cull_interval=10.0)
            self.start("wrong")
            (warning,) = self.logged(LogLevel.warn)
            says = (
                f"cull_idle_timeout = {value!r} in the metadata of the kernelspec wrong is ignored"
            )
            self.assertIn(says, warning)
            self.clock.pump([10, 10])
            self.assertEqual(list(self.kernels.list()), [])
            self.assertEqual(self.logged(LogLevel.warn), [])
        for right in (0, 10, 0.5, None):
            fine = kernel_spec("fine", metadata={"cull_idle_timeout": right})
            self.culler(fine)
            self.start("fine")
            self.assertEqual(self.logged(LogLevel.warn), [])

    def test_failures(self) -> None:
        """
        A kernel that cannot be stopped does not spare the others, and is tried again.
        """
        self.culler(cull_idle_timeout=5.0, cull_interval=10.0)
        raising, failing, willing = (self.start() for _ in range(3))
        self.kernels.refusing = {
            raising.kernel_id: RuntimeError("no"),
            failing.kernel_id: fail(ValueError("no")),
        }
        self.clock.advance(10)
        self.assertEqual(list(self.kernels.list()), [raising, failing])
        self.assertIsNotNone(willing.channels.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError, ValueError)), 2)
        self.kernels.refusing.clear()
        self.clock.advance(10)
        self.assertEqual(list(self.kernels.list()), [])

    def test_kernel_that_cannot_be_looked_at(self) -> None:
        """
        An error with one kernel does not keep the culler from the others.
        """
        self.culler(cull_idle_timeout=5.0, cull_interval=10.0)
        broken, sound = self.start(), self.start()
        broken.last_used = "yesterday"  # type: ignore[assignment]
        self.clock.advance(10)
        self.assertEqual(list(self.kernels.list()), [broken])
        self.assertIsNotNone(sound.channels.closed)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_slow_stop(self) -> None:
        """
        A kernel that is being stopped, by whomever, is not stopped again, nor waited for.
        """
        self.culler(cull_idle_timeout=5.0, cull_interval=10.0)
        slow, other = self.start(), self.start()
        slow.stopping = True
        self.clock.pump([10, 10, 10])
        self.assertEqual(self.kernels.asked, [other.kernel_id])

    def test_stop(self) -> None:
        """
        A culler that was stopped does nothing, and may be stopped again, or before it began.
        """
        self.culler(cull_idle_timeout=5.0, cull_interval=10.0)
        self.culler_.stop()
        kernel = self.start()
        self.culler_.stop()
        self.culler_.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.assertIsNone(kernel.channels.closed)


class RegistryTests(LogCase):
    """
    Culling among real kernels on fake processes.
    """

    def start(self, rig: Rig, **fields: Any) -> Any:
        """
        Start a kernel that answers.
        """
        kernel = self.successResultOf(rig.kernels.start(StartRequest(**fields)))
        rig.relay.opened[kernel.kernel_id].answer()
        return kernel

    def test_stopped_as_by_delete(self) -> None:
        """
        The kernel is asked first; its clients and those who ask later are told why.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0))
        kernel = self.start(rig)
        rig.pass_time(300, 300)
        self.assertEqual(kernel.channels.control_requests, [])
        rig.pass_time(300)
        self.assertEqual(kernel.channels.control_requests, ["shutdown"])
        rig.process.end()
        self.assertEqual(kernel.channels.closed, (1000, f"Kernel culled: {UNUSED}"))
        self.assertEqual(kernel.channels.statuses, [])
        error = self.assertRaises(NoSuchKernel, rig.kernels.get, kernel.kernel_id)
        self.assertEqual(
            str(error),
            f"Kernel does not exist: {kernel.kernel_id} (it ended: Kernel culled: {UNUSED})",
        )
        rig.pass_time(300)
        self.assertEqual(rig.leftovers(), NOTHING)

    def test_wall_clock(self) -> None:
        """
        Setting the clock by years makes no kernel old.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0, cull_max_age=5000.0, cull_busy_limit=600.0))
        kernel = self.start(rig)
        rig.wall = 1e9
        rig.pass_time(300)
        kernel.channels.publish("status", "execute_request", "busy")
        rig.wall = 2e9
        rig.pass_time(300)
        self.assertEqual(kernel.channels.control_requests, [])

    def test_silent_execution(self) -> None:
        """
        A kernel that executes in silence is not idle; from the end of it on, it is.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0))
        kernel = self.start(rig)
        kernel.channels.publish("status", "execute_request", "busy")
        rig.pass_time(*[300] * 10)
        self.assertEqual(kernel.channels.control_requests, [])
        kernel.channels.publish("status", "execute_request", "idle")
        rig.pass_time(300, 300)
        self.assertEqual(kernel.channels.control_requests, [])
        rig.pass_time(300)
        self.assertEqual(kernel.channels.control_requests, ["shutdown"])

    def test_busy_for_too_long(self) -> None:
        """
        A kernel that never comes to an end is interrupted, and then asked; breaks count.
        """
        rig = Rig(Settings(cull_busy_limit=600.0))
        kernel = self.start(rig)
        for _ in range(5):
            kernel.channels.publish("status", "execute_request", "busy")
            rig.pass_time(300, 300)
            kernel.channels.publish("status", "execute_request", "idle")
        self.assertEqual(kernel.channels.control_requests, [])
        kernel.channels.publish("status", "execute_request", "busy")
        rig.pass_time(300, 300, 300)
        self.assertEqual(kernel.channels.control_requests, ["shutdown"])
        rig.process.end()
        says = "Kernel culled: it was busy for more than 600 s"
        self.assertEqual(kernel.channels.closed, (1000, says))

    def test_age_outlives_processes(self) -> None:
        """
        Neither a restart nor a crash makes a kernel young.
        """
        rig = Rig(Settings(cull_max_age=600.0))
        kernel = self.start(rig)
        rig.pass_time(300)
        rig.kernels.restart(kernel.kernel_id)
        rig.process.end()
        kernel.channels.answer()
        rig.pass_time(300)
        rig.process.end()
        rig.pass_time(0)
        kernel.channels.answer()
        self.assertEqual(kernel.execution_state, "idle")
        rig.pass_time(300)
        rig.process.end()
        says = "Kernel culled: it is older than 600 s"
        self.assertEqual(kernel.channels.closed, (1000, says))

    def test_slow_start(self) -> None:
        """
        A kernel that takes longer to start than the timeout is not culled while a client waits for
        it, and has all of its time from then on.
        """
        rig = Rig(Settings(cull_idle_timeout=10.0, cull_interval=10.0))
        kernel = self.successResultOf(rig.kernels.start(StartRequest()))
        rig.pass_time(10, 10)
        kernel.channels.answer()
        rig.pass_time(10)
        self.assertEqual(kernel.channels.control_requests, [])
        rig.pass_time(10)
        self.assertEqual(kernel.channels.control_requests, ["shutdown"])

    def test_spare(self) -> None:
        """
        Spare kernels are not culled; they are new when they are handed out.
        """
        rig = Rig(
            Settings(prespawn_count=1, cull_max_age=10.0, cull_idle_timeout=10.0, cull_interval=5.0)
        )
        prespawning = rig.kernels.prespawn()
        (channels,) = rig.relay.opened.values()
        channels.answer()
        self.successResultOf(prespawning)
        rig.pass_time(100)
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        kernel = self.successResultOf(rig.kernels.start(StartRequest()))
        self.assertIs(kernel.channels, channels)
        rig.pass_time(5, 5)
        self.assertEqual(channels.control_requests, [])
        rig.pass_time(5)
        self.assertEqual(channels.control_requests, ["shutdown"])

    def test_dead_is_gone(self) -> None:
        """
        A kernel that never worked is removed by itself, and the rounds end with it.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0, restart_limit=0))
        kernel = self.successResultOf(rig.kernels.start(StartRequest()))
        rig.process.end()
        self.assertEqual(kernel.execution_state, "dead")
        self.assertRaises(NoSuchKernel, rig.kernels.get, kernel.kernel_id)
        rig.pass_time(300)
        self.assertEqual(rig.leftovers(), NOTHING)

    def test_while_it_stops(self) -> None:
        """
        A kernel that is being stopped already is left alone.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0, shutdown_wait_time=2000.0))
        kernel = self.start(rig)
        rig.pass_time(300, 300)
        rig.kernels.stop(kernel.kernel_id)
        rig.pass_time(300, 300)
        rig.process.end()
        self.assertEqual(kernel.channels.closed, (1000, "Kernel shut down"))
        self.assertEqual(self.logged(LogLevel.info)[1:], [])

    def test_end_of_the_gateway(self) -> None:
        """
        The rounds end with the gateway.
        """
        rig = Rig(Settings(cull_idle_timeout=600.0))
        self.start(rig)
        stopping = rig.kernels.stop_all()
        rig.process.end()
        self.successResultOf(stopping)
        self.assertEqual(rig.leftovers(), NOTHING)
