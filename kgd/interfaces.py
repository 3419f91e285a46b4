"""
Every seam of the gateway, and nothing else.

Times are seconds, sizes are bytes. A method that returns a Deferred may be called by several
waiters at once; each gets a Deferred of its own, so that cancelling one harms no other.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface

from kgd.audit import Audit
from kgd.draining import Draining
from kgd.notebook.api import NotebookAPI, NotebookSource, Outputs
from kgd.open_sockets import OpenSockets
from kgd.protocol.connection import ConnectionInfo, CurveKeys
from kgd.protocol.messages import Outgoing, Request
from kgd.settings import Settings
from kgd.tally import Tally

#: What clients are told of a kernel that somebody wanted gone.
SHUT_DOWN = "Kernel shut down"
#: What they are told of one that was culled begins with this.
CULLED = "Kernel culled"
#: What they are told when it is the gateway that ends.
GATEWAY_SHUTS_DOWN = "The gateway is shutting down"

# --- kernels --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KernelSpec:
    """
    An installed kernelspec, in the form in which ``/api/kernelspecs`` shows it.

    :ivar name: The canonical name, in lower case.
    :ivar directory: Where its resource files are.
    :ivar resources: Key (``logo-64x64``, ``kernel.js``) to file name.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    display_name: str
    language: str
    interrupt_mode: str
    metadata: Mapping[str, Any]
    kernel_protocol_version: str
    directory: Path
    resources: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Seed:
    """
    Code that runs in every process of a kernel before clients see it.

    :ivar kernel_name: The kernelspec it is for.
    :ivar cells: The number of a cell in its notebook, counted from 1, and its source.
    """

    kernel_name: str
    cells: tuple[tuple[int, str], ...]


@attrs.frozen(kw_only=True)
class StartRequest:
    """
    What somebody wants of a new kernel.

    :ivar name: A kernelspec; ``None`` is the default one.
    :ivar path: An API path below the root directory, from which the kernel's cwd follows.
    :ivar env: The client's variables, or ``None`` when it sent none; ``{}`` is not ``None``.
    :ivar kernel_id: The id under which to register the kernel; ``None`` lets the gateway choose.
    :ivar seed: What it shall run instead of the seed notebook of the settings.
    :ivar revive: Whether it is started again when it has worked and then dies; otherwise it is
        gone then.
    """

    name: str | None = None
    path: str | None = None
    env: Mapping[str, str] | None = None
    kernel_id: str | None = None
    seed: Seed | None = None
    revive: bool = True


@attrs.frozen
class Ended:
    """
    How a process ended: by itself with ``exit_code``, or by the signal ``signal``.

    :ivar cause: More about it, for people, if the launcher knows more.
    """

    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""

    def __str__(self) -> str:
        how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
        return f"{how}: {self.cause}" if self.cause else how


@attrs.frozen(kw_only=True)
class Limits:
    """
    How much of the machine each process of a kernel may use; 0 is no limit.

    :ivar memory: Bytes that only it can write to.
    :ivar cpu_seconds: Seconds of processor time.
    :ivar open_files: At a time; 0 is the number that is usual.
    :ivar processes: Processes and threads of the user that it runs as, at a time.
    :ivar file_size: Bytes in a file that it writes.
    :ivar nice: How much nicer than the gateway it is to others, from 0 to 19.
    """

    memory: int = 0
    cpu_seconds: int = 0
    open_files: int = 0
    processes: int = 0
    file_size: int = 0
    nice: int = 0


NO_LIMITS = Limits()


class IKernelSpecs(Interface):
    """
    The kernelspecs that are installed here.
    """

    def all() -> Mapping[str, KernelSpec]:
        """
        :return: Canonical name to spec; broken specs are logged and left out.
        """

    def has(name: str) -> bool:
        """
        Whether one of this name seems to be installed, found out without reading any.

        :param name: As for :py:meth:`find`.
        """

    def find(name: str) -> KernelSpec:
        """
        :param name: In any case; ``python`` means ``python3``.
        :raises kgd.errors.NoSuchKernelSpec:
        """


class IKernelProcess(Interface):
    """
    A kernel's process, and all of its process group.
    """

    pid: int = Attribute("The process id, which is also the process group's.")

    def signal(signum: int) -> None:
        """
        Send a signal to the process group; nothing happens when it has ended.
        """

    def when_ended() -> Deferred[Ended]:
        """
        :return: Fires as soon as the process has ended, without waiting for its output.
        """


