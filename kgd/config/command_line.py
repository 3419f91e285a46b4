"""
The command line of ``kgd`` and ``twistd kgd``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from kgd import __version__
from kgd.config.chroot import chrooted
from kgd.config.files import default_path, read_files
from kgd.config.help import Action, Terminal, full_help, short_help
from kgd.config.jkg_command_line import CommandLineRewriter
from kgd.config.options import OPTIONS, OWN
from kgd.config.render import config_file, render_json, render_toml
from kgd.config.resolve import Resolution, resolve
from kgd.config.sources import ON_COMMAND_LINE, ConfigSource, SourcedValue, from_environment
from kgd.config.table import Option, Table
from kgd.endpoints.addresses import absolute_path
from kgd.settings import Settings

#: The options that are not in the table, because they are not settings.
ACTION_NAMES = (
    "config", "generate-config", "force", "show-config", "show-config-json", "debug", "drop-in",
    "version", "help", "help-all",
)  # fmt: skip
_ESSENTIAL_ACTIONS = ("config", "generate-config", "show-config", "version", "help-all")
_FORMS = {"config": "-c, --config=FILE", "force": "-y, --force", "help": "-h, --help"}
#: The weakest source with ``--drop-in``: what the Jupyter Kernel Gateway does, and kgd does not.
DROP_IN_DEFAULTS: ConfigSource = {
    "link-connection-files": SourcedValue(("true",), "by --drop-in"),
    "spare-kernels": SourcedValue(("listed",), "by --drop-in"),
}


def command_name() -> str:
    """
    :return: The command that runs the gateway, if it is one of ours; otherwise it is twistd.
    """
    path = Path(sys.argv[0])
    if path.name == "__main__.py" and path.parent.name == "kgd":
        return "kgd"
    return path.name if path.name in ("kgd", "jupyter-kgd") else ""


class Options(UsageOptions):
    """
    Parses the command line, and reads all other sources of option values.

    :cvar table: All options.
    :ivar given: The texts on the command line, by option name.
    :ivar drop_in: Whether to behave like the Jupyter Kernel Gateway, with ``--drop-in``.
    :ivar settings: The settings, resolved from all sources.
    :ivar where: By option, the place where it is set.
    :ivar secrets: Values of personalities' options that must not be printed.
    :ivar remarks: Warnings for the operator, one line each.
    """

    synopsis = "[options]"
    longdesc = (
        "Every option can also be set by a variable, like KGD_MAX_KERNELS or KG_MAX_KERNELS, or in "
        "a file, see --generate-config. The options of the Jupyter Kernel Gateway, like "
        "--KernelGatewayApp.max_kernels=5, are accepted, too."
    )

    table = OWN

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.drop_in = False
        self.secrets: list[str] = []
        self.remarks: list[str] = []
        self.settings: Settings
        self.where: Mapping[str, str] = {}
        self._config = ""
        self._force = False
        self._generates = False
        self._action: Callable[[Resolution], str] | None = None
        super().__init__()  # type: ignore[no-untyped-call]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line, and every other source.

        :raises UsageError: for an option or a value that is not valid.
        """
        try:
            os.getcwd()
        except OSError as error:
            raise UsageError(
                f"the current directory cannot be used: {error.strerror}; change to another one"
            ) from None
        arguments = sys.argv[1:] if options is None else options
        rewriter = CommandLineRewriter(self.table, lenient="--drop-in" in arguments)
        written = rewriter.rewrite(arguments)
        self.remarks = rewriter.remarks
        super().parseOptions(written)  # type: ignore[no-untyped-call]

    @property
    def source(self) -> ConfigSource:
        """
        The values on the command line.
        """
        return {
            name: SourcedValue(tuple(texts), ON_COMMAND_LINE) for name, texts in self.given.items()
        }

    def parseArgs(self, *rest: str) -> None:
        """
        Refuse arguments that are not options.
        """
        if rest:
            raise UsageError(f"{rest[0]!r} is not an option; options start with --")

    def postOptions(self) -> None:
        """
        Read every source at once, so that an error stops twistd before anything is started.
        """
        environ = os.environ
        chosen = self._config or environ.get("KGD_CONFIG") or environ.get("KG_CONFIG") or ""
        if self._generates:
            # Before files are read: an invalid one must not prevent it.
            self._write_config(chosen)
        files = read_files(absolute_path(chosen), environ, self.table)
        resolved = resolve(
            self.table,
            self.source,
            from_environment(environ, self.table),
            *files.sources,
            DROP_IN_DEFAULTS if self.drop_in else {},
        )
        # --show-config shows the paths as they were given, outside of the new root.
        settings = chrooted(
            resolved.settings, self.parent["chroot"] if self.parent else None, self.table.rows
        )
        if self._action is not None:
            print(self._action(resolved), end="", flush=True)  # noqa: T201
            sys.exit(0)
        self.settings = settings
        self.where = resolved.where
        self.secrets = [
            str(value)
            for option, value in resolved.values
            if value and option.owner and option.is_hidden
        ]
        self.remarks += [*files.remarks, *resolved.remarks]

    def _write_config(self, chosen: str) -> NoReturn:
        path = Path(absolute_path(chosen)) if chosen else default_path()
        try:
            if path.exists() and not self._force:
                raise UsageError(
                    f"{path} exists already; replace it with --force, or name another file with "
                    "--config=FILE"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config_file(self.table), "utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}; name another file with --config=FILE"
            ) from None
        print(f"wrote {path}")  # noqa: T201
        sys.exit(0)

    def opt_config(self, file: str) -> None:
        """
        File with options, to read instead of those that would be found: TOML, or a .py or .json
        file of the Jupyter Kernel Gateway. The variable is KGD_CONFIG.
        """
        self._config = file

    opt_c = opt_config

    def opt_generate_config(self) -> None:
        """
        Write a file with every option, commented out, to where it will be found or to the file
        that --config names, and stop.
        """
        self._generates = True

    def opt_force(self) -> None:
        """
        Let --generate-config replace a file. Nothing else asks for confirmation.
        """
        self._force = True

    opt_y = opt_force

    def opt_show_config(self) -> None:
        """
        Print the value of every option, and where it is set, as TOML, and stop.
        """
        self._action = render_toml

    def opt_show_config_json(self) -> None:
        """
        Print the same as JSON, and stop.
        """
        self._action = render_json

    def opt_debug(self) -> None:
        """
        Short for --log-level=debug.
        """
        self.given["log-level"] = ["debug"]

    def opt_drop_in(self) -> None:
        """
        Replace the Jupyter Kernel Gateway: log to stderr, announce there that the gateway is
        available at every log level, only warn about unknown options like --Class.trait and about
        arguments that are not options, link connection files, and list kernels that were started in
        advance. The command jupyter-kgd always does this.
        """
        self.drop_in = True

    def opt_help(self) -> NoReturn:
        """
        Print the most used options and the names of the others, and stop.
        """
        print(self)  # noqa: T201
        sys.exit(0)

    # twistd itself has no short form.
    opt_h = opt_help

    def opt_help_all(self) -> NoReturn:
        """
        Print all options by subject, with their values and defaults, and stop.
        """
        print(f"{self.getSynopsis()}\n\n{self._usage(full_help)}")  # noqa: T201
        sys.exit(0)

    def getSynopsis(self) -> str:
        """
        :return: The first line of the help.
        """
        command = command_name()
        return f"Usage: {command} [options]" if command else super().getSynopsis()

    def getUsage(self, width: int | None = None) -> str:
        """
        :return: The help, which twistd also prints before an error.
        """
        return f"\n{self._usage(short_help)}"

    def _usage(self, render: Callable[[Table, Sequence[Action], Terminal], str]) -> str:
        terminal = Terminal.of(sys.stdout, os.environ)
        actions = [
            Action(
                _FORMS.get(name, f"--{name}"),
                " ".join((getattr(self, f"opt_{name.replace('-', '_')}").__doc__ or "").split()),
                name in _ESSENTIAL_ACTIONS,
            )
            for name in ACTION_NAMES
        ]
        return f"{render(self.table, actions, terminal)}\n{terminal.paragraph(self.longdesc)}"

    def opt_version(self) -> None:
        """
        Print the version, and stop.
        """
        print(__version__)  # noqa: T201
        sys.exit(0)


def install(option: Option, options: type[Options]) -> None:
    """
    Add the methods by which Twisted recognizes an option.
    """

    def store(self: Options, value: str) -> None:
        self.given.setdefault(option.name, []).append(value)

    def flag(text: str) -> Callable[[Options], None]:
        def set_flag(self: Options) -> None:
            self.given[option.name] = [text]

        return set_flag

    takers: dict[str, Callable[..., None]] = {
        flag_name: flag(text) for flag_name, text in option.flags.items()
    }
    if not takers:
        takers = {option.name: store}
    for name, taker in takers.items():
        taker.__doc__ = option.help
        setattr(options, f"opt_{name.replace('-', '_')}", taker)
    if option.short is not None:
        setattr(options, f"opt_{option.short}", takers[option.name])


for _option in OPTIONS:
    install(_option, Options)
