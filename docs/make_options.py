"""
Writes ``docs/options.md`` from the table of options: ``python docs/make_options.py``.
"""

from __future__ import annotations

from pathlib import Path

from kgd.options import OPTIONS

TARGET = Path(__file__).with_name("options.md")


def document() -> str:
    """
    :return: The page.
    """
    lines = [
        "# Options",
        "",
        "Made from `kgd/options.py` by `python docs/make_options.py`. A value on the command line",
        "wins over one in the environment, which wins over the default. A variable that is empty",
        "counts as not set.",
        "",
        "| option | variables, strongest first | default | meaning |",
        "|---|---|---|---|",
    ]
    for option in OPTIONS:
        short = f", `-{option.short}`" if option.short else ""
        variables = ", ".join(f"`{name}`" for name in option.environment)
        default = option.shown_default
        reads = (option.read.__doc__ or "").strip()
        lines.append(
            f"| `--{option.name}`{short} | {variables} | {default} | {option.help} *{reads}* |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document())
