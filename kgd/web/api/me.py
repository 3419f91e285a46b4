"""
``/api/me``: who is asking. Whoever has the token is everybody.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kgd.auth.identities import ANONYMOUS
from kgd.errors import JSON_ERRORS, InvalidRequest, NotSupported
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route

# Jupyter Server names clients without an account like this, too.
_USER = models.User(
    username=ANONYMOUS.name, name="Anonymous", display_name="Anonymous", initials="An"
)
_decode_permissions = msgspec.json.Decoder(dict[str, list[str]]).decode


class MeAPI:
    """
    Tells clients that ask for it an identity, and that they may do everything.
    """

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api/me",
                ("GET",),
                self.show,
                summary="Who is asking, and what they may do",
                scope="me:read",
            ),
            Route("/api/me", ("PATCH",), self.change, summary="Not supported", scope="me:write"),
        ]

    def show(self, request: Any) -> bytes:
        """
        ``GET /api/me``.
        """
        permissions: dict[str, list[str]] = {}
        asked = request.args.get(b"permissions")
        if asked is not None:
            try:
                permissions = _decode_permissions(asked[0])
            except JSON_ERRORS:
                raise InvalidRequest(
                    'permissions should be a JSON dict of {"resource": ["action",]}, '
                    f"got {asked[0].decode('utf-8', 'replace')!r}"
                ) from None
        return json_answer(request, models.Me(_USER, {**permissions, "updatable_fields": []}))

    def change(self, request: Any) -> bytes:
        """
        ``PATCH /api/me``.
        """
        raise NotSupported("Identities cannot be changed here")
