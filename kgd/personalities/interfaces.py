"""
The interfaces of personalities, of what the gateway gives them, and of parsers of notebooks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface

from kgd.auth.token import AuthToken
from kgd.kernels.interfaces import IKernel, IKernels, IKernelSpecs
from kgd.notebook.api import NotebookAPI, NotebookSource
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.open_files import FileBudget
from kgd.protocol.outputs import Outputs
from kgd.settings import Settings
from kgd.shutdown import Draining, OpenSockets

# --- notebooks ------------------------------------------------------------------------------------


class ICellParser(Interface):
    """
    Finds the endpoints of a notebook; named by ``--cell-parser``.
    """

    def parse(source: NotebookSource) -> NotebookAPI:
        """
        :return: The endpoints, and the cells that run once in every kernel.
        :raises kgd.errors.InvalidNotebook: when the notebook contradicts itself; the text names the
            cell and the remedy.
        """


# --- personalities --------------------------------------------------------------------------------


class Access(enum.Enum):
    """
    What a request needs before it is served.
    """

    GUARDED = "the token and an allowed origin"
    ORIGIN_CHECKED = "the token and an allowed origin, without which the status is 403"
    ANY_ORIGIN = "the token"
    PUBLIC = "nothing"
    UNKNOWN = "nothing, because the path is not served"


@attrs.frozen
class Match:
    """
    What a personality serves for one method and path.

    :ivar access: What the request needs before ``render`` is called.
    :ivar methods: The methods of the path in upper case, ``HEAD`` included; the gateway refuses all
        others with a 405 and names these in ``Allow``. With ``OPTIONS`` among them, ``render``
        answers that method, except for a browser's preflight requests.
    :ivar render: Called with the request of ``twisted.web``; returns as ``IResource.render`` does,
        or raises one of :py:mod:`kgd.errors`. ``postpath`` has the segments of the path below the
        base URL, percent-encoded as they were sent.
    :ivar scope: The scope that the client must have, as in :py:mod:`kgd.auth.identities`; empty if
        it needs none.
    :ivar route: The pattern of the path, which metrics show as ``handler``; empty for ``unknown``.
    :ivar open_body: For what takes bodies of any size: called with the request when its head is
        there and may be served. Returns a :py:class:`kgd.web.body_sink.BodySink`, which is then the
        ``sink`` of the request that is rendered. Small bodies have none, nor have those of other
        servers; they are in ``content``, as all others.
    """

    access: Access
    methods: Sequence[str]
    render: Callable[[Any], bytes | int]
    scope: str = ""
    route: str = ""
    open_body: Callable[[Any], Any] | None = None


@attrs.frozen
class Readiness:
    """
    Whether a personality takes new requests.

    :ivar remarks: Lines for operators, which ``/readyz`` shows when it is ready.
    """

    is_ready: bool = True
    remarks: Sequence[str] = ()


class IOperations(Interface):
    """
    The endpoints for operators, which the gateway serves itself unless the personality serves these
    paths: ``/healthz``, ``/readyz``, and, if they are on, ``/metrics`` and ``/api/drain``.
    """

    routes: Sequence[Any] = Attribute("Their kgd.web.routes.Route values, for descriptions.")
    status_routes: Sequence[Any] = Attribute(
        "The routes of ``/api/status``, for personalities that serve it."
    )
    personality: Any = Attribute("The IPersonality that is served, or None before there is one.")

    def match(method: str, path: str) -> Match | None:
        """
        As :py:meth:`IPersonality.match`, which is asked before.
        """

    def record_use(request: Any, path: str) -> None:
        """
        Remember when the gateway was last used; called for each request that is served.

        :param path: Below the base URL.
        """


class IGateway(Interface):
    """
    The parts of a gateway that its personality uses.
    """

    reactor: IReactorTime = Attribute("The reactor.")
    settings: Settings = Attribute("The settings.")
    kernels: IKernels = Attribute("The running kernels.")
    kernel_specs: IKernelSpecs = Attribute("The installed kernelspecs.")
    draining: Draining = Attribute("Whether new work is refused.")
    counters: Counters = Attribute("What metrics count.")
    audit: AuditLog = Attribute("The audit log.")
    open_sockets: OpenSockets = Attribute("The WebSockets to close before the gateway ends.")
    files: FileBudget = Attribute("Whether there are open files for another kernel or client.")
    token: AuthToken = Attribute("The token; the gateway checks it before it calls a personality.")
    operations: IOperations = Attribute("The endpoints that the gateway serves itself.")
    options: Mapping[str, Any] = Attribute(
        "The values of the options of the personality's maker, by name."
    )

    def run(kernel: IKernel, source: str) -> Deferred[Outputs]:
        """
        Run code in a kernel, as soon as it is ready and has done what it was asked before.

        :return: Fires with the outputs, among which may be an error of the code. Fails with
            :py:exc:`kgd.errors.KernelStartFailed` or :py:exc:`kgd.errors.KernelLost` when the
            kernel is gone, and with :py:exc:`kgd.errors.ResponseTooLarge` for more output than
            ``--max-response-size``. Cancelling it does not stop the code, but
            :py:meth:`IKernels.interrupt` does.
        """

    def private_directory(name: str) -> Path:
        """
        :return: The directory of this name, which only the gateway can list and write to. It is
            created if necessary, and removed when the gateway ends.
        """

    def hand_over(*paths: Path) -> None:
        """
        Make files and directories of the gateway readable for kernels that run as another user.
        Name the files of a directory before the directory.

        :raises OSError:
        """

    def as_kernel_user() -> AbstractContextManager[None]:
        """
        :return: Gives the calling thread, for as long as it is entered, the rights to files of the
            user that kernels run as, if that is not the gateway's. Nothing may be awaited in it.
        """


@attrs.frozen
class PersonalityOption:
    """
    An option of a personality that is not part of kgd: ``--<personality>-<name>`` on the command
    line, ``KGD_<PERSONALITY>_<NAME>`` in the environment. Its value is in
    :py:attr:`IGateway.options`.

    :ivar name: In lower case, with dashes.
    :ivar help: A sentence for ``--help``.
    :ivar read: Turns text into the value, or raises ValueError. The first sentence of its docstring
        tells users which texts are valid. ``kgd.options`` has readers for numbers, sizes and more;
        with its ``switch``, the option takes no value.
    :ivar default: The value when the option is not given.
    :ivar secret: Whether ``--show-config``, errors and the log hide the value.
    """

    name: str
    help: str
    read: Callable[[str], Any] = str
    default: Any = None
    secret: bool = False


class IPersonalityLifecycle(Interface):
    """
    How a personality is started and stopped.

    These methods return a Deferred, and may also be coroutines or return nothing.
    """

    def start() -> Deferred[None]:
        """
        Do everything that must be done before the gateway listens. A failure ends the gateway.
        """

    def stop() -> Deferred[None]:
        """
        Undo :py:meth:`start`; also called after it failed, and possibly twice. Afterwards the
        gateway stops the kernels.
        """

    def reload() -> Deferred[None]:
        """
        Read files and other sources again that may have changed. A failure is logged.
        """


class IPersonality(IPersonalityLifecycle):
    """
    The HTTP API of a gateway.
    """

    def match(method: str, path: str) -> Match | None:
        """
        Find what is served; called before the token is checked.

        :param method: As it was sent, so usually in upper case.
        :param path: Below the base URL, with its leading slash, percent-encoded as it was sent.
        :return: ``None`` for a path that is not served: a 404, even without the token.
        :raises kgd.errors.GatewayError: when the path cannot be understood; only clients with the
            token are told.
        """


class IResourcePersonality(IPersonalityLifecycle):
    """
    The older form of :py:class:`IPersonality`, which an adapter serves: a resource of Twisted, and
    two methods that describe each path. Classes that declare ``IPersonality`` and have these
    methods instead of ``match`` work, too.
    """

    def resource() -> IResource:
        """
        Called once, after :py:meth:`start`.

        :return: What to serve below the base URL: a leaf, which finds the path in ``postpath``,
            percent-encoded as it was sent; a tree of resources; or a Klein application. Requests
            that the gateway refuses never reach it.
        """

    def access(path: str) -> Access:
        """
        :param path: As for :py:meth:`IPersonality.match`.
        """

    def methods(path: str) -> Sequence[str]:
        """
        :param path: As for :py:meth:`IPersonality.match`.
        :return: As :py:attr:`Match.methods`; empty for a path that is not served.
        """


class IMonitored(Interface):
    """
    Optional for a personality: what it adds to ``/readyz`` and ``/metrics``.
    """

    def readiness() -> Readiness:
        """
        Called for each ``GET /readyz`` while the gateway is not draining.
        """

    def metrics() -> Iterable[Any]:
        """
        :return: Metric families of ``prometheus_client``, made when they are asked for.
        """


class IDrainable(Interface):
    """
    Optional for a personality: how it drains. Without it, new kernels are refused, and draining
    ends when no kernel is left.
    """

    def drain() -> Deferred[None]:
        """
        Refuse new work from now on, with :py:exc:`kgd.errors.Unavailable`.

        :return: Fires when all present work is done.
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
