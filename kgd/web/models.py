"""
The JSON of the REST API: what requests and responses hold.

Each class is encoded, decoded and described (see :py:mod:`kgd.web.api.openapi`) from this one
definition. Fields with a default may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import UNSET, Meta, Struct, UnsetType

from kgd import interfaces
from kgd.protocol.timestamps import timestamp

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

#: The form of the ids of kernels and sessions.
KERNEL_ID = "[A-Za-z0-9_]+(-[A-Za-z0-9_]+){4}"
# What is checked elsewhere; an empty one counts as none.
WantedId = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^({KERNEL_ID})?$", "maxLength": 100})
]

# --- responses ------------------------------------------------------------------------------------


class Error(Struct):
    """
    The body of every refusal.

    :ivar reason: The phrase of the status.
    :ivar message: More about it, or the empty string.
    :ivar short_message: The same text as ``message``, shorter.
    """

    reason: str
    message: str
    short_message: str | UnsetType = UNSET


class ApiInfo(Struct):
    """
    What ``/api`` tells.
    """

    version: str
    kgd: str = ""


class Kernel(Struct):
    """
    A kernel in ``/api/kernels``.
    """

    id: str
    name: str
    last_activity: Time
    execution_state: str
    connections: int
    reason: str | UnsetType = UNSET


class KernelSpecFile(Struct, kw_only=True):
    """
    What a ``kernel.json`` holds.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = {}
    display_name: str
    language: str
    interrupt_mode: str = ""
    metadata: Mapping[str, Any] = {}
    kernel_protocol_version: str = ""


class KernelSpec(Struct):
    """
    A kernelspec in ``/api/kernelspecs``.

    :ivar resources: URLs of its files, by key.
    """

    name: str
    spec: KernelSpecFile
    resources: dict[str, str]


class KernelSpecs(Struct):
    """
    What ``/api/kernelspecs`` tells.
    """

    default: str
    kernelspecs: dict[str, KernelSpec]


class Notebook(Struct):
    """
    The notebook of a session, for old clients.
    """

    path: str = ""
    name: str = ""


class Session(Struct):
    """
    A session in ``/api/sessions``.
    """

    id: str
    path: str
    name: str
    type: str
    kernel: Kernel
    notebook: Notebook


class Status(Struct):
    """
    What ``/api/status`` tells.
    """

    connections: int
    kernels: int
    last_activity: Time
    started: Time


class Drain(Struct):
    """
    What ``/api/drain`` tells.

    :ivar kernels: How many kernels still run.
    """

    draining: bool
    kernels: int


class User(Struct):
    """
    The identity in ``/api/me``.
    """

    username: str
    name: str
    display_name: str
    initials: str
    avatar_url: Any = None
    color: Any = None


class Me(Struct):
    """
    What ``/api/me`` tells.
    """

    identity: User
    permissions: dict[str, list[str]]


def kernel_model(kernel: interfaces.IKernel) -> Kernel:
    """
    :return: What ``/api/kernels`` shows of a kernel.
    """
    return Kernel(
        id=kernel.kernel_id,
        name=kernel.name,
        last_activity=timestamp(kernel.last_activity),
        execution_state=kernel.execution_state,
        connections=kernel.connections,
        reason=kernel.reason or UNSET,
    )


def session_model(session: interfaces.Session) -> Session:
    """
    :return: What ``/api/sessions`` shows of a session.
    """
    return Session(
        id=session.session_id,
        path=session.path,
        name=session.name,
        type=session.type,
        kernel=kernel_model(session.kernel),
        notebook=Notebook(path=session.path, name=session.name),
    )


def kernelspec_model(spec: interfaces.KernelSpec, base: str) -> KernelSpec:
    """
    :param base: The base URL.
    :return: What ``/api/kernelspecs`` shows of a kernelspec.
    """
    return KernelSpec(
        name=spec.name,
        spec=KernelSpecFile(
            argv=spec.argv,
            env=spec.env,
            display_name=spec.display_name,
            language=spec.language,
            interrupt_mode=spec.interrupt_mode,
            metadata=spec.metadata,
            kernel_protocol_version=spec.kernel_protocol_version,
        ),
        resources={
            key: f"{base}/kernelspecs/{quote(spec.name)}/{quote(file)}"
            for key, file in spec.resources.items()
        },
    )


# --- requests -------------------------------------------------------------------------------------


class StartKernel(Struct):
    """
    The body of ``POST /api/kernels``.
    """

    name: str | None = None
    path: str | None = None
    env: dict[str, str] | UnsetType = UNSET
    kernel_id: WantedId | None = None


class KernelChoice(Struct):
    """
    The kernel that a session is to have: a running one, or a new one of a kernelspec.
    """

    id: WantedId | None = None
    name: str | None = None


class SessionBody(Struct):
    """
    The body of ``POST`` and ``PATCH`` for sessions.
    """

    path: str | None = None
    type: str | None = None
    name: str | None = None
    kernel: KernelChoice | None = None


class NotebookName(Struct):
    """
    The notebook of a session, as old clients send it.
    """

    path: str | None = None
    name: str | None = None


class AnySessionBody(SessionBody):
    """
    The same, also in the form of old clients, in which a session was a notebook's.
    """

    notebook: NotebookName | None = None
