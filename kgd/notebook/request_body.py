"""
Reads the body of a request into the form in which ``REQUEST`` has it.
"""

from __future__ import annotations

import json
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Any
from urllib.parse import parse_qsl

import attrs
import msgspec
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from kgd.errors import InvalidRequest
from kgd.notebook.api import Upload
from kgd.notebook.media_types import FORM, JSON, MULTIPART_FORM, is_textual, media_type

# For an unknown name, Python would import modules and remember the failure.
_CHARSETS = frozenset(aliases) | frozenset(aliases.values())

# Longest headers of one part of a form, in bytes.
_MAX_PART_HEADERS = 16 * 1024
# Validates JSON without building values, so numbers of any size stay as they were sent.
_validate = msgspec.json.Decoder(msgspec.Raw).decode


@attrs.frozen(kw_only=True)
class RequestBody:
    """
    A request's body as a cell gets it.

    :ivar json: The value of ``body`` in ``REQUEST``, as JSON in printable ASCII.
    :ivar uploads: The files in the body.
    """

    json: str
    uploads: tuple[Upload, ...] = ()


#: The body of a request without one.
EMPTY_BODY = RequestBody(json='""')


def read_body(content_type: str | None, body: bytes, *, max_parts: int = 1000) -> RequestBody:
    """
    :param max_parts: Most parts of a form.
    :raises kgd.errors.InvalidRequest: when the body does not fit its ``content_type``.
    """
    if not body:
        return EMPTY_BODY
    kind = media_type(content_type or "")
    if kind == MULTIPART_FORM:
        return _read_multipart(body, _content_type_parameter(content_type, "boundary"), max_parts)
    if kind and not is_textual(kind):
        return _read_binary(kind, body)
    charset = _content_type_parameter(content_type, "charset") or "utf-8"
    text = _decode(body, charset)
    if kind == JSON:
        return RequestBody(json=_printable_json(text))
    if kind == FORM:
        return RequestBody(json=json.dumps(_read_form(text, charset, max_parts)))
    return RequestBody(json=json.dumps(text))


def read_arguments(text: str, charset: str = "utf-8") -> dict[str, list[str]]:
    """
    :param text: A query, or a form in the same format.
    :return: Each name with all its values, in the order of first appearance.
    :raises UnicodeDecodeError: when percent-encoded bytes are not text.
    """
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict"):
        found.setdefault(name, []).append(value)
    return found


def _content_type_parameter(content_type: str | None, name: str) -> str | None:
    if not content_type or ";" not in content_type:
        return None
    return parse_options_header(content_type)[1].get(name)


def _decode(body: bytes, charset: str) -> str:
    known = normalize_encoding(charset).lower()
    if known in _CHARSETS:
        try:
            return body.decode(known)
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"the body is not {charset} at byte {error.start}; name its charset in "
                "Content-Type, or send bytes as application/octet-stream"
            ) from None
        except LookupError:
            # Python has encodings that are not charsets, such as compressions.
            pass
    raise InvalidRequest(f"the charset {charset[:50]!r} is not known; send utf-8")


def _printable_json(text: str) -> str:
    """
    :return: The JSON in printable ASCII, or a JSON string if ``text`` is not JSON.
    """
    try:
        if not _is_json(text):
            return json.dumps(text)
    except RecursionError:
        raise InvalidRequest("the JSON in the body is nested too deeply") from None
    if text.isascii() and text.isprintable():
        return text
    # JSON has no line breaks or tabs inside strings, and only ASCII outside of them.
    text = text.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    # Encoding all of it as a string escapes what has to be, and also quotes and backslashes, which
    # is undone: many times faster than searching for the characters.
    escaped = json.dumps(text)[1:-1].replace("\\\\", "\0").replace('\\"', '"')
    return escaped.replace("\0", "\\")


def _is_json(text: str) -> bool:
    try:
        _validate(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        if "\\u" not in text:
            return False
        # msgspec refuses unpaired surrogates, which are valid JSON.
        try:
            json.loads(text, parse_constant=_reject_constant, parse_int=str, parse_float=str)
        except ValueError:
            return False
    return True


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _read_form(text: str, charset: str, max_parts: int) -> dict[str, list[str]]:
    if text.count("&") >= max_parts:
        raise _too_many(max_parts)
    try:
        return read_arguments(text, charset)
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"the form is not {charset}; send files as {MULTIPART_FORM}, or bytes as "
            "application/octet-stream"
        ) from None


def _too_many(max_parts: int) -> InvalidRequest:
    return InvalidRequest(f"the form has more than {max_parts} parts; send fewer in one request")


def _read_binary(kind: str, body: bytes) -> RequestBody:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    return RequestBody(
        json=json.dumps(text),
        uploads=(Upload(field="body", name="", type=kind, content=body),),
    )


def _read_multipart(body: bytes, boundary: str | None, max_parts: int) -> RequestBody:
    if not boundary:
        raise InvalidRequest(
            f"{MULTIPART_FORM} needs a boundary in Content-Type; let your HTTP client set that "
            "header"
        )
    fields: dict[str, list[str]] = {}
    uploads = []
    try:
        for part, content in _parts(body, boundary, max_parts):
            if not isinstance(part.name, str):
                raise InvalidRequest(f"a part of the {MULTIPART_FORM} has no name; give it one")
            # A browser sends an empty file without a name when no file has been chosen.
            if isinstance(part, File) and (part.filename or content):
                kind = media_type(part.headers.get("Content-Type", ""))
                uploads.append(
                    Upload(field=part.name, name=part.filename, type=kind, content=content)
                )
            else:
                fields.setdefault(part.name, []).append(_field_text(part.name, content))
    except RequestEntityTooLarge:
        raise _too_many(max_parts) from None
    except ValueError as error:
        raise InvalidRequest(
            f"the body is not {MULTIPART_FORM}, or is incomplete ({error}); use the boundary of "
            "Content-Type, also at the end"
        ) from None
    return RequestBody(json=json.dumps(fields), uploads=tuple(uploads))


def _check_part_headers(body: bytes, boundary: str, max_parts: int) -> None:
    """
    Check the size of each part's headers, which are parsed in one go: large ones would take long.

    :raises ValueError: when they are too large.
    :raises RequestEntityTooLarge: when there are too many parts.
    """
    delimiter = b"\n--" + boundary.encode("latin-1")
    # The last delimiter has no part after it.
    if body.count(delimiter) > max_parts:
        raise RequestEntityTooLarge
    at = -1
    while True:
        headers = body[at + len(delimiter) : at + len(delimiter) + _MAX_PART_HEADERS]
        is_whole = b"\r\n\r\n" in headers or b"\n\n" in headers or len(headers) < _MAX_PART_HEADERS
        if not is_whole:
            raise ValueError(f"the headers of a part have more than {_MAX_PART_HEADERS} bytes")
        at = body.find(delimiter, at + 1)
        if at < 0:
            return


def _parts(body: bytes, boundary: str, max_parts: int) -> Any:
    _check_part_headers(body, boundary, max_parts)
    decoder = MultipartDecoder(boundary.encode("latin-1"), max_parts=max_parts)
    decoder.receive_data(body)
    decoder.receive_data(None)
    part: Field | File | None = None
    chunks: list[bytes] = []
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, (Field, File)):
            part, chunks = event, []
        elif isinstance(event, Data):
            chunks.append(event.data)
            if not event.more_data:
                yield part, b"".join(chunks)


def _field_text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"the field {name[:50]!r} is not UTF-8; give the part a filename to send bytes"
        ) from None
