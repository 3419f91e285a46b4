"""
Writes the files that are made from the table of options, ``docs/options.md`` and ``etc/kgd.env``:
``python docs/make_options.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kgd.config.command_line import ACTION_NAMES, Options
from kgd.config.jkg_traits import TRAIT_ALIASES
from kgd.config.options import ESSENTIAL, OWN
from kgd.config.render import environment_file
from kgd.config.table import Option

DOCS = Path(__file__).parent
ENVIRONMENT = DOCS.parent / "etc" / "kgd.env"
INTRODUCTION = """# Options

This page has every option, with its variables, default and values: the
[most used](#most-used-options) first, then [all by subject](#all-options), and the
[Jupyter Kernel Gateway's](#the-jupyter-kernel-gateways-options). It is made from
`kgd/config/options.py` by `python docs/make_options.py`.

A value on the command line wins over one in a variable, which wins over one in a file, which
wins over the default. An empty variable counts as not set. An invalid value is an error that names
the option, the value, the place where it is set, and the valid values. `--show-config` prints the
effective values and the place of each, `--generate-config` writes a file with every option in it,
and `etc/kgd.env` has every variable.

## Values

Options that take several values may be repeated; names may also be separated by commas. A switch
is turned on by `--option`, off by `--no-option`, and also takes a value after `=`. Names may have
underscores instead of dashes. Paths are relative to the current directory.

## Files

`kgd.toml` is looked for in the directories that `jupyter --paths` calls config; all that are
found are read, and the nearest one wins. `--config=FILE` (or the variable `KGD_CONFIG`) names a
file to read instead, and with `JUPYTER_NO_CONFIG` no other file is read. The keys are the names
of the options, with dashes or underscores:

```toml
port = 9000
max-kernels = 20
env-whitelist = ["LANG", "TZ"]
max-body-size = "32MiB"

[prespawn]
ir = 2
```

Files of the Jupyter Kernel Gateway are read unchanged and are weaker:
`jupyter_kernel_gateway_config.py` and `.json`, then `jupyter_config.py` and `.json`. `--config`
takes such a file, too. Entries that kgd does not know are logged as warnings; a file that cannot
be read is an error. In `kgd.toml`, a key that is not an option is an error. With the Jupyter
Kernel Gateway, files win over variables; with kgd, variables win over files.
"""
TRAITS = """
## The Jupyter Kernel Gateway's options

kgd accepts them on the command line, as `--Class.trait=value` or `--Class.trait value`, and
in the Jupyter Kernel Gateway's files. The class may also be any ancestor of the one that the
gateway uses, like `AsyncMappingKernelManager` or `MultiKernelManager` for `MappingKernelManager`.
A trait that is not listed is an error; with the command `jupyter kgd` it is a warning.

| trait | option |
|---|---|
"""
NO_EFFECT = """
These are accepted and have no effect, which is logged:

| trait | reason |
|---|---|
"""
# The best known of each family's names.
_KNOWN_AS = {
    "SeedingMappingKernelManager": "MappingKernelManager",
    "KernelGatewayIOLoopKernelManager": "KernelManager",
    "AsyncIOLoopKernelRestarter": "KernelRestarter",
    "GatewayIdentityProvider": "IdentityProvider",
}


def document() -> str:
    """
    :return: The page of all options.
    """
    lines = ["## Most used options", "", "| option | default | meaning |", "|---|---|---|"]
    for name in ESSENTIAL:
        option = OWN.by_name[name]
        lines.append(f"| `--{name}` | {option.shown_default} | {option.help} |")
    lines += ["", "## All options"]
    for group, options in OWN.groups().items():
        lines += ["", f"### {group}", ""]
        lines += [
            "| option | variables, strongest first | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += map(_row, options)
    lines += [
        "",
        "### Configuration and help",
        "",
        "These exist on the command line only:",
        "",
        "| option | meaning |",
        "|---|---|",
        *(f"| `--{name}` | {action(name)} |" for name in ACTION_NAMES),
    ]
    return "\n".join(
        [
            INTRODUCTION,
            *lines,
            TRAITS + "\n".join(_traits("options")),
            NO_EFFECT + "\n".join(_traits("no_effect")),
            "",
        ]
    )


def _row(option: Option) -> str:
    names = [f"`--{name}`" for name in (option.name, *option.aliases)]
    names += [f"`--{flag}`" for flag in option.flags if flag != option.name]
    if option.short:
        names.append(f"`-{option.short}`")
    variables = ", ".join(f"`{name}`" for name in option.environment)
    note = f" No effect: {option.no_effect}." if option.no_effect else ""
    return (
        f"| {', '.join(names)} | {variables} | {option.shown_default} | "
        f"{option.help}{note} *{option.type.accepted_sentence}* |"
    )


def action(name: str) -> str:
    return " ".join((getattr(Options, f"opt_{name.replace('-', '_')}").__doc__ or "").split())


def _traits(kind: str) -> Iterator[str]:
    for family in TRAIT_ALIASES:
        name = _KNOWN_AS.get(family.classes[0], family.classes[0])
        for trait, meaning in getattr(family, kind).items():
            shown = f"`--{meaning}`" if kind == "options" else meaning
            yield f"| `{name}.{trait}` | {shown} |"


if __name__ == "__main__":
    (DOCS / "options.md").write_text(document())
    ENVIRONMENT.write_text(environment_file())
