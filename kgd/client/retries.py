"""
Decides whether a request is sent once more, and when.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from kgd.client.calls import Request, Response, without_key


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    How often a client tries. A request that may have reached the gateway is only sent again if that
    does no harm: POSTs have an ``Idempotency-Key``, so that the gateway starts and runs nothing
    twice.

    :ivar attempts: How often in all.
    :ivar sends_keys: Whether POSTs have a key. For a gateway that takes none
        (``--idempotency-keys=0``) they must not; then a POST that may have arrived is not sent
        again.
    :ivar first_pause: Seconds before the second attempt; each further pause is twice as long, and
        up to half of it is left out by chance.
    :ivar longest_pause: Seconds that a pause may have. If the gateway's ``Retry-After`` asks for
        more, its refusal is the answer.
    """

    attempts: int = 5
    first_pause: float = 0.2
    longest_pause: float = 10.0
    sends_keys: bool = True

    def prepared(self, request: Request) -> Request:
        """
        :return: The request as it is sent.
        """
        return request if self.sends_keys else without_key(request)


class Attempts:
    """
    The attempts of one request.

    :param chance: Gives a number from 0 to 1.
    """

    def __init__(self, policy: RetryPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._chance = chance
        self._count = 1

    @property
    def is_first(self) -> bool:
        """
        Whether nothing has failed so far.
        """
        return self._count == 1

    def begin_anew(self) -> None:
        """
        The connection has worked.
        """
        self._count = 1

    def pause_after_loss(self, request: Request, *, was_sent: bool) -> float | None:
        """
        :param was_sent: Whether the request may have reached the gateway.
        :return: Seconds until the next attempt, or ``None`` when there is none.
        """
        if was_sent and not request.is_repeatable:
            return None
        return self._next_pause()

    def pause_after(self, response: Response) -> float | None:
        """
        :return: Seconds until the next attempt, or ``None`` when this response is the answer.
        """
        asked = response.retry_after
        if response.status != 503 or asked is None or asked > self._policy.longest_pause:
            return None
        pause = self._next_pause()
        return None if pause is None else max(pause, asked)

    def _next_pause(self) -> float | None:
        if self._count >= self._policy.attempts:
            return None
        pause = min(self._policy.longest_pause, self._policy.first_pause * 2.0 ** (self._count - 1))
        self._count += 1
        return pause * (1 - self._chance() / 2)
