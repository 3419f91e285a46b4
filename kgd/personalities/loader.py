"""
From the value of ``--api`` to a personality.

Personalities may be made by others. What they give back is checked and brought into one form here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs
from twisted.plugin import getPlugins
from twisted.python.reflect import ModuleNotFound, namedAny
from zope.interface import Interface, Invalid
from zope.interface.exceptions import (
    BrokenImplementation,
    BrokenMethodImplementation,
    DoesNotImplement,
)
from zope.interface.verify import verifyObject

from kgd.errors import ConfigurationError
from kgd.interfaces import (
    IDrainable,
    IGateway,
    IMonitored,
    IPersonality,
    IPersonalityMaker,
    IResourcePersonality,
    PersonalityOption,
)
from kgd.personalities.resource_adapter import ResourceAdapter, is_older_form

# The modules of the Jupyter Kernel Gateway, as old configurations name them.
_JKG_PREFIX = "kernel_gateway."
# What a module for that gateway has.
_JKG_MAKER = "create_personality"
# Found without a plug-in, so that a gateway can be embedded from wherever it lies.
_BUILT_IN = ("kgd.personalities.jupyter_websocket", "kgd.personalities.notebook_http")


# --- finding --------------------------------------------------------------------------------------


def plugin_makers() -> Iterable[IPersonalityMaker]:
    """
    :return: Makers that other distributions bring as plug-ins.
    """
    yield from getPlugins(IPersonalityMaker)


def all_makers() -> Iterable[IPersonalityMaker]:
    """
    :return: Those that come with kgd, then the plug-ins.
    """
    for module in _BUILT_IN:
        yield import_module(module).maker
    yield from plugin_makers()


def load_personality(api: str, gateway: IGateway) -> IPersonality:
    """
    Make the personality of this name.

    :param api: A maker's name, with dashes or underscores, or the dotted name of a maker or of a
        module that has one as ``maker``.
    :param gateway: An attrs class, which has the ``options`` that the settings name.
    :raises ConfigurationError: when there is none, or it does not keep its promises.
    """
    maker: Any = _find_maker(api)
    _verify(IPersonalityMaker, maker, f"the maker of --api={api}")
    if get_options(maker) is None:
        raise ConfigurationError(
            f"the maker of --api={api} does not fit: its options are no sequence of "
            "kgd.interfaces.PersonalityOption"
        )
    return make(maker, gateway)


def make(maker: IPersonalityMaker, gateway: IGateway) -> IPersonality:
    """
    :param gateway: As for :py:func:`load_personality`.
    :return: What the maker makes, with the options that the settings name.
    :raises ConfigurationError: when it does not keep its promises.
    """
    options = option_values(maker, gateway.settings.personality_options)
    personality = maker.make(attrs.evolve(gateway, options=options))  # type: ignore[misc]
    what = f"what the personality {maker.name} makes"
    for optional in (IDrainable, IMonitored):
        if optional.providedBy(personality):
            _verify(optional, personality, what)
    if is_older_form(personality):
        _verify(IResourcePersonality, personality, what, is_declared=False)
        return ResourceAdapter(personality, maker.name)
    _verify(IPersonality, personality, what)
    return personality


def normalize_api_name(api: str) -> str:
    """
    :return: The name of a maker, from one of the ways to write it.
    """
    return api.removeprefix(_JKG_PREFIX).replace("-", "_")


def _find_maker(api: str) -> Any:
    name = normalize_api_name(api)
    known: dict[str, list[Any]] = {}
    for maker in all_makers():
        named = known.setdefault(normalize_api_name(str(getattr(maker, "name", ""))), [])
        # A plug-in's module often has its maker under two names.
        if not any(maker is each for each in named):
            named.append(maker)
    if name in known:
        return _choose_maker(api, known[name])
    try:
        found = namedAny(api)  # type: ignore[no-untyped-call]
    except (Exception, SystemExit) as error:
        # Somebody's module may be there, and lack one of those that it imports itself.
        if "." in api or (api and not isinstance(error, ModuleNotFound)):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigurationError(f"--api={api} cannot be imported: {reason}") from error
        raise ConfigurationError(
            f"--api={api} is not known; there are {', '.join(sorted(filter(None, known)))}, "
            "and any module that can be imported"
        ) from None
    if hasattr(found, "maker"):
        return found.maker
    if hasattr(found, _JKG_MAKER) or api.endswith(f".{_JKG_MAKER}"):
        raise ConfigurationError(
            f"--api={api} is a personality of the Jupyter Kernel Gateway ({_JKG_MAKER}), whose "
            "handlers need Tornado; kgd cannot serve it. docs/writing-a-personality.md tells how "
            "to write it for kgd"
        )
    if inspect.ismodule(found):
        raise ConfigurationError(
            f"--api={api} is a module without a maker; it has to have an IPersonalityMaker of that "
            "name"
        )
    return found


def _choose_maker(api: str, named: Sequence[Any]) -> Any:
    """
    :param named: Makers of the same name, ours first; nobody takes the names of ours.
    :raises ConfigurationError: when it is not clear who is meant.
    """
    places = [type(maker).__module__ for maker in named]
    if len(named) > 1 and places[0] not in _BUILT_IN:
        raise ConfigurationError(
            f"--api={api} is the name of {len(named)} makers, which are in {', '.join(places)}; "
            "uninstall all but one, or name a maker with its module, such as "
            f"--api={places[0]}.maker"
        )
    return named[0]


# --- checking -------------------------------------------------------------------------------------


def _verify(
    interface: type[Interface], candidate: object, what: str, is_declared: bool = True
) -> None:
    """
    :param is_declared: Whether the candidate must declare the interface.
    :raises kgd.errors.ConfigurationError: when the candidate does not provide it.
    """
    if isinstance(candidate, type) and interface.implementedBy(candidate):
        raise ConfigurationError(
            f"{what} does not fit: it is the class {candidate.__name__}; it has to be an instance "
            f"of it, {candidate.__name__}()"
        )
    try:
        verifyObject(interface, candidate, tentative=not is_declared)
    except Invalid as error:
        found = getattr(error, "exceptions", [error])
        faults = sorted({_describe_fault(each, interface) for each in found})
        raise ConfigurationError(f"{what} does not fit: {'; '.join(faults)}") from None


def _describe_fault(error: Exception, interface: type[Interface]) -> str:
    name = interface.__name__
    if isinstance(error, BrokenMethodImplementation):
        return f"its {_member_name(error.method)} is not as in kgd.interfaces.{name}: {error.mess}"
    if isinstance(error, BrokenImplementation):
        return f"it has no {_member_name(error.name)}"
    if isinstance(error, DoesNotImplement):
        return f"it does not say @implementer({name})"
    return " ".join(str(error).split())


def _member_name(member: Any) -> str:
    return str(getattr(member, "__name__", member))


# --- options --------------------------------------------------------------------------------------


def get_options(maker: IPersonalityMaker) -> Sequence[PersonalityOption] | None:
    """
    :return: The options that a maker has, or ``None`` if they are something else.
    """
    rows = getattr(maker, "options", ())
    fits = isinstance(rows, Sequence) and all(isinstance(row, PersonalityOption) for row in rows)
    return tuple(rows) if fits else None


def option_values(maker: IPersonalityMaker, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param given: Values by name.
    :return: The same, and the defaults of all others.
    :raises ConfigurationError: for a name that is none of the maker's.
    """
    defaults = {row.name: row.default for row in get_options(maker) or ()}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigurationError(
            f"the personality {maker.name} has no option {unknown[0]!r}; it has "
            f"{', '.join(sorted(defaults)) or 'none'}"
        )
    return defaults | dict(given)
