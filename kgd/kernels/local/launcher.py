"""
The launcher of kernels that run on this machine, as processes of the gateway.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd.errors import KernelStartFailed, UnusableKernelSpec
from kgd.interfaces import (
    KERNEL_FILE,
    IKernelLauncher,
    IKernelProvisioner,
    KernelSpec,
    Launched,
    LaunchSpec,
    Limits,
    StartRequest,
)
from kgd.kernels.local.command import kernel_command, working_directory
from kgd.kernels.local.environment import (
    adapt_to_user,
    check_client_environment,
    kernel_environment,
)
from kgd.kernels.local.ports import PortLeases
from kgd.kernels.local.process import LocalProcess, ProcessSpawner
from kgd.kernels.local.rlimits import limits_of
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.transport import ConnectionAllocator, KernelConnection
from kgd.protocol.connection_file import ConnectionInfo, CurveKeys
from kgd.settings import Settings

# The provisioner of a kernelspec that wants processes of this machine, if it names one at all.
_LOCAL_PROVISIONER = "local-provisioner"

Spawn = Callable[
    [str, Sequence[str], Mapping[str, str], str, Limits],
    Deferred[LocalProcess],
]


@implementer(IKernelLauncher)
class LocalLauncher:
    """
    Starts kernels on this machine.

    :param environ: The gateway's environment.
    :param new_keys: Makes keys for encryption.
    :param ports: TCP ports for kernels; by default those of this machine.
    :param spawn: Starts a process; by default :py:meth:`ProcessSpawner.spawn`.
    :param open_files: The soft limit of open files for kernels that are given none.
    :param scrub: Removes secrets from a text.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        runtime: RuntimeDirectory,
        environ: Mapping[str, str],
        new_keys: Callable[[], CurveKeys],
        *,
        ports: PortLeases | None = None,
        spawn: Spawn | None = None,
        open_files: int | None = None,
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._runtime = runtime
        self._environ = environ
        self._connections = ConnectionAllocator(
            settings, ports or PortLeases(ip=settings.kernel_ip), runtime, new_keys
        )
        self._spawn = (
            spawn
            or ProcessSpawner(
                reactor,
                runtime,
                open_files=open_files,
                oom_score_adj=settings.kernel_oom_score_adj,
                scrub=scrub,
            ).spawn
        )

    def prepare(self, kernel_id: str, spec: KernelSpec, request: StartRequest) -> LaunchSpec:
        _check_is_local(spec)
        wanted = request.env
        if wanted is not None:
            wanted = check_client_environment(wanted)
        limits = limits_of(self._settings, spec)
        return LaunchSpec(
            kernel_id=kernel_id,
            spec=spec,
            env=self._environment(spec, wanted),
            cwd=self._working_directory(request.path)
            if not request.has_private_directory
            else str(self._runtime.working_directory(kernel_id)),
            limits=limits,
            has_private_directory=request.has_private_directory,
        )

    def _environment(self, spec: KernelSpec, wanted: Mapping[str, str] | None) -> Mapping[str, str]:
        settings, user = self._settings, self._runtime.user
        return kernel_environment(
            self._environ if user is None else adapt_to_user(self._environ, user.environment),
            wanted,
            spec.env,
            inherit=settings.env_process_whitelist,
            accept=settings.env_whitelist,
            hide=self._secret_variables(),
            parent_pid=None if settings.keep_kernels else os.getpid(),
        )

    def _secret_variables(self) -> set[str]:
        """
        :return: The variables that hold the token, also when it was given in another way.
        """
        token = self._settings.auth_token
        found = {name for name, value in self._environ.items() if token and value == token}
        return {self._settings.auth_token_env, *found}

    def _working_directory(self, path: str | None) -> str:
        cwd = working_directory(self._settings.root_dir, path)
        user = self._runtime.user
        if user is not None and not user.may_enter(Path(cwd)):
            raise KernelStartFailed(
                f"Kernels run as {user.name}, who cannot enter the directory {cwd}; allow that, or "
                "choose another directory with --root-dir"
            )
        return cwd

    def provision(self, spec: LaunchSpec) -> IKernelProvisioner:
        connection = self._connections.allocate(spec.kernel_id, spec.spec)
        return LocalProvisioner(spec, connection, self._spawn, self._runtime, self._in_thread)

    def _in_thread(self, action: Callable[[], None]) -> None:
        self._reactor.callInThread(action)


def _check_is_local(spec: KernelSpec) -> None:
    """
    :raises kgd.errors.KernelStartFailed: when the kernelspec wants its kernels to run elsewhere.
    """
    provisioner = spec.metadata.get("kernel_provisioner")
    name = (
        provisioner.get("provisioner_name", _LOCAL_PROVISIONER)
        if isinstance(provisioner, dict)
        else _LOCAL_PROVISIONER
    )
    if name != _LOCAL_PROVISIONER:
        raise KernelStartFailed(
            f"The kernelspec {spec.name} asks for the provisioner {name!r}, but this gateway "
            "starts processes of its own machine only; choose another kernelspec"
        )


@implementer(IKernelProvisioner)
class LocalProvisioner:
    """
    Launches the processes of one kernel on this machine. The gateway chooses where they listen,
    and so announces the connection before each of them starts.

    :param in_thread: Does in a thread what may take long, with nobody waiting for it.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        connection: KernelConnection,
        spawn: Spawn,
        runtime: RuntimeDirectory,
        in_thread: Callable[[Callable[[], None]], None],
    ) -> None:
        self._spec = spec
        self._connection = connection
        self._spawn = spawn
        self._runtime = runtime
        self._in_thread = in_thread
        self._process: LocalProcess | None = None

    def launch(
        self, announce: Callable[[ConnectionInfo], None], *, new_address: bool = False
    ) -> Deferred[Launched]:
        return maybeDeferred(self._launch, announce, new_address)

    def _launch(
        self, announce: Callable[[ConnectionInfo], None], new_address: bool
    ) -> Deferred[Launched]:
        spec = self._spec
        if spec.has_private_directory:
            self._runtime.make_working_directory(spec.cwd)
        info, file = self._connection.write(new_address=new_address)
        announce(info)
        argv = kernel_command(
            spec.spec.argv, connection_file=file, resource_dir=spec.spec.directory
        )
        spawning = self._spawn(spec.kernel_id, argv, spec.env, spec.cwd, spec.limits)
        return spawning.addCallbacks(self._launched, self._launch_failed, callbackArgs=(info,))

    def _launched(self, process: LocalProcess, info: ConnectionInfo) -> Launched:
        self._process = process
        self._connection.record(process.pid)
        return Launched(process, info)

    def _launch_failed(self, failure: Failure) -> Failure:
        if failure.check(UnusableKernelSpec):  # type: ignore[no-untyped-call]
            file = self._spec.spec.directory / KERNEL_FILE
            raise UnusableKernelSpec(f"{failure.getErrorMessage()} in {file}")
        return failure

    def detach(self) -> str:
        process = "no process" if self._process is None else self._process.describe()
        return f"{process}, connection file {self._connection.file}"

    def cleanup(self) -> None:
        self._connection.release()
        if self._spec.has_private_directory:
            self._in_thread(self._runtime.remove_working_directory(self._spec.cwd))
