"""
``/api/kernels``: start, list, interrupt, restart and stop kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from msgspec import UNSET

from kgd import errors
from kgd.interfaces import IKernels, StartRequest
from kgd.settings import Settings
from kgd.shutdown import Draining
from kgd.web.bodies import read_body
from kgd.web.models import StartKernel, kernel_model
from kgd.web.mounted import base_url
from kgd.web.responses import empty_answer, json_answer
from kgd.web.routes import Route


@attrs.frozen
class KernelsAPI:
    """
    Kernels over HTTP.

    A client that disconnects cancels its handler's Deferred. Each waiter has its own, so that what
    it waited for goes on.
    """

    _settings: Settings
    _kernels: IKernels
    _draining: Draining = attrs.field(factory=Draining)

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        one = "/api/kernels/<kernel_id>"
        return [
            _route("GET", "/api/kernels", self.list, "List the running kernels"),
            _route("POST", "/api/kernels", self.start, "Start a kernel"),
            _route("GET", one, self.show, "Show a kernel"),
            _route("DELETE", one, self.stop, "Stop a kernel"),
            _route("POST", f"{one}/interrupt", self.interrupt, "Interrupt a kernel"),
            _route("POST", f"{one}/restart", self.restart, "Restart a kernel"),
        ]

    def list(self, request: Any) -> bytes:
        """
        ``GET /api/kernels``.
        """
        if not self._settings.list_kernels:
            raise errors.ListingForbidden("Forbidden")
        return json_answer(request, [kernel_model(kernel) for kernel in self._kernels.listed()])

    async def start(self, request: Any) -> bytes:
        """
        ``POST /api/kernels``.
        """
        # While draining, IKernels refuses the kernel, with another error.
        if not self._kernels.has_room() and not self._draining.is_on:
            raise errors.KernelLimitReached("Resource Limit")
        kernel = await self._kernels.start(
            _start_request(read_body(request, StartKernel, {"env"}) or StartKernel())
        )
        location = f"{base_url(request)}/api/kernels/{kernel.kernel_id}"
        request.setHeader(b"Location", location.encode("utf-8"))
        return json_answer(request, kernel_model(kernel), 201)

    def show(self, request: Any, kernel_id: str) -> bytes:
        """
        ``GET /api/kernels/<kernel_id>``.
        """
        return json_answer(request, kernel_model(self._kernels.get(kernel_id)))

    async def stop(self, request: Any, kernel_id: str) -> bytes:
        """
        ``DELETE /api/kernels/<kernel_id>``.
        """
        await self._kernels.stop(kernel_id)
        return empty_answer(request)

    async def interrupt(self, request: Any, kernel_id: str) -> bytes:
        """
        ``POST /api/kernels/<kernel_id>/interrupt``.
        """
        await self._kernels.interrupt(kernel_id)
        return empty_answer(request)

    async def restart(self, request: Any, kernel_id: str) -> bytes:
        """
        ``POST /api/kernels/<kernel_id>/restart``.
        """
        await self._kernels.restart(kernel_id)
        return json_answer(request, kernel_model(self._kernels.get(kernel_id)))


def _route(method: str, rule: str, handler: Callable[..., Any], summary: str) -> Route:
    scope = "kernels:read" if method == "GET" else "kernels:write"
    return Route(rule, (method,), handler, summary=summary, scope=scope)


def _start_request(body: StartKernel) -> StartRequest:
    is_private = body.workdir == "private"
    if is_private and body.path:
        raise errors.InvalidRequest(
            'path and "workdir": "private" exclude each other; leave one of them out'
        )
    return StartRequest(
        name=body.name or None,
        path=body.path,
        env=None if body.env is UNSET else body.env,
        kernel_id=body.kernel_id or None,
        has_private_directory=is_private,
    )
