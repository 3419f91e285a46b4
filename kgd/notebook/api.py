"""
Values of notebooks as HTTP APIs: cells, endpoints, handlers, uploads, responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: Methods of annotations. ``HEAD`` comes with ``GET``.
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
    A notebook as parsers get it.

    :ivar title: The notebook's name, for people.
    :ivar language: ``metadata.language_info.name``, or the empty string.
    :ivar comment_prefix: The prefix of a comment in that language.
    """

    title: str
    language: str
    comment_prefix: str
    cells: tuple[Cell, ...]


@attrs.frozen(kw_only=True)
class Example:
    """
    An example of a request's or a response's body.
    """

    media_type: str
    text: str


@attrs.frozen(kw_only=True)
class Handler:
    """
    The code that runs for one verb of a path.

    :ivar source: The code of all its cells, annotations included, each followed by a newline.
    :ivar response: The code of its ResponseInfo cells; ``None`` when there are none.
    :ivar cells: The numbers of the cells in ``source``.
    :ivar produces: The media types that it promises, in order of preference; empty for whatever its
        outputs are.
    :ivar streams: Whether its output is sent while it is printed.
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
    A path, and a handler for each of its verbs.

    :ivar path: As annotated: a segment like ``:name`` is a parameter.
    :ivar handlers: Verb to handler, in the order of appearance.
    """

    path: str
    handlers: Mapping[str, Handler]


@attrs.frozen(kw_only=True)
class NotebookAPI:
    """
    The API that a parser has found in a notebook.

    :ivar endpoints: In the order in which they are tried.
    :ivar seed: Number and source of the code cells that run once in every kernel.
    :ivar document: The notebook's own Swagger document, or ``None``.
    :ivar warnings: Likely mistakes of the author, one sentence each.
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
    :ivar name: The client's name for it; may be empty, and must not be used as a path.
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
    A complete HTTP response.

    :ivar headers: With ``Content-Type`` and without ``Content-Length``; the values are Latin-1,
        without line breaks.
    :ivar author_error: A mistake of the notebook's author, if that is the reason for this response.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)
    author_error: str = ""
