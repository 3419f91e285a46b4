"""
Reads the description of an endpoint in a markdown cell: prose, and examples of bodies.

An example is a fenced code block with ``request`` or ``response`` among the words after the fence::

    ```json request
    {"name": "Ada"}
    ```
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

import attrs

from kgd.notebook.api import Example

_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)")

#: Media types by the word after the fence; a whole media type may stand there, too.
_MEDIA_TYPES = {
    "csv": "text/csv",
    "form": "application/x-www-form-urlencoded",
    "html": "text/html",
    "json": "application/json",
    "markdown": "text/markdown",
    "xml": "application/xml",
    "yaml": "application/yaml",
}


@attrs.frozen(kw_only=True)
class Description:
    """
    The text of a markdown cell without its examples, and the examples.
    """

    text: str = ""
    request_examples: tuple[Example, ...] = ()
    response_examples: tuple[Example, ...] = ()


def read_description(markdown: str) -> Description:
    """
    Separate the examples from the text. Other code blocks stay in the text, whatever they contain.
    """
    prose: list[str] = []
    examples: dict[str, list[Example]] = {"request": [], "response": []}
    lines = iter(markdown.split("\n"))
    for line in lines:
        opening = _FENCE.fullmatch(line.rstrip())
        if opening is None:
            prose.append(line)
            continue
        fence = opening["fence"]
        block = _take_block(lines, fence)
        words = opening["info"].lower().split()
        role = next((word for word in words if word in examples), None)
        if role is None:
            prose += [line, *block, fence]
        else:
            example = Example(media_type=_media_type(words), text="\n".join(block))
            examples[role].append(example)
    return Description(
        text="\n".join(prose).strip(),
        request_examples=tuple(examples["request"]),
        response_examples=tuple(examples["response"]),
    )


def _take_block(lines: Iterator[str], fence: str) -> list[str]:
    """
    Take lines up to the closing fence, or all of them.
    """

    def closes(line: str) -> bool:
        line = line.strip()
        return line.startswith(fence) and not line.strip(fence[0])

    return list(takewhile(lambda line: not closes(line), lines))


def _media_type(words: list[str]) -> str:
    if "/" in words[0]:
        return words[0]
    return next((_MEDIA_TYPES[word] for word in words if word in _MEDIA_TYPES), "text/plain")
