"""
The values that pass between reading a notebook, routing requests and answering them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: What an annotation may begin with. ``HEAD`` follows from ``GET``.
VERBS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")


@attrs.frozen(kw_only=True)
class Cell:
    """
    One cell of a notebook.

    :ivar number: Counted from 1 over all cells.
    :ivar kind: ``code``, ``markdown`` or ``raw``.
    """

    number: int
    kind: str
    source: str


@attrs.frozen(kw_only=True)
class NotebookSource:
    """
    What a parser gets to work with.

    :ivar title: The notebook's name, for people.
    :ivar language: ``metadata.language_info.name``, or the empty string.
    :ivar comment_prefix: What a comment begins with in that language.
    """

    title: str
    language: str
    comment_prefix: str
    cells: tuple[Cell, ...]


@attrs.frozen(kw_only=True)
class Example:
    """
    A body that somebody could send, or get.
    """

    media_type: str
    text: str


@attrs.frozen(kw_only=True)
class Handler:
    """
    What runs when a verb is asked of a path.

    :ivar source: The code of all its cells, annotations included, each followed by a newline.
    :ivar response: The same of its ResponseInfo cells; ``None`` when there are none.
    :ivar cells: The numbers of the cells in ``source``.
    :ivar produces: The media types that it promises, the best one first; none for what the
        gateway makes of any output.
    :ivar streams: Whether its output is sent as it is printed.
    :ivar description: Markdown.
    """

    source: str
    response: str | None = None
    cells: tuple[int, ...] = ()
    produces: tuple[str, ...] = ()
    streams: bool = False
    description: str = ""
    request_examples: tuple[Example, ...] = ()
    response_examples: tuple[Example, ...] = ()


@attrs.frozen(kw_only=True)
class Endpoint:
    """
    A path, and what runs for each verb.

    :ivar path: As annotated: a segment like ``:name`` is a parameter.
    :ivar handlers: Verb to handler, in the order of appearance.
    """

    path: str
    handlers: Mapping[str, Handler]


@attrs.frozen(kw_only=True)
class NotebookAPI:
    """
    What a parser made of a notebook.

    :ivar endpoints: In the order in which they are tried.
    :ivar seed: Number and source of the code cells that run once in every kernel.
    :ivar document: A Swagger document that the notebook brings along, or ``None``.
    :ivar warnings: What the author may have meant otherwise, a sentence for each.
    """

    endpoints: tuple[Endpoint, ...]
    seed: tuple[tuple[int, str], ...]
    document: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Upload:
    """
    A file in a request.

    :ivar field: The form's field; ``body`` when the whole body is the file.
    :ivar name: As the client calls it; may be empty, and must not be used as a path.
    :ivar type: The media type, or the empty string.
    """

    field: str
    name: str
    type: str
    content: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class StoredFile:
    """
    An :py:class:`Upload` that has been written to ``path`` for the kernel to read.
    """

    field: str
    path: str
    name: str
    type: str
    size: int


@attrs.frozen(kw_only=True)
class Response:
    """
    An answer to an HTTP request, whole.

    :ivar headers: ``Content-Type`` among them, without ``Content-Length``; the values are Latin-1,
        without line breaks.
    :ivar author_error: A mistake of the notebook's author, if that is the reason for this response.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)
    author_error: str = ""
