"""
Makes endpoints from annotated cells::

    # GET /users/:id
    # ResponseInfo GET /users/:id

The annotation is at the very beginning of the cell, and the rest of its line is the path. At the
end of the line, the media types of the output may follow::

    # GET /plot as image/png, text/html
    # GET /ticks streamed
    # GET /ticks streamed as text/event-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from kgd.notebook.api import VERBS, Cell, NotebookAPI, NotebookSource
from kgd.notebook.endpoints import MEDIA_TYPE_PATTERN, HandlerDraft, cell_label, make_endpoints
from kgd.notebook.markdown import Description, read_description
from kgd.notebook.prefixes import DEFAULT_PREFIX, KNOWN_PREFIXES

_ANNOTATION = (
    rf"[ \t]+(?P<response>ResponseInfo[ \t]+)?(?P<verb>{'|'.join(VERBS)})[ \t]+(?P<target>/.*)"
)
_TARGET = re.compile(
    r"(?P<path>.*?)"
    r"(?P<streams>[ \t]+streamed)?"
    rf"(?:[ \t]+as[ \t]+(?P<types>{MEDIA_TYPE_PATTERN}(?:[ \t]*,[ \t]*{MEDIA_TYPE_PATTERN})*))?"
)
# Also matches other blanks, other cases, and other languages' comments.
_NEAR_MISS = (
    r"\s*(?:{})[^\S\n]*(?P<response>ResponseInfo[^\S\n]+)?(?P<verb>\w+)[^\S\n]+(?P<target>\S.*)"
)


@attrs.frozen(kw_only=True)
class Annotation:
    """
    The annotation of a cell.

    :ivar response: Whether the cell makes headers and status, instead of the body.
    """

    response: bool
    verb: str
    path: str
    produces: tuple[str, ...] = ()
    streams: bool = False


def read_annotation(source: str, prefix: str = DEFAULT_PREFIX) -> Annotation | None:
    """
    :param source: The source of a code cell.
    :param prefix: The prefix of a comment.
    :return: ``None`` when the cell does not begin with an annotation.
    """
    found = re.match(re.escape(prefix) + _ANNOTATION, source)
    return found and _read_match(found)


def _read_match(found: re.Match[str]) -> Annotation:
    target = _TARGET.fullmatch(found["target"].strip())
    assert target is not None, "the path takes what nothing else takes"
    types = target["types"] or ""
    return Annotation(
        response=found["response"] is not None,
        verb=found["verb"],
        path=target["path"],
        produces=tuple(re.findall(MEDIA_TYPE_PATTERN, types.lower())),
        streams=target["streams"] is not None,
    )


def is_api_cell(source: str, prefix: str = DEFAULT_PREFIX) -> bool:
    """
    Whether a cell makes the body of responses.
    """
    annotation = read_annotation(source, prefix)
    return annotation is not None and not annotation.response


def is_response_cell(source: str, prefix: str = DEFAULT_PREFIX) -> bool:
    """
    Whether a cell makes the headers and the status of responses.
    """
    annotation = read_annotation(source, prefix)
    return annotation is not None and annotation.response


def endpoint_and_verb(
    source: str, prefix: str = DEFAULT_PREFIX
) -> tuple[str, str] | tuple[None, None]:
    """
    :return: The path and the verb whose responses a cell makes, if any.
    """
    annotation = read_annotation(source, prefix)
    if annotation is None or annotation.response:
        return None, None
    return annotation.path, annotation.verb


def near_miss(source: str, prefix: str = DEFAULT_PREFIX) -> str | None:
    """
    :param source: The source of a cell without an annotation.
    :return: The annotation that the author may have intended, written correctly.
    """
    prefixes = "|".join(map(re.escape, {prefix, *KNOWN_PREFIXES}))
    found = re.match(_NEAR_MISS.format(prefixes), source, re.IGNORECASE)
    if found is None:
        return None
    annotation = _read_match(found)
    verb = annotation.verb.upper()
    if verb not in (*VERBS, "HEAD"):
        return None
    shouted = annotation.verb == verb
    rooted = annotation.path.startswith("/")
    one_word = not re.search(r"\s", annotation.path)
    # "# Get the data", "# GET data first" and "# delete /tmp/x before the rest" are remarks.
    if shouted + rooted + one_word < 2:
        return None
    response = "ResponseInfo " if annotation.response else ""
    slash = "" if rooted else "/"
    return (
        f"{prefix} {response}{'GET' if verb == 'HEAD' else verb} {slash}{found['target'].strip()}"
    )


class AnnotationParser:
    """
    Parses annotated notebooks; the default parser.
    """

    def parse(self, source: NotebookSource) -> NotebookAPI:
        """
        Find a notebook's endpoints; there may be none.

        :raises kgd.errors.InvalidNotebook: when an endpoint cannot be served as annotated.
        """
        prefix = source.comment_prefix
        drafts: dict[tuple[str, str], HandlerDraft] = {}
        responses: list[tuple[Annotation, Cell]] = []
        seed: list[tuple[int, str]] = []
        warnings: list[str] = []
        for previous, cell in zip((None, *source.cells), source.cells, strict=False):
            if cell.kind != "code":
                continue
            annotation = read_annotation(cell.source, prefix)
            if annotation is None:
                if cell.source.strip():
                    seed.append((cell.number, cell.source))
                    warnings += _near_miss_warning(cell, prefix)
            elif annotation.response:
                responses.append((annotation, cell))
            else:
                warnings += _path_warning(cell, annotation.path)
                draft = drafts.setdefault(
                    (annotation.path, annotation.verb),
                    HandlerDraft(
                        path=annotation.path,
                        verb=annotation.verb,
                        description=_description_in(previous),
                    ),
                )
                draft.cells.append(cell)
                draft.produces += annotation.produces
                draft.streams |= annotation.streams
        for annotation, cell in responses:
            answered = drafts.get((annotation.path, annotation.verb))
            if answered:
                answered.responses.append(cell)
            else:
                warnings.append(
                    f"{cell_label([cell])}: this ResponseInfo is not used, because no cell is "
                    f"annotated with {annotation.verb} {annotation.path}"
                )
        endpoints, more = make_endpoints(drafts.values())
        return NotebookAPI(endpoints=endpoints, seed=tuple(seed), warnings=(*warnings, *more))


def _description_in(previous: Cell | None) -> Description:
    if previous is None or previous.kind != "markdown":
        return Description()
    return read_description(previous.source)


def _near_miss_warning(cell: Cell, prefix: str) -> Iterator[str]:
    suggestion = near_miss(cell.source, prefix)
    if suggestion is not None:
        yield (
            f"{cell_label([cell])} is not an endpoint, and runs when a kernel starts; if it should "
            f'be one, begin it with "{suggestion}" (nothing before it; HEAD comes with GET by '
            "itself)"
        )


def _path_warning(cell: Cell, path: str) -> Iterator[str]:
    if re.search(r"[\s?#]", path):
        yield (
            f'{cell_label([cell])}: all of "{path}" is the path; remove what does not belong to '
            "it, like a remark or a query"
        )
