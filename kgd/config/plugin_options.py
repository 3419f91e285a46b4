"""
Options of the personalities that other distributions bring along, besides our own.

They are known only where kgd runs, so the manual does not have them; ``--help`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twisted.python.usage import UsageError

from kgd.config.command_line import Options, install
from kgd.config.files import read_files
from kgd.config.jkg_traits import FAMILIES, TraitAliases
from kgd.config.options import OPTIONS, Option
from kgd.config.resolve import resolve
from kgd.config.sources import from_environment, from_mapping
from kgd.config.table import Table
from kgd.config.types import as_it_is, counts, hidden, names, prefixes
from kgd.endpoints.addresses import absolute
from kgd.errors import ConfigurationError
from kgd.interfaces import IPersonalityMaker
from kgd.personalities.loader import option_rows, plugins
from kgd.settings import Settings


def _rows(maker: IPersonalityMaker) -> Iterator[Option]:
    prefix = maker.name.replace("_", "-")
    for row in option_rows(maker) or ():
        yield Option(
            f"{prefix}-{row.name}",
            row.help,
            row.read,
            many=row.read in (names, counts, prefixes),
            show=hidden if row.secret else as_it_is,
            owner=maker.name,
            fallback=row.default,
        )


def _family(maker: IPersonalityMaker, rows: Iterable[Option]) -> TraitAliases:
    """
    The same options as the Jupyter Kernel Gateway would call them: my_api is MyApiPersonality.
    """
    name = "".join(word.capitalize() for word in maker.name.replace("-", "_").split("_"))
    return TraitAliases(
        (f"{name}Personality",), {row.own_name.replace("-", "_"): row.name for row in rows}
    )


def table_with(makers: Iterable[IPersonalityMaker]) -> Table:
    """
    :return: The options of kgd, and those that these makers have.
    """
    rows: list[Option] = [*OPTIONS]
    families = [*FAMILIES]
    taken = {name for row in OPTIONS for name in (row.name, *row.aliases)}
    for maker in makers:
        # One without a name, or with options that are none, is refused when somebody asks for it,
        # and stops nobody else. Nor does an option that another one has already.
        if not isinstance(getattr(maker, "name", None), str):
            continue
        theirs = [row for row in _rows(maker) if row.name not in taken]
        taken.update(row.name for row in theirs)
        rows += theirs
        families.append(_family(maker, theirs))
    return Table(tuple(rows), tuple(families))


def options_with(makers: Iterable[IPersonalityMaker]) -> Options:
    """
    :return: The command line of kgd, with the options that these makers have.
    """

    class Extended(Options):
        """
        Both.
        """

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
    Make settings as the daemon does, for an application of one's own.

    :param values: By the name of the option, with dashes or underscores; what ``kgd.toml`` could
        have, text or values. They win over the variables.
    :param environ: Variables like ``KGD_MAX_KERNELS``, ``os.environ`` for example; they win over
        the file.
    :param file: ``kgd.toml`` or a file of the Jupyter Kernel Gateway. None is looked for.
    :raises kgd.errors.ConfigurationError: for what will not do; it says where that is.
    """
    table = table_with(plugins())
    try:
        sources = [
            from_mapping(values or {}, table, "the settings have", "in the settings"),
            from_environment(environ or {}, table),
        ]
        if file:
            sources += read_files(absolute(file), {"JUPYTER_NO_CONFIG": "1"}, table).sources
        return resolve(table, *sources).settings
    except UsageError as error:
        raise ConfigurationError(str(error)) from None
