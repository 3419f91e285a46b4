"""
How the answer to every request begins.
"""

from __future__ import annotations

from typing import Any

from kgd.settings import CORS, Settings
from kgd.tally import Tally
from kgd.web.exchange import Exchange, Exchanges
from kgd.web.origins import allow_origin_header
from kgd.web.proxies import believe


class Opening:
    """
    Sets the headers that every response has, also one that is refused early.

    :param tally: Where requests are counted.
    """

    def __init__(self, settings: Settings, tally: Tally | None = None) -> None:
        self._exchanges = Exchanges(settings, tally)
        self._trust_xheaders = settings.trust_xheaders
        self._allow_origin = settings.cors.allow_origin
        self._cors = constant_cors_headers(settings.cors)

    def prepare(self, request: Any) -> Exchange:
        """
        :return: The exchange, which is begun if it has not been.
        """
        if self._trust_xheaders:
            believe(request)
        exchange = self._exchanges.begin(request)
        request.setHeader(b"X-Request-Id", exchange.requester.request_id.encode("ascii"))
        request.setHeader(b"Server", b"kgd")
        origin = request.getHeader(b"origin")
        value, varies = allow_origin_header(
            origin.decode("latin-1") if origin is not None else None, self._allow_origin
        )
        if varies:
            request.setHeader(b"Vary", b"Origin")
        if value:
            request.setHeader(b"Access-Control-Allow-Origin", value.encode("latin-1"))
        for name, constant in self._cors:
            request.setHeader(name, constant)
        return exchange


def constant_cors_headers(cors: CORS) -> list[tuple[bytes, bytes]]:
    """
    :return: The headers that do not depend on the request; empty ones are left out.
    """
    rows = (
        (b"Access-Control-Allow-Credentials", cors.allow_credentials),
        (b"Access-Control-Allow-Headers", cors.allow_headers),
        (b"Access-Control-Allow-Methods", cors.allow_methods),
        (b"Access-Control-Expose-Headers", cors.expose_headers),
        (b"Access-Control-Max-Age", cors.max_age),
    )
    return [(name, value.encode("latin-1")) for name, value in rows if value]
