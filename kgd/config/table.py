"""
The options that there are: kgd's own, and those of personalities from other distributions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from kgd.config.jkg_traits import FAMILIES, TraitAliases
from kgd.config.options import OPTIONS, Option


def _by_name(rows: Iterable[Option]) -> dict[str, Option]:
    return {name: row for row in rows for name in (row.name, *row.aliases)}


@attrs.frozen
class Table:
    """
    Rows, and the classes and traits that stand for them in the Jupyter Kernel Gateway's manner.

    :ivar by_name: Rows by name and alias.
    """

    rows: tuple[Option, ...] = OPTIONS
    families: tuple[TraitAliases, ...] = FAMILIES
    by_name: Mapping[str, Option] = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: _by_name(self.rows), True)
    )

    def option_named(self, name: str) -> Option | None:
        """
        :param name: With dashes or underscores; an alias will do.
        """
        return self.by_name.get(name.replace("_", "-"))

    def families_of(self, name: str, trait: str) -> Iterator[TraitAliases]:
        """
        :return: Those in which a class of this name can have this trait.
        """
        for family in self.families:
            if name in family.classes and (
                trait in family.options or trait in family.actions or trait in family.idle
            ):
                yield family

    def has_class(self, name: str) -> bool:
        """
        Whether some family has it.
        """
        return any(name in family.classes for family in self.families)


#: What kgd has by itself.
OWN = Table()
