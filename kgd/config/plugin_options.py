"""
Adds the options of installed personalities from other distributions to kgd's own.

They are known only where kgd runs, so ``--help-all`` has them and the manual does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twisted.python.usage import UsageError

from kgd.config.command_line import Options, install
from kgd.config.files import read_files
from kgd.config.jkg_traits import TRAIT_ALIASES, TraitAliases
from kgd.config.options import OPTIONS
from kgd.config.resolve import resolve
from kgd.config.sources import from_environment, from_mapping
from kgd.config.table import Option, Table
from kgd.config.types import OptionType, hidden
from kgd.endpoints.addresses import absolute_path
from kgd.errors import ConfigurationError
from kgd.interfaces import IPersonalityMaker
from kgd.personalities.loader import get_options, plugin_makers
from kgd.settings import Settings


def _rows(maker: IPersonalityMaker) -> Iterator[Option]:
    prefix = maker.name.replace("_", "-")
    for row in get_options(maker) or ():
        yield Option(
            f"{prefix}-{row.name}",
            row.help,
            OptionType.of(row.read),
            show=hidden if row.secret else None,
            group=f"Options of the personality {maker.name}",
            owner=maker.name,
            fallback=row.default,
        )


def _trait_aliases(maker: IPersonalityMaker, rows: Iterable[Option]) -> TraitAliases:
    """
    The options in the Jupyter Kernel Gateway's style: those of my_api are traits of
    MyApiPersonality.
    """
    name = "".join(word.capitalize() for word in maker.name.replace("-", "_").split("_"))
    return TraitAliases(
        (f"{name}Personality",), {row.own_name.replace("-", "_"): row.name for row in rows}
    )


def table_with(makers: Iterable[IPersonalityMaker]) -> Table:
    """
    :return: The options of kgd and of these makers.
    """
    rows: list[Option] = [*OPTIONS]
    aliases = [*TRAIT_ALIASES]
    taken = {name for row in OPTIONS for name in (row.name, *row.aliases)}
    for maker in makers:
        # A maker without a name, or whose options are something else, is refused only when --api
        # names it. An option whose name is taken is left out.
        if not isinstance(getattr(maker, "name", None), str):
            continue
        theirs = [row for row in _rows(maker) if row.name not in taken]
        taken.update(row.name for row in theirs)
        rows += theirs
        aliases.append(_trait_aliases(maker, theirs))
    return Table(tuple(rows), tuple(aliases))


def options_with(makers: Iterable[IPersonalityMaker]) -> Options:
    """
    :return: The command line of kgd, with the options of these makers.
    """

    class Extended(Options):
        table = table_with(makers)

    for row in Extended.table.rows:
        if row.owner:
            install(row, Extended)
    return Extended()


def settings_from(
    values: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    file: str = "",
) -> Settings:
    """
    Make settings for an application that embeds the gateway, as the daemon makes its own.

    :param values: By the name of the option, with dashes or underscores; texts, or values as in
        ``kgd.toml``. They win over the variables.
    :param environ: Variables like ``KGD_MAX_KERNELS``, ``os.environ`` for example; they win over
        the file.
    :param file: The path of a ``kgd.toml`` or of a file of the Jupyter Kernel Gateway. No other
        files are looked for.
    :raises kgd.errors.ConfigurationError: for a value that is not valid; it names the value and its
        place.
    """
    table = table_with(plugin_makers())
    try:
        sources = [
            from_mapping(values or {}, table, "the settings have", "in the settings"),
            from_environment(environ or {}, table),
        ]
        if file:
            sources += read_files(absolute_path(file), {"JUPYTER_NO_CONFIG": "1"}, table).sources
        return resolve(table, *sources).settings
    except UsageError as error:
        raise ConfigurationError(str(error)) from None
