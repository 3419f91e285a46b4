"""
Suites for what every launcher and every ``IKernels`` promises, to be mixed into test cases.
"""

# mypy: allow-untyped-calls
# (trial's assertions have no types)

from __future__ import annotations

import signal
from abc import abstractmethod
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from kgd.errors import (
    InvalidRequest,
    KernelLimitReached,
    KernelStartFailed,
    NoSuchKernel,
    NoSuchKernelSpec,
)
from kgd.interfaces import (
    ExitStatus,
    IKernel,
    IKernelLauncher,
    IKernelProcess,
    IKernelProvisioner,
    IKernels,
    Launched,
    StartRequest,
)
from kgd.protocol.connection_file import ConnectionInfo
from kgd.settings import Settings
from kgd.testing.kernel_fakes import MISSING_EXECUTABLE, kernel_spec

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase, TestCase
else:
    # The suites are mixed into test cases; alone they are none.
    SynchronousTestCase = TestCase = object


class LauncherContract(TestCase):
    """
    What every launcher promises. To be mixed into a ``TestCase``; if the processes are real, let
    its ``setUp`` wait for a turn of the reactor, as trial loses SIGCHLD when one ends before that.
    """

    _numbers = count(5)

    @abstractmethod
    def make_launcher(self) -> IKernelLauncher:
        """
        :return: A new launcher, which finds no :py:data:`MISSING_EXECUTABLE`.
        """

    def command(self) -> Sequence[str]:
        """
        :return: A command line that runs until it gets a signal.
        """
        return ("sleep", "60")

    def provision(
        self, argv: Sequence[str], launcher: IKernelLauncher | None = None
    ) -> IKernelProvisioner:
        """
        Make a provisioner of a kernel, and clean up after it at the end of the test.

        :param argv: The kernelspec's command line.
        """
        launcher = launcher or self.make_launcher()
        kernel_id = f"1-2-3-4-{next(self._numbers)}"
        spec = launcher.prepare(kernel_id, kernel_spec(argv=tuple(argv)), StartRequest())
        provisioner = launcher.provision(spec)
        self.addCleanup(provisioner.cleanup)
        return provisioner

    async def launch_with(
        self, provisioner: IKernelProvisioner, announced: list[ConnectionInfo] | None = None
    ) -> Launched:
        """
        Launch a process that does not outlive the test.

        :param announced: Gets the connections that are announced.
        """
        launched = await provisioner.launch(([] if announced is None else announced).append)

        def end() -> Deferred[ExitStatus]:
            launched.process.signal(signal.SIGKILL)
            return launched.process.when_ended()

        self.addCleanup(end)
        return launched

    async def launch(self) -> IKernelProcess:
        """
        Launch :py:meth:`command`.
        """
        launched = await self.launch_with(self.provision(self.command()))
        return launched.process

    async def test_provides_the_interfaces(self) -> None:
        """
        Launcher, provisioner and process provide their interfaces.
        """
        launcher = self.make_launcher()
        verifyObject(IKernelLauncher, launcher)
        provisioner = self.provision(self.command(), launcher)
        verifyObject(IKernelProvisioner, provisioner)
        process = (await self.launch_with(provisioner)).process
        verifyObject(IKernelProcess, process)
        self.assertTrue(process.describe())
        self.assertTrue(provisioner.detach())

    def test_prepare(self) -> None:
        """
        A launch spec has the kernelspec and the client's variables, unless no process can have
        these.
        """
        launcher, spec = self.make_launcher(), kernel_spec(argv=tuple(self.command()))
        prepared = launcher.prepare("1-2-3-4-5", spec, StartRequest(env={"KERNEL_A": "1"}))
        self.assertEqual((prepared.kernel_id, prepared.spec), ("1-2-3-4-5", spec))
        self.assertEqual(prepared.env["KERNEL_A"], "1")
        bad: Any = ({"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "x\0"})
        for env in bad:
            request = StartRequest(env=env)
            self.assertRaises(InvalidRequest, launcher.prepare, "1-2-3-4-5", spec, request)

    async def test_connection(self) -> None:
        """
        If a connection is announced, it is the one that the launch gives; the next process of the
        kernel has the same, and another kernel has neither its address nor its key.
        """
        launcher = self.make_launcher()
        found = []
        for provisioner in [self.provision(self.command(), launcher) for _ in range(2)]:
            announced: list[ConnectionInfo] = []
            first = await self.launch_with(provisioner, announced)
            self.assertIn(announced, ([], [first.connection]))
            first.process.signal(signal.SIGKILL)
            await first.process.when_ended()
            second = await self.launch_with(provisioner)
            self.assertEqual(second.connection, first.connection)
            found.append(first.connection)
        one, other = found
        self.assertNotEqual(one.key, other.key)
        self.assertNotEqual(one.url("shell"), other.url("shell"))

    async def test_cleanup(self) -> None:
        """
        A provisioner may be cleaned up before any launch, and twice.
        """
        provisioner = self.provision(self.command())
        provisioner.cleanup()
        provisioner.cleanup()
        ended = self.provision(self.command())
        process = (await self.launch_with(ended)).process
        process.signal(signal.SIGKILL)
        await process.when_ended()
        ended.cleanup()
        ended.cleanup()

    async def test_ends_by_a_signal(self) -> None:
        """
        A process that is killed tells the signal of which it died.
        """
        process = await self.launch()
        process.signal(signal.SIGKILL)
        self.assertEqual(await process.when_ended(), ExitStatus(signal=signal.SIGKILL))

    async def test_each_waiter_has_a_deferred(self) -> None:
        """
        A caller that gives up waiting disturbs no other that waits.
        """
        process = await self.launch()
        impatient, patient = process.when_ended(), process.when_ended()
        impatient.addErrback(lambda failure: failure.trap(CancelledError))
        impatient.cancel()
        process.signal(signal.SIGTERM)
        self.assertEqual(await patient, ExitStatus(signal=signal.SIGTERM))

    async def test_after_the_end(self) -> None:
        """
        A signal to an ended process does nothing, and later callers get its end, too.
        """
        process = await self.launch()
        process.signal(signal.SIGKILL)
        ended = await process.when_ended()
        process.signal(signal.SIGTERM)
        self.assertEqual(await process.when_ended(), ended)

    async def test_missing_executable(self) -> None:
        """
        A missing executable is named in the failure.
        """
        launching = self.provision([MISSING_EXECUTABLE]).launch(lambda _: None)
        error = await self.assertFailure(launching, KernelStartFailed)
        self.assertIn(MISSING_EXECUTABLE, str(error))


class KernelsContract(SynchronousTestCase):
    """
    What every ``IKernels`` promises. To be mixed into a ``SynchronousTestCase``; the launcher and
    the relay below the kernels must carry out everything at once.
    """

    @abstractmethod
    def make_kernels(self, settings: Settings) -> IKernels:
        """
        :return: A new one, without kernels, with the kernelspecs ``python3`` and ``bash``.
        """

    def start(self, kernels: IKernels, **fields: Any) -> IKernel:
        """
        Start a kernel.

        :param fields: The fields of the :py:class:`StartRequest`.
        """
        return self.successResultOf(kernels.start(StartRequest(**fields)))

    def refusal(self, kernels: IKernels, error: type[Exception], **fields: Any) -> str:
        """
        Check that a kernel is refused, and that nothing is left of it.

        :return: The message of the failure.
        """
        before = list(kernels.list())
        failure = self.failureResultOf(kernels.start(StartRequest(**fields)), error)
        self.assertEqual(list(kernels.list()), before)
        return str(failure.value)

    def test_provides_the_interfaces(self) -> None:
        """
        They provide IKernels, and each kernel provides IKernel.
        """
        kernels = self.make_kernels(Settings())
        verifyObject(IKernels, kernels)
        verifyObject(IKernel, self.start(kernels))

    def test_a_new_kernel(self) -> None:
        """
        A kernel that was just started is found under its id, and is unused.
        """
        kernels = self.make_kernels(Settings())
        kernel = self.start(kernels)
        self.assertIs(kernels.get(kernel.kernel_id), kernel)
        self.assertIs(kernels.claim(kernel.kernel_id), kernel)
        self.assertEqual((kernel.name, kernel.spec.name), ("python3", "python3"))
        self.assertEqual(kernel.execution_state, "starting")
        self.assertGreaterEqual(kernel.last_used, kernel.started)
        self.assertIsNone(kernel.busy_since)
        self.assertFalse(kernel.stopping)
        self.assertEqual(kernel.channels.pending_executions, 0)
        self.assertEqual(kernel.connections, 0)
        self.assertEqual(kernel.reason, "")
        self.assertGreater(kernel.last_activity, 0)

    def test_listed_in_order(self) -> None:
        """
        Kernels are listed in the order in which they were started, under ids of their own.
        """
        kernels = self.make_kernels(Settings())
        started = [self.start(kernels) for _ in range(5)]
        self.assertEqual(list(kernels.list()), started)
        self.assertEqual(list(kernels.listed()), started)
        self.assertEqual(len({kernel.kernel_id for kernel in started}), 5)

    def test_names(self) -> None:
        """
        The request names the kernelspec, in upper or lower case; ``python`` stands for ``python3``,
        and no name for the default.
        """
        kernels = self.make_kernels(Settings(default_kernel_name="bash"))
        for asked, name in (("python", "python3"), ("PYTHON3", "python3"), (None, "bash")):
            self.assertEqual(self.start(kernels, name=asked).name, name)

    def test_forced_name(self) -> None:
        """
        ``force_kernel_name`` overrides the request.
        """
        kernels = self.make_kernels(Settings(force_kernel_name="bash"))
        self.assertEqual(self.start(kernels, name="python3").name, "bash")

    def test_unknown_name(self) -> None:
        """
        The error names a kernelspec that is not installed.
        """
        kernels = self.make_kernels(Settings())
        message = self.refusal(kernels, NoSuchKernelSpec, name="Cobol")
        self.assertEqual(message, "No such kernel: Cobol")

    def test_chosen_id(self) -> None:
        """
        A kernel gets the id that the client asks for; asking again gives the same kernel.
        """
        kernels = self.make_kernels(Settings(max_kernels=1))
        kernel = self.start(kernels, kernel_id="a-b-c-d-e")
        self.assertEqual(kernel.kernel_id, "a-b-c-d-e")
        self.assertIs(self.start(kernels, kernel_id="a-b-c-d-e"), kernel)

    def test_bad_ids(self) -> None:
        """
        An id is refused that has no route in HTTP, or cannot be part of a file name.
        """
        kernels = self.make_kernels(Settings())
        too_long = "a-b-c-d-" + 100 * "e"
        for bad in ("", "abc", "a-b-c-d-e-", "../-b-c-d-e", "\u00e4-b-c-d-e", too_long):
            self.refusal(kernels, InvalidRequest, kernel_id=bad)

    def test_bad_environment(self) -> None:
        """
        An environment that no process can have is refused.
        """
        kernels = self.make_kernels(Settings())
        for bad in ({"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "x\0"}):
            self.refusal(kernels, InvalidRequest, env=bad)

    def test_limit(self) -> None:
        """
        No more kernels than the settings allow; a stopped one makes room.
        """
        kernels = self.make_kernels(Settings(max_kernels=2))
        first = self.start(kernels)
        self.assertTrue(kernels.has_room())
        self.start(kernels)
        self.assertFalse(kernels.has_room())
        self.assertEqual(self.refusal(kernels, KernelLimitReached), "Resource Limit")
        self.successResultOf(kernels.stop(first.kernel_id))
        self.assertTrue(kernels.has_room())
        self.start(kernels)

    def test_refused_starts_take_no_room(self) -> None:
        """
        Starts that failed do not count.
        """
        kernels = self.make_kernels(Settings(max_kernels=1))
        self.refusal(kernels, NoSuchKernelSpec, name="cobol")
        self.refusal(kernels, InvalidRequest, kernel_id="x")
        self.start(kernels)

    def test_unknown_kernel(self) -> None:
        """
        Every request for a kernel that does not run fails with its id.
        """
        kernels = self.make_kernels(Settings())
        says = "Kernel does not exist: 1-2-3-4-5"
        for find in (kernels.get, kernels.claim):
            self.assertEqual(str(self.assertRaises(NoSuchKernel, find, "1-2-3-4-5")), says)
        for ask in (kernels.interrupt, kernels.restart, kernels.stop):
            failure = self.failureResultOf(ask("1-2-3-4-5"), NoSuchKernel)
            self.assertEqual(str(failure.value), says)

    def test_stop(self) -> None:
        """
        A stopped kernel is gone, and its clients are told.
        """
        kernels = self.make_kernels(Settings())
        kernel, other = self.start(kernels), self.start(kernels)
        self.successResultOf(kernels.stop(kernel.kernel_id))
        self.assertRaises(NoSuchKernel, kernels.get, kernel.kernel_id)
        self.assertEqual(list(kernels.list()), [other])
        self.assertEqual(kernel.execution_state, "dead")
        self.assertTrue(kernel.stopping)
        self.assertEqual(kernel.channels.closed, (1000, "Kernel shut down"))

    def test_stop_for_a_reason(self) -> None:
        """
        Clients get the reason of a stop, also those that ask for the kernel afterwards.
        """
        kernels = self.make_kernels(Settings())
        kernel = self.start(kernels)
        self.successResultOf(kernels.stop(kernel.kernel_id, "It was time"))
        self.assertEqual(kernel.channels.closed, (1000, "It was time"))
        self.assertEqual(kernel.reason, "It was time")
        error = self.assertRaises(NoSuchKernel, kernels.get, kernel.kernel_id)
        says = f"Kernel does not exist: {kernel.kernel_id} (it ended: It was time)"
        self.assertEqual(str(error), says)

    def test_interrupt_and_restart(self) -> None:
        """
        Neither an interrupt nor a restart changes a kernel's id, its channels or its place.
        """
        kernels = self.make_kernels(Settings())
        kernel = self.start(kernels)
        self.start(kernels)
        channels = kernel.channels
        self.successResultOf(kernels.interrupt(kernel.kernel_id))
        self.successResultOf(kernels.restart(kernel.kernel_id))
        self.assertIs(kernels.list()[0], kernel)
        self.assertIs(kernel.channels, channels)
        self.assertIsNone(kernel.channels.closed)
        self.assertEqual(kernel.execution_state, "starting")

    def test_stop_all(self) -> None:
        """
        After stop_all no kernel is left, and none is started any more.
        """
        kernels = self.make_kernels(Settings())
        started = [self.start(kernels) for _ in range(3)]
        self.successResultOf(kernels.stop_all())
        self.assertEqual(list(kernels.list()), [])
        self.assertTrue(all(kernel.channels.closed for kernel in started))
        self.refusal(kernels, KernelStartFailed)
