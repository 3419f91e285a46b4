"""
Reads the status, headers and body that a notebook's author sets for a response.

The author has a ResponseInfo cell print them as JSON, or a cell display them as
``application/vnd.kgd.response+json``, which is in ``Outputs.response``. Both are checked, since
they decide what is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from kgd.notebook.media_types import JSON, media_type
from kgd.protocol.outputs import Outputs

# The gateway sets these itself. They are ignored, so that notebooks that set them keep working.
_GATEWAY_HEADERS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Clients disagree about characters that are not Latin-1.
_INVALID_IN_HEADERS = re.compile("[^\\t\x20-\x7e\xa0-\xff]")

_EXAMPLE = '{"headers": {"Content-Type": "application/json"}, "status": 200}'

#: Name in lower case to the name and its values.
Headers = dict[str, tuple[str, tuple[str, ...]]]


class InvalidResponse(Exception):
    """
    No response can be made of the outputs.

    :ivar status: The status to send instead.
    """

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen(kw_only=True)
class ResponseInfo:
    """
    What the author sets for a response.

    :ivar body: Media type and content, if the author sets the body, too.
    """

    status: int | None = None
    headers: Headers = attrs.field(factory=dict)
    body: tuple[str, bytes] | None = None

    @property
    def media_type(self) -> str:
        """
        The media type of the ``Content-Type`` among the headers, or the empty string.
        """
        _, values = self.headers.get("content-type", ("", ("",)))
        return media_type(values[0])


_NO_INFO = ResponseInfo()


def read_response_info(outputs: Outputs, info: Outputs | None) -> ResponseInfo:
    """
    :param info: The outputs of the ResponseInfo cells, which take precedence.
    :raises InvalidResponse: when something in them cannot be sent.
    """
    found = _NO_INFO
    if outputs.response is not None:
        found = _read_status_and_headers(outputs.response, "what is displayed as the response")
        found = attrs.evolve(found, body=_read_body(outputs.response))
    if info is not None:
        later = _read_status_and_headers(
            _parse_printed(info.stdout), "what the ResponseInfo cell prints"
        )
        found = ResponseInfo(
            status=later.status or found.status,
            headers=found.headers | later.headers,
            body=found.body,
        )
    return found


def _parse_printed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        what = "something that is not JSON" if text.strip() else "nothing"
        raise InvalidResponse(
            f"The ResponseInfo cell printed {what}. It has to print one JSON object and nothing "
            f"else, for example {_EXAMPLE}.",
        ) from None


def _read_status_and_headers(value: Any, what: str) -> ResponseInfo:
    """
    :param what: A name for the value, for errors.
    """
    if not isinstance(value, dict):
        raise InvalidResponse(f"In this notebook, {what} is not a JSON object like {_EXAMPLE}.")
    headers = value.get("headers", {})
    if not isinstance(headers, dict):
        raise InvalidResponse(f'In {what}, "headers" has to be an object like {_EXAMPLE}.')
    found: Headers = {}
    for name, given in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidResponse(f"In {what}, {name!r} cannot be the name of a header; rename it.")
        if name.lower() not in _GATEWAY_HEADERS:
            found[name.lower()] = (name, _read_header_values(name, given, what))
    return ResponseInfo(
        status=_read_status(value["status"], what) if "status" in value else None, headers=found
    )


def _read_status(given: Any, what: str) -> int:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) == 3:
        given = int(given)
    if type(given) is not int or not 200 <= given <= 599:
        raise InvalidResponse(
            f'In {what}, "status" has to be a number from 200 to 599, not {_excerpt(given)}.'
        )
    return given


def _read_header_values(name: str, given: Any, what: str) -> tuple[str, ...]:
    values = given if isinstance(given, list) else [given]
    for value in values:
        if type(value) not in {str, int, float}:
            raise InvalidResponse(
                f"In {what}, the header {name} has to be a string, a number, or a list of these, "
                f"not {_excerpt(given)}.",
            )
    if not values:
        raise InvalidResponse(f"In {what}, the header {name} has no value; leave it out instead.")
    texts = tuple(str(value).strip(" \t") for value in values)
    if any(_INVALID_IN_HEADERS.search(text) for text in texts):
        raise InvalidResponse(
            f"In {what}, the header {name} holds a line break, another control character, or one "
            "that is not Latin-1, which cannot be sent; remove or encode it.",
        )
    return texts


def _read_body(value: Mapping[str, Any]) -> tuple[str, bytes] | None:
    if "json" in value:
        if "body" in value:
            raise InvalidResponse('The displayed response has "body" and "json"; choose one.')
        return JSON, encode_json(value["json"])
    if "body" not in value:
        return None
    if not isinstance(value["body"], str):
        raise InvalidResponse(
            'The "body" of the displayed response is not a string; use "json" instead.'
        )
    return "text/plain", encode_text(value["body"])


def _excerpt(value: Any) -> str:
    return json.dumps(value)[:60]


def encode_text(text: str) -> bytes:
    """
    :return: The text as UTF-8, with a ``?`` for each unpaired surrogate.
    """
    return text.encode("utf-8", "replace")


def encode_json(value: Any) -> bytes:
    """
    :raises InvalidResponse: when the value contains NaN or an infinity, which JSON cannot express.
    """
    try:
        return json.dumps(value, allow_nan=False).encode("ascii")
    except ValueError:
        raise InvalidResponse(
            "The notebook's JSON contains NaN or an infinity, which JSON cannot express."
        ) from None
