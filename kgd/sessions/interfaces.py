"""
Interface and values of sessions, which connect a notebook, console or file with a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Interface

from kgd.kernels.interfaces import IKernel


@attrs.frozen(kw_only=True)
class Session:
    """
    A notebook, console or file, and the kernel that it uses.

    :ivar path: Its path, as the client names it; each path has one session.
    :ivar type: ``notebook``, ``console``, ``file`` or any other word that the client sends.
    :ivar kernel: A kernel that ran when the session was looked up.
    """

    session_id: str
    path: str
    name: str
    type: str
    kernel: IKernel


@attrs.frozen(kw_only=True)
class SessionRequest:
    """
    A request for a new session, or for changes of one; ``None`` stands for what the request does
    not mention.

    :ivar kernel_id: The kernel that the session is to have.
    :ivar kernel_name: The kernelspec of that kernel; ignored if the kernel runs already.
    """

    path: str | None = None
    name: str | None = None
    type: str | None = None
    kernel_id: str | None = None
    kernel_name: str | None = None


class ISessions(Interface):
    """
    All sessions. A session is gone as soon as its kernel ends or is being stopped, and does not
    come back when another kernel gets the same id. Several sessions may share a kernel.

    A request is carried out even if the caller cancels its Deferred: that leaves neither a kernel
    without a session nor half a change.
    """

    def list() -> Sequence[Session]:
        """
        :return: The sessions whose kernels run, in the order in which they were created.
        """

    def get(session_id: str) -> Session:
        """
        :raises kgd.errors.NoSuchSession:
        """

    def create(request: SessionRequest) -> Deferred[Session]:
        """
        Create a session with a ``path`` and a ``type``. If the path has a session, or one is being
        created, fires with that. The kernel is ``kernel_id`` if that runs; otherwise one is started
        under that id.

        :return: Fails as :py:meth:`IKernels.start` does, but with
            :py:exc:`kgd.errors.SessionKernelUnavailable` if the kernelspec is not installed.
        """

    def change(session_id: str, request: SessionRequest) -> Deferred[Session]:
        """
        Change what the request mentions. When the session gets another kernel, the old one is
        stopped, unless another session uses it.

        :return: Fails with :py:exc:`kgd.errors.NoSuchSession`,
            :py:exc:`kgd.errors.InvalidRequest` for a ``kernel_id`` that does not run,
            :py:exc:`kgd.errors.KernelLimitReached`, or
            :py:exc:`kgd.errors.SessionKernelUnavailable`.
        """

    def delete(session_id: str) -> Deferred[None]:
        """
        Delete a session and stop its kernel. Other sessions of that kernel are gone at once, too,
        as with Jupyter's own server.

        :return: Fails with :py:exc:`kgd.errors.NoSuchSession`.
        """
