"""
Writes what follows from the table of options, ``docs/options.md`` and ``etc/kgd.env``:
``python docs/make_options.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kgd.config.command_line import ACTIONS, Options
from kgd.config.jkg_traits import FAMILIES
from kgd.config.options import OPTIONS, Option
from kgd.config.render import environment_file
from kgd.config.types import switch_or_failures

DOCS = Path(__file__).parent
ENVIRONMENT = DOCS.parent / "etc" / "kgd.env"
INTRODUCTION = """# Options

Made from `kgd/options.py` by `python docs/make_options.py`.

A value on the command line wins over one in a variable, which wins over one in a file, which
wins over the default. A variable that is empty counts as not set. A wrong value is an error that
says which value, where it stands, and what would be right; `--show-config` shows what is
effective and where each value comes from, `--generate-config` writes a file with every option in
it. `etc/kgd.env` has every variable.

## Values

Options that take several values may be repeated; names may also have commas between them. A
switch is turned on by `--option`, off by `--no-option`, and takes a value after `=`, too.
Underscores will do for dashes. Paths are relative to the current directory.

## Files

`kgd.toml` is looked for in the directories that `jupyter --paths` calls config; all that are
found count, the nearest one wins. `--config=FILE` (or the variable `KGD_CONFIG`) is read
instead, and with `JUPYTER_NO_CONFIG` nothing else is. The keys are the names of the options,
with dashes or underscores:

```toml
port = 9000
max-kernels = 20
env-whitelist = ["LANG", "TZ"]
max-body-size = "32MiB"

[prespawn]
ir = 2
```

Files of the Jupyter Kernel Gateway are read as they are and are weaker:
`jupyter_kernel_gateway_config.py` and `.json`, then `jupyter_config.py` and `.json`. `--config`
takes such a file, too. What kgd does not know in them is logged as a warning; a file that cannot
be read is an error. In kgd.toml a key that is no option is an error. With the Jupyter Kernel
Gateway, files win over variables; here it is the other way round.

## All options
"""
TRAITS = """
## The Jupyter Kernel Gateway's options

They are understood on the command line, as `--Class.trait=value` or `--Class.trait value`, and
in its files. In place of a class, any other may stand from which the one that is used inherits,
like `AsyncMappingKernelManager` or `MultiKernelManager` for `MappingKernelManager`. A trait that
is not listed is an error; with the command `jupyter kgd` it is a warning.

| trait | option |
|---|---|
"""
IDLE = """
These are taken and change nothing, which is logged:

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
    lines = ["| option | variables, strongest first | default | meaning |", "|---|---|---|---|"]
    lines += map(_row, OPTIONS)
    lines += [
        "",
        "On the command line, there are these besides:",
        "",
        "| option | meaning |",
        "|---|---|",
        *(f"| `--{name}` | {action(name)} |" for name in ACTIONS),
    ]
    traits = "\n".join(_traits("options"))
    return (
        f"{INTRODUCTION}\n"
        + "\n".join(lines)
        + f"\n{TRAITS}{traits}\n{IDLE}"
        + ("\n".join(_traits("idle")) + "\n")
    )


def _row(option: Option) -> str:
    names = [f"`--{name}`" for name in (option.name, *option.aliases)]
    if option.is_switch:
        names.append(f"`--no-{option.name}`")
    if option.read is switch_or_failures:
        names.append(f"`--{option.name}-failures`")
    if option.short:
        names.append(f"`-{option.short}`")
    variables = ", ".join(f"`{name}`" for name in option.environment)
    note = f" Changes nothing: {option.idle}." if option.idle else ""
    return (
        f"| {', '.join(names)} | {variables} | {option.shown_default} | "
        f"{option.help}{note} *{option.takes}* |"
    )


def action(name: str) -> str:
    method = getattr(Options, f"opt_{name.replace('-', '_')}", None)
    text = "Print all options, and stop." if name == "help" else method.__doc__
    return " ".join((text or "").split())


def _traits(kind: str) -> Iterator[str]:
    for family in FAMILIES:
        name = _KNOWN_AS.get(family.classes[0], family.classes[0])
        for trait, meaning in getattr(family, kind).items():
            said = f"`--{meaning}`" if kind == "options" else meaning
            yield f"| `{name}.{trait}` | {said} |"


if __name__ == "__main__":
    (DOCS / "options.md").write_text(document())
    ENVIRONMENT.write_text(environment_file())
