"""
The page that documents notebooks' endpoints, as far as it can be judged without a browser.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.web.docs.page import HEADERS, asset, page

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</SCRIPT ><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "-->]]>&lt;/script&gt;",
    '"><svg onload=alert(1)>',
    "\u2028\u2029\x00\ud800 {title} %s",
)


def document(text: str = "text") -> dict[str, Any]:
    """
    :return: An OpenAPI document that says this wherever it can.
    """
    operation = {"summary": text, "description": text, "responses": {text: {"description": text}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": text, "version": text, "description": text},
        "paths": {f"/{text}": {"get": operation}},
    }


class Elements(HTMLParser):
    """
    The elements of a page as a browser would find them.

    :ivar found: Names and attributes.
    :ivar texts: The text in each script and title.
    """

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        An element begins.
        """
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """
        There is text.
        """
        if data.strip():
            self.texts.append((self.found[-1][0], data))

    def handle_comment(self, data: str) -> None:
        """
        There is a comment.
        """
        self.found.append(("comment", {"text": data}))

    def apis(self) -> Any:
        """
        :return: The documents in it.
        """
        (text,) = (text for tag, text in self.texts if tag == "script")
        return json.loads(text)


class PageTests(SynchronousTestCase):
    """
    ``page``.
    """

    def test_documents(self) -> None:
        """
        They are all in the page, with their titles and paths.
        """
        elements = Elements(
            page([("one", "/one", document("1")), ("two", "/b/two", document("2"))], "/_api/docs")
        )
        self.assertEqual(
            elements.apis(),
            [
                {"title": "one", "base": "/one", "document": document("1")},
                {"title": "two", "base": "/b/two", "document": document("2")},
            ],
        )
        self.assertIn(("title", "Notebooks"), elements.texts)

    def test_nothing(self) -> None:
        """
        Without notebooks it is still a page.
        """
        self.assertEqual(Elements(page([], "/_api/docs")).apis(), [])

    def test_assets(self) -> None:
        """
        What it loads is below the given path.
        """
        for base in ("/_api/docs", "/base/_api/docs/"):
            elements = Elements(page([("t", "", document())], base))
            loaded = {
                url
                for _, attributes in elements.found
                for name in ("src", "href")
                if (url := attributes.get(name)) is not None
            }
            below = base.rstrip("/")
            self.assertEqual(loaded, {f"{below}/docs.js", f"{below}/docs.css", "data:,"})

    def test_hostile(self) -> None:
        """
        No text of a notebook becomes an element, and every text arrives as it is.
        """
        expected = [tag for tag, _ in Elements(page([("t", "", document())], "/")).found]
        for text in HOSTILE:
            elements = Elements(page([(text, text, document(text))], "/"))
            self.assertEqual([tag for tag, _ in elements.found], expected, text)
            self.assertEqual(
                elements.apis(), [{"title": text, "base": text, "document": document(text)}]
            )

    def test_script_data(self) -> None:
        """
        Where HTML looks for the end of a script or for a comment, there is nothing to be found.
        """
        for text in HOSTILE:
            html = page([(text, text, document(text))], "/")
            self.assertEqual(len(re.findall(rb"<script|</script|<!--", html)), 4, text)

    def test_no_other_host(self) -> None:
        """
        Neither the page nor what it loads names another host.
        """
        texts = [page([("t", "/t", document())], "/_api/docs")]
        for name in ("docs.js", "docs.css"):
            found = asset(name)
            assert found is not None
            texts.append(found[0])
        for text in texts:
            self.assertEqual(re.findall(rb"https?://|@import|url\(|[\"'(]//", text), [])

    def test_never_html(self) -> None:
        """
        The script makes elements, and never HTML out of text.
        """
        found = asset("docs.js")
        assert found is not None
        self.assertNotRegex(
            found[0].decode("utf-8"), r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b"
        )


class HeaderTests(SynchronousTestCase):
    """
    ``HEADERS``.
    """

    def test_policy(self) -> None:
        """
        Nothing is allowed that the page does not need.
        """
        headers = dict(HEADERS)
        self.assertEqual(
            headers.pop(b"Content-Security-Policy"),
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            b"img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; "
            b"form-action 'none'",
        )
        self.assertEqual(
            headers,
            {
                b"Content-Type": b"text/html; charset=utf-8",
                b"X-Content-Type-Options": b"nosniff",
                b"Referrer-Policy": b"no-referrer",
                b"Cache-Control": b"no-store",
            },
        )


class AssetTests(SynchronousTestCase):
    """
    ``asset``.
    """

    def test_known(self) -> None:
        """
        Browsers get a media type with which they use the file.
        """
        for name, media_type in (("docs.js", "text/javascript"), ("docs.css", "text/css")):
            found = asset(name)
            assert found is not None
            self.assertTrue(found[0])
            self.assertEqual(found[1], f"{media_type}; charset=utf-8")

    def test_unknown(self) -> None:
        """
        There are no other files.
        """
        for name in ("", "docs.html", "../docs_page.py", "static/docs.js", "DOCS.JS"):
            self.assertIsNone(asset(name))
