"""
``/api``: the version of the gateway.
"""

from __future__ import annotations

from typing import Any

from kgd import __version__
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route

# Clients compare this: the version of Jupyter Server whose REST API the gateway has.
JUPYTER_SERVER_VERSION = "2.21.1"


class AboutAPI:
    """
    Shows the version.
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
