"""
A gateway in the tree of another application, whose HTTP server is not ours.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qs

from twisted.web.resource import IResource, Resource

from kgd import errors
from kgd.settings import Settings
from kgd.web.errors import refuse

_TOKEN = re.compile(rb"(?<=[?&])token=[^&]*&?", re.IGNORECASE)


class MountedResource(Resource):
    """
    What an application puts into its tree, before the gateway is started and after it has ended.

    :ivar served: What is there, or ``None`` while the gateway does not run.
    :ivar reason: Why it does not, for clients.
    """

    isLeaf = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self.served: IResource | None = None
        self.reason = "the gateway has not been started"

    def render(self, request: Any) -> Any:
        """
        Answer, if the gateway runs.
        """
        self._make_ours(request)
        if self.served is None:
            return refuse(request, errors.Unavailable(self.reason, 1))
        limit = self._settings.max_body_size
        if request.content.seek(0, os.SEEK_END) > limit:
            return refuse(request, errors.BodyTooLarge(f"the body may have at most {limit} bytes"))
        request.content.seek(0)
        return self.served.render(request)  # type: ignore[no-untyped-call]

    def _make_ours(self, request: Any) -> None:
        """
        Take back what Twisted's own server does to requests, and ours does not.
        """
        request.defaultContentType = None
        query = request.uri.partition(b"?")[2]
        # A field of a form that was posted is no argument of the query.
        request.args = parse_qs(query, keep_blank_values=True)
        if self._settings.auth_token:
            # It is in the arguments, and has no business in the application's access log.
            request.uri = _TOKEN.sub(b"", request.uri).rstrip(b"?&")
