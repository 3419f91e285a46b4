"""
Makes the JSON that a cell finds in ``REQUEST``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from kgd.auth.in_requests import TOKEN_ARGUMENT, without_token
from kgd.errors import InvalidRequest
from kgd.notebook.api import StoredFile
from kgd.notebook.request_body import RequestBody, read_arguments

_AUTHORIZATION = "Authorization"
_REFERER = b"referer"


def request_json(
    *,
    method: str,
    url: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    parameters: Mapping[str, str],
    body: RequestBody,
    files: Sequence[StoredFile],
    hide_token: bool,
) -> str:
    """
    :param url: Path and query, as they were sent.
    :param parameters: The values of the path's parameters.
    :param files: The body's uploads, as they have been written.
    :param hide_token: Whether to leave the token out, which cells must not see.
    :return: JSON in printable ASCII.
    :raises kgd.errors.InvalidRequest: when the query is not UTF-8.
    """
    query = url.partition(b"?")[2]
    try:
        args = read_arguments(query.decode("utf-8")) if query else {}
    except UnicodeDecodeError:
        raise InvalidRequest("the query is not UTF-8; percent-encode UTF-8 bytes") from None
    if hide_token:
        # The Referer of a page that was opened with ?token= contains the token.
        headers = [
            (name, without_token(value) if name.lower() == _REFERER else value)
            for name, value in headers
        ]
    decoded_headers = _read_headers(headers)
    if hide_token:
        decoded_headers.pop(_AUTHORIZATION, None)
        args.pop(TOKEN_ARGUMENT, None)
        url = without_token(url)
    rest = {
        "args": args,
        "path": dict(parameters),
        "headers": decoded_headers,
        "method": method,
        "url": _decode(url),
        "files": _files_by_field(files),
    }
    # The body is JSON already.
    return f'{{"body": {body.json}, {json.dumps(rest)[1:]}'


def _read_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for raw_name, raw_value in headers:
        name, value = _header_name(raw_name), _decode(raw_value)
        known = found.get(name)
        if known is None:
            found[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            found[name] = [known, value]
    return found


@lru_cache(maxsize=256)
def _header_name(name: bytes) -> str:
    return "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))


def _decode(raw: bytes) -> str:
    # Clients send UTF-8 or Latin-1; every sequence of bytes is valid Latin-1.
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _files_by_field(files: Sequence[StoredFile]) -> dict[str, list[dict[str, str | int]]]:
    found: dict[str, list[dict[str, str | int]]] = {}
    for file in files:
        found.setdefault(file.field, []).append(
            {"path": file.path, "name": file.name, "type": file.type, "size": file.size}
        )
    return found
