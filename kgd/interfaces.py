"""
The interfaces of kgd, which are defined beside the packages that provide them.

Times are seconds, sizes are bytes. A method that returns a Deferred may be called by several
waiters at once; each gets a Deferred of its own, so that cancelling one harms no other.
"""

from kgd.kernels.interfaces import (
    CULLED,
    GATEWAY_SHUTS_DOWN,
    NO_LIMITS,
    SHUT_DOWN,
    Ended,
    IKernel,
    IKernelLauncher,
    IKernelProcess,
    IKernelProvisioner,
    IKernels,
    IKernelSpecs,
    KernelSpec,
    Launched,
    LaunchSpec,
    Limits,
    Seed,
    StartRequest,
)
from kgd.personalities.interfaces import (
    Access,
    ICellParser,
    IDrainable,
    IGateway,
    IPersonality,
    IPersonalityMaker,
    PersonalityOption,
)
from kgd.relay.interfaces import (
    ClientStats,
    IAttachment,
    IClient,
    IKernelChannels,
    IKernelObserver,
    IRelay,
)
from kgd.sessions.interfaces import ISessions, Session, SessionRequest

__all__ = [
    "CULLED",
    "GATEWAY_SHUTS_DOWN",
    "NO_LIMITS",
    "SHUT_DOWN",
    "Access",
    "ClientStats",
    "Ended",
    "IAttachment",
    "ICellParser",
    "IClient",
    "IDrainable",
    "IGateway",
    "IKernel",
    "IKernelChannels",
    "IKernelLauncher",
    "IKernelObserver",
    "IKernelProcess",
    "IKernelProvisioner",
    "IKernelSpecs",
    "IKernels",
    "IPersonality",
    "IPersonalityMaker",
    "IRelay",
    "ISessions",
    "KernelSpec",
    "LaunchSpec",
    "Launched",
    "Limits",
    "PersonalityOption",
    "Seed",
    "Session",
    "SessionRequest",
    "StartRequest",
]
