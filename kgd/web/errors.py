"""
Maps exceptions to HTTP statuses and JSON bodies.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from kgd import errors
from kgd.observability.logs import make_logger
from kgd.web import models

STATUS_OF: dict[type[Exception], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.MalformedMessage: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.HostRefused: HTTPStatus.FORBIDDEN,
    errors.ScopeMissing: HTTPStatus.FORBIDDEN,
    errors.OriginForbidden: HTTPStatus.FORBIDDEN,
    errors.ListingForbidden: HTTPStatus.FORBIDDEN,
    errors.KernelLimitReached: HTTPStatus.FORBIDDEN,
    errors.ResourceForbidden: HTTPStatus.FORBIDDEN,
    errors.CrossOriginRefused: HTTPStatus.NOT_FOUND,
    errors.NoSuchResource: HTTPStatus.NOT_FOUND,
    errors.NoSuchKernel: HTTPStatus.NOT_FOUND,
    errors.NoSuchSession: HTTPStatus.NOT_FOUND,
    errors.NoSuchKernelSpec: HTTPStatus.NOT_FOUND,
    errors.NoSuchExecution: HTTPStatus.NOT_FOUND,
    errors.NoSuchArtifact: HTTPStatus.NOT_FOUND,
    errors.ExecutionConflict: HTTPStatus.CONFLICT,
    errors.FileConflict: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TargetTooLong: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.HeadersTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.RequestTimedOut: HTTPStatus.REQUEST_TIMEOUT,
    errors.UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UpgradeRequired: HTTPStatus.UPGRADE_REQUIRED,
    errors.SessionKernelUnavailable: HTTPStatus.NOT_IMPLEMENTED,
    errors.NotSupported: HTTPStatus.NOT_IMPLEMENTED,
    errors.NoSuchMethod: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    errors.ResponseTooLarge: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.KernelLost: HTTPStatus.BAD_GATEWAY,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ExecutionTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    errors.KernelStartFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.RestartFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: What any request can be refused with, whatever it asks for and whether or not it needs a token.
OF_EVERY_REQUEST: tuple[type[Exception], ...] = (
    errors.InvalidRequest,
    errors.HostRefused,
    errors.RequestTimedOut,
    errors.BodyTooLarge,
    errors.TargetTooLong,
    errors.UnsupportedEncoding,
    errors.ExpectationFailed,
    errors.HeadersTooLarge,
    errors.NotSupported,
    errors.Unavailable,
)

MAX_ERROR_MESSAGE = 2000  # characters

_log = make_logger()


def describe_errors(kinds: Iterable[type[Exception]]) -> dict[HTTPStatus, str]:
    """
    Describe the refusals of an operation, from the table and the docstrings of its errors.

    :param kinds: Errors of the table that the operation can raise, besides those of every request.
    :return: By status, in ascending order, what it means. A defect of the gateway is among them.
    """
    texts: dict[HTTPStatus, list[str]] = {}
    for kind in dict.fromkeys((*kinds, *OF_EVERY_REQUEST)):
        texts.setdefault(STATUS_OF[kind], []).append(_first_line(kind))
    texts.setdefault(HTTPStatus.INTERNAL_SERVER_ERROR, []).append(
        "The gateway has a defect, and its log says more."
    )
    return {status: " ".join(texts[status]) for status in sorted(texts)}


def _first_line(kind: type[Exception]) -> str:
    # Python has no docstrings with -OO.
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].replace("``", "`").split())


def error_body(status: HTTPStatus, message: str, short_message: str | None = None) -> bytes:
    """
    :param message: A detail, or the empty string.
    :return: The JSON of an error, whose ``reason`` is the phrase of the status.
    """
    return msgspec.json.encode(
        models.Error(
            status.phrase, message, msgspec.UNSET if short_message is None else short_message
        )
    )


def refuse(request: Any, error: Exception) -> bytes:
    """
    Answer a request with an error.

    An error that is not in the table is a defect: it is logged with its traceback, of which the
    client sees nothing.

    :return: The body, which is empty for ``HEAD``.
    """
    if isinstance(error, HTTPException):
        status, message = HTTPStatus(error.code or 500), ""
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            _allow(request, getattr(error, "valid_methods", None) or ())
    else:
        found = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), None)
        if found is None:
            _log.failure("cannot answer a request", Failure(error))  # type: ignore[no-untyped-call]
            found, message = HTTPStatus.INTERNAL_SERVER_ERROR, "Unknown server error"
        else:
            # It may quote what the client sent, of any length.
            message = str(error)[:MAX_ERROR_MESSAGE]
        status = found
    if isinstance(error, errors.NoSuchMethod):
        _allow(request, error.methods)
    if isinstance(error, errors.Unavailable):
        request.setHeader(b"Retry-After", b"%d" % error.retry_after)
    if status is HTTPStatus.UNAUTHORIZED:
        request.setHeader(b"WWW-Authenticate", b"token")
    request.setResponseCode(status.value, status.phrase.encode("ascii"))
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    body = error_body(status, message, getattr(error, "short_message", None))
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body if request.method != b"HEAD" else b""


def _allow(request: Any, methods: Iterable[str]) -> None:
    allowed = sorted({*methods, "OPTIONS"})
    request.setHeader(b"Allow", ", ".join(allowed).encode("ascii"))
