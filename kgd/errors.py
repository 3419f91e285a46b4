"""
Errors that users, clients and operators can cause, independent of HTTP.

``kgd.web.errors`` maps them to HTTP statuses. Clients read an error's text, so it says what was
wrong and, where possible, what to do about it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import msgspec

#: What msgspec raises for JSON of the wrong shape, or nested too deeply.
JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class GatewayError(Exception):
    """
    Base class of all errors that a user can cause.
    """


def describe_read_error(error: OSError) -> str:
    """
    :return: Why a file named by the operator cannot be read, and what to do about it.
    """
    hint = "; the user that the gateway runs as has to be able to read it"
    return f"cannot be read: {error.strerror}{hint if isinstance(error, PermissionError) else ''}"


class ConfigurationError(GatewayError):
    """
    The gateway cannot start with these settings.
    """


class InvalidRequest(GatewayError):
    """
    The request is wrong: its body, a field of the body, or a query argument.
    """


class Unauthorized(GatewayError):
    """
    The token is missing or wrong.
    """


class ScopeMissing(GatewayError):
    """
    The client is known, and may not do this.
    """


class HostRefused(GatewayError):
    """
    The ``Host`` header has a name that is not the gateway's.
    """


class CrossOriginRefused(GatewayError):
    """
    A web page of an origin that is not allowed sent the request.
    """


class OriginForbidden(GatewayError):
    """
    A web page of an origin that is not allowed sent a request of a protocol for agents.
    """


class ListingForbidden(GatewayError):
    """
    Listing kernels is off, which is the default.
    """


class NoSuchResource(GatewayError):
    """
    Nothing is served under this path.
    """


class ResourceForbidden(GatewayError):
    """
    The path leads to a directory, or out of the directory that is served.
    """


class FileConflict(GatewayError):
    """
    The path leads to a directory, a file or a link, and the request needs something else.
    """


class PreconditionFailed(GatewayError):
    """
    The file is not as ``If-Match`` or ``If-None-Match`` says.
    """


class RangeNotSatisfiable(GatewayError):
    """
    The file does not have the bytes that ``Range`` asks for.
    """


class StorageFull(GatewayError):
    """
    There is no room for the file.
    """


class IdempotencyKeyReused(GatewayError):
    """
    The ``Idempotency-Key`` was sent before, with another body.
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
    The headers are too many, or too large.
    """


class RequestTimedOut(GatewayError):
    """
    The request did not arrive in time.
    """


class UnsupportedEncoding(GatewayError):
    """
    The request's body is compressed.
    """


class ExpectationFailed(GatewayError):
    """
    The ``Expect`` header names something unknown.
    """


class UpgradeRequired(GatewayError):
    """
    The client wants a version of the WebSocket protocol that is not supported.
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
    No session has this id, or its kernel has ended.
    """


class NoSuchExecution(GatewayError):
    """
    The kernel has no execution of this id, or has forgotten it.
    """


class NoSuchArtifact(GatewayError):
    """
    The kernel has no artifact of this name, or no longer.
    """


class ExecutionConflict(GatewayError):
    """
    The kernel is busy, or the execution is not in the state for what is asked.
    """


class SessionKernelUnavailable(GatewayError):
    """
    The kernel that a session wants cannot be started.

    :ivar short_message: The same text, shorter.
    """

    def __init__(self, message: str, short_message: str) -> None:
        super().__init__(message)
        self.short_message = short_message


class NotSupported(GatewayError):
    """
    HTTP or Jupyter Server has this, and kgd does not.
    """


class KernelLimitReached(GatewayError):
    """
    ``--max-kernels`` kernels are running.
    """


class KernelStartFailed(GatewayError):
    """
    The kernel's process could not be started. The first line says why; others are what the process
    has printed last.
    """

    @property
    def brief(self) -> str:
        """
        The first line, for readers who may not use the kernel.
        """
        return str(self).partition("\n")[0]


class UnusableKernelSpec(KernelStartFailed):
    """
    The kernelspec is installed, but no kernel can be started from it.
    """


class Unavailable(GatewayError):
    """
    The request cannot be served at the moment.

    :ivar retry_after: Seconds after which it may be.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


#: What an operator can do when the system has no more file descriptors for the gateway.
RAISE_LIMIT = "raise the hard limit (ulimit -Hn, or LimitNOFILE= in a systemd unit)"


class OutOfFiles(Unavailable):
    """
    Almost all files that the gateway may have open are open.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Almost all of the {limit} files that the gateway may have open are in use; stop "
            f"kernels that are not needed, or have the gateway's operator {RAISE_LIMIT}",
            10,
        )


def is_out_of_files(error: BaseException | None) -> bool:
    """
    Whether the system has refused another file, pipe or socket; also as an error of ZeroMQ's.
    """
    return getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)


class KernelLost(GatewayError):
    """
    The kernel ended before it answered.
    """


class ExecutionTimedOut(GatewayError):
    """
    The code did not finish within its time limit.
    """


class ResponseTooLarge(GatewayError):
    """
    The code's output exceeds the limit of a response.
    """


class NotAcceptable(GatewayError):
    """
    The response has none of the media types that the client accepts.
    """


class NoSuchMethod(GatewayError):
    """
    The path does not support this method.

    :ivar methods: The methods that it supports.
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
    A file is not a notebook, or a notebook cannot be served.
    """


class NotebookUnavailable(GatewayError):
    """
    A notebook cannot be read, or cannot be fetched.
    """


class MalformedMessage(GatewayError):
    """
    Bytes that are not a Jupyter message.

    :ivar reason: A sentence for the log and for the close frame.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadSignature(MalformedMessage):
    """
    A message without a valid signature by the kernel's key.
    """


# Older names.
TooSlow = RequestTimedOut
TookTooLong = ExecutionTimedOut
UNREADABLE = JSON_ERRORS
