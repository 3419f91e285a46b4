"""
The text that a cell finds in ``REQUEST``.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidRequest
from kgd.notebook.api import StoredFile
from kgd.notebook.request_body import EMPTY_BODY, RequestBody
from kgd.notebook.request_json import request_json


def text(**given: Any) -> str:
    """
    The text of a request in which only this is special.
    """
    defaults: dict[str, Any] = {
        "method": "GET",
        "url": b"/hello",
        "headers": (),
        "parameters": {},
        "body": EMPTY_BODY,
        "files": (),
        "hide_token": False,
    }
    return request_json(**defaults | given)


def request(**given: Any) -> dict[str, Any]:
    """
    The same, read as a cell would.
    """
    found: dict[str, Any] = json.loads(text(**given))
    return found


class RequestTextTests(SynchronousTestCase):
    """
    `request_json`.
    """

    def test_whole(self) -> None:
        """
        The keys come in their order, separated as Python's json does it.
        """
        file = StoredFile(field="f", path="/tmp/1", name="a.png", type="image/png", size=3)
        self.assertEqual(
            text(
                method="POST",
                url=b"/x/1?a=1",
                headers=[(b"host", b"localhost")],
                parameters={"id": "1"},
                body=RequestBody(json="[1]"),
                files=[file, file],
            ),
            '{"body": [1], "args": {"a": ["1"]}, "path": {"id": "1"}, "headers": {"Host": '
            '"localhost"}, "method": "POST", "url": "/x/1?a=1", "files": {"f": [{"path": "/tmp/1", '
            '"name": "a.png", "type": "image/png", "size": 3}, {"path": "/tmp/1", "name": "a.png", '
            '"type": "image/png", "size": 3}]}}',
        )

    def test_arguments(self) -> None:
        """
        Every argument is a list (row 312), decoded, in the order of first appearance.
        """
        for query, args in (
            (b"", {}),
            (b"?", {}),
            (b"?a=1&a=2&b=", {"a": ["1", "2"], "b": [""]}),
            (b"?b=1&a&b=2", {"b": ["1", "2"], "a": [""]}),
            (b"?a=x+y%2B%26&%C3%A9=%C3%A9", {"a": ["x y+&"], "é": ["é"]}),
            (b"?a=1;b=2", {"a": ["1;b=2"]}),
            (b"?a=1?b=2&&", {"a": ["1?b=2"]}),
            ("?a=é".encode(), {"a": ["é"]}),
        ):
            found = request(url=b"/x" + query)["args"]
            self.assertEqual((found, list(found)), (args, list(args)))

    def test_arguments_not_text(self) -> None:
        """
        What is not UTF-8 is refused (row 303).
        """
        for query in (b"a=%ff", b"%ff=a", b"a=\xff"):
            error = self.assertRaises(InvalidRequest, text, url=b"/x?" + query)
            self.assertIn("percent-encode", str(error))

    def test_headers(self) -> None:
        """
        One value is a string, several are a list (rows 313, 317); names are in title case.
        """
        self.assertEqual(request()["headers"], {})
        self.assertEqual(
            request(
                headers=[
                    (b"content-type", b"application/atom+xml"),
                    (b"X-MULTI", b"a"),
                    (b"etag", b'""9a28""'),
                    (b"x-multi", b"b"),
                    (b"X-Multi", b"c"),
                    (b"x-9a-b", b""),
                ]
            )["headers"],
            {
                "Content-Type": "application/atom+xml",
                "X-Multi": ["a", "b", "c"],
                "Etag": '""9a28""',
                "X-9a-B": "",
            },
        )

    def test_content_types(self) -> None:
        """
        A media type is passed on as it is (row 282).
        """
        for kind in ("text/plain", "application/json", "application/atom+xml", "foo"):
            headers = request(headers=[(b"Content-Type", kind.encode())])["headers"]
            self.assertEqual(headers, {"Content-Type": kind})

    def test_header_values(self) -> None:
        """
        Values are UTF-8 if they can be, and Latin-1 otherwise.
        """
        headers = request(headers=[(b"a", "é".encode()), (b"b", b"\xe9")])["headers"]
        self.assertEqual(headers, {"A": "é", "B": "é"})

    def test_secret(self) -> None:
        """
        The token is nowhere in the text, however it was sent (row 314).
        """
        for query, url in (
            (b"token=s3cret", "/x"),
            (b"a=1&token=s3cret&b=%32", "/x?a=1&b=%32"),
            (b"%74oken=s3cret&a", "/x?a"),
            (b"token=s3cret&token=s3cret&", "/x?"),
            (b"a=1&b=2", "/x?a=1&b=2"),
        ):
            headers = [(b"authorization", b"token s3cret"), (b"AUTHORIZATION", b"s3cret")]
            found = text(url=b"/x?" + query, headers=headers, hide_token=True)
            self.assertNotIn("s3cret", found)
            self.assertEqual(json.loads(found)["url"], url)
            self.assertEqual(json.loads(found)["headers"], {})
            self.assertNotIn("token", json.loads(found)["args"])

    def test_secret_of_the_page_before(self) -> None:
        """
        A browser tells from which page a request comes, and that may have been opened with a token.
        """
        for address, told in (
            (b"http://x/p?a=\xff&%74oken=s3cret", b"http://x/p?a=\xff"),
            (b"http://x/p?token=s3cret", b"http://x/p"),
            (b"http://x/p?", b"http://x/p?"),
        ):
            headers = [(b"Referer", address), (b"X-Referer", b"/?token=mine")]
            found = request(headers=headers, hide_token=True)["headers"]
            self.assertEqual(
                found, {"Referer": told.decode("latin-1"), "X-Referer": "/?token=mine"}
            )
            found = request(headers=headers[:1])["headers"]
            self.assertEqual(found, {"Referer": address.decode("latin-1")})

    def test_no_secret(self) -> None:
        """
        Without a token both are the notebook's own.
        """
        found = request(url=b"/x?token=a", headers=[(b"authorization", b"Basic b")])
        self.assertEqual(found["args"], {"token": ["a"]})
        self.assertEqual(found["headers"], {"Authorization": "Basic b"})
        self.assertEqual(found["url"], "/x?token=a")

    @given(
        st.dictionaries(st.text(), st.text()),
        st.lists(st.tuples(st.binary(), st.binary())),
        st.binary(),
        st.text(),
    )
    def test_printable(
        self,
        parameters: dict[str, str],
        headers: list[tuple[bytes, bytes]],
        path: bytes,
        body: str,
    ) -> None:
        """
        Whatever comes in, the text is one line of ASCII.
        """
        found = text(
            parameters=parameters,
            headers=headers,
            url=path.replace(b"?", b""),
            body=RequestBody(json=json.dumps(body)),
        )
        self.assertTrue(found.isascii() and found.isprintable())
        self.assertEqual(json.loads(found)["path"], parameters)
        self.assertEqual(json.loads(found)["body"], body)
