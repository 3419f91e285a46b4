"""
Who sends a request, and which scopes they have.

A scope is a resource and an action of Jupyter Server's authorization, like ``kernels:read``; the
actions are ``read``, ``write`` and ``execute``. Source:
https://jupyter-server.readthedocs.io/en/latest/operators/security.html
"""

from __future__ import annotations

from collections.abc import Set

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
        Whether the client may do what needs a scope; the empty scope is everyone's.
        """
        return not scope or self.scopes is None or scope in self.scopes


#: A client of a gateway that needs no token, and of one whose token it has sent. As in
#: ``GET /api/me``, the gateway does not tell its clients apart.
ANONYMOUS = Identity("anonymous")
