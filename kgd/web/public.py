"""
What needs no token. This is all of it in both personalities of ours, beside the answers to
``OPTIONS`` and paths under which nothing is served.
"""

from __future__ import annotations

#: The rules of routes, as :py:class:`kgd.web.routes.Route` has them.
PUBLIC = frozenset(
    {
        # What there is, but nothing about who uses it.
        "/api/swagger.json",
        "/api/swagger.yaml",
        # For whoever keeps the gateway running: ok or not.
        "/healthz",
        "/readyz",
        # With --metrics-public.
        "/metrics",
        # Files that the operator publishes, with --static-path.
        "/public/<path:name>",
        # Style and code of the page of notebook_http, the same for everybody.
        "/_api/docs/<path:name>",
    }
)
