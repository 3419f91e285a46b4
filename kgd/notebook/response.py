"""
From what a cell has put out to the answer that the client gets.

A mistake of the notebook's leads to a 500 that tells its author what to do, never to half an
answer.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

from kgd.notebook.api import Handler, Response
from kgd.notebook.media_types import JSON, best, is_json, is_textual, media_type
from kgd.notebook.response_info import Headers, NoAnswer, Said, encode_json, encode_text, read_said
from kgd.protocol.outputs import Outputs

_PLAIN = "text/plain"

#: What is preferred of a bundle when neither the author nor the client says.
PREFERENCE = (
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
    JSON,
    "text/markdown",
    "text/latex",
    _PLAIN,
)

_RANK = {kind: rank for rank, kind in enumerate(PREFERENCE)}

_BODILESS = frozenset({204, 205, 304})

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def answer(
    outputs: Outputs, info: Outputs | None, *, handler: Handler, accept: str | None, rich: bool
) -> Response:
    """
    :param outputs: What the handler's code has put out.
    :param info: The same of its ResponseInfo cells, when it has any.
    :param accept: The request's ``Accept``.
    :param rich: Whether a result is sent as the media type that suits the client best, instead of
        as JSON with all its media types.
    """
    failed = outputs.error or (info.error if info is not None else None)
    if failed is not None:
        return _plain(500, f"Error {failed.ename}: {failed.evalue} \n")
    try:
        said = read_said(outputs, info)
        status = said.status or 200
        if status in _BODILESS:
            kind, content = _PLAIN, b""
        else:
            kind, content = said.body or _content(outputs, said, status, handler, accept, rich)
    except NoAnswer as error:
        fault = str(error) if error.status == 500 else ""
        return attrs.evolve(_plain(error.status, f"{error}\n"), fault=fault)
    headers: Headers = {"content-type": ("Content-Type", (kind,))}
    if said.body is None and (len(handler.produces) > 1 or (rich and not handler.produces)):
        headers["vary"] = ("Vary", ("Accept",))
    headers |= said.headers
    return Response(
        status=status,
        headers=tuple((name, value) for name, values in headers.values() for value in values),
        body=content,
    )


def _plain(status: int, text: str) -> Response:
    return Response(status=status, headers=(("Content-Type", _PLAIN),), body=encode_text(text))


def _content(
    outputs: Outputs,
    said: Said,
    status: int,
    handler: Handler,
    accept: str | None,
    rich: bool,
) -> tuple[str, bytes]:
    """
    :return: Media type and content.
    """
    # What is promised, and what the client wishes, is the answer that there is when all goes well.
    fine = status < 300
    wishes = _Wishes(accept=accept if fine else None, stated=said.media_type)
    if handler.produces:
        kept = _promised(outputs, handler.produces, wishes)
        if kept is not None:
            return kept
        if fine:
            raise NoAnswer(_broken_promise(outputs, handler.produces))
    if outputs.stdout:
        return _PLAIN, encode_text(outputs.stdout)
    bundle = outputs.result or outputs.displayed
    if not bundle:
        return _PLAIN, b""
    # A kernel may call its data anything, and this becomes a header.
    offers = [kind for kind in bundle if _MEDIA_TYPE.fullmatch(kind)] if rich else []
    if not offers:
        return _PLAIN, encode_text(json.dumps(bundle))
    # What has no rank comes last: most of it is for a notebook's own page.
    offers.sort(key=lambda kind: _RANK.get(kind, len(_RANK)))
    chosen = wishes.choose(offers)
    return _labelled(chosen), _encode(chosen, bundle[chosen])


@attrs.frozen(kw_only=True)
class _Wishes:
    """
    :ivar stated: The media type of the ``Content-Type`` that the author has set, if any.
    """

    accept: str | None
    stated: str

    def choose(self, offers: Sequence[str]) -> str:
        """
        :param offers: The best one first, at least one.
        """
        for offer in offers:
            # It would be sent under this name anyway.
            if media_type(offer) == self.stated:
                return offer
        found = best(offers, self.accept)
        if found is None:
            raise NoAnswer(
                f"There is {', '.join(offers)}, which is not what Accept asks for.", status=406
            )
        return found


def _promised(
    outputs: Outputs, produces: tuple[str, ...], wishes: _Wishes
) -> tuple[str, bytes] | None:
    # A figure is displayed, and what the last line of its cell returns is hardly ever meant.
    for bundle in (outputs.result or {}, outputs.displayed or {}):
        kept = tuple(kind for kind in produces if media_type(kind) in bundle)
        if kept:
            chosen = wishes.choose(kept)
            kind = media_type(chosen)
            return _labelled(chosen), _encode(kind, bundle[kind])
    textual = tuple(kind for kind in produces if is_textual(media_type(kind)))
    if outputs.stdout and textual:
        return _labelled(wishes.choose(textual)), encode_text(outputs.stdout)
    return None


def _broken_promise(outputs: Outputs, produces: tuple[str, ...]) -> str:
    given = [*(outputs.result or ()), *(outputs.displayed or ())]
    if outputs.stdout:
        given.insert(0, "printed text")
    return (
        f"The notebook promises {' or '.join(produces)} for this endpoint, but its code gave "
        f"{', '.join(given) or 'nothing'}. Display or return one of those, or promise less."
    )


def _labelled(kind: str) -> str:
    if kind.startswith("text/") and "charset" not in kind.lower():
        return f"{kind}; charset=utf-8"
    return kind


def _encode(kind: str, data: Any) -> bytes:
    """
    :param kind: A media type of a bundle.
    :param data: What the bundle has for it.
    """
    if is_json(kind):
        return encode_json(data)
    if is_textual(kind):
        if isinstance(data, str):
            return encode_text(data)
    elif isinstance(data, str):
        # Some kernels break the lines.
        with contextlib.suppress(ValueError):
            return base64.b64decode("".join(data.split()), validate=True)
    due = "text" if is_textual(kind) else "base64"
    raise NoAnswer(f"What the notebook gave as {kind} is not {due}, which it has to be.")
