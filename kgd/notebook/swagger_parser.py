"""
Makes endpoints from a Swagger 2.0 document in a notebook's markdown, whose operations are
implemented by cells that name them::

    # operationId: getUser
    # ResponseInfo operationId: getUser

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import attrs

from kgd.errors import InvalidNotebook
from kgd.notebook.api import VERBS, Cell, NotebookAPI, NotebookSource
from kgd.notebook.endpoints import MEDIA_TYPE_PATTERN, HandlerDraft, cell_label, make_endpoints
from kgd.notebook.markdown import Description
from kgd.notebook.prefixes import DEFAULT_PREFIX, KNOWN_PREFIXES
from kgd.notebook.routing import parameter_names
from kgd.protocol.json import read_json_document

_OPERATION_COMMENT = r"(?:{})[ \t]*(?P<response>ResponseInfo[ \t]+)?operationId:[ \t]*(?P<id>.*)"
_NEAR_MISS = r"\s*(?:{})\s*(?P<response>ResponseInfo\s+)?operationId\s*:\s*(?P<id>\S.*)"


@attrs.frozen(kw_only=True)
class OperationReference:
    """
    The operation that a cell implements.

    :ivar response: Whether the cell makes headers and status, instead of the body.
    """

    response: bool
    operation_id: str


def read_reference(source: str, prefix: str = DEFAULT_PREFIX) -> OperationReference | None:
    """
    :param source: The source of a code cell.
    :param prefix: The prefix of a comment.
    :return: ``None`` when the cell does not begin with an ``operationId``.
    """
    found = re.match(_OPERATION_COMMENT.format(re.escape(prefix)), source)
    if found is None or not found["id"].strip():
        return None
    return OperationReference(
        response=found["response"] is not None, operation_id=found["id"].strip()
    )


def is_api_cell(source: str, prefix: str = DEFAULT_PREFIX) -> bool:
    """
    Whether a cell makes the body of responses.
    """
    reference = read_reference(source, prefix)
    return reference is not None and not reference.response


def is_response_cell(source: str, prefix: str = DEFAULT_PREFIX) -> bool:
    """
    Whether a cell makes the headers and the status of responses.
    """
    reference = read_reference(source, prefix)
    return reference is not None and reference.response


def near_miss(source: str, prefix: str = DEFAULT_PREFIX) -> str | None:
    """
    :param source: The source of a cell without a reference.
    :return: The reference that the author may have intended, written correctly.
    """
    prefixes = "|".join(map(re.escape, {prefix, *KNOWN_PREFIXES}))
    found = re.match(_NEAR_MISS.format(prefixes), source, re.IGNORECASE)
    if found is None:
        return None
    return f"{prefix} {'ResponseInfo ' * bool(found['response'])}operationId: {found['id'].strip()}"


@attrs.frozen(kw_only=True)
class Operation:
    """
    A declared operation: one verb of one path.

    :ivar path: As in an annotation, with ``:name`` for ``{name}``. A parameter that is declared for
        the path but missing in it is appended.
    :ivar names: The names of the path's parameters in the document.
    :ivar verb: In upper case.
    :ivar parameters: The parameters of the path and of the operation.
    :ivar details: The operation as it is in the document.
    """

    operation_id: str
    path: str
    names: frozenset[str]
    verb: str
    parameters: tuple[Mapping[str, Any], ...]
    details: Mapping[str, Any]


def read_operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """
    :return: The document's operations that have an ``operationId``, in its order. Malformed ones
        are left out.
    """
    for template, item in _as_object(document.get("paths")).items():
        for verb, details in _as_object(item).items():
            operation_id = _as_object(details).get("operationId")
            if verb.upper() not in VERBS or not isinstance(operation_id, str):
                continue
            declared = _parameters(document, item, details)
            path, names = _path(template, declared)
            yield Operation(
                operation_id=operation_id.strip(),
                path=path,
                names=names,
                verb=verb.upper(),
                parameters=declared,
                details=details,
            )


def _as_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parameters(
    document: Mapping[str, Any], item: Mapping[str, Any], details: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """
    Join the parameters of a path and of an operation, which replaces those of the same location and
    name.
    """
    shared = _as_object(document.get("parameters"))
    found = {}
    for declared in (item.get("parameters"), details.get("parameters")):
        for entry in declared if isinstance(declared, list) else ():
            parameter = _as_object(entry)
            if isinstance(parameter.get("$ref"), str):
                name = parameter["$ref"].removeprefix("#/parameters/")
                parameter = _as_object(shared.get(name))
            if isinstance(parameter.get("name"), str):
                found[parameter_location(parameter), parameter["name"]] = parameter
    return tuple(found.values())


def parameter_location(parameter: Mapping[str, Any]) -> str:
    """
    :return: Where a parameter is in a request; by default, in the path.
    """
    return str(parameter.get("in", "path"))


def _path(template: str, declared: Iterable[Mapping[str, Any]]) -> tuple[str, frozenset[str]]:
    """
    :return: The path with colons, and the names of its parameters.
    """
    path = re.sub(r"\{([^{}/]+)\}", r":\1", template)
    if not path.startswith("/"):
        path = f"/{path}"
    # Old documents have colons. In a template with braces, a colon is text.
    names = set(re.findall(r"\{([^{}/]+)\}", template) or parameter_names(path))
    for parameter in declared:
        name = parameter["name"]
        if parameter_location(parameter) == "path" and name not in names:
            path = f"{path.rstrip('/')}/:{name}"
            names.add(name)
    return path, frozenset(names)


class SwaggerParser:
    """
    Parses notebooks that contain a Swagger document.
    """

    def parse(self, source: NotebookSource) -> NotebookAPI:
        """
        Find the operations that cells implement; there may be none.

        :raises kgd.errors.InvalidNotebook: when an operation cannot be served as declared.
        """
        prefix = source.comment_prefix
        warnings: list[str] = []
        document = _read_document(source.cells, warnings)
        cells: dict[str, list[Cell]] = {}
        responses: dict[str, list[Cell]] = {}
        seed: list[tuple[int, str]] = []
        for cell in source.cells:
            if cell.kind != "code":
                continue
            reference = read_reference(cell.source, prefix)
            if reference is not None:
                part = responses if reference.response else cells
                part.setdefault(reference.operation_id, []).append(cell)
            elif cell.source.strip():
                seed.append((cell.number, cell.source))
                suggestion = near_miss(cell.source, prefix)
                if suggestion:
                    warnings.append(
                        f"{cell_label([cell])} implements no operation, and runs when a kernel "
                        f'starts; if it should implement one, it has to begin with "{suggestion}"'
                    )

        declared = list(read_operations(document or {}))
        drafts: dict[tuple[str, str], HandlerDraft] = {}
        for operation in declared:
            key = operation.path, operation.verb
            implemented = cells.get(operation.operation_id)
            if not implemented:
                warnings.append(
                    f"the operation {operation.operation_id} is declared, but no cell begins with "
                    f'"{prefix} operationId: {operation.operation_id}"'
                )
            elif key in drafts:
                warnings.append(
                    f"the operation {operation.operation_id} is never reached: another one has "
                    f"the same path and verb, {operation.verb} {operation.path}"
                )
            else:
                drafts[key] = _draft(
                    operation, implemented, responses.get(operation.operation_id, [])
                )
        warnings += _unused_cells(
            cells, responses, {operation.operation_id for operation in declared}
        )
        endpoints, more = make_endpoints(drafts.values())
        return NotebookAPI(
            endpoints=endpoints,
            seed=tuple(seed),
            document=document,
            warnings=(*warnings, *more),
        )


def _read_document(cells: Iterable[Cell], warnings: list[str]) -> Mapping[str, Any] | None:
    """
    :return: The documents of all markdown cells, merged; later ones take precedence.
    """
    document: dict[str, Any] = {}
    for cell in cells:
        if cell.kind != "markdown":
            continue
        text = _first_block(cell.source)
        try:
            value = read_json_document(text)
        except ValueError as error:
            if '"swagger"' in text:
                warnings.append(
                    f"{cell_label([cell])} seems to hold a Swagger document, but it is not JSON: "
                    f"{error}"
                )
            continue
        if "swagger" in _as_object(value):
            document |= value
    if not document:
        warnings.append(
            "no markdown cell holds a Swagger document, which is a JSON object with "
            '"swagger": "2.0"'
        )
        return None
    if not _as_object(document.get("paths")):
        warnings.append('the Swagger document has no "paths"')
    return document


def _first_block(markdown: str) -> str:
    """
    :return: The text between the first two fences; all of it if there are none.
    """
    lines = markdown.split("\n")
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    if not fences:
        return markdown
    start, end = [*fences, len(lines)][:2]
    return "\n".join(lines[start + 1 : end])


def _draft(operation: Operation, cells: list[Cell], responses: list[Cell]) -> HandlerDraft:
    where = f"the operation {operation.operation_id}"
    in_path = parameter_names(operation.path)
    unusable = (operation.names - in_path) or (in_path - operation.names)
    if unusable:
        raise InvalidNotebook(
            f"{where}: the path cannot have a parameter {{{min(unusable)}}}; names consist of "
            "letters, digits, _ and -, and the text between them must not look like a name"
        )
    produces = operation.details.get("x-kgd-produces", [])
    if not isinstance(produces, list) or not all(
        isinstance(entry, str) and re.fullmatch(MEDIA_TYPE_PATTERN, entry) for entry in produces
    ):
        raise InvalidNotebook(f"{where}: x-kgd-produces has to be a list of media types")
    streams = operation.details.get("x-kgd-streamed", False)
    if not isinstance(streams, bool):
        raise InvalidNotebook(f"{where}: x-kgd-streamed has to be true or false")
    texts = (operation.details.get(key) for key in ("description", "summary"))
    description = next((text for text in texts if isinstance(text, str) and text), "")
    return HandlerDraft(
        path=operation.path,
        verb=operation.verb,
        cells=cells,
        responses=responses,
        produces=[entry.lower() for entry in produces],
        streams=streams,
        description=Description(text=description),
    )


def _unused_cells(
    cells: Mapping[str, list[Cell]], responses: Mapping[str, list[Cell]], declared: Set[str]
) -> Iterator[str]:
    """
    :return: Warnings about cells that never run.
    """
    for operation_id in {**cells, **responses}:
        found = cells.get(operation_id, responses.get(operation_id, []))
        if operation_id not in declared:
            yield (
                f"{cell_label(found)}: the operation {operation_id} is not used, because the "
                f"document does not declare it for any of {', '.join(VERBS)}"
            )
        elif operation_id not in cells:
            yield (
                f"{cell_label(found)}: this ResponseInfo is not used without a cell that makes "
                "the body"
            )
