"""
What a cell gets to see of a request's body.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidRequest
from kgd.notebook.api import Upload
from kgd.notebook.request_body import EMPTY_BODY, read_body

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
).filter(lambda value: "Infinity" not in json.dumps(value))


def value_of(content_type: str | None, body: bytes) -> Any:
    """
    :return: What ``REQUEST`` has of a body in which there are no files.
    """
    found = read_body(content_type, body)
    assert found.uploads == ()
    assert found.json.isascii()
    assert found.json.isprintable()
    return json.loads(found.json)


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """
    :param parts: Headers, and content.
    """
    return (
        b"".join(
            b"--b\r\n" + headers.replace("\n", "\r\n").encode() + b"\r\n\r\n" + content + b"\r\n"
            for headers, content in parts
        )
        + b"--b--\r\n"
    )


def part(name: str, rest: str = "") -> str:
    """
    The headers of a part of a form.
    """
    return f'Content-Disposition: form-data; name="{name}"{rest}'


class RefusalTestCase(SynchronousTestCase):
    """
    With a check that belongs to all.
    """

    def refused(self, content_type: str | None, body: bytes, what: str = "", **rest: int) -> None:
        """
        Check that a body is refused with a message in which ``what`` stands.
        """
        error = self.assertRaises(InvalidRequest, read_body, content_type, body, **rest)
        self.assertIn(what, str(error))


class BodyTests(RefusalTestCase):
    """
    `read_body`.
    """

    def test_kinds(self) -> None:
        """
        What is parsed, and what stays a string (row 302).
        """
        for content_type, body, value in (
            ("text/plain", b"hello", "hello"),
            ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
            ("application/json", b"[1,", "[1,"),
            ("application/json", b"NaN", "NaN"),
            (FORM, b"a=1&a=2&b=&c", {"a": ["1", "2"], "b": [""], "c": [""]}),
            (FORM, b"a%20b=c+d%26", {"a b": ["c d&"]}),
            (FORM, b"a=1;b=2", {"a": ["1;b=2"]}),
            (None, b"hello", "hello"),
            ("", b'{"a": 1}', '{"a": 1}'),
            (" ; charset=utf-8", b"hello", "hello"),
            ("application/atom+xml", b"<a/>", "<a/>"),
            ("application/vnd.api+json", b'{"a": 1}', '{"a": 1}'),
            ("text/json", b"1", "1"),
        ):
            self.assertEqual(value_of(content_type, body), value)

    def test_empty(self) -> None:
        """
        Nothing is the empty string, whatever it is called.
        """
        for content_type in (None, "application/json", FORM, MULTIPART, "image/png", "foo"):
            self.assertEqual(read_body(content_type, b""), EMPTY_BODY)
        self.assertEqual(EMPTY_BODY.json, '""')

    def test_parameters(self) -> None:
        """
        Only the media type counts, in whatever case (row 301).
        """
        for content_type in (
            "application/json; charset=utf-8",
            "Application/JSON ;x=y",
            " application/json;",
        ):
            self.assertEqual(value_of(content_type, b"[1]"), [1])
        self.assertEqual(value_of(f"{FORM}; charset=UTF-8", b"a=%C3%A9"), {"a": ["é"]})

    def test_charset(self) -> None:
        """
        A charset that Python knows is honoured; any other is refused.
        """
        self.assertEqual(value_of("text/plain; charset=ISO-8859-1", b"\xe9"), "é")
        self.assertEqual(
            value_of("application/json; charset=utf-16", '["é"]'.encode("utf-16")), ["é"]
        )
        for charset in ("latin1", "LATIN-1", '"iso 8859 1"'):
            self.assertEqual(value_of(f"{FORM}; charset={charset}", b"a=%E9"), {"a": ["é"]})
        for charset in ("klingon", "zlib", "idna", "unicode_escape", "os.path"):
            self.refused(f"text/plain; charset={charset}", b"hello", "send utf-8")

    def test_not_utf8(self) -> None:
        """
        Text that cannot be read is refused, and so is what may be text (row 303).
        """
        for content_type in (None, "text/plain", "application/json", FORM, "application/geo+json"):
            self.refused(content_type, b"\xff", "application/octet-stream")
        self.refused("text/plain; charset=ascii", b"ab\xc3\xa9", "byte 2")
        self.refused(FORM, b"a=%ff", "form")

    def test_binary(self) -> None:
        """
        Other bytes are a file; if they are text, the cell has that as well.
        """
        for content_type in (
            "application/octet-stream",
            "Image/PNG; q=1",
            "multipart/mixed",
            "foo",
        ):
            found = read_body(content_type, b"\xff\0")
            kind = content_type.partition(";")[0].lower()
            upload = Upload(field="body", name="", type=kind, content=b"\xff\0")
            self.assertEqual((found.json, found.uploads), ('""', (upload,)))
        self.assertEqual(read_body("foo", b"text").json, '"text"')

    def test_numbers(self) -> None:
        """
        Numbers stay as they were sent.
        """
        for number in ("1e400", "123456789012345678901234567890", "1.10", "-0.0", "1E+2"):
            self.assertEqual(read_body("application/json", number.encode()).json, number)

    def test_white_space(self) -> None:
        """
        JSON on several lines becomes one.
        """
        self.assertEqual(
            read_body("application/json", b'{\r\n\t"a":\n"\\n"}\n').json, '{   "a": "\\n"} '
        )

    def test_surrogates(self) -> None:
        """
        One half of a pair is JSON.
        """
        self.assertEqual(value_of("application/json", rb'"\ud800x"'), "\ud800x")
        self.assertEqual(value_of("application/json", rb'["\ud800", NaN]'), r'["\ud800", NaN]')
        self.assertEqual(value_of("application/json", rb'"\ud83d\ude00"'), "\U0001f600")

    def test_nested(self) -> None:
        """
        JSON that no parser would read is refused.
        """
        self.refused("application/json", b"[" * 100_000 + b"]" * 100_000, "deeply")
        self.refused("application/json", b"[" * 100_000 + rb'"\ud800"', "deeply")

    @given(json_values, st.booleans(), st.sampled_from([None, 2]))
    def test_json(self, value: Any, ascii_only: bool, indent: int | None) -> None:
        """
        All JSON arrives.
        """
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
        try:
            body = text.encode()
        except UnicodeEncodeError:
            return
        self.assertEqual(value_of("application/json", body), value)

    @given(st.text(), st.sampled_from([None, "text/plain", "application/json"]))
    def test_text(self, text: str, content_type: str | None) -> None:
        """
        All text arrives, as what it is.
        """
        body = text.encode("utf-8", "replace")
        try:
            expected = json.loads(body) if content_type == "application/json" else body.decode()
        except ValueError:
            expected = body.decode()
        self.assertEqual(value_of(content_type, body), expected)


class MultipartTests(RefusalTestCase):
    """
    `read_body` with forms of several parts.
    """

    def test_fields(self) -> None:
        """
        Fields are lists of strings.
        """
        body = multipart((part("a"), b"1"), (part("b"), "é\r\n".encode()), (part("a"), b""))
        self.assertEqual(value_of(MULTIPART, body), {"a": ["1", ""], "b": ["é\r\n"]})
        self.assertEqual(value_of(MULTIPART.upper().replace("=B", "=b"), body)["a"], ["1", ""])
        self.assertEqual(value_of(MULTIPART, b"--b--\r\n"), {})

    def test_files(self) -> None:
        """
        What has a filename is a file, byte for byte, and not among the fields (D6).
        """
        content = bytes(range(256)) + b"\r\n--b \r\n--"
        body = multipart(
            (part("f", '; filename="../x.png"') + "\nContent-Type: Image/PNG; a=b", b"\x89\r\n"),
            (part("f", "; filename*=UTF-8''%C3%A9"), content.replace(b"\r\n--b ", b"\r\n--c")),
            (part("a"), b"1"),
        )
        found = read_body(MULTIPART, body)
        self.assertEqual(json.loads(found.json), {"a": ["1"]})
        self.assertEqual(
            found.uploads,
            (
                Upload(field="f", name="../x.png", type="image/png", content=b"\x89\r\n"),
                Upload(field="f", name="é", type="", content=bytes(range(256)) + b"\r\n--c\r\n--"),
            ),
        )

    def test_no_file_chosen(self) -> None:
        """
        A browser's way to send no file is an empty field.
        """
        unchosen = part("f", '; filename=""') + "\nContent-Type: application/octet-stream"
        self.assertEqual(value_of(MULTIPART, multipart((unchosen, b""))), {"f": [""]})
        (upload,) = read_body(MULTIPART, multipart((unchosen, b"x"))).uploads
        self.assertEqual((upload.name, upload.content), ("", b"x"))

    def test_malformed(self) -> None:
        """
        Whatever is wrong is said.
        """
        whole = multipart((part("a"), b"1"))
        self.refused("multipart/form-data", whole, "boundary")
        self.refused("multipart/form-data; boundary=", whole, "boundary")
        for body in (b"x", whole[:-6], whole.replace(b"--b--", b"--c--"), whole[:20], b"--b\r\n"):
            self.refused(MULTIPART, body, "incomplete")
        self.refused(MULTIPART, multipart(("A: b", b"1")), "Content-Disposition")
        self.refused(MULTIPART, multipart(("Content-Disposition: form-data", b"1")), "no name")
        self.refused(MULTIPART, multipart((part("a"), b"\xff")), "filename")
        self.refused(MULTIPART, b"--b\r\n\xff: a\r\n\r\n1\r\n--b--\r\n", "incomplete")

    def test_too_many(self) -> None:
        """
        The number of parts has a bound.
        """
        body = multipart(*[(part("a"), b"")] * 3)
        self.assertEqual(json.loads(read_body(MULTIPART, body, max_parts=3).json), {"a": [""] * 3})
        self.refused(MULTIPART, body, "more than 2 parts", max_parts=2)
        form = "application/x-www-form-urlencoded"
        self.assertEqual(json.loads(read_body(form, b"a&a", max_parts=2).json), {"a": ["", ""]})
        self.refused(form, b"a&a&a", "more than 2 parts", max_parts=2)

    def test_headers_of_a_part(self) -> None:
        """
        They have a bound, too: they would take seconds to read.
        """
        heads = part("a") + "\r\n" + "X: y\r\n" * 10_000
        self.refused(MULTIPART, multipart((heads, b"1")), "headers of a part")
        second = multipart((part("a"), b"1"), (heads, b"1"))
        self.refused(MULTIPART, second, "headers of a part")
        large = multipart((part("a"), b"x" * 100_000))
        self.assertEqual(len(json.loads(read_body(MULTIPART, large).json)["a"][0]), 100_000)

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.text(alphabet="ab-\r\né"))))
    def test_any_fields(self, fields: list[tuple[str, str]]) -> None:
        """
        Whatever is in the fields arrives.
        """
        expected: dict[str, list[str]] = {}
        for name, text in fields:
            expected.setdefault(name, []).append(text)
        body = b"".join(
            b"--=X=\r\n" + part(name).encode() + b"\r\n\r\n" + text.encode() + b"\r\n"
            for name, text in fields
        )
        content_type = 'multipart/form-data; boundary="=X="'
        self.assertEqual(value_of(content_type, body + b"--=X=--"), expected)

    @given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"\n", b"x", part("a").encode()])))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """
        Nothing but our own error comes of what is no form.
        """
        with contextlib.suppress(InvalidRequest):
            read_body(MULTIPART, b"".join(pieces))
