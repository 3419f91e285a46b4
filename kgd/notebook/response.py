"""
Makes the HTTP response of the outputs of a cell.

A mistake in the notebook becomes a 500 that tells its author what to do, never a partial response.
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
from kgd.notebook.media_types import JSON, is_json, is_textual, media_type, negotiate
from kgd.notebook.response_info import (
    Headers,
    InvalidResponse,
    ResponseInfo,
    encode_json,
    encode_text,
    read_response_info,
)
from kgd.protocol.outputs import Outputs

_TEXT_PLAIN = "text/plain"

#: Media types of a MIME bundle in order of preference, if neither author nor client chooses.
PREFERRED_TYPES = (
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
    _TEXT_PLAIN,
)

_TYPE_RANK = {kind: rank for rank, kind in enumerate(PREFERRED_TYPES)}

_WITHOUT_BODY = frozenset({204, 205, 304})

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def make_response(
    outputs: Outputs, info: Outputs | None, *, handler: Handler, accept: str | None, rich: bool
) -> Response:
    """
    :param outputs: The outputs of the handler's code.
    :param info: The outputs of its ResponseInfo cells, if it has any.
    :param accept: The request's ``Accept``.
    :param rich: Whether to send a result in the media type that the client prefers, instead of as
        JSON with all its media types.
    """
    failed = outputs.error or (info.error if info is not None else None)
    if failed is not None:
        return _text_response(500, f"Error {failed.ename}: {failed.evalue} \n")
    try:
        response_info = read_response_info(outputs, info)
        status = response_info.status or 200
        if status in _WITHOUT_BODY:
            kind, content = _TEXT_PLAIN, b""
        else:
            kind, content = response_info.body or _content(
                outputs, response_info, status, handler, accept, rich
            )
    except InvalidResponse as error:
        author_error = str(error) if error.status == 500 else ""
        return attrs.evolve(_text_response(error.status, f"{error}\n"), author_error=author_error)
    headers: Headers = {"content-type": ("Content-Type", (kind,))}
    if response_info.body is None and (
        len(handler.produces) > 1 or (rich and not handler.produces)
    ):
        headers["vary"] = ("Vary", ("Accept",))
    headers |= response_info.headers
    return Response(
        status=status,
        headers=tuple((name, value) for name, values in headers.values() for value in values),
        body=content,
    )


def _text_response(status: int, text: str) -> Response:
    return Response(status=status, headers=(("Content-Type", _TEXT_PLAIN),), body=encode_text(text))


def _content(
    outputs: Outputs,
    response_info: ResponseInfo,
    status: int,
    handler: Handler,
    accept: str | None,
    rich: bool,
) -> tuple[str, bytes]:
    """
    :return: Media type and content.
    """
    # Promises and the client's preferences apply to successful responses only.
    is_success = status < 300
    negotiation = _Negotiation(
        accept=accept if is_success else None, author_type=response_info.media_type
    )
    if handler.produces:
        produced = _choose_produced(outputs, handler.produces, negotiation)
        if produced is not None:
            return produced
        if is_success:
            raise InvalidResponse(_describe_missing_type(outputs, handler.produces))
    if outputs.stdout:
        return _TEXT_PLAIN, encode_text(outputs.stdout)
    bundle = outputs.result or outputs.displayed
    if not bundle:
        return _TEXT_PLAIN, b""
    # Kernels choose the names, and one of them becomes a header.
    offers = [kind for kind in bundle if _MEDIA_TYPE.fullmatch(kind)] if rich else []
    if not offers:
        return _TEXT_PLAIN, encode_text(json.dumps(bundle))
    # Types without a rank come last; most are for a notebook's own page.
    offers.sort(key=lambda kind: _TYPE_RANK.get(kind, len(_TYPE_RANK)))
    chosen = negotiation.choose(offers)
    return _with_charset(chosen), _encode(chosen, bundle[chosen])


@attrs.frozen(kw_only=True)
class _Negotiation:
    """
    Chooses a media type for the client.

    :ivar author_type: The media type of the ``Content-Type`` that the author has set, if any.
    """

    accept: str | None
    author_type: str

    def choose(self, offers: Sequence[str]) -> str:
        """
        :param offers: In order of preference, at least one.
        """
        for offer in offers:
            # The response will have this Content-Type in any case.
            if media_type(offer) == self.author_type:
                return offer
        found = negotiate(offers, self.accept)
        if found is None:
            raise InvalidResponse(
                f"The response is available as {', '.join(offers)}; Accept allows none of these.",
                status=406,
            )
        return found


def _choose_produced(
    outputs: Outputs, produces: tuple[str, ...], negotiation: _Negotiation
) -> tuple[str, bytes] | None:
    # A cell that displays a figure often returns an object that is not meant for the client.
    for bundle in (outputs.result or {}, outputs.displayed or {}):
        available = tuple(kind for kind in produces if media_type(kind) in bundle)
        if available:
            chosen = negotiation.choose(available)
            kind = media_type(chosen)
            return _with_charset(chosen), _encode(kind, bundle[kind])
    textual = tuple(kind for kind in produces if is_textual(media_type(kind)))
    if outputs.stdout and textual:
        return _with_charset(negotiation.choose(textual)), encode_text(outputs.stdout)
    return None


def _describe_missing_type(outputs: Outputs, produces: tuple[str, ...]) -> str:
    given = [*(outputs.result or ()), *(outputs.displayed or ())]
    if outputs.stdout:
        given.insert(0, "printed text")
    return (
        f"The notebook promises {' or '.join(produces)} for this endpoint, but its code gave "
        f"{', '.join(given) or 'nothing'}. Display or return one of those, or promise less."
    )


def _with_charset(kind: str) -> str:
    if kind.startswith("text/") and "charset" not in kind.lower():
        return f"{kind}; charset=utf-8"
    return kind


def _encode(kind: str, data: Any) -> bytes:
    """
    :param kind: A media type of a MIME bundle.
    :param data: The bundle's data of this type.
    """
    if is_json(kind):
        return encode_json(data)
    if is_textual(kind):
        if isinstance(data, str):
            return encode_text(data)
    elif isinstance(data, str):
        # Some kernels wrap base64.
        with contextlib.suppress(ValueError):
            return base64.b64decode("".join(data.split()), validate=True)
    expected = "text" if is_textual(kind) else "base64"
    raise InvalidResponse(
        f"The notebook's output of the type {kind} is not {expected}, which it has to be."
    )
