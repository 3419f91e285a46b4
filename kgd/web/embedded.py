"""
Serves resources and Klein applications of third parties, with the gateway's error format.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource, getChildForRequest
from werkzeug.exceptions import MethodNotAllowed, NotFound

from kgd import errors
from kgd.observability.logs import make_logger
from kgd.web.errors import refuse

_log = make_logger()


def render_embedded(resource: IResource, request: Any, path: str) -> Any:
    """
    Render a resource, or its child for a path.

    :param path: Below the base URL.
    :return: As ``IResource.render``.
    :raises kgd.errors.NoSuchResource: when a tree of resources has no such child.
    """
    segments = path.encode("ascii").split(b"/")[1:]
    # A leaf, such as Klein's, would split decoded segments again, although an encoded slash does
    # not separate them. The children of plain resources have decoded names.
    request.postpath = segments if resource.isLeaf else list(map(unquote_to_bytes, segments))
    found = getChildForRequest(resource, request)  # type: ignore[no-untyped-call]
    if _is_missing(found):
        raise errors.NoSuchResource("")
    return found.render(request)


def _is_missing(resource: IResource) -> bool:
    # Twisted renders this class for a missing child; it has no public name any longer.
    is_of_twisted = type(resource).__module__ == Resource.__module__
    return is_of_twisted and getattr(resource, "code", None) == HTTPStatus.NOT_FOUND


def fail_request(request: Any, failure: Failure) -> None:
    """
    The ``processingFailed`` of requests, which resources call when they cannot answer. Twisted's
    own answers in HTML, even in the middle of a response.
    """
    error: Any = failure.value
    if not request.startedWriting:
        body = refuse(request, error)
        # The client may have disconnected.
        if request.channel is not None:
            request.write(body)
            request.finish()
        return
    _log.failure("cannot complete a response that has begun", failure)
    cut_response(request)


def cut_response(request: Any) -> None:
    """
    End a response that cannot be completed, so that the client sees that its end is missing.
    """
    # Klein would write it now.
    request.finish = _do_nothing
    request.loseConnection()


def _do_nothing() -> None:
    pass


def application_resource(application: Any) -> IResource:
    """
    :param application: A Klein application, or another object with a ``resource`` method.
    :return: Its resource. Paths and methods without a route are refused as elsewhere, unless the
        application handles these errors itself.
    """
    if hasattr(application, "handle_errors"):
        application.handle_errors(NotFound, MethodNotAllowed)(_refuse)
    resource: IResource = application.resource()
    return resource


def _refuse(*arguments: Any) -> bytes:
    # For an application that is bound to an instance, the instance comes first.
    request, failure = arguments[-2:]
    return refuse(request, failure.value)
