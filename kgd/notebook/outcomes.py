"""
From what a cell has put out to the answer that the client gets.

What the notebook's author says about the answer comes from two places: from what the ResponseInfo
cell prints, and from what the cell itself displays as ``application/vnd.kgd.response+json``. Who
collects the output has put the latter into ``Outputs.response`` and taken it out of the bundles.
Neither is believed blindly, and no mistake in them leads to anything but a 500 that tells of it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from kgd.notebook.api import Handler, Outputs, Response
from kgd.notebook.media_types import JSON, best, is_json, is_textual, media_type

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

_BODILESS = frozenset({204, 205, 304})

# These belong to the connection and to the length of the body, which are the gateway's; notebooks
# that set them, and were right, keep working without.
_NOT_THE_AUTHORS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADERS = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")

_EXAMPLE = '{"headers": {"Content-Type": "application/json"}, "status": 200}'

# Name in lower case to the name and its values.
_Headers = dict[str, tuple[str, tuple[str, ...]]]


@attrs.frozen(kw_only=True)
class _Said:
    """
    What the author says about the answer.

    :ivar body: Media type and content, when it is not the cell's output.
    """

    status: int | None = None
    headers: _Headers = attrs.field(factory=dict)
    body: tuple[str, bytes] | None = None


_NOTHING_SAID = _Said()


class _Refused(Exception):
    """
    There is an output, but no answer can be made of it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
        said = _said(outputs, info)
        status = said.status or 200
        if status in _BODILESS:
            kind, content = _PLAIN, b""
        else:
            kind, content = said.body or _content(outputs, said, status, handler, accept, rich)
    except _Refused as refused:
        return _plain(refused.status, f"{refused}\n")
    headers: _Headers = {"content-type": ("Content-Type", (kind,))}
    if said.body is None and (len(handler.produces) > 1 or (rich and not handler.produces)):
        headers["vary"] = ("Vary", ("Accept",))
    headers |= said.headers
    return Response(
        status=status,
        headers=tuple((name, value) for name, values in headers.values() for value in values),
        body=content,
    )


def _plain(status: int, text: str) -> Response:
    return Response(status=status, headers=(("Content-Type", _PLAIN),), body=_encode_text(text))


def _encode_text(text: str) -> bytes:
    # A kernel may put out one half of a surrogate pair, which cannot be encoded.
    return text.encode("utf-8", "replace")


# What the author says.


def _said(outputs: Outputs, info: Outputs | None) -> _Said:
    said = _NOTHING_SAID
    if outputs.response is not None:
        said = _read_said(outputs.response, "what is displayed as the response")
        said = attrs.evolve(said, body=_inline_body(outputs.response))
    if info is not None:
        later = _read_said(_printed_json(info.stdout), "what the ResponseInfo cell prints")
        said = _Said(
            status=later.status or said.status,
            headers=said.headers | later.headers,
            body=said.body,
        )
    return said


def _printed_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        what = "something that is not JSON" if text.strip() else "nothing"
        raise _Refused(
            500,
            f"The ResponseInfo cell printed {what}. It has to print one JSON object and nothing "
            f"else, for example {_EXAMPLE}.",
        ) from None


def _read_said(value: Any, what: str) -> _Said:
    """
    :param what: What to call it in an error.
    """
    if not isinstance(value, dict):
        raise _Refused(500, f"In this notebook, {what} is no JSON object like {_EXAMPLE}.")
    headers = value.get("headers", {})
    if not isinstance(headers, dict):
        raise _Refused(500, f'In {what}, "headers" has to be an object like {_EXAMPLE}.')
    found: _Headers = {}
    for name, given in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise _Refused(500, f"In {what}, {name!r} cannot be the name of a header.")
        if name.lower() not in _NOT_THE_AUTHORS:
            found[name.lower()] = (name, _header_values(name, given, what))
    return _Said(
        status=_status(value["status"], what) if "status" in value else None, headers=found
    )


def _status(given: Any, what: str) -> int:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) == 3:
        given = int(given)
    if type(given) is not int or not 200 <= given <= 599:
        raise _Refused(
            500, f'In {what}, "status" has to be a number from 200 to 599, not {_shown(given)}.'
        )
    return given


def _header_values(name: str, given: Any, what: str) -> tuple[str, ...]:
    values = given if isinstance(given, list) else [given]
    for value in values:
        if type(value) not in {str, int, float}:
            raise _Refused(
                500,
                f"In {what}, the header {name} has to be a string, a number, or a list of these, "
                f"not {_shown(given)}.",
            )
    if not values:
        raise _Refused(500, f"In {what}, the header {name} has no value; leave it out instead.")
    texts = tuple(str(value).strip(" \t") for value in values)
    if any(_NOT_IN_HEADERS.search(text) for text in texts):
        raise _Refused(
            500,
            f"In {what}, the header {name} holds a line break or another control character, which "
            "cannot be sent; remove it.",
        )
    return texts


def _inline_body(value: Mapping[str, Any]) -> tuple[str, bytes] | None:
    if "json" in value:
        if "body" in value:
            raise _Refused(500, 'The displayed response has "body" and "json"; choose one.')
        return JSON, _encode(JSON, value["json"])
    if "body" not in value:
        return None
    if not isinstance(value["body"], str):
        raise _Refused(500, 'The "body" of the displayed response is no string; use "json".')
    return _PLAIN, _encode_text(value["body"])


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


# What the cell has put out.


def _content(
    outputs: Outputs,
    said: _Said,
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
    stated = said.headers.get("content-type", ("", ("",)))[1][0]
    wishes = _Wishes(accept=accept if fine else None, stated=media_type(stated))
    if handler.produces:
        kept = _promised(outputs, handler.produces, wishes)
        if kept is not None:
            return kept
        if fine:
            raise _Refused(500, _broken_promise(outputs, handler.produces))
    if outputs.stdout:
        return _PLAIN, _encode_text(outputs.stdout)
    bundle = outputs.result or outputs.displayed
    if not bundle:
        return _PLAIN, b""
    if not rich:
        return _PLAIN, _encode_text(json.dumps(bundle))
    # Whatever else there is comes last: most of it is for a notebook's own page.
    offers = sorted(bundle, key=lambda kind: _RANK.get(kind, len(_RANK)))
    chosen = wishes.choose(offers)
    return _labelled(chosen), _encode(chosen, bundle[chosen])


_RANK = {kind: rank for rank, kind in enumerate(PREFERENCE)}


@attrs.frozen(kw_only=True)
class _Wishes:
    """
    :ivar stated: The media type of the ``Content-Type`` that the author has set, if any.
    """

    accept: str | None
    stated: str

    def choose(self, offers: Iterable[str]) -> str:
        """
        :param offers: The best one first, at least one.
        """
        offers = tuple(offers)
        for offer in offers:
            # It would be sent under this name anyway.
            if media_type(offer) == self.stated:
                return offer
        found = best(offers, self.accept)
        if found is None:
            raise _Refused(406, f"There is {', '.join(offers)}, which is not what Accept asks for.")
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
        return _labelled(wishes.choose(textual)), _encode_text(outputs.stdout)
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
    try:
        if is_json(kind):
            return _encode_text(json.dumps(data, allow_nan=False))
        if is_textual(kind) and isinstance(data, str):
            return _encode_text(data)
        if isinstance(data, str):
            # Some kernels break the lines.
            return base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        pass
    due = "JSON without NaN" if is_json(kind) else "text" if is_textual(kind) else "base64"
    raise _Refused(500, f"What the notebook gave as {kind} is not {due}, which it has to be.")
