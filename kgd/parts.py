"""
The pieces of a gateway that its personality works with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from kgd.audit import Audit
from kgd.auth import AuthToken
from kgd.draining import Draining
from kgd.interfaces import IGateway, IKernel, IKernels, IKernelSpecs
from kgd.notebook.api import Outputs
from kgd.open_sockets import OpenSockets
from kgd.relay.running import run
from kgd.settings import Settings
from kgd.tally import Tally


@implementer(IGateway)
@attrs.frozen
class Parts:
    """
    The pieces of a gateway, for its personality.

    :ivar runtime: Something with ``open()``, ``close()``, ``directory(name)`` and
        ``hand_over(path)`` for files that go with the gateway.
    """

    reactor: Any
    settings: Settings
    kernels: IKernels
    kernel_specs: IKernelSpecs
    runtime: Any
    draining: Draining = attrs.field(factory=Draining)
    tally: Tally = attrs.field(factory=Tally)
    audit: Audit = attrs.field(factory=Audit)
    token: AuthToken = attrs.Factory(lambda self: AuthToken(self.settings), takes_self=True)
    open_sockets: OpenSockets = attrs.field(factory=OpenSockets)
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def private_directory(self, name: str) -> Path:
        """
        Make a directory in the runtime directory.
        """
        return self.runtime.directory(name)  # type: ignore[no-any-return]

    def hand_over(self, *paths: Path) -> None:
        """
        Let kernels have files of ours.
        """
        self.runtime.hand_over(*paths)

    def run(self, kernel: IKernel, source: str) -> Deferred[Outputs]:
        """
        Run code in a kernel.
        """
        return run(kernel, source, self.settings.max_response_size)
