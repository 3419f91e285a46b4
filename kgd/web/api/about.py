"""
``/api``: what answers here.
"""

from __future__ import annotations

from typing import Any

from kgd import __version__
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route

# Clients compare this; it says whose REST API ours is like.
JUPYTER_SERVER_VERSION = "2.21.1"


class AboutAPI:
    """
    Tells the version.
    """

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api", ("GET",), self.version, summary="The version of the API", scope="api:read"
            )
        ]

    def version(self, request: Any) -> bytes:
        """
        ``GET /api``.
        """
        return json_answer(request, models.ApiInfo(JUPYTER_SERVER_VERSION, __version__))
