"""
Kernels under any order of events that Hypothesis finds.
"""

from __future__ import annotations

import signal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import (
    ConfigurationError,
    KernelLimitReached,
    KernelStartFailed,
    NoSuchKernel,
    RestartFailed,
)
from kgd.interfaces import ExitStatus, Seed, StartRequest
from kgd.kernels.kernel import Kernel
from kgd.settings import Settings
from kgd.testing.kernels import FakeProcess
from tests.support.kernel_rig import NOTHING, Rig

LIMIT = 3
STATES = {"starting", "idle", "busy", "restarting", "dead"}
IDS = ["a-b-c-d-e", "f-g-h-i-j", None]
MAY_FAIL_WITH: dict[str, tuple[type[Exception], ...]] = {
    "prespawn": (ConfigurationError, CancelledError),
    "start": (KernelLimitReached, KernelStartFailed, CancelledError),
    "restart": (NoSuchKernel, RestartFailed, CancelledError),
    "stop": (CancelledError,),
    "interrupt": (),
}
WHICH = st.integers(0, 10)


class KernelMachine(RuleBasedStateMachine):
    """
    Users, processes, launchers and time, all at will.
    """

    settings = Settings(max_kernels=LIMIT, restart_limit=2, transport="tcp")
    #: How many timers there may be beside those of kernels.
    timers = 0

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(self.settings)
        self.waiting: list[Deferred[Any]] = []
        self.unexpected: list[Failure] = []

    # --- what happens ---

    def watch(self, what: str, deferred: Deferred[Any]) -> None:
        """
        Remember who waits, and see how it ends.
        """

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, MAY_FAIL_WITH[what]):
                self.unexpected.append(failure)

        def ended(result: object) -> object:
            self.waiting.remove(deferred)
            return result

        self.waiting.append(deferred)
        deferred.addBoth(ended)
        deferred.addErrback(failed)

    def some(self, which: int) -> Kernel:
        """
        One of the kernels there are.
        """
        kernels = self.rig.kernels.list()
        kernel = kernels[which % len(kernels)]
        assert isinstance(kernel, Kernel)
        return kernel

    def has_kernels(self) -> bool:
        """
        Whether there are any.
        """
        return bool(self.rig.kernels.list())

    def has_processes(self) -> bool:
        """
        Whether any process lives.
        """
        return bool(self.rig.launcher.alive)

    def some_process(self, which: int) -> FakeProcess:
        """
        One of the processes that live.
        """
        alive = self.rig.launcher.alive
        return alive[which % len(alive)]

    @rule(kernel_id=st.sampled_from(IDS))
    def start(self, kernel_id: str | None) -> None:
        """
        Start a kernel.
        """
        self.watch("start", self.rig.kernels.start(StartRequest(kernel_id=kernel_id)))

    @precondition(has_kernels)
    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        """
        Stop a kernel.
        """
        self.watch("stop", self.rig.kernels.stop(self.some(which).kernel_id))

    @precondition(has_kernels)
    @rule(which=WHICH)
    def restart(self, which: int) -> None:
        """
        Restart a kernel.
        """
        self.watch("restart", self.rig.kernels.restart(self.some(which).kernel_id))

    @precondition(has_kernels)
    @rule(which=WHICH)
    def interrupt(self, which: int) -> None:
        """
        Interrupt a kernel.
        """
        self.watch("interrupt", self.rig.kernels.interrupt(self.some(which).kernel_id))

    @precondition(lambda self: bool(self.waiting))
    @rule(which=WHICH)
    def hang_up(self, which: int) -> None:
        """
        A caller gives up waiting.
        """
        self.waiting[which % len(self.waiting)].cancel()

    @precondition(has_processes)
    @rule(which=WHICH, code=st.sampled_from([0, 1]))
    def process_ends(self, which: int, code: int) -> None:
        """
        A process ends by itself, or because it was asked.
        """
        self.some_process(which).end(ExitStatus(exit_code=code))

    @precondition(has_processes)
    @rule(which=WHICH)
    def process_becomes_stubborn(self, which: int) -> None:
        """
        A process ignores SIGTERM from now on.
        """
        self.some_process(which).deadly_signals = {signal.SIGKILL}

    @precondition(has_kernels)
    @rule(which=WHICH)
    def answer(self, which: int) -> None:
        """
        A kernel answers, if it has been connected to.
        """
        channels = self.rig.channels(self.some(which))
        if channels.connection is not None:
            channels.answer()

    @precondition(has_kernels)
    @rule(which=WHICH, state=st.sampled_from(["busy", "idle", "starting", "nonsense"]))
    def publish(self, which: int, state: str) -> None:
        """
        A kernel tells its state.
        """
        self.rig.channels(self.some(which)).publish("status", "execute_request", state)

    @rule(broken=st.booleans())
    def launcher_breaks(self, broken: bool) -> None:
        """
        Launches fail, or succeed again.
        """
        self.rig.launcher.error = KernelStartFailed("broken") if broken else None

    @rule(slow=st.booleans())
    def launcher_is_slow(self, slow: bool) -> None:
        """
        Launches hang, or get on.
        """
        if not slow:
            self.rig.launcher.release()
        elif self.rig.launcher.held is None:
            self.rig.launcher.hold()

    @rule(seconds=st.sampled_from([0, 0.5, 2.5, 11, 31]))
    def time_passes(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.rig.pass_time(seconds)

    # --- what is always true ---

    def known(self) -> set[str]:
        """
        The kernels that there are, for users or spare.
        """
        kernels = self.rig.kernels
        return {kernel.kernel_id for kernel in (*kernels.list(), *kernels._pool)}

    @invariant()
    def limit_holds(self) -> None:
        """
        There are never more kernels than allowed.
        """
        assert len(self.rig.kernels.list()) <= LIMIT
        assert len(self.rig.launcher.alive) <= LIMIT

    @invariant()
    def processes_belong_to_kernels(self) -> None:
        """
        Every process is the only one of a kernel that is listed.
        """
        owners = [process.kernel_id for process in self.rig.launcher.alive]
        assert len(owners) == len(set(owners)), owners
        assert set(owners) <= self.known()

    @invariant()
    def nothing_is_left_over(self) -> None:
        """
        Files, ports, sockets and timers are those of kernels that are listed.
        """
        known = self.known()
        assert set(self.rig.runtime.files) <= known
        places = len(self.rig.ports.leased) // 5 + len(self.rig.runtime.listening)
        assert places == len(self.rig.runtime.files)
        assert len(self.rig.clock.getDelayedCalls()) <= len(known) + self.timers
        for kernel_id, channels in self.rig.relay.opened.items():
            assert (channels.closed is None) == (kernel_id in known)

    @invariant()
    def states_are_known(self) -> None:
        """
        The state is one that clients know, and no listed kernel is dead.
        """
        for kernel in self.rig.kernels.list():
            assert kernel.execution_state in STATES - {"dead"}

    @invariant()
    def only_foreseen_failures(self) -> None:
        """
        No caller gets a failure that the interface does not name.
        """
        assert self.unexpected == []

    def teardown(self) -> None:
        """
        In the end everything is gone, and no caller waits.
        """
        self.rig.launcher.release()
        self.watch("stop", self.rig.kernels.stop_all())
        self.rig.pass_time(*[0.5] * 10)
        assert self.waiting == []
        assert self.unexpected == []
        assert self.rig.leftovers() == NOTHING, self.rig.leftovers()


class PoolMachine(KernelMachine):
    """
    The same with a seed, and with spare kernels.
    """

    settings = Settings(max_kernels=LIMIT, restart_limit=2, prespawn_count=2)
    timers = 1

    def __init__(self) -> None:
        super().__init__()
        registry = self.rig.kernels
        registry._seed = Seed(kernel_name="python3", cells=((1, "a = 1"),))
        self.watch("prespawn", Deferred.fromCoroutine(registry._pool.fill({"python3": 2})))

    @precondition(lambda self: bool(self.known()))
    @rule(which=WHICH, outcome=st.sampled_from(["begins", "fails", "succeeds"]))
    def seeding(self, which: int, outcome: str) -> None:
        """
        A kernel, maybe a spare one, gets on with its seed.
        """
        # In an order that does not depend on chance, as ids do.
        known = [each for each in self.rig.relay.opened if each in self.known()]
        channels = self.rig.relay.opened[known[which % len(known)]]
        if channels.connection is None or channels.observer is None:
            return
        if outcome == "begins":
            channels.observer.began_seeding()
        elif outcome == "fails":
            channels.observer.seeding_failed(0, "E: e")
        else:
            channels.answer()


class KernelMachineTests(SynchronousTestCase):
    """
    The machine as a test.
    """

    def test_any_order_of_events(self) -> None:
        """
        The registry keeps its promises under any order of events.
        """
        for machine in (KernelMachine, PoolMachine):
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=100,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
