"""
What a gateway gives its personality to work with, and the environment that it started in.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kgd.auth.token import AuthToken
from kgd.execution.executor import execute_once
from kgd.interfaces import IGateway, IKernel, IKernels, IKernelSpecs
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.open_files import FileBudget
from kgd.protocol.outputs import Outputs
from kgd.settings import Settings
from kgd.shutdown import Draining, OpenSockets

if TYPE_CHECKING:
    from kgd.web.operations.routes import Operations


def _make_operations(context: GatewayContext) -> Operations:
    # Importing this imports Klein, which chooses a reactor if none has been chosen.
    from kgd.web.operations.routes import Operations

    return Operations(context)


@implementer(IGateway)
@attrs.frozen
class GatewayContext:
    """
    The parts of one gateway that its personality uses.

    :ivar runtime: Something with ``open()``, ``close()``, ``make_directory(name)``,
        ``hand_over(path)`` and ``as_kernel_user()`` for files that go with the gateway.
    """

    reactor: IReactorTime
    settings: Settings
    kernels: IKernels
    kernel_specs: IKernelSpecs
    runtime: Any
    draining: Draining = attrs.field(factory=Draining)
    counters: Counters = attrs.field(factory=Counters)
    audit: AuditLog = attrs.field(factory=AuditLog)
    token: AuthToken = attrs.Factory(lambda self: AuthToken(self.settings), takes_self=True)
    open_sockets: OpenSockets = attrs.field(factory=OpenSockets)
    files: FileBudget = attrs.field(factory=FileBudget)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    operations: Operations = attrs.Factory(_make_operations, takes_self=True)

    def private_directory(self, name: str) -> Path:
        return self.runtime.make_directory(name)  # type: ignore[no-any-return]

    def hand_over(self, *paths: Path) -> None:
        self.runtime.hand_over(*paths)

    def as_kernel_user(self) -> AbstractContextManager[None]:
        return self.runtime.as_kernel_user()  # type: ignore[no-any-return]

    def run(self, kernel: IKernel, source: str) -> Deferred[Outputs]:
        return execute_once(kernel, source, self.settings.max_response_size)


_RUNTIME_DIR_VARIABLE = "JUPYTER_RUNTIME_DIR"


@attrs.frozen
class StartupEnvironment:
    """
    The process's environment when the gateway was made. By the time it starts, the process may have
    another user, another directory and a higher limit of open files.

    :ivar environ: Variables from which kernels' environments are made.
    :ivar open_files: The soft limit of open files, which kernels get.
    :ivar runtime: ``JUPYTER_RUNTIME_DIR``, if it is set.
    """

    environ: Mapping[str, str]
    open_files: int
    runtime: Path | None

    @classmethod
    def capture(cls, environ: Mapping[str, str] | None) -> StartupEnvironment:
        """
        :param environ: Variables for kernels, if not the process's own.
        """
        runtime = os.environ.get(_RUNTIME_DIR_VARIABLE)
        return cls(
            os.environ if environ is None else environ,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            Path(runtime).absolute() if runtime else None,
        )
