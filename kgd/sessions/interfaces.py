"""
Interface and values of sessions.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Interface

from kgd.kernels.interfaces import IKernel

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
