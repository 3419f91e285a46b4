"""
The JSON of the REST API: what requests and responses hold.

Each class is encoded, decoded and described (see :py:mod:`kgd.web.api.openapi`) from this one
definition. Fields with a default may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import UNSET, Meta, Struct, UnsetType

from kgd import interfaces
from kgd.execution.submitted import SubmittedExecution
from kgd.protocol.timestamps import timestamp
from kgd.web.confined import FileInfo, Listing

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


class ExecutionError(Struct):
    """
    The error with which code has ended.
    """

    ename: str
    evalue: str
    traceback: list[str]


class ExecutionSummary(Struct, kw_only=True):
    """
    An execution in the list of a kernel's.

    :ivar state: ``queued``, ``running`` or ``done``.
    :ivar status: How it has ended: ``ok``, ``error``, ``timeout``, ``interrupted`` or ``died``.
    """

    execution_id: str
    state: Literal["queued", "running", "done"]
    status: Literal["ok", "error", "timeout", "interrupted", "died"] | None
    created: Time
    started: Time | None
    duration: float | None


class Execution(ExecutionSummary, kw_only=True):
    """
    An execution, and what has come of it so far.

    :ivar outputs: In the form of nbformat; missing at the end of a stream of them.
    :ivar outputs_complete: Whether these are all outputs that are not cleared.
    :ivar ended_by: What it took to end it: ``interrupt``, or ``restart`` of the kernel.
    :ivar input_request: The input that it waits for.
    """

    execution_count: int | None
    outputs: list[dict[str, Any]] | UnsetType = UNSET
    outputs_complete: bool | UnsetType = UNSET
    error: ExecutionError | None
    user_expressions: Mapping[str, Any]
    ended_by: Literal["interrupt", "restart"] | None = None
    input_request: dict[str, Any] | None = None


class File(Struct, kw_only=True):
    """
    A file in a kernel's working directory.

    :ivar path: Below that.
    :ivar size: In bytes.
    """

    path: str
    type: Literal["file", "directory", "link", "other"]
    size: int
    modified: Time


class DirectoryEntry(Struct, kw_only=True):
    """
    The same in a listing, where it has a name.
    """

    name: str
    type: Literal["file", "directory", "link", "other"]
    size: int
    modified: Time


class Directory(Struct, kw_only=True):
    """
    A listing of a directory.

    :ivar complete: Whether that is all that is in there.
    """

    path: str
    type: Literal["directory"] = "directory"
    entries: list[DirectoryEntry]
    complete: bool


def file_model(path: str, info: FileInfo) -> File:
    """
    :return: What is shown of a file.
    """
    return File(
        path=path,
        type=info.type,  # type: ignore[arg-type]
        size=info.size,
        modified=timestamp(info.modified),
    )


def directory_model(path: str, listing: Listing) -> Directory:
    """
    :return: What is shown of a directory.
    """
    entries = [
        DirectoryEntry(
            name=name,
            type=info.type,  # type: ignore[arg-type]
            size=info.size,
            modified=timestamp(info.modified),
        )
        for name, info in listing.entries.items()
    ]
    return Directory(path=path, entries=entries, complete=listing.is_complete)


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


def execution_summary(submitted: SubmittedExecution) -> ExecutionSummary:
    """
    :return: What the list of executions shows of one.
    """
    return ExecutionSummary(**_summary(submitted))


def execution_model(submitted: SubmittedExecution, *, with_outputs: bool = True) -> Execution:
    """
    :return: What is shown of an execution.
    """
    error = submitted.error
    return Execution(
        **_summary(submitted),
        execution_count=submitted.execution_count,
        outputs=submitted.outputs.shown() if with_outputs else UNSET,
        outputs_complete=submitted.outputs.is_complete if with_outputs else UNSET,
        error=None if error is None else ExecutionError(**error),
        user_expressions=submitted.user_expressions,
        ended_by=submitted.ended_by or None,  # type: ignore[arg-type]
        input_request=submitted.input_request,
    )


def _summary(submitted: SubmittedExecution) -> dict[str, Any]:
    started = submitted.started
    return {
        "execution_id": submitted.execution_id,
        "state": submitted.state,
        "status": submitted.status or None,
        "created": timestamp(submitted.created),
        "started": None if started is None else timestamp(started),
        "duration": submitted.duration,
    }


# --- requests -------------------------------------------------------------------------------------


class StartKernel(Struct):
    """
    The body of ``POST /api/kernels``.

    :ivar workdir: Whether the kernel gets a working directory of its own.
    """

    name: str | None = None
    path: str | None = None
    env: dict[str, str] | UnsetType = UNSET
    kernel_id: WantedId | None = None
    workdir: Literal["shared", "private"] | None = None


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


class OutputChoice(Struct, forbid_unknown_fields=True, frozen=True):
    """
    How the outputs of an execution are to be prepared.

    :ivar ansi: Whether escape sequences of terminals are kept.
    :ivar max_text_bytes: How much of each text is kept, half of it from the end.
    :ivar mime: Of each display, only the first of these media types that it has is kept.
    :ivar artifacts: Whether outputs that are big or not text are replaced by URLs.
    """

    ansi: Literal["keep", "strip"] = "keep"
    max_text_bytes: Annotated[int, Meta(ge=2)] | None = None
    mime: tuple[str, ...] = ()
    artifacts: Literal["inline", "url"] = "inline"


class ExecuteCode(Struct, forbid_unknown_fields=True):
    """
    The body of ``POST /api/kernels/<kernel_id>/execute``.

    :ivar timeout: Seconds that the code may run.
    :ivar stdin: Whether it may ask for input.
    :ivar queue: Whether it may wait behind other code.
    :ivar on_error: What becomes of code that waits behind it when it fails.
    :ivar on_disconnect: What becomes of it when the client leaves.
    """

    code: str
    timeout: float | None = None
    stdin: bool = False
    store_history: bool = True
    silent: bool = False
    user_expressions: dict[str, str] = {}
    outputs: OutputChoice = OutputChoice()
    queue: Literal["wait", "reject"] = "wait"
    on_error: Literal["continue", "abort"] = "continue"
    on_disconnect: Literal["interrupt", "continue"] = "interrupt"


class InputValue(Struct, forbid_unknown_fields=True):
    """
    The answer to the input request of an execution.
    """

    value: str
