"""
The command line after ``twistd kgd``.
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
from kgd.config.chroot import jailed
from kgd.config.files import default_path, read_files
from kgd.config.jkg_command_line import Rewriter
from kgd.config.options import OPTIONS, Option
from kgd.config.render import config_file, shown_as_json, shown_as_toml
from kgd.config.resolve import Resolution, resolve
from kgd.config.sources import ON_COMMAND_LINE, ConfigSource, SourcedValue, from_environment
from kgd.config.table import OWN
from kgd.config.types import hidden, switch_or_failures
from kgd.endpoints.addresses import absolute
from kgd.settings import Settings

#: The options that are no rows of the table, because they are not settings; for the manual.
ACTIONS = (
    "config", "generate-config", "force", "show-config", "show-config-json", "debug", "drop-in",
    "version", "help",
)  # fmt: skip


class Options(UsageOptions):
    """
    :cvar table: The options that there are.
    :ivar given: What was on the command line, by option name.
    :ivar drop_in: Whether to behave as the Jupyter Kernel Gateway, where that is no harm.
    :ivar settings: What became of everything that was said.
    :ivar where: By option, where it was said.
    :ivar secrets: Values of personalities' options that nobody may see.
    :ivar remarks: What the operator should know about that, one line each.
    """

    synopsis = "[options]"
    longdesc = (
        "Starts Jupyter kernels and lets programs use them over HTTP and WebSocket. Every option "
        "can also be set by a variable, like KGD_MAX_KERNELS or KG_MAX_KERNELS, or in a file, see "
        "--generate-config. The options of the Jupyter Kernel Gateway, like "
        "--KernelGatewayApp.max_kernels=5, are understood, too."
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
        Read everything.

        :raises UsageError: for what will not do.
        """
        try:
            os.getcwd()
        except OSError as error:
            raise UsageError(
                f"the current directory cannot be used: {error.strerror}; go to another one"
            ) from None
        arguments = sys.argv[1:] if options is None else options
        rewriter = Rewriter(self.table, lenient="--drop-in" in arguments)
        written = rewriter.rewrite(arguments)
        self.remarks = rewriter.remarks
        super().parseOptions(written)  # type: ignore[no-untyped-call]

    @property
    def said(self) -> ConfigSource:
        """
        What was on the command line.
        """
        return {
            name: SourcedValue(tuple(texts), ON_COMMAND_LINE) for name, texts in self.given.items()
        }

    def parseArgs(self, *rest: str) -> None:
        """
        Nothing is expected after the options.
        """
        if rest:
            raise UsageError(f"{rest[0]!r} is not expected; options start with --")

    def postOptions(self) -> None:
        """
        Read everything at once, so that an error stops twistd before anything has begun.
        """
        environ = os.environ
        chosen = self._config or environ.get("KGD_CONFIG") or environ.get("KG_CONFIG") or ""
        if self._generates:
            # Before anything is read: a file that is broken must not prevent it.
            self._write_config(chosen)
        files = read_files(absolute(chosen), environ, self.table)
        resolved = resolve(
            self.table, self.said, from_environment(environ, self.table), *files.sources
        )
        # What is shown are the paths of outside, as they were said.
        settings = jailed(
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
            if value and option.owner and option.show is hidden
        ]
        self.remarks += [*files.remarks, *resolved.remarks]

    def _write_config(self, chosen: str) -> NoReturn:
        path = Path(absolute(chosen)) if chosen else default_path()
        try:
            if path.exists() and not self._force:
                raise UsageError(
                    f"{path} is there already; --force replaces it, --config=FILE names another"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config_file(self.table), "utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}; --config=FILE names another"
            ) from None
        print(f"wrote {path}")  # noqa: T201
        sys.exit(0)

    def opt_config(self, file: str) -> None:
        """
        File with options, instead of those that would be found: TOML, or a .py or .json file of
        the Jupyter Kernel Gateway. The variable is KGD_CONFIG.
        """
        self._config = file

    opt_c = opt_config

    def opt_generate_config(self) -> None:
        """
        Write a file with every option in it, commented out, where it will be found or to the file
        that --config names, and stop.
        """
        self._generates = True

    def opt_force(self) -> None:
        """
        Let --generate-config replace a file.
        """
        self._force = True

    def opt_y(self) -> None:
        """
        The same; nothing else asks for confirmation.
        """
        self._force = True

    def opt_show_config(self) -> None:
        """
        Print every option's value and where it comes from, as TOML, and stop.
        """
        self._action = shown_as_toml

    def opt_show_config_json(self) -> None:
        """
        The same as JSON.
        """
        self._action = shown_as_json

    def opt_debug(self) -> None:
        """
        Short for --log-level=debug.
        """
        self.given["log-level"] = ["debug"]

    def opt_drop_in(self) -> None:
        """
        Replace the Jupyter Kernel Gateway: log to stderr, say there that the gateway is available
        whatever the log level is, and take options like --Class.trait that nobody knows for a
        mistake that does not matter. The command jupyter-kgd has this built in.
        """
        self.drop_in = True

    # What twistd itself does not have, and everybody tries.
    opt_h = UsageOptions.opt_help

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

    def on(self: Options) -> None:
        self.given[option.name] = ["true"]

    def off(self: Options) -> None:
        self.given[option.name] = ["false"]

    def failures(self: Options) -> None:
        """
        The same with the value failures.
        """
        self.given[option.name] = ["failures"]

    if option.is_switch:
        off.__doc__ = f"The opposite of --{option.name}."
        setattr(options, f"opt_no_{option.field}", off)
    if option.read is switch_or_failures:
        setattr(options, f"opt_{option.field}_failures", failures)
    taker = on if option.is_switch else store
    taker.__doc__ = option.help
    setattr(options, f"opt_{option.field}", taker)
    if option.short is not None:
        setattr(options, f"opt_{option.short}", taker)


for _option in OPTIONS:
    install(_option, Options)
