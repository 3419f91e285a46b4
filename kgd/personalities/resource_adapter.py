"""
Serves personalities of the older form, which have a resource instead of ``match``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import IResource
from zope.interface import alsoProvides, implementer

from kgd.errors import ConfigurationError
from kgd.interfaces import (
    Access,
    IDrainable,
    IMonitored,
    IPersonality,
    IResourcePersonality,
    Match,
)
from kgd.web.embedded import application_resource, render_embedded


def is_older_form(personality: Any) -> bool:
    """
    Whether an object is an :py:class:`kgd.interfaces.IResourcePersonality`, which it may also
    declare as ``IPersonality``.
    """
    if IResourcePersonality.providedBy(personality):
        return True
    is_declared = IPersonality.providedBy(personality)
    return is_declared and hasattr(personality, "resource") and not hasattr(personality, "match")


@implementer(IPersonality)
class ResourceAdapter:
    """
    Makes a personality of the older form an :py:class:`kgd.interfaces.IPersonality`. Its optional
    interfaces, and its other attributes, are those of the personality.

    :param personality: The personality.
    :param name: The personality's name, for errors.
    :param resource: The resource, if it is known before the personality is started.
    """

    def __init__(
        self, personality: Any, name: str = "given", resource: IResource | None = None
    ) -> None:
        self._personality = personality
        self._name = name
        self._resource = resource
        for optional in (IDrainable, IMonitored):
            if optional.providedBy(personality):
                alsoProvides(self, optional)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._personality, name)

    def start(self) -> Deferred[None]:
        """
        Start the personality, and get its resource.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await maybeDeferred(self._personality.start)
        self._resource = await resource_of(self._personality, self._name)

    def stop(self) -> Deferred[None]:
        return maybeDeferred(self._personality.stop)

    def reload(self) -> Deferred[None]:
        return maybeDeferred(self._personality.reload)

    def match(self, method: str, path: str) -> Match | None:
        """
        Ask the personality what the path needs. It says which methods there are for ``OPTIONS``
        only; its resource refuses others by itself.
        """
        if path.startswith("//"):
            # Klein would serve it as the path with one slash, which access() has not judged.
            return None
        access = self._personality.access(path)
        if not isinstance(access, Access):
            raise TypeError(f"access({path!r}) of the personality is {access!r}, not an Access")
        if access is Access.UNKNOWN:
            return None
        methods = self._personality.methods(path) if method == "OPTIONS" else (method.upper(),)
        return Match(access, tuple(methods), partial(self._render, path))

    def _render(self, path: str, request: Any) -> bytes | int:
        assert self._resource is not None, "it is served after it has been started"
        rendered: bytes | int = render_embedded(self._resource, request, path)
        return rendered


async def resource_of(personality: Any, name: str) -> IResource:
    """
    :param name: The personality's name, for the error.
    :return: The resource of a personality of the older form; a Klein application gives its own.
    :raises kgd.errors.ConfigurationError: when it is something else.
    """
    found = await maybeDeferred(personality.resource)
    if not IResource.providedBy(found) and callable(getattr(found, "resource", None)):
        found = application_resource(found)
    if not IResource.providedBy(found):
        raise ConfigurationError(
            f"what the personality {name} makes does not fit: its resource() gives "
            f"{type(found).__name__}, which is neither an IResource nor a Klein application"
        )
    return found
