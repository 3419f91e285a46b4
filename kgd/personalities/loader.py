"""
From the value of ``--api`` to a personality.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from twisted.plugin import getPlugins
from twisted.python.reflect import namedAny
from zope.interface import Interface, Invalid
from zope.interface.verify import verifyObject

from kgd.errors import ConfigurationError
from kgd.interfaces import IGateway, IPersonality, IPersonalityMaker

# The modules of the Jupyter Kernel Gateway, as old configurations name them.
_LEGACY_PREFIX = "kernel_gateway."
# Found without a plug-in, so that a gateway can be embedded from wherever it lies.
_BUILT_IN = ("kgd.personalities.jupyter_websocket", "kgd.personalities.notebook_http")


def makers() -> Iterable[IPersonalityMaker]:
    """
    :return: Those that come with kgd, then those that other distributions bring as plug-ins.
    """
    for module in _BUILT_IN:
        yield import_module(module).maker
    yield from getPlugins(IPersonalityMaker)


def load(api: str, gateway: IGateway) -> IPersonality:
    """
    Make the personality of this name.

    :param api: A maker's name, with dashes or underscores, or the dotted name of a maker or of a
        module that has one as ``maker``.
    :raises ConfigurationError: when there is none, or it does not keep its promises.
    """
    maker: Any = _find(api)
    _verify(IPersonalityMaker, maker, f"the maker of --api={api}")
    personality: IPersonality = maker.make(gateway)
    _verify(IPersonality, personality, f"what --api={api} makes")
    return personality


def _find(api: str) -> Any:
    name = api.removeprefix(_LEGACY_PREFIX).replace("-", "_")
    known = []
    for maker in makers():
        if maker.name == name:
            return maker
        known.append(maker.name)
    if "." in api:
        try:
            found = namedAny(api)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise ConfigurationError(f"--api={api} cannot be imported: {error}") from error
        return getattr(found, "maker", found)
    raise ConfigurationError(
        f"--api={api} is not known; there are {', '.join(sorted(known))}, "
        "and any module that is named with its dots"
    )


def _verify(interface: type[Interface], candidate: object, what: str) -> None:
    try:
        verifyObject(interface, candidate)
    except Invalid as error:
        raise ConfigurationError(f"{what} does not fit: {error}") from None
