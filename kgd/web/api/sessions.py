"""
``/api/sessions``: which notebook or console uses which kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from kgd import errors
from kgd.interfaces import ISessions, SessionRequest
from kgd.settings import Settings
from kgd.web.bodies import read_body
from kgd.web.models import AnySessionBody, KernelChoice, NotebookName, session_model
from kgd.web.mounted import base_url
from kgd.web.responses import empty_answer, json_answer
from kgd.web.routes import Repeats, Route


@attrs.frozen
class SessionsAPI:
    """
    Sessions over HTTP.
    """

    _settings: Settings
    _sessions: ISessions

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        one = "/api/sessions/<session_id>"
        return [
            _route("GET", "/api/sessions", self.list, "List the sessions"),
            _route("POST", "/api/sessions", self.create, "Create a session", Repeats.ALWAYS),
            _route("GET", one, self.show, "Show a session"),
            _route("PATCH", one, self.change, "Change a session, or its kernel"),
            _route("DELETE", one, self.delete, "Delete a session and stop its kernel"),
        ]

    def list(self, request: Any) -> bytes:
        """
        ``GET /api/sessions``.
        """
        if not self._settings.list_kernels:
            raise errors.ListingForbidden("Forbidden")
        return json_answer(request, [session_model(session) for session in self._sessions.list()])

    async def create(self, request: Any) -> bytes:
        """
        ``POST /api/sessions``.
        """
        wanted = _read(request, creating=True)
        for field in ("path", "type"):
            if getattr(wanted, field) is None:
                raise errors.InvalidRequest(f"Missing field in JSON data: {field}")
        session = await self._sessions.create(wanted)
        location = f"{base_url(request)}/api/sessions/{session.session_id}"
        request.setHeader(b"Location", location.encode("utf-8"))
        return json_answer(request, session_model(session), 201)

    def show(self, request: Any, session_id: str) -> bytes:
        """
        ``GET /api/sessions/<session_id>``.
        """
        return json_answer(request, session_model(self._sessions.get(session_id)))

    async def change(self, request: Any, session_id: str) -> bytes:
        """
        ``PATCH /api/sessions/<session_id>``.
        """
        session = await self._sessions.change(session_id, _read(request, creating=False))
        return json_answer(request, session_model(session))

    async def delete(self, request: Any, session_id: str) -> bytes:
        """
        ``DELETE /api/sessions/<session_id>``.
        """
        await self._sessions.delete(session_id)
        return empty_answer(request)


def _route(
    method: str,
    rule: str,
    handler: Callable[..., Any],
    summary: str,
    repeats: Repeats | None = None,
) -> Route:
    scope = "sessions:read" if method == "GET" else "sessions:write"
    return Route(rule, (method,), handler, summary=summary, scope=scope, repeats=repeats)


def _read(request: Any, *, creating: bool) -> SessionRequest:
    """
    Read a body in today's form, in the older one in which a session was a notebook's, or in both,
    as our responses have it; then today's form takes precedence. In the older form, a new
    notebook's ``name``, if there is one, is its path.

    :raises kgd.errors.InvalidRequest: when there is none, or a field has the wrong type.
    """
    body = read_body(request, AnySessionBody)
    if body is None:
        raise errors.InvalidRequest("No JSON data provided")
    path, kind = body.path, body.type
    notebook = body.notebook or NotebookName()
    old_path = notebook.path
    if creating:
        old_path = notebook.name or old_path
    if old_path is not None:
        path = old_path if path is None else path
        kind = kind or "notebook"
    kernel = body.kernel or KernelChoice()
    return SessionRequest(
        path=path,
        type=kind,
        name=body.name,
        kernel_id=kernel.id or None,
        kernel_name=kernel.name or None,
    )
