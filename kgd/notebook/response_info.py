"""
What a notebook's author says about an answer, apart from the output itself.

It comes from two places: from what the ResponseInfo cell prints, and from what a cell displays as
``application/vnd.kgd.response+json``. Who collects the output has put the latter into
``Outputs.response`` and taken it out of the bundles. Both are checked, since they decide what goes
over the wire.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from kgd.notebook.media_types import JSON, media_type
from kgd.protocol.outputs import Outputs

# These belong to the connection and to the length of the body, which are the gateway's; notebooks
# that set them, and were right, keep working without.
_NOT_THE_AUTHORS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What is not Latin-1 means something else to each client.
_NOT_IN_HEADERS = re.compile("[^\\t\x20-\x7e\xa0-\xff]")

_EXAMPLE = '{"headers": {"Content-Type": "application/json"}, "status": 200}'

#: Name in lower case to the name and its values.
Headers = dict[str, tuple[str, tuple[str, ...]]]


class NoAnswer(Exception):
    """
    There is an output, but no answer can be made of it.

    :ivar status: What to send instead.
    """

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen(kw_only=True)
class Said:
    """
    What the author says.

    :ivar body: Media type and content, when it is not the cell's output.
    """

    status: int | None = None
    headers: Headers = attrs.field(factory=dict)
    body: tuple[str, bytes] | None = None

    @property
    def media_type(self) -> str:
        """
        That of the ``Content-Type`` among the headers, or the empty string.
        """
        _, values = self.headers.get("content-type", ("", ("",)))
        return media_type(values[0])


_NOTHING = Said()


def read_said(outputs: Outputs, info: Outputs | None) -> Said:
    """
    :param info: The output of the ResponseInfo cells, which have the last word.
    :raises NoAnswer: when something in it cannot be sent.
    """
    said = _NOTHING
    if outputs.response is not None:
        said = _read_head(outputs.response, "what is displayed as the response")
        said = attrs.evolve(said, body=_read_body(outputs.response))
    if info is not None:
        later = _read_head(_printed_json(info.stdout), "what the ResponseInfo cell prints")
        said = Said(
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
        raise NoAnswer(
            f"The ResponseInfo cell printed {what}. It has to print one JSON object and nothing "
            f"else, for example {_EXAMPLE}.",
        ) from None


def _read_head(value: Any, what: str) -> Said:
    """
    :param what: What to call it in an error.
    """
    if not isinstance(value, dict):
        raise NoAnswer(f"In this notebook, {what} is no JSON object like {_EXAMPLE}.")
    headers = value.get("headers", {})
    if not isinstance(headers, dict):
        raise NoAnswer(f'In {what}, "headers" has to be an object like {_EXAMPLE}.')
    found: Headers = {}
    for name, given in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise NoAnswer(f"In {what}, {name!r} cannot be the name of a header.")
        if name.lower() not in _NOT_THE_AUTHORS:
            found[name.lower()] = (name, _header_values(name, given, what))
    return Said(status=_status(value["status"], what) if "status" in value else None, headers=found)


def _status(given: Any, what: str) -> int:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) == 3:
        given = int(given)
    if type(given) is not int or not 200 <= given <= 599:
        raise NoAnswer(
            f'In {what}, "status" has to be a number from 200 to 599, not {_shown(given)}.'
        )
    return given


def _header_values(name: str, given: Any, what: str) -> tuple[str, ...]:
    values = given if isinstance(given, list) else [given]
    for value in values:
        if type(value) not in {str, int, float}:
            raise NoAnswer(
                f"In {what}, the header {name} has to be a string, a number, or a list of these, "
                f"not {_shown(given)}.",
            )
    if not values:
        raise NoAnswer(f"In {what}, the header {name} has no value; leave it out instead.")
    texts = tuple(str(value).strip(" \t") for value in values)
    if any(_NOT_IN_HEADERS.search(text) for text in texts):
        raise NoAnswer(
            f"In {what}, the header {name} holds a line break, another control character, or one "
            "that is not Latin-1, which cannot be sent; remove or encode it.",
        )
    return texts


def _read_body(value: Mapping[str, Any]) -> tuple[str, bytes] | None:
    if "json" in value:
        if "body" in value:
            raise NoAnswer('The displayed response has "body" and "json"; choose one.')
        return JSON, encode_json(value["json"])
    if "body" not in value:
        return None
    if not isinstance(value["body"], str):
        raise NoAnswer('The "body" of the displayed response is no string; use "json".')
    return "text/plain", encode_text(value["body"])


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


def encode_text(text: str) -> bytes:
    """
    :return: UTF-8. A kernel may put out one half of a surrogate pair, which becomes a ``?``.
    """
    return text.encode("utf-8", "replace")


def encode_json(value: Any) -> bytes:
    """
    :raises NoAnswer: when there is a NaN in it, which JSON has no word for.
    """
    try:
        return json.dumps(value, allow_nan=False).encode("ascii")
    except ValueError:
        raise NoAnswer("What the notebook gave as JSON has a NaN or an infinity in it.") from None
