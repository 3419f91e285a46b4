"""
Serving what others have written: their resources and Klein applications, with errors that look as
all others do.
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


def render(resource: IResource, request: Any, path: str) -> Any:
    """
    :param path: Below the base URL.
    :return: As ``render`` of a resource.
    :raises kgd.errors.NoSuchResource: when a tree of resources has nothing there.
    """
    segments = path.encode("ascii").split(b"/")[1:]
    # Klein would decode and split the path again; an encoded slash is no separator. In a tree of
    # plain resources, a child has the name that was encoded.
    request.postpath = segments if resource.isLeaf else list(map(unquote_to_bytes, segments))
    found = getChildForRequest(resource, request)  # type: ignore[no-untyped-call]
    if _is_nothing(found):
        raise errors.NoSuchResource("")
    return found.render(request)


def _is_nothing(resource: IResource) -> bool:
    # What Twisted has in place of a child that is not there. The class has no public name any more.
    is_of_twisted = type(resource).__module__ == Resource.__module__
    return is_of_twisted and getattr(resource, "code", None) == HTTPStatus.NOT_FOUND


def fail(request: Any, failure: Failure) -> None:
    """
    To be the ``processingFailed`` of a request, which those call who answer later. Twisted's own
    answers in HTML, also in the middle of another answer.
    """
    error: Any = failure.value
    if not request.startedWriting:
        body = refuse(request, error)
        # The client may have gone.
        if request.channel is not None:
            request.write(body)
            request.finish()
        return
    _log.failure("an answer that has begun cannot be completed", failure)
    # The client is to see that the end is missing, which Klein would write now.
    request.finish = _nothing
    request.loseConnection()


def _nothing() -> None:
    pass


def resource_of_application(application: Any) -> IResource:
    """
    :param application: A Klein application, or something else with a resource. What Klein has no
        route for is refused as elsewhere, unless the application has a handler for that itself.
    """
    if hasattr(application, "handle_errors"):
        application.handle_errors(NotFound, MethodNotAllowed)(_refuse)
    resource: IResource = application.resource()
    return resource


def _refuse(*arguments: Any) -> bytes:
    # An application that belongs to an instance has that come first.
    request, failure = arguments[-2:]
    return refuse(request, failure.value)
