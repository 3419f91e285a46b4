"""
Personalities for tests that serve nothing, in both forms, and their maker.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from kgd.interfaces import (
    Access,
    IGateway,
    IPersonality,
    IPersonalityMaker,
    IResourcePersonality,
    Match,
)


class Idle:
    """
    Starts, stops and reloads without doing anything.
    """

    def start(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)

    def reload(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)


@implementer(IPersonality)
class Plain(Idle):
    """
    A personality that serves nothing.
    """

    def match(self, method: str, path: str) -> Match | None:
        """
        Nothing is there.
        """
        return None


@implementer(IResourcePersonality)
class PlainResource(Idle):
    """
    A personality of the older form that serves nothing.
    """

    def methods(self, path: str) -> tuple[str, ...]:
        """
        Nothing is there.
        """
        return ()

    def resource(self) -> IResource:
        """
        Nothing.
        """
        return Resource()

    def access(self, path: str) -> Access:
        """
        Nothing is there.
        """
        return Access.UNKNOWN


@implementer(IPersonalityMaker)
class Maker:
    """
    Makes what it is given.
    """

    name = "of_somebody"

    def __init__(self, made: Any) -> None:
        self._made = made

    def make(self, gateway: IGateway) -> Any:
        """
        Make it.
        """
        return self._made