class IKernelLauncher(Interface):
    """
    Turns a command line into a running process.
    """

    def launch(
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[IKernelProcess]:
        """
        Start a process in a session of its own, without any inherited descriptor, its output
        going to the log.

        :param env: The complete environment; nothing is inherited.
        :param limits: To be applied before any of the kernel's own code runs.
        :return: Fires when the process runs; fails with :py:exc:`kgd.errors.KernelStartFailed`.
        """


class IKernel(Interface):
    """
    One kernel, over all the processes that it has in its life.
    """

    kernel_id: str = Attribute("The id under which clients know it.")
    name: str = Attribute("The name of its kernelspec.")
    spec: KernelSpec = Attribute("Its kernelspec, as it was when the kernel was started.")
    execution_state: str = Attribute("starting, idle, busy, restarting or dead.")
    last_activity: float = Attribute("When it was last used, in seconds since the epoch.")
    last_used: float = Attribute(
        "The same on the monotonic clock; as long as it is being started, it is in use."
    )
    started: float = Attribute(
        "When it was first started, or handed out if it was spare, on the monotonic clock."
    )
    busy_since: float | None = Attribute(
        "Since when it has been busy without a break, on the monotonic clock, or None."
    )
    stopping: bool = Attribute("Whether it is being stopped, from which there is no way back.")
    connections: int = Attribute("How many WebSockets are open on it.")
    reason: str = Attribute("Why it failed or was culled, or the empty string.")
    channels: Any = Attribute("Its IChannels.")

    def when_ready() -> Deferred[None]:
        """
        :return: Fires when the kernel answers and has run its seed; fails with
            :py:exc:`kgd.errors.KernelStartFailed` if it never will.
        """


class IKernels(Interface):
    """
    The kernels that run here.
    """

    def prespawn() -> Deferred[None]:
        """
        Get the seed notebook, start the spare kernels that the settings ask for, and keep their
        number from now on.

        :return: Fires when all of them can be used; fails with
            :py:exc:`kgd.errors.ConfigurationError` when the notebook cannot be had, or a kernel
            cannot be started.
        """

    def start(request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel; fires when its process runs, which is before it can answer.

        When ``request.kernel_id`` runs already, fires with that kernel.

        :return: Fails with :py:exc:`kgd.errors.KernelLimitReached`,
            :py:exc:`kgd.errors.NoSuchKernelSpec`, :py:exc:`kgd.errors.InvalidRequest` or
            :py:exc:`kgd.errors.KernelStartFailed`.
        """

    def has_room() -> bool:
        """
        Whether another kernel may be started now.
        """

    def get(kernel_id: str) -> IKernel:
        """
        :raises kgd.errors.NoSuchKernel:
        """

    def list() -> Sequence[IKernel]:
        """
        :return: In the order in which they were started.
        """

    def interrupt(kernel_id: str) -> Deferred[None]:
        """
        Interrupt what a kernel is doing, which is nothing as long as it does not answer.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def hold(kernel_id: str, hold: bool) -> None:
        """
        Let a kernel's process stand still, or go on. One that is interrupted or stopped goes on.

        :raises kgd.errors.NoSuchKernel:
        """

    def restart(kernel_id: str) -> Deferred[None]:
        """
        Stop the kernel's process and start another, under the same id; fires when that runs.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel` or
            :py:exc:`kgd.errors.RestartFailed`.
        """

    def stop(kernel_id: str, reason: str = SHUT_DOWN) -> Deferred[None]:
        """
        Ask the kernel to end, then make it; fires when its process is gone.

        :param reason: What clients read in the close frame, which has room for 123 bytes. One
            that the caller gives is also told to those who ask for the kernel later. Of several
            stops the first one's counts.
        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def spare() -> Sequence[IKernel]:
        """
        :return: The kernels that nobody has asked for yet.
        """

    def drain() -> Deferred[None]:
        """
        Refuse new kernels from now on, with :py:exc:`kgd.errors.Unavailable`, and keep no spare
        ones. Those that there are go on.

        :return: Fires when none is left.
        """

    def stop_all() -> Deferred[None]:
        """
        Stop every kernel, all at once, and refuse new ones.
        """


# --- sessions -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Session:
    """
    What somebody works on with a kernel.

    :ivar path: Of a notebook, a console or a file, as the client names it; each has one session.
    :ivar type: ``notebook``, ``console``, ``file`` or whatever the client says.
    :ivar kernel: One that ran when the session was looked up.
    """

    session_id: str
    path: str
    name: str
    type: str
    kernel: IKernel


@attrs.frozen(kw_only=True)
class SessionRequest:
    """
    What a client wants of a new session, or wants to be different; ``None`` is what it does not
    mention.

    :ivar kernel_id: Which kernel it shall have.
    :ivar kernel_name: Of which kernelspec that shall be; of no matter if the kernel runs already.
    """

    path: str | None = None
    name: str | None = None
    type: str | None = None
    kernel_id: str | None = None
    kernel_name: str | None = None


class ISessions(Interface):
    """
    The sessions. One goes as soon as its kernel ends or is being stopped, and does not come back
    when another kernel gets the same id. Several may share a kernel.

    What was asked for is done even if whoever asked does not wait for it: a Deferred that is
    cancelled leaves neither a kernel without a session nor half a change.
    """

    def list() -> Sequence[Session]:
        """
        :return: Those whose kernels are there, in the order in which they were created.
        """

    def get(session_id: str) -> Session:
        """
        :raises kgd.errors.NoSuchSession:
        """

    def create(request: SessionRequest) -> Deferred[Session]:
        """
        Create a session with a ``path`` and a ``type``. If there is one for the path, or it is
        being created, fires with that. Its kernel is ``kernel_id`` if that runs, else it is
        started under that id.

        :return: Fails as :py:meth:`IKernels.start` does, but with
            :py:exc:`kgd.errors.SessionKernelUnavailable` if there is no such kernelspec.
        """

    def change(session_id: str, request: SessionRequest) -> Deferred[Session]:
        """
        Change what the request mentions. When the session gets another kernel, its old one is
        stopped, unless another session uses it.

        :return: Fails with :py:exc:`kgd.errors.NoSuchSession`,
            :py:exc:`kgd.errors.InvalidRequest` for a ``kernel_id`` that does not run,
            :py:exc:`kgd.errors.KernelLimitReached`, or
            :py:exc:`kgd.errors.SessionKernelUnavailable`.
        """

    def delete(session_id: str) -> Deferred[None]:
        """
        Delete a session and stop its kernel. Others that share the kernel go with it, at once,
        as with Jupyter's own server.

        :return: Fails with :py:exc:`kgd.errors.NoSuchSession`.
        """


# --- relay ----------------------------------------------------------------------------------------


class IChannelsObserver(Interface):
    """
    Whoever wants to know what a kernel is doing: the kernel itself.
    """

    def became_ready() -> None:
        """
        The kernel's present process answers, its output reaches us, and it has run its seed.
        """

    def began_seeding() -> None:
        """
        The present process answers, and begins to run its seed.
        """

    def seeding_failed(piece: int, error: str) -> None:
        """
        A piece of the seed has failed; clients are not let in.

        :param piece: Which, counted from 0.
        :param error: Name and value of the exception.
        """

    def published(msg_type: str, parent_type: str, execution_state: str | None) -> None:
        """
        The kernel sent a message on iopub.

        :param parent_type: The ``msg_type`` of the request it belongs to, or ``""``.
        :param execution_state: Of a ``status`` message, else ``None``.
        """


class IClient(Interface):
    """
    One WebSocket, as the relay sees it. None of these methods raises.
    """

    unsent: int = Attribute("How many bytes wait to be sent, as far as that is known.")

    def deliver(message: Outgoing) -> None:
        """
        Send a message to the client.
        """

    def surrender() -> Sequence[Outgoing]:
        """
        Give back what was delivered and is known not to have arrived, in order. When there is any,
        the connection is cut.
        """

    def close(code: int, reason: str) -> None:
        """
        Send what is still queued, then a close frame.

        :param code: A close code of RFC 6455.
        :param reason: For the user, at most 123 bytes of it are sent.
        """


class IAttachment(Interface):
    """
    One client's durable hold on a kernel.
    """

    session_id: str = Attribute("The name under which the client may come back.")

    def send(request: Request) -> None:
        """
        Pass a client's message on to the kernel, as soon as the kernel can take it, in order.
        """

    def pause() -> None:
        """
        The client cannot take more at the moment; what arrives is queued up to the bound.
        """

    def resume() -> None:
        """
        The client can take more.
        """

    def detach(client: IClient) -> None:
        """
        The client went; if it has a ``session_id`` of its own, it may come back. Nothing happens
        if another has taken its place meanwhile.
        """


@attrs.frozen(kw_only=True)
class ChannelsFigures:
    """
    The clients of a kernel, without those that are parts of the gateway.

    :ivar present: How many are there.
    :ivar away: How many may come back.
    :ivar messages: How many messages wait for them.
    :ivar size: How many bytes do.
    """

    present: int = 0
    away: int = 0
    messages: int = 0
    size: int = 0


class IChannels(Interface):
    """
    A kernel's ZeroMQ sockets and the clients that use them, for as long as the kernel exists.
    """

    connections: int = Attribute("How many clients are there at the moment.")
    outstanding: int = Attribute("How many requests to run code the kernel has not answered.")

    def figures() -> ChannelsFigures:
        """
        :return: How many clients there are at the moment, and what waits for them.
        """

    def connect(connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        """
        Open the gateway's sockets to a process that is about to start, iopub first, find out when
        it answers, and run the seed then. What clients send meanwhile is kept for it.

        :param seed: Pieces of code, of which clients shall see nothing.
        """

    def disconnect(ename: str, evalue: str) -> None:
        """
        The process is gone: close all sockets. Requests that it has not answered are answered
        with this error, and with an idle status.

        :param ename: A name as of an exception, like ``KernelDied``.
        :param evalue: What happened, and what the user can do.
        """

    def request_shutdown(restart: bool) -> None:
        """
        Send ``shutdown_request`` on control.
        """

    def request_interrupt() -> None:
        """
        Send ``interrupt_request`` on control.
        """

    def publish_status(execution_state: str) -> None:
        """
        Tell every client a state that the kernel cannot tell itself (``restarting``, ``dead``).
        """

    def attach(session_id: str | None, client: IClient, *, is_ours: bool = False) -> IAttachment:
        """
        Give a client its hold on the kernel. If there is one already under the same
        ``session_id``, the new client takes its place without a gap: the old one is closed if it
        is still there, and what came while it was away is delivered first.

        :param session_id: ``None`` for a client that has none, and so cannot come back.
        :param is_ours: Whether the client is a part of the gateway, for which the limits do not
            hold that the operator sets to users: types of messages, rates of output.
        """

    def dismiss(code: int, reason: str) -> None:
        """
        Close every client, and leave the gateway's own sockets open.
        """

    def close(code: int, reason: str) -> None:
        """
        Close every client, then all sockets. Later calls do nothing.
        """


class IRelay(Interface):
    """
    Opens kernels' channels; owner of the ZeroMQ context.
    """

    def open(kernel_id: str, observer: IChannelsObserver) -> IChannels:
        """
        Make the channels of a new kernel, not yet connected.
        """

    def new_curve_keys() -> CurveKeys:
        """
        Make keys for a new kernel, with which what goes to and from it is encrypted.
        """

    def start() -> None:
        """
        Begin: create the context. Called after daemonizing.

        :raises kgd.errors.ConfigurationError: when encryption is asked for and not possible.
        """

    def stop() -> None:
        """
        Close everything that is open.
        """


# --- notebooks ------------------------------------------------------------------------------------


class ICellParser(Interface):
    """
    Finds out what a notebook serves over HTTP; named by ``--cell-parser``.
    """

    def parse(source: NotebookSource) -> NotebookAPI:
        """
        :return: The endpoints, and which cells run once in every kernel.
        :raises kgd.errors.InvalidNotebook: when the notebook contradicts itself; the text says in
            which cell, and what to do.
        """


# --- personalities --------------------------------------------------------------------------------


class Access(enum.Enum):
    """
    What a path demands of a request before it is served.
    """

    GUARDED = "the token and an allowed origin"
    ANY_ORIGIN = "the token"
    PUBLIC = "nothing"
    UNKNOWN = "nothing is served there, which needs no token to learn"


class IGateway(Interface):
    """
    What a personality gets to work with.
    """

    reactor: Any = Attribute("The reactor.")
    settings: Settings = Attribute("The settings.")
    kernels: Any = Attribute("The IKernels.")
    kernel_specs: Any = Attribute("The IKernelSpecs.")
    draining: Draining = Attribute("Whether nothing new is to be begun any more.")
    tally: Tally = Attribute("What has happened.")
    audit: Audit = Attribute("Where it is written down who did what.")
    open_sockets: OpenSockets = Attribute("The WebSockets that have to be closed before the end.")
    options: Mapping[str, Any] = Attribute(
        "What was chosen for the options that the personality's maker has, by their names."
    )

    def run(kernel: IKernel, source: str) -> Deferred[Outputs]:
        """
        Run code in a kernel, when it is ready and has done what it was asked before.

        :return: Fires with what has come of it, which may be an error of the code's. Fails with
            :py:exc:`kgd.errors.KernelStartFailed` or :py:exc:`kgd.errors.KernelLost` when the
            kernel is gone, and with :py:exc:`kgd.errors.ResponseTooLarge` for more output than
            ``--max-response-size``. The code goes on when nobody waits for it any more;
            :py:meth:`IKernels.interrupt` ends it.
        """

    token: Any = Attribute("The kgd.auth.AuthToken; the guard asks it, before any resource.")

    def private_directory(name: str) -> Path:
        """
        :return: A directory that nobody else can list or write to, made for this name if it is
            not there. It goes with the gateway.
        """

    def hand_over(*paths: Path) -> None:
        """
        Let kernels have files and directories of ours, which they could otherwise not read if
        they run as another user. First what is in a directory, then the directory.

        :raises OSError:
        """


@attrs.frozen
class PersonalityOption:
    """
    An option of a personality that is no part of kgd. As ``--<personality>-<name>`` it is an option
    of the command line, ``KGD_<PERSONALITY>_<NAME>`` is its variable, and its value is in
    :py:attr:`IGateway.options`.

    :ivar name: In lower case, with dashes.
    :ivar help: A sentence for the manual.
    :ivar read: Turns text into the value. ValueError means that this text is not right, and the
        first sentence of the docstring says what would be. ``kgd.options`` has readers for numbers,
        sizes and more; with its ``switch`` the option needs no value.
    :ivar default: The value when nobody says anything.
    :ivar secret: Whether nobody may see it: ``--show-config``, errors and the log leave it out.
    """

    name: str
    help: str
    read: Callable[[str], Any] = str
    default: Any = None
    secret: bool = False


class IPersonality(Interface):
    """
    What the gateway looks like from outside.

    Those methods that return a Deferred here may also be coroutines, or return nothing.
    """

    def start() -> Deferred[None]:
        """
        Do all that must be done before the gateway listens. A failure ends the gateway.
        """

    def stop() -> Deferred[None]:
        """
        Undo :py:meth:`start`; also called after it failed, and maybe twice. The kernels are stopped
        afterwards, whatever happens here.
        """

    def reload() -> Deferred[None]:
        """
        The operator wants what may have changed to be read again. A failure is logged.
        """

    def resource() -> IResource:
        """
        Called once, after :py:meth:`start`.

        :return: What to serve below the base URL: a leaf, which finds the path in ``postpath``,
            percent-encoded as it came; a tree of resources; or a Klein application. Requests that
            the guard refuses never reach it.
        """

    def access(path: str) -> Access:
        """
        :param path: Below the base URL, with its leading slash, percent-encoded as it came.
        """

    def methods(path: str) -> Sequence[str]:
        """
        :param path: As for :py:meth:`access`.
        :return: What may be asked of the path; nothing if it is not served. With ``OPTIONS`` among
            them, the resource itself answers that, unless a browser asks in advance.
        """


class IDrainable(Interface):
    """
    What a personality may provide, too: how it is drained. For others, new kernels are refused, and
    draining is over when there is no kernel.
    """

    def drain() -> Deferred[None]:
        """
        Begin nothing new from now on, and refuse what would be, with
        :py:exc:`kgd.errors.Unavailable`.

        :return: Fires when everything that had been begun is done.
        """


class IPersonalityMaker(Interface):
    """
    Makes a personality; named by ``--api``. It may have ``options``, a sequence of
    :py:class:`PersonalityOption`.
    """

    name: str = Attribute("The name to give to --api, in snake_case.")

    def make(gateway: IGateway) -> IPersonality:
        """
        :raises kgd.errors.ConfigurationError: when it cannot work with these settings.
        """
