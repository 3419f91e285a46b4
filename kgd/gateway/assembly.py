"""
Makes a gateway's components from its settings: the one place that knows all concrete classes.

Importing this module chooses a reactor, because txZMQ does, so it is imported only when a gateway
starts; by then the application has chosen its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from kgd.auth.token import AuthToken
from kgd.gateway.context import GatewayContext, StartupEnvironment
from kgd.interfaces import IRelay
from kgd.kernels.local.connection_links import ConnectionFileLinks
from kgd.kernels.local.launcher import LocalLauncher
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.watchdog import Watchdog
from kgd.kernels.registry import KernelRegistry
from kgd.kernels.specs import InstalledKernelSpecs
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.observability.reactor_lag import LagMeter
from kgd.open_files import FileBudget
from kgd.relay.relay import Relay
from kgd.settings import Settings


@attrs.frozen
class Components:
    """
    The components that a gateway starts and stops, except for its personality.
    """

    context: GatewayContext
    relay: IRelay
    lag: LagMeter


def assemble(
    reactor: Any,
    settings: Settings,
    startup: StartupEnvironment,
    token: AuthToken,
    counters: Counters,
) -> Components:
    """
    Make the components; nothing is opened or started.
    """
    specs = InstalledKernelSpecs(
        allowed=settings.allowed_kernelspecs, native=settings.ensure_native_kernel
    )
    audit = AuditLog(settings.audit_log, settings.audit_code, token.scrubber)
    relay = Relay(reactor, settings, counters)
    runtime = RuntimeDirectory(
        Path(settings.connection_dir) if settings.connection_dir else startup.runtime,
        user=settings.kernel_user,
        keeps_kernels=settings.keep_kernels,
        watchdog=Watchdog(reactor),
        links=ConnectionFileLinks(startup.runtime) if settings.link_connection_files else None,
    )
    files = FileBudget()
    kernels = KernelRegistry(
        reactor,
        settings,
        specs,
        LocalLauncher(
            reactor,
            settings,
            runtime,
            startup.environ,
            relay.new_curve_keys,
            open_files=startup.open_files,
            scrub=token.scrubber,
        ),
        relay,
        counters=counters,
        audit=audit,
        files=files,
    )
    context = GatewayContext(
        reactor,
        settings,
        kernels,
        specs,
        runtime,
        counters=counters,
        audit=audit,
        token=token,
        files=files,
    )
    return Components(context, relay, LagMeter(reactor, counters))
