"""
Spare kernels and seeds, on fakes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from kgd.errors import (
    ConfigurationError,
    KernelLimitReached,
    KernelStartFailed,
    NoSuchKernel,
    OutOfFiles,
    RestartFailed,
)
from kgd.interfaces import ExitStatus, IKernel, StartRequest
from kgd.kernels.controller import KernelController
from kgd.kernels.kernel import Kernel
from kgd.kernels.pool import MAX_PAUSE, MIN_PAUSE, REFILL_DELAY
from kgd.settings import Settings
from kgd.testing.kernels import FakeChannels, FakeProcess, kernel_spec
from tests.support.kernel_rig import Case, Rig
from tests.support.notebooks import notebook


class PoolCase(Case):
    """
    A rig with a pool.
    """

    def rig_with(self, *specs: Any, **settings: Any) -> None:
        """
        Begin with these settings.
        """
        self.rig = Rig(Settings(**settings), *specs)
        self.kernels = self.rig.kernels
        self.launcher = self.rig.launcher

    def opened(self) -> list[FakeChannels]:
        """
        The channels of all kernels that there were.
        """
        return list(self.rig.relay.opened.values())

    def prespawn(self) -> Deferred[None]:
        """
        Let the spare kernels start, and answer.
        """
        prespawning = self.kernels.prespawn()
        self.answer_all()
        return prespawning

    def answer_all(self) -> None:
        """
        Let every kernel that has not answered yet do so.
        """
        for channels in self.opened():
            controller = channels.observer
            if isinstance(controller, KernelController) and not controller.is_ready:
                channels.answer()

    def start_at_once(self, **fields: Any) -> Kernel:
        """
        Start a kernel.
        """
        kernel = self.successResultOf(self.kernels.start(StartRequest(**fields)))
        assert isinstance(kernel, Kernel)
        return kernel


class PoolTests(PoolCase):
    """
    Spare kernels.
    """

    def test_waits_for_all(self) -> None:
        """
        Prespawning is done when every spare kernel answers; none of them is listed or known.
        """
        self.rig_with(prespawn_count=2)
        prespawning = self.kernels.prespawn()
        first, second = self.opened()
        first.answer()
        self.assertNoResult(prespawning)
        second.answer()
        self.successResultOf(prespawning)
        self.assertEqual(list(self.kernels.list()), [])
        spare = self.launcher.processes[0].kernel_id
        self.assertRaises(NoSuchKernel, self.kernels.get, spare)

    def test_handed_out(self) -> None:
        """
        A request gets a spare kernel at once, as if it had just been started; another takes the
        spare one's place soon.
        """
        self.rig_with(prespawn_count=1)
        self.successResultOf(self.prespawn())
        self.rig.wall = 5000.0
        kernel = self.start_at_once()
        self.assertEqual(len(self.launcher.processes), 1)
        self.assertEqual((kernel.execution_state, kernel.last_activity), ("idle", 5000.0))
        self.assertEqual(list(self.kernels.list()), [kernel])
        self.assertIs(self.kernels.get(kernel.kernel_id), kernel)
        self.rig.clock.advance(REFILL_DELAY)
        self.assertEqual(len(self.launcher.processes), 2)

    def listed(self) -> list[str]:
        """
        The ids of the kernels that clients find.
        """
        return [kernel.kernel_id for kernel in self.kernels.listed()]

    def test_listed(self) -> None:
        """
        Spare kernels can be listed. Looking at one does not take it, using it does, once: it is the
        client's from then on, nobody else gets it, and another takes its place.
        """
        for use in ("claim", "interrupt", "restart", "start"):
            self.rig_with(prespawn_count=1, spare_kernels="listed")
            self.successResultOf(self.prespawn())
            (spare,) = self.listed()
            self.assertEqual(self.kernels.get(spare).kernel_id, spare)
            self.assertEqual((list(self.kernels.list()), len(self.kernels.spare())), ([], 1))
            self.rig.wall = 5000.0
            for _ in range(2):
                if use == "start":
                    self.start_at_once(kernel_id=spare)
                else:
                    getattr(self.kernels, use)(spare)
            (kernel,) = self.kernels.list()
            self.assertEqual((kernel.kernel_id, kernel.last_activity), (spare, 5000.0))
            self.assertEqual((self.listed(), self.kernels.spare()), ([spare], ()))
            self.assertEqual(self.rig.audit.records[0], ("kernel_started", spare))
            self.rig.clock.advance(REFILL_DELAY)
            self.answer_all()
            self.assertEqual(len(self.listed()), 2)
            other = self.start_at_once()
            self.assertNotEqual(other.kernel_id, spare)
            self.assertEqual(len(self.launcher.processes), 2)

    def test_listed_and_deleted(self) -> None:
        """
        A client that deletes one leaves the pool one short for a moment only.
        """
        self.rig_with(prespawn_count=1, spare_kernels="listed", max_kernels=1)
        self.successResultOf(self.prespawn())
        (spare,) = self.listed()
        stopping = self.kernels.stop(spare)
        self.assertEqual(self.listed(), [])
        self.rig.process.end()
        self.successResultOf(stopping)
        self.assertRaises(NoSuchKernel, self.kernels.claim, spare)
        self.rig.clock.advance(REFILL_DELAY)
        (another,) = self.listed()
        self.assertNotEqual(another, spare)
        # It can be used before it answers, and the limit holds.
        self.kernels.claim(another)
        self.failureResultOf(self.kernels.start(StartRequest()), KernelLimitReached)
        self.rig.clock.advance(REFILL_DELAY)
        self.assertEqual(self.listed(), [another])

    def test_listed_and_stopping(self) -> None:
        """
        One that gives way, or that ends with the gateway, is no longer there for clients.
        """
        self.rig_with(prespawn_count=1, spare_kernels="listed")
        self.successResultOf(self.prespawn())
        (spare,) = self.listed()
        self.launcher.processes[0].deadly_signals = set()
        self.kernels.drain()
        self.assertEqual(self.listed(), [])
        self.assertRaises(NoSuchKernel, self.kernels.claim, spare)

    def test_hidden(self) -> None:
        """
        By default clients can neither see nor use nor stop one before they are given it.
        """
        self.rig_with(prespawn_count=1)
        self.successResultOf(self.prespawn())
        (spare,) = self.kernels.spare()
        self.assertEqual(self.listed(), [])
        self.assertRaises(NoSuchKernel, self.kernels.claim, spare.kernel_id)
        for ask in (self.kernels.interrupt, self.kernels.restart, self.kernels.stop):
            self.failureResultOf(ask(spare.kernel_id), NoSuchKernel)

    def test_listed_and_not_culled(self) -> None:
        """
        The time for which a kernel may be unused begins when a client has it.
        """
        culling = {"cull_idle_timeout": 10.0, "cull_interval": 1.0}
        self.rig_with(prespawn_count=1, spare_kernels="listed", **culling)
        self.successResultOf(self.prespawn())
        (spare,) = self.listed()
        self.rig.pass_time(*[1.0] * 20)
        self.kernels.claim(spare)
        self.rig.pass_time(*[1.0] * 9)
        self.assertIn(spare, self.listed())
        self.rig.pass_time(*[1.0] * 8)
        self.assertNotIn(spare, self.listed())

    def test_too_many_open_files(self) -> None:
        """
        Without files for another kernel a client gets a spare one, a spare one gives way, or the
        client is refused; no spare ones are started until there are files again.
        """
        self.rig_with(prespawn_count=2)
        self.successResultOf(self.prespawn())
        self.rig.free_files = 0
        self.rig.clock.advance(2)
        self.start_at_once()
        starting = self.kernels.start(StartRequest(env={"KERNEL_A": "1"}))
        self.failureResultOf(self.kernels.start(StartRequest(env={"KERNEL_A": "1"})), OutOfFiles)
        self.assertEqual(len(self.launcher.processes), 2)
        self.assertNoResult(starting)
        (giving_way,) = (each for each in self.launcher.alive if each is not self.kept())
        giving_way.end()
        self.successResultOf(starting)
        self.rig.clock.advance(REFILL_DELAY)
        self.rig.clock.advance(MIN_PAUSE)
        self.assertEqual(len(self.launcher.processes), 3)
        self.rig.free_files = 1000
        self.rig.clock.advance(2 * MIN_PAUSE)
        self.assertEqual(len(self.launcher.processes), 5)

    def kept(self) -> FakeProcess:
        """
        The process of the client's kernel that was started first.
        """
        first = self.kernels.list()[0].kernel_id
        return next(each for each in self.launcher.processes if each.kernel_id == first)

    def test_one_that_is_not_ready(self) -> None:
        """
        While the spare kernel still starts, a request gets one of its own.
        """
        self.rig_with(prespawn_count=1)
        self.kernels.prespawn()
        self.start_at_once()
        self.assertEqual(len(self.launcher.processes), 2)

    def test_one_that_has_just_ended(self) -> None:
        """
        From the moment its process has ended, a spare kernel is not handed out.
        """
        for limit in (0, 5):
            self.rig_with(prespawn_count=1, restart_limit=limit)
            self.successResultOf(self.prespawn())
            (spare,) = self.launcher.processes
            spare.end(ExitStatus(exit_code=0))
            kernel = self.start_at_once()
            self.assertNotEqual(kernel.kernel_id, spare.kernel_id)

    def test_incompatible(self) -> None:
        """
        A request that wants another environment, directory, kernelspec or id gets a kernel of its
        own; one that wants the very same gets the spare one.
        """
        here = Path(self.mktemp())
        (here / "below").mkdir(parents=True)
        self.rig_with(prespawn_count=1, root_dir=str(here))
        self.successResultOf(self.prespawn())
        others: tuple[dict[str, Any], ...] = (
            {"env": {"KERNEL_A": "1"}},
            {"path": "below"},
            {"name": "bash"},
            {"kernel_id": "a-b-c-d-e"},
        )
        for fields in others:
            count = len(self.launcher.processes)
            self.start_at_once(**fields)
            self.assertEqual(len(self.launcher.processes), count + 1, str(fields))
        count = len(self.launcher.processes)
        self.start_at_once(name="Python3", path="nowhere/x.ipynb")
        self.assertEqual(len(self.launcher.processes), count)

    def test_per_kernelspec(self) -> None:
        """
        Each kernelspec has a number of its own; --prespawn-count is for the default one.
        """
        self.rig_with(prespawn_count=1, prespawn={"bash": 2})
        self.successResultOf(self.prespawn())
        self.assertEqual(len(self.launcher.processes), 3)
        self.start_at_once(name="bash")
        self.start_at_once(name="bash")
        self.assertEqual(len(self.launcher.processes), 3)

    def test_not_installed(self) -> None:
        """
        A kernelspec that is not there cannot be prespawned, and the error names it.
        """
        self.rig_with(prespawn={"nope": 1})
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("nope", str(failure.value))

    def test_more_than_the_limit(self) -> None:
        """
        More spare kernels than kernels there may be is a mistake.
        """
        self.rig_with(prespawn_count=2, max_kernels=1)
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("--max-kernels", str(failure.value))
        self.assertEqual(self.launcher.processes, [])

    def test_cannot_be_started(self) -> None:
        """
        When a spare kernel cannot be started, neither can the gateway.
        """
        self.rig_with(prespawn_count=2)
        self.launcher.error = KernelStartFailed("no such thing")
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("no such thing", str(failure.value))

    def test_give_way(self) -> None:
        """
        Spare kernels do not count as the clients', but together there are never too many: a spare
        one is gone before a process takes its place.
        """
        self.rig_with(kernel_spec(), kernel_spec("bash"), prespawn_count=2, max_kernels=2)
        self.successResultOf(self.prespawn())
        self.assertTrue(self.kernels.has_room())
        for process in self.launcher.processes:
            process.deadly_signals.clear()
        starting = self.kernels.start(StartRequest(name="bash"))
        self.assertNoResult(starting)
        self.assertEqual(len(self.launcher.alive), 2)
        self.assertEqual(len(self.kernels.list()), 1)
        for process in self.launcher.processes:
            if process.signals or self.rig.relay.opened[process.kernel_id].control_requests:
                process.end()
        self.successResultOf(starting)
        self.assertEqual(len(self.launcher.alive), 2)
        self.rig.clock.advance(REFILL_DELAY)
        self.assertEqual(len(self.launcher.alive), 2, "there is no room for another spare one")

    def waiting_for_room(self) -> tuple[FakeProcess, Deferred[IKernel]]:
        """
        Start a kernel that has to wait for the end of the only spare one.
        """
        self.rig_with(kernel_spec(), kernel_spec("bash"), prespawn_count=1, max_kernels=1)
        self.successResultOf(self.prespawn())
        (spare,) = self.launcher.processes
        spare.deadly_signals.clear()
        starting = self.kernels.start(StartRequest(name="bash", kernel_id="a-b-c-d-e"))
        self.assertNoResult(starting)
        return spare, starting

    def test_stopped_while_it_waits_for_room(self) -> None:
        """
        A kernel that has no room yet is stopped at once, and never launched.
        """
        spare, starting = self.waiting_for_room()
        restarting = self.kernels.restart("a-b-c-d-e")
        self.assertNoResult(restarting)
        self.successResultOf(self.kernels.stop("a-b-c-d-e"))
        self.failureResultOf(starting, KernelStartFailed)
        self.failureResultOf(restarting, NoSuchKernel)
        self.assertRaises(NoSuchKernel, self.kernels.get, "a-b-c-d-e")
        spare.end()
        self.assertEqual(self.launcher.processes, [spare])
        self.successResultOf(self.kernels.stop_all())
        self.assert_nothing_left()

    def test_client_leaves_while_it_waits_for_room(self) -> None:
        """
        A client that gives up waiting for room does not keep the kernel from others.
        """
        spare, starting = self.waiting_for_room()
        second = self.kernels.start(StartRequest(name="bash", kernel_id="a-b-c-d-e"))
        starting.addErrback(lambda _: None)
        starting.cancel()
        self.assertNoResult(second)
        spare.end()
        self.assertEqual(self.successResultOf(second).kernel_id, "a-b-c-d-e")
        self.assertEqual(len(self.launcher.alive), 1)

    def test_refilled_when_there_is_room(self) -> None:
        """
        When a kernel of a client goes, there may be another spare one.
        """
        self.rig_with(prespawn_count=1, max_kernels=1)
        self.successResultOf(self.prespawn())
        kernel = self.start_at_once()
        self.rig.clock.advance(REFILL_DELAY)
        self.assertEqual(len(self.launcher.processes), 1)
        stopping = self.kernels.stop(kernel.kernel_id)
        self.launcher.processes[0].end()
        self.successResultOf(stopping)
        self.rig.clock.advance(REFILL_DELAY)
        self.assertEqual(len(self.launcher.alive), 1)

    def test_one_that_dies(self) -> None:
        """
        A spare kernel that is gone for good is replaced, with longer and longer pauses.
        """
        self.rig_with(prespawn_count=1, restart_limit=0)
        self.successResultOf(self.prespawn())
        pause = MIN_PAUSE
        while pause < MAX_PAUSE:
            self.crash()
            self.assertEqual(self.launcher.alive, [])
            self.rig.clock.advance(0.9 * pause)
            self.assertEqual(self.launcher.alive, [])
            self.rig.clock.advance(0.2 * pause)
            self.assertEqual(len(self.launcher.alive), 1)
            pause *= 2

    def test_changed_kernelspec(self) -> None:
        """
        A spare kernel of what the kernelspec was before is not handed out, but stopped.
        """
        self.rig_with(prespawn_count=1)
        self.successResultOf(self.prespawn())
        spare = self.launcher.processes[0]
        specs: Any = self.kernels._specs
        specs.specs["python3"] = kernel_spec(argv=("other",))
        kernel = self.start_at_once()
        self.assertNotEqual(kernel.kernel_id, spare.kernel_id)
        self.assertEqual(self.rig.relay.opened[spare.kernel_id].control_requests, ["shutdown"])

    def test_stop_all(self) -> None:
        """
        At the end spare kernels go, too.
        """
        self.rig_with(prespawn_count=2)
        self.successResultOf(self.prespawn())
        self.start_at_once()
        stopping = self.kernels.stop_all()
        for process in self.launcher.alive:
            process.end()
        self.successResultOf(stopping)
        self.assert_nothing_left()


class SeedTests(PoolCase):
    """
    A notebook that runs in every kernel.
    """

    def seeded(self, *cells: tuple[str, str], kernel: str | None = "python3", **more: Any) -> None:
        """
        Begin with a seed notebook.
        """
        path = self.mktemp()
        Path(path).write_bytes(notebook(*cells, kernel=kernel))
        self.rig_with(seed_uri=(path,), **more)

    def load(self) -> None:
        """
        Have it read.
        """
        self.successResultOf(self.kernels.prespawn())

    def starting(self) -> Deferred[Any]:
        """
        Ask for a kernel; what it is to run can be seen in its channels.
        """
        starting = self.kernels.start(StartRequest())
        self.channels = self.opened()[-1]
        return starting

    def test_code_cells(self) -> None:
        """
        Its code cells run, in order; others do not. The start of the kernel waits for them.
        """
        self.seeded(("markdown", "# x"), ("code", "a = 1"), ("raw", "b"), ("code", "c = 2"))
        self.load()
        starting = self.starting()
        self.assertEqual(self.channels.seed, ("a = 1", "c = 2"))
        assert self.channels.observer is not None
        self.channels.observer.began_seeding()
        self.assertNoResult(starting)
        self.channels.answer()
        self.assertEqual(self.successResultOf(starting).execution_state, "idle")

    def test_other_kernelspecs(self) -> None:
        """
        Kernels of other kernelspecs are not seeded.
        """
        self.seeded(("code", "a = 1"))
        self.load()
        self.start_at_once(name="bash")
        self.assertEqual(self.opened()[-1].seed, ())

    def test_forced_kernelspec(self) -> None:
        """
        A kernelspec that is forced upon clients is forced upon the notebook.
        """
        self.seeded(("code", "a = 1"), kernel="fakelang2000", force_kernel_name="python3")
        self.load()
        self.starting()
        self.assertEqual(self.channels.seed, ("a = 1",))

    def test_no_kernelspec(self) -> None:
        """
        A notebook that names no kernelspec is for the default one.
        """
        self.seeded(("code", "a = 1"), kernel=None, default_kernel_name="bash")
        self.load()
        self.starting()
        self.assertEqual(self.channels.seed, ("a = 1",))

    def test_not_installed(self) -> None:
        """
        A notebook for a kernelspec that is not installed stops the gateway.
        """
        self.seeded(("code", "a = 1"), kernel="fakelang2000")
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("fakelang2000", str(failure.value))

    def test_no_notebook(self) -> None:
        """
        So do a file that is not there, one that is no notebook, and one that is too large.
        """
        path = Path(self.mktemp())
        self.rig_with(seed_uri=(str(path),))
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("No such file", str(failure.value))
        path.write_text("{}")
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("not a notebook", str(failure.value))
        self.rig_with(seed_uri=(str(path),), max_seed_size=1)
        failure = self.failureResultOf(self.kernels.prespawn(), ConfigurationError)
        self.assertIn("--max-seed-size", str(failure.value))

    def test_file_uri(self) -> None:
        """
        A path may have any characters; a file: URI has them encoded.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory.absolute() / "weirdly%20named#notebook.ipynb"
        path.write_bytes(notebook(("code", "a = 1")))
        for uri in (str(path), path.as_uri()):
            self.rig_with(seed_uri=(uri,))
            self.load()
            self.starting()
            self.assertEqual(self.channels.seed, ("a = 1",))

    def fail_seeding(self, piece: int, error: str) -> None:
        """
        Let a cell of the latest kernel fail.
        """
        assert self.channels.observer is not None
        self.channels.observer.began_seeding()
        self.channels.observer.seeding_failed(piece, error)

    def test_failing_cell(self) -> None:
        """
        A cell that fails fails the start, with its number in the notebook; nothing is left.
        """
        self.seeded(("markdown", "# x"), ("code", "a = 1"), ("code", "1/0"))
        self.load()
        starting = self.starting()
        self.fail_seeding(1, "ZeroDivisionError: division by zero")
        failure = self.failureResultOf(starting, KernelStartFailed)
        self.assertEqual(
            str(failure.value),
            "cell 3 of the seed notebook failed: ZeroDivisionError: division by zero",
        )
        self.assert_nothing_left()

    def test_failing_prespawn(self) -> None:
        """
        With spare kernels, it stops the gateway.
        """
        self.seeded(("code", "1/0"), prespawn_count=1)
        prespawning = self.kernels.prespawn()
        self.channels = self.opened()[-1]
        self.fail_seeding(0, "E: e")
        failure = self.failureResultOf(prespawning, ConfigurationError)
        self.assertIn("cell 1 of the seed notebook failed: E: e", str(failure.value))

    def test_dies_of_its_seed(self) -> None:
        """
        A kernel that dies while it is seeded for the first time is not started again.
        """
        self.seeded(("code", "os._exit(1)"))
        self.load()
        starting = self.starting()
        assert self.channels.observer is not None
        self.channels.observer.began_seeding()
        self.crash()
        failure = self.failureResultOf(starting, KernelStartFailed)
        self.assertIn("exit code 1, while the seed notebook ran", str(failure.value))
        self.assert_nothing_left()

    def test_never_ends(self) -> None:
        """
        A seed that takes too long fails the start, and the error names the option.
        """
        self.seeded(("code", "while True: pass"), seed_timeout=50.0)
        self.load()
        starting = self.starting()
        assert self.channels.observer is not None
        self.channels.observer.began_seeding()
        self.rig.clock.advance(49)
        self.assertNoResult(starting)
        self.rig.clock.advance(1)
        failure = self.failureResultOf(starting, KernelStartFailed)
        self.assertIn("--seed-timeout", str(failure.value))
        self.assert_nothing_left()

    def test_again_after_a_crash(self) -> None:
        """
        The next process is seeded, too; if that dies of it, it gets further chances.
        """
        self.seeded(("code", "a = 1"))
        self.load()
        starting = self.starting()
        self.channels.answer()
        kernel = self.successResultOf(starting)
        self.crash()
        self.rig.clock.advance(0)
        self.assertEqual(self.channels.seed, ("a = 1",))
        self.channels.observer.began_seeding()  # type: ignore[union-attr]
        self.crash()
        self.assertEqual(kernel.execution_state, "restarting")

    def test_again_after_a_restart(self) -> None:
        """
        A restart is done when the new process is seeded; when that fails, so does the restart.
        """
        self.seeded(("code", "a = 1"))
        self.load()
        starting = self.starting()
        self.channels.answer()
        kernel = self.successResultOf(starting)
        restarting = self.kernels.restart(kernel.kernel_id)
        self.launcher.processes[-1].end()
        self.channels.observer.began_seeding()  # type: ignore[union-attr]
        self.assertNoResult(restarting)
        self.channels.answer()
        self.successResultOf(restarting)
        restarting = self.kernels.restart(kernel.kernel_id)
        self.launcher.processes[-1].end(ExitStatus(exit_code=0))
        self.fail_seeding(0, "E: e")
        failure = self.failureResultOf(restarting, RestartFailed)
        self.assertIn("cell 1", str(failure.value))

    def test_stopped_while_seeding(self) -> None:
        """
        A kernel can be stopped while it is seeded.
        """
        self.seeded(("code", "a = 1"))
        self.load()
        starting = self.starting()
        self.channels.observer.began_seeding()  # type: ignore[union-attr]
        (kernel,) = self.kernels.list()
        stopping = self.kernels.stop(kernel.kernel_id)
        self.successResultOf(stopping)
        self.failureResultOf(starting, KernelStartFailed)
        self.assert_nothing_left()
