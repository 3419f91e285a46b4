"""
Makes endpoints of a notebook's cells; shared by the parsers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from kgd.errors import InvalidNotebook
from kgd.notebook.api import Cell, Endpoint, Handler, NotebookAPI
from kgd.notebook.markdown import Description
from kgd.notebook.routing import compile_path, sort_paths

#: A media type, as a regular expression.
MEDIA_TYPE_PATTERN = r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+"

#: Media types that can be sent while they are printed.
STREAMABLE_TYPES = ("text/plain", "text/event-stream")


@attrs.define(kw_only=True)
class HandlerDraft:
    """
    A handler whose cells are still being collected.

    :ivar cells: The cells that make the body; at least one.
    :ivar responses: Its ResponseInfo cells.
    """

    path: str
    verb: str
    cells: list[Cell] = attrs.Factory(list)
    responses: list[Cell] = attrs.Factory(list)
    produces: list[str] = attrs.Factory(list)
    streams: bool = False
    description: Description = attrs.Factory(Description)


def make_endpoints(drafts: Iterable[HandlerDraft]) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """
    :return: The endpoints in the order in which to try them, and warnings.
    :raises kgd.errors.InvalidNotebook: when a draft cannot be served; names its cells.
    """
    warnings: list[str] = []
    found: dict[str, dict[str, Handler]] = {}
    for draft in drafts:
        found.setdefault(draft.path, {})[draft.verb] = _make_handler(draft, warnings)
    warnings += [
        f"{path} is never reached, because {other} matches the same requests and comes first; "
        "give their parameters the same names"
        for path, other in find_shadowed(sort_paths(found)).items()
    ]
    endpoints = tuple(Endpoint(path=path, handlers=found[path]) for path in sort_paths(found))
    return endpoints, tuple(warnings)


def find_shadowed(paths: Iterable[str]) -> dict[str, str]:
    """
    :param paths: In the order in which they are tried.
    :return: The paths that are never reached, and the earlier path that matches the same requests.
    """
    first: dict[str, str] = {}
    found = {path: first.setdefault(compile_path(path).pattern, path) for path in paths}
    return {path: other for path, other in found.items() if other != path}


def _make_handler(draft: HandlerDraft, warnings: list[str]) -> Handler:
    where = cell_label(draft.cells)
    try:
        compile_path(draft.path)
    except InvalidNotebook as error:
        raise InvalidNotebook(f"{where}: {error}") from None
    produces = list(dict.fromkeys(draft.produces))
    responses = draft.responses
    if draft.streams:
        produces = produces or ["text/plain"]
        for media_type in produces:
            if media_type not in STREAMABLE_TYPES:
                raise InvalidNotebook(
                    f"{where}: {media_type} cannot be streamed; use {' or '.join(STREAMABLE_TYPES)}"
                )
        if responses:
            warnings.append(
                f"{cell_label(responses)}: this ResponseInfo is not used, because {draft.verb} "
                f"{draft.path} is streamed: its headers are sent before its code has run"
            )
            responses = []
    return Handler(
        source=join_sources(draft.cells),
        response=join_sources(responses) if responses else None,
        cells=tuple(cell.number for cell in draft.cells),
        produces=tuple(produces),
        streams=draft.streams,
        description=draft.description.text,
        request_examples=draft.description.request_examples,
        response_examples=draft.description.response_examples,
    )


def join_sources(cells: Iterable[Cell]) -> str:
    """
    :return: The sources, each followed by a newline.
    """
    return "".join(f"{cell.source}\n" for cell in cells)


def cell_label(cells: Sequence[Cell]) -> str:
    """
    :return: The cells' numbers, for a message: ``cells 1, 2``.
    """
    return f"cell{'s' * (len(cells) > 1)} {', '.join(str(cell.number) for cell in cells)}"


def require_endpoints(api: NotebookAPI, name: str) -> None:
    """
    :param name: The notebook's name, for the error.
    :raises kgd.errors.InvalidNotebook: when it has no endpoints; includes the parser's warnings.
    """
    if not api.endpoints:
        hints = "".join(f"; {warning}" for warning in api.warnings)
        raise InvalidNotebook(
            f"no endpoints were discovered in {name}; check the annotations of its cells, "
            f'which are comments like "# GET /path" at the very beginning{hints}'
        )
