"""
httpx's responses and errors as our values.
"""

from __future__ import annotations

import httpx

from kgd.client.calls import Response, seconds_of
from kgd.client.retries import Attempts
from kgd.client.values import GatewayUnreachable


def response_of(response: httpx.Response, body: bytes, attempts: Attempts) -> Response:
    """
    :return: A response with this body.
    """
    return Response(
        status=response.status_code,
        reason=response.reason_phrase,
        body=body,
        retry_after=seconds_of(response.headers.get("retry-after")),
        is_retry=not attempts.is_first,
    )


def timeouts(usual: float, patience: float | None) -> httpx.Timeout:
    """
    :param usual: Seconds that anything may take.
    :param patience: Seconds that the response may take, if it is not what is usual.
    """
    return httpx.Timeout(usual, read=max(usual, patience or 0.0))


def was_sent(error: httpx.TransportError) -> bool:
    """
    Whether the gateway may have got the request.
    """
    return not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))


def is_final(error: httpx.TransportError) -> bool:
    """
    Whether waiting longer, or trying again, is of no use.
    """
    return isinstance(error, (httpx.ReadTimeout, httpx.UnsupportedProtocol, httpx.ProxyError))


def cannot_reach(url: str, error: httpx.TransportError) -> GatewayUnreachable:
    """
    :return: The error for people.
    """
    if isinstance(error, httpx.ReadTimeout):
        return GatewayUnreachable(f"the gateway at {url} did not answer in time")
    words = str(error) or type(error).__name__
    return GatewayUnreachable(f"the gateway at {url} cannot be reached: {words}")
