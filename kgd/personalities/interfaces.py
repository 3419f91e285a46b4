"""
Interfaces of personalities: what the gateway gives them, and what they provide.
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

from kgd.kernels.interfaces import IKernel
from kgd.notebook.api import NotebookAPI, NotebookSource
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.protocol.outputs import Outputs
from kgd.settings import Settings
from kgd.shutdown import Draining, OpenSockets

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
    counters: Counters = Attribute("What has happened.")
    audit: AuditLog = Attribute("Where it is written down who did what.")
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

    token: Any = Attribute("The kgd.auth.token.AuthToken; the guard asks it, before any resource.")

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
