"""
What can go wrong, in our own words and without a word of HTTP.

``kgd.web.errors`` holds the one table that turns these into status codes. The text of an error is
what the client reads, so it says what was wrong and, where there is something, what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

#: What msgspec raises when it is not given the JSON that it expects, or it is nested too deeply.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class GatewayError(Exception):
    """
    The base of every error that a user can cause.
    """


def unread(error: OSError) -> str:
    """
    :return: Why a file that the operator has named cannot be read, and what to do about it.
    """
    hint = "; the user that the gateway runs as has to be able to read it"
    return f"cannot be read: {error.strerror}{hint if isinstance(error, PermissionError) else ''}"


class ConfigurationError(GatewayError):
    """
    The gateway cannot start with these settings.
    """


class InvalidRequest(GatewayError):
    """
    The request itself is wrong: its body, a field in it, a query argument.
    """


class Unauthorized(GatewayError):
    """
    The token is missing or wrong.
    """


class HostRefused(GatewayError):
    """
    The gateway was asked for under a name that is not its own.
    """


class CrossOriginRefused(GatewayError):
    """
    A web page of another origin asked, and that origin is not allowed.
    """


class ListingForbidden(GatewayError):
    """
    Kernels are not listed unless the operator says so.
    """


class NoSuchResource(GatewayError):
    """
    Nothing is served under this path.
    """


class ResourceForbidden(GatewayError):
    """
    The path leads to a directory, or out of the directory that is served.
    """


class BodyTooLarge(GatewayError):
    """
    The request's body exceeds the limit.
    """


class TargetTooLong(GatewayError):
    """
    The request's first line exceeds the limit.
    """


class HeadersTooLarge(GatewayError):
    """
    There are too many headers, or too much is in them.
    """


class TooSlow(GatewayError):
    """
    The request did not arrive in time.
    """


class UnsupportedEncoding(GatewayError):
    """
    The request's body is compressed.
    """


class ExpectationFailed(GatewayError):
    """
    The client expects something that we do not know.
    """


class UpgradeRequired(GatewayError):
    """
    The client speaks a version of the WebSocket protocol that we do not.
    """


class NoSuchKernelSpec(GatewayError):
    """
    No kernelspec of this name is installed, or it cannot be read.
    """


class NoSuchKernel(GatewayError):
    """
    No kernel runs under this id.
    """


class NoSuchSession(GatewayError):
    """
    There is no session of this id, or its kernel has gone.
    """


class SessionKernelUnavailable(GatewayError):
    """
    A session cannot have the kernel that it wants.

    :ivar short_message: The same for those who have little room to show it.
    """

    def __init__(self, message: str, short_message: str) -> None:
        super().__init__(message)
        self.short_message = short_message


class NotSupported(GatewayError):
    """
    Something that servers like this may offer, and this one does not.
    """


class KernelLimitReached(GatewayError):
    """
    As many kernels run as the settings allow.
    """


class KernelStartFailed(GatewayError):
    """
    The kernel's process could not be started.
    """


class Unavailable(GatewayError):
    """
    Nobody can do at the moment what is asked for.

    :ivar retry_after: When it may be possible, in seconds from now.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KernelLost(GatewayError):
    """
    The kernel ended before it had answered.
    """


class TookTooLong(GatewayError):
    """
    The code did not come to its end in the time that it is given.
    """


class ResponseTooLarge(GatewayError):
    """
    The code gave more output than is sent.
    """


class NotAcceptable(GatewayError):
    """
    What the client would accept is not to be had.
    """


class NoSuchMethod(GatewayError):
    """
    The path is there, but does not take this method.

    :ivar methods: Those that it takes.
    """

    def __init__(self, methods: Sequence[str]) -> None:
        super().__init__("")
        self.methods = methods


class RestartFailed(GatewayError):
    """
    The kernel was stopped for a restart, but did not start again.
    """


class InvalidNotebook(GatewayError):
    """
    A file that should be a notebook is none.
    """


class NotebookUnavailable(GatewayError):
    """
    A notebook cannot be read, or cannot be fetched.
    """


class MalformedMessage(GatewayError):
    """
    Bytes that are no Jupyter message.

    :ivar reason: A sentence for the log and for the close frame.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadSignature(MalformedMessage):
    """
    A message that was not signed with the kernel's key.
    """
