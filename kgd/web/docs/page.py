"""
The page on which people read about an API or the endpoints of notebooks, and try them.

It is one HTML document that contains the OpenAPI documents, and two files of this package:
``static/docs.js`` builds the page, ``static/docs.css`` styles it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from kgd.errors import NoSuchResource
from kgd.web.responses import encoded_answer

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
#: The page's headers. What notebooks say is not trusted, and the page's URL may contain the token.
HEADERS = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", _POLICY),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cache-Control", b"no-store"),
)

_MEDIA_TYPES = {
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
}

# The empty icon keeps browsers from asking for /favicon.ico, which may be an endpoint.
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{assets}/docs.css">
<script type="module" src="{assets}/docs.js"></script>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
<script type="application/json" id="apis">{apis}</script>
</body>
</html>
"""


def page(apis: Sequence[tuple[str, str, Mapping[str, Any]]], assets_base: str) -> bytes:
    """
    Make the page.

    :param apis: For each API or notebook its title, the path below which its paths are, and its
        OpenAPI 3.1 document.
    :param assets_base: The path of the files of :py:func:`asset`, which are public, since browsers
        request them without the token.
    """
    embedded = json.dumps(
        [{"title": title, "base": base, "document": document} for title, base, document in apis]
    )
    return _PAGE.format(
        title=escape(apis[0][0] if len(apis) == 1 else "Notebooks"),
        assets=escape(assets_base.rstrip("/")),
        # HTML would find </script> and <!-- even inside JSON, which has "<" in strings only.
        apis=embedded.replace("<", "\\u003c"),
    ).encode("utf-8", "replace")


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """
    :return: The content and the media type of a file that the page needs, or ``None``.
    """
    if name not in _MEDIA_TYPES:
        return None
    assets = files("kgd.web.docs").joinpath("static")
    return assets.joinpath(name).read_bytes(), _MEDIA_TYPES[name]


def page_answer(request: Any, body: bytes) -> bytes:
    """
    Answer with a page.

    :param body: What :py:func:`page` has made.
    """
    for name, value in HEADERS:
        request.setHeader(name, value)
    return encoded_answer(request, body, dict(HEADERS)[b"Content-Type"])


def asset_answer(request: Any, name: str) -> bytes:
    """
    Answer with a file that the page needs.

    :raises kgd.errors.NoSuchResource: for any other name.
    """
    found = asset(name)
    if found is None:
        raise NoSuchResource("")
    content, media_type = found
    return encoded_answer(request, content, media_type.encode("ascii"))
