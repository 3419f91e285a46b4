"""
Which classes a gateway is made of.

Only here are all of them known. Importing this module chooses a reactor, because txZMQ does: it has
to wait until the application has chosen its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from kgd.audit import Audit
from kgd.auth import AuthToken
from kgd.interfaces import IRelay
from kgd.kernels.process import LocalLauncher
from kgd.kernels.registry import KernelRegistry
from kgd.kernels.runtime import RuntimeDirectory
from kgd.kernels.specs import InstalledKernelSpecs
from kgd.kernels.watchdog import Watchdog
from kgd.lag import LagMeter
from kgd.parts import Parts
from kgd.relay.relay import Relay
from kgd.settings import Settings
from kgd.surroundings import Surroundings
from kgd.tally import Tally
from kgd.web.operations import operations
from kgd.web.routes import RouteTable


@attrs.frozen
class House:
    """
    All that a gateway starts and stops, but its personality.
    """

    parts: Parts
    relay: IRelay
    lag: LagMeter
    operations: RouteTable


def assemble(
    reactor: Any, settings: Settings, surroundings: Surroundings, token: AuthToken, tally: Tally
) -> House:
    """
    Join the pieces; nothing is opened.
    """
    specs = InstalledKernelSpecs(
        allowed=settings.allowed_kernelspecs, native=settings.ensure_native_kernel
    )
    audit = Audit(settings.audit_log, settings.audit_code, token.scrubber)
    relay = Relay(reactor, settings, tally)
    runtime = RuntimeDirectory(
        Path(settings.connection_dir) if settings.connection_dir else surroundings.runtime,
        user=settings.kernel_user,
        keeps=settings.keep_kernels,
        watchdog=Watchdog(reactor),
    )
    kernels = KernelRegistry(
        reactor,
        settings,
        specs,
        LocalLauncher(reactor, runtime=runtime, open_files=surroundings.open_files),
        relay,
        runtime,
        surroundings.environ,
        tally=tally,
        audit=audit,
    )
    parts = Parts(reactor, settings, kernels, specs, runtime, tally=tally, audit=audit, token=token)
    return House(parts, relay, LagMeter(reactor, tally), operations(parts))
