"""
``/api/drain``: makes the gateway finish its work and stop.
"""

from __future__ import annotations

from typing import Any

import attrs

from kgd.interfaces import IKernels
from kgd.settings import Settings
from kgd.shutdown import Draining
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route


@attrs.frozen
class DrainAPI:
    """
    Draining over HTTP, for operators that cannot send a signal. It ends the gateway for all of its
    clients, so it is served only if the operator wants that.
    """

    _settings: Settings
    _draining: Draining
    _kernels: IKernels

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        if not self._settings.drain_endpoint:
            return []
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
