"""
The code blocks of the documents, and what the tests make of each.

A block may have a remark right before it, ``<!-- ... -->``:

- ``not run: REASON``: it is shown only, and the pages say so;
- ``fails``: its last command does not end with 0;
- ``output``: what the block before it prints;
- ``file: NAME``: what the file of this name holds, for the commands that follow on the page;
- ``from: PATH``: it is a part of this file of the repository, which is tested itself;
- ``tested: TEST``: another test runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("etc/*/*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
#: What somebody could type, or run; without a language, a block may be anything.
COMMANDS = ("sh", "console", "python", "http", "")
#: Of these, what the tests can run.
RUNNABLE = ("sh", "console", "python")
_FENCE = re.compile(r"( *)(`{3,}|~{3,}|:{3,})(.*)")
_REMARK = re.compile(r"<!-- (.*) -->")
_ELLIPSIS = re.escape("...")


@attrs.frozen
class Block:
    """
    One code block.

    :ivar line: Where it begins, counted from 1.
    :ivar remark: What stands before it, or the empty string.
    """

    page: Path
    line: int
    language: str
    text: str
    remark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def kind(self) -> str:
        """
        What the remark says is done with it, without the details.
        """
        return self.remark.partition(":")[0]

    @property
    def detail(self) -> str:
        """
        The details.
        """
        return self.remark.partition(":")[2].strip()

    @property
    def is_run(self) -> bool:
        """
        Whether it is run when its page is.
        """
        return self.language in RUNNABLE and self.kind in ("", "fails")


def blocks_of(page: Path) -> list[Block]:
    """
    :return: The blocks of a page, in order, without Sphinx's directives.
    """
    found: list[Block] = []
    remark, fence, language, start, lines = "", "", "", 0, [""]
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        opening = _FENCE.fullmatch(line)
        if fence:
            if line.strip().startswith(fence) and not line.strip(" `~:"):
                if not language.startswith("{"):
                    text = "".join(f"{each}\n" for each in lines)
                    found.append(Block(page, start, language, text, remark))
                remark, fence = "", ""
            else:
                lines.append(line)
        elif opening and opening[2][0] == ":":
            # It holds text, not code.
            remark = ""
        elif opening:
            fence, language, start, lines = opening[2], opening[3].strip(), number, []
        elif remarked := _REMARK.fullmatch(line.strip()):
            remark = remarked[1]
        elif line.strip():
            remark = ""
    return found


def console(text: str) -> Iterator[tuple[str, str]]:
    """
    Take a session on a console apart.

    :return: Each command, which begins with ``$`` and goes on with ``>``, and what it prints.
    """
    command, output = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, output
            command, output = line[2:], ""
        elif command and not output and (line == ">" or line.startswith("> ")):
            command += "\n" + line[2:]
        else:
            output += line + "\n"
    yield command, output


def agrees(expected: str, printed: str) -> bool:
    """
    :param expected: Dots, three of them, stand for anything; a line of them for any number of
        lines, or none.
    """
    pattern = re.escape(expected.strip())
    pattern = pattern.replace(f"\\\n{_ELLIPSIS}\\\n", "\n(?:.*?\n)?").replace(_ELLIPSIS, ".*?")
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


def starts_gateway(command: str) -> bool:
    """
    Whether a command runs until somebody stops it.
    """
    is_gateway = re.match(
        r"(\w+=\S* )*(kgd|jupyter kgd|jupyter-kgd)( (?!(run|kernels)\b)|$)", command
    )
    ends = re.search(r"--(help|version|show-config\S*|generate-config)\b|[|&;]", command)
    return is_gateway is not None and ends is None
