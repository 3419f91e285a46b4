"""
Finds the personality that ``--api`` names, and makes it.

Personalities may come from other distributions, so what their makers return is verified, and its
older form adapted.
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

# Configurations of the Jupyter Kernel Gateway name its modules.
_JKG_PREFIX = "kernel_gateway."
# The function in modules that are personalities of that gateway.
_JKG_MAKER = "create_personality"
# Found without plug-ins, so that a gateway can be embedded even if kgd is not installed.
_BUILT_IN = ("kgd.personalities.jupyter_websocket", "kgd.personalities.notebook_http")


# --- finding --------------------------------------------------------------------------------------


def plugin_makers() -> Iterable[IPersonalityMaker]:
    """
    :return: The makers in plug-ins of other distributions.
    """
    yield from getPlugins(IPersonalityMaker)


def all_makers() -> Iterable[IPersonalityMaker]:
    """
    :return: The makers of kgd, then those of plug-ins.
    """
    for module in _BUILT_IN:
        yield import_module(module).maker
    yield from plugin_makers()


def load_personality(api: str, gateway: IGateway) -> IPersonality:
    """
    Make the personality of a name.

    :param api: A maker's name, with dashes or underscores, or the dotted name of a maker or of a
        module with a maker as ``maker``.
    :param gateway: An instance of an attrs class.
    :raises ConfigurationError: when there is no such personality, or it does not provide its
        interfaces.
    """
    maker: Any = _find_maker(api)
    _verify(IPersonalityMaker, maker, f"the maker of --api={api}")
    if get_options(maker) is None:
        raise ConfigurationError(
            f"the maker of --api={api} does not fit: its options are not a sequence of "
            "kgd.interfaces.PersonalityOption"
        )
    return make(maker, gateway)


def make(maker: IPersonalityMaker, gateway: IGateway) -> IPersonality:
    """
    Make a personality with the options in the settings.

    :param gateway: As for :py:func:`load_personality`.
    :return: The personality, if necessary in an adapter.
    :raises ConfigurationError: when it does not provide its interfaces.
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
    :return: The name of a maker, which may be written in several ways.
    """
    return api.removeprefix(_JKG_PREFIX).replace("-", "_")


def _find_maker(api: str) -> Any:
    name = normalize_api_name(api)
    known: dict[str, list[Any]] = {}
    for maker in all_makers():
        named = known.setdefault(normalize_api_name(str(getattr(maker, "name", ""))), [])
        # Modules of plug-ins often have their maker under two names.
        if not any(maker is each for each in named):
            named.append(maker)
    if name in known:
        return _choose_maker(api, known[name])
    try:
        found = namedAny(api)  # type: ignore[no-untyped-call]
    except (Exception, SystemExit) as error:
        # The module may exist, and import another that does not.
        if "." in api or (api and not isinstance(error, ModuleNotFound)):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigurationError(f"--api={api} cannot be imported: {reason}") from error
        raise ConfigurationError(
            f"--api={api} is not known; use {', '.join(sorted(filter(None, known)))} or a module "
            "that can be imported"
        ) from None
    if hasattr(found, "maker"):
        return found.maker
    if hasattr(found, _JKG_MAKER) or api.endswith(f".{_JKG_MAKER}"):
        raise ConfigurationError(
            f"--api={api} is a personality of the Jupyter Kernel Gateway ({_JKG_MAKER}), whose "
            "handlers need Tornado; kgd cannot serve it. See docs/writing-a-personality.md to "
            "write it for kgd"
        )
    if inspect.ismodule(found):
        raise ConfigurationError(
            f"--api={api} is a module without a maker; add an IPersonalityMaker to it, and name it "
            "maker"
        )
    return found


def _choose_maker(api: str, named: Sequence[Any]) -> Any:
    """
    :param named: Makers of the same name, kgd's first, which takes precedence.
    :raises ConfigurationError: when it is unclear which one is meant.
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
            f"{what} does not fit: it is the class {candidate.__name__}; use an instance, "
            f"{candidate.__name__}()"
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
        return f"it is not declared with @implementer({name})"
    return " ".join(str(error).split())


def _member_name(member: Any) -> str:
    return str(getattr(member, "__name__", member))


# --- options --------------------------------------------------------------------------------------


def get_options(maker: IPersonalityMaker) -> Sequence[PersonalityOption] | None:
    """
    :return: The options of a maker, or ``None`` if they are not options.
    """
    rows = getattr(maker, "options", ())
    fits = isinstance(rows, Sequence) and all(isinstance(row, PersonalityOption) for row in rows)
    return tuple(rows) if fits else None


def option_values(maker: IPersonalityMaker, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param given: Values by name.
    :return: The values of all options, with the defaults of those that are not given.
    :raises ConfigurationError: for a name that the maker does not have.
    """
    defaults = {row.name: row.default for row in get_options(maker) or ()}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigurationError(
            f"the personality {maker.name} has no option {unknown[0]!r}; it has "
            f"{', '.join(sorted(defaults)) or 'none'}"
        )
    return defaults | dict(given)
