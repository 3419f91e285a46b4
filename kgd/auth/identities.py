"""
Who sends a request, and which scopes they have.

A scope is a resource and an action of Jupyter Server's authorization, like ``kernels:read``; the
actions are ``read``, ``write`` and ``execute``. Source:
https://jupyter-server.readthedocs.io/en/latest/operators/security.html
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import attrs


@attrs.frozen
class Identity:
    """
    A client that has been authenticated.

    :ivar name: The client's name.
    :ivar scopes: The scopes that it has; ``None`` stands for all.
    """

    name: str
    scopes: Set[str] | None = None

    def has_scope(self, scope: str) -> bool:
        """
        Whether the client may do what needs a scope, or several with spaces between them; the
        empty one is everyone's.
        """
        return self.scopes is None or all(each in self.scopes for each in scope.split())


#: A client of a gateway that needs no token, and of one whose token it has sent. As in
#: ``GET /api/me``, the gateway does not tell its clients apart.
ANONYMOUS = Identity("anonymous")


def set_identity(request: Any, identity: Identity) -> None:
    """
    Keep who has sent a request.
    """
    request.kgd_identity = identity


def identity_of(request: Any) -> Identity:
    """
    :return: Who has sent a request.
    """
    identity: Identity = getattr(request, "kgd_identity", ANONYMOUS)
    return identity
