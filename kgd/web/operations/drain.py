"""
``/api/drain``: let the gateway end its work and stop.
"""

from __future__ import annotations

from typing import Any

import attrs

from kgd.interfaces import IKernels
from kgd.shutdown import Draining
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route


@attrs.frozen
class DrainAPI:
    """
    Draining over HTTP, for whoever cannot send a signal.
    """

    _draining: Draining
    _kernels: IKernels

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        summary = "Start no more kernels, and stop when none is left"
        return [Route("/api/drain", ("POST",), self.drain, summary=summary, scope="gateway:write")]

    def drain(self, request: Any) -> bytes:
        """
        ``POST /api/drain``.
        """
        self._draining.ask()
        return json_answer(
            request, models.Drain(draining=True, kernels=len(self._kernels.list())), 202
        )
