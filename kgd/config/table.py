"""
What an option is, and tables of options: kgd's own and those of installed personalities.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kgd.config.jkg_traits import TRAIT_ALIASES, TraitAliases
from kgd.config.types import OptionType, hidden, plain, text
from kgd.settings import Settings

_BARE_COMMA = re.compile(r",(?! )")


@attrs.frozen
class Option:
    """
    One option: a row of the table.

    :ivar name: The name after ``--``; the field of the settings and the variables follow from it.
    :ivar help: One or more sentences for ``--help`` and the manual.
    :ivar type: Reads and writes the value.
    :ivar short: The letter of its short form.
    :ivar variables: Names of environment variables without ``KGD_`` or ``KG_``, if they do not
        follow from the name.
    :ivar aliases: Other names on the command line and in files.
    :ivar show: For an option with a secret in its value: what may be printed of the value.
    :ivar no_effect: For an option that is accepted and changes nothing, and has no field: the
        reason.
    :ivar group: The subject under which the manual and ``--help`` list it.
    :ivar owner: For an option of a personality from another distribution: the personality's name.
    :ivar fallback: The default of an option without a field.
    """

    name: str
    help: str
    type: OptionType[Any] = text
    short: str | None = None
    variables: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    show: Callable[[Any], Any] | None = None
    no_effect: str = ""
    group: str = ""
    owner: str = ""
    fallback: Any = None

    @property
    def own_name(self) -> str:
        """
        The name that the option's personality uses, without the personality's name.
        """
        return self.name.removeprefix(f"{self.owner.replace('_', '-')}-")

    @property
    def field(self) -> str:
        """
        The field of :py:class:`Settings`, or of its ``cors`` for the CORS headers.
        """
        return self.name.replace("-", "_")

    @property
    def environment(self) -> list[str]:
        """
        The variables that set the option, the strongest first.
        """
        stems = self.variables or (self.field.upper(),)
        return [prefix + stem for prefix in ("KGD_", "KG_") for stem in stems]

    @property
    def many(self) -> bool:
        """
        Whether the option may be repeated.
        """
        return self.type.join is not None

    @property
    def flags(self) -> Mapping[str, str]:
        """
        The names on the command line that need no value, and the text that each stands for.
        """
        return {form.format(self.name): text for form, text in self.type.flags.items()}

    @property
    def is_switch(self) -> bool:
        """
        Whether the option is used without a value on the command line.
        """
        return bool(self.type.flags)

    @property
    def is_hidden(self) -> bool:
        """
        Whether nothing of the value may be printed.
        """
        return self.show is hidden

    @property
    def default(self) -> Any:
        """
        The value if no source sets the option.
        """
        if self.no_effect or self.owner:
            return self.fallback
        return self.value_in(Settings())

    def value_in(self, settings: Settings) -> Any:
        """
        :return: The value that settings have for an option with a field.
        """
        return getattr(settings if hasattr(settings, self.field) else settings.cors, self.field)

    def joined(self, values: list[Any]) -> Any:
        """
        :param values: One for each time that the option is given.
        """
        return values[-1] if self.type.join is None else self.type.join(values)

    def to_file_value(self, value: Any) -> Any:
        """
        :return: A string, number, truth value, list or mapping that means this value in a file,
            without secrets.
        """
        if value is None:
            return self.type.none
        return self.type.write(value) if self.show is None else plain(self.show(value))

    @property
    def default_text(self) -> str:
        """
        The default as text for a variable; empty if no text means it.
        """
        default = self.to_file_value(self.default)
        if isinstance(default, bool):
            return "true" if default else "false"
        if isinstance(default, list):
            return ",".join(default)
        if isinstance(default, dict):
            return ",".join(f"{name}={value}" for name, value in default.items())
        return str(default)

    @property
    def shown_default(self) -> str:
        """
        The default, for people.
        """
        if self.no_effect:
            return "none"
        if self.name == "root-dir":
            return "the current directory"
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return _BARE_COMMA.sub(", ", self.default_text) or "none"


def grouped(group: str, *options: Option) -> tuple[Option, ...]:
    """
    :return: The options, with this subject.
    """
    return tuple(attrs.evolve(option, group=group) for option in options)


def _by_name(rows: Iterable[Option]) -> dict[str, Option]:
    return {name: row for row in rows for name in (row.name, *row.aliases)}


@attrs.frozen
class Table:
    """
    Options, and the classes and traits that name them in the Jupyter Kernel Gateway's style.

    :ivar by_name: Rows by name and alias.
    """

    rows: tuple[Option, ...]
    trait_aliases: tuple[TraitAliases, ...] = TRAIT_ALIASES
    by_name: Mapping[str, Option] = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: _by_name(self.rows), True)
    )

    def option_named(self, name: str) -> Option | None:
        """
        :param name: A name or an alias, with dashes or underscores.
        """
        return self.by_name.get(name.replace("_", "-"))

    def groups(self) -> Mapping[str, Sequence[Option]]:
        """
        :return: The options of each subject, in the order of the table.
        """
        found: dict[str, list[Option]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return found

    def trait_aliases_of(self, name: str, trait: str) -> Iterator[TraitAliases]:
        """
        :return: The families in which a class of this name can have this trait.
        """
        for aliases in self.trait_aliases:
            if name in aliases.classes and (
                trait in aliases.options or trait in aliases.actions or trait in aliases.no_effect
            ):
                yield aliases

    def has_class(self, name: str) -> bool:
        """
        Whether a class of this name has traits that stand for options.
        """
        return any(name in aliases.classes for aliases in self.trait_aliases)
