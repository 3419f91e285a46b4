"""
What a client gets for what a cell has put out.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.notebook.api import Handler, Response
from kgd.notebook.media_types import is_acceptable, negotiate
from kgd.notebook.response import PREFERRED_TYPES, make_response
from kgd.protocol.outputs import Failed, Outputs

HANDLER = Handler(source="")
PNG = b"\x89PNG\0\xff"
IMAGE = base64.encodebytes(PNG).decode()
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def answered(
    outputs: Outputs,
    info: Outputs | None = None,
    *,
    produces: tuple[str, ...] = (),
    accept: str | None = None,
    rich: bool = False,
) -> Response:
    """
    The answer to a request of which only this matters.
    """
    handler = Handler(source="", produces=produces) if produces else HANDLER
    return make_response(outputs, info, handler=handler, accept=accept, rich=rich)


def kind_and_body(response: Response) -> tuple[str, bytes]:
    """
    Of an answer that has to be a 200.
    """
    assert response.status == 200, response
    return dict(response.headers)["Content-Type"], response.body


def printed(value: Any) -> Outputs:
    """
    What a ResponseInfo cell prints.
    """
    return Outputs(stdout=json.dumps(value) + "\n")


class OutcomeTestCase(SynchronousTestCase):
    """
    With a check that belongs to all.
    """

    def faulty(self, response: Response, *words: str, status: int = 500) -> None:
        """
        Check that an answer tells of a mistake, in these words, and holds nothing else.
        """
        self.assertEqual(response.status, status)
        self.assertEqual(response.headers, (("Content-Type", "text/plain"),))
        text = response.body.decode("utf-8")
        for word in words:
            self.assertIn(word, text)


class DefaultTests(OutcomeTestCase):
    """
    `make_response`, as it always was.
    """

    def test_stdout(self) -> None:
        """
        What is printed comes first, as it is.
        """
        outputs = Outputs(stdout="é 1\n", result={"text/plain": "2"}, displayed={"text/plain": "3"})
        self.assertEqual(
            answered(outputs),
            Response(status=200, headers=(("Content-Type", "text/plain"),), body="é 1\n".encode()),
        )
        self.assertEqual(answered(Outputs(stdout="\ud800")).body, b"?")

    def test_result(self) -> None:
        """
        A result is JSON with all its media types.
        """
        for outputs in (
            Outputs(result={"text/plain": "2"}),
            Outputs(result={"text/plain": "2"}, displayed={"text/plain": "3"}),
            Outputs(displayed={"text/plain": "2"}),
        ):
            self.assertEqual(
                kind_and_body(answered(outputs)), ("text/plain", b'{"text/plain": "2"}')
            )

    def test_displayed(self) -> None:
        """
        A cell that only displays something has an answer (row 305).
        """
        bundle = {"text/html": "<b>é</b>", "application/json": {"a": [1, None]}}
        response = answered(Outputs(displayed=bundle))
        self.assertEqual(json.loads(response.body), bundle)

    def test_nothing(self) -> None:
        """
        No output is an empty answer.
        """
        for rich in (False, True):
            for outputs in (Outputs(), Outputs(displayed={})):
                self.assertEqual(kind_and_body(answered(outputs, rich=rich)), ("text/plain", b""))

    def test_error(self) -> None:
        """
        An error is a 500, to the letter; what was printed before it is gone.
        """
        failed = Failed(ename="NameError", evalue="name 'x' is not defined")
        body = b"Error NameError: name 'x' is not defined \n"
        for response in (
            answered(Outputs(error=failed, stdout="before", response={"status": 200})),
            answered(Outputs(stdout="before"), Outputs(error=failed)),
            answered(Outputs(error=failed), produces=("image/png",), accept="image/png"),
        ):
            self.faulty(response)
            self.assertEqual(response.body, body)


class ResponseInfoTests(OutcomeTestCase):
    """
    `make_response`, with what a ResponseInfo cell prints.
    """

    def test_applied(self) -> None:
        """
        Headers and status are the author's.
        """
        response = answered(
            Outputs(stdout='{"hello":"world"}'),
            printed(
                {
                    "headers": {"content-type": "application/json", "Etag": 1234567890, "X": 1.5},
                    "status": 201,
                    "more": "ignored",
                }
            ),
        )
        self.assertEqual(
            response,
            Response(
                status=201,
                headers=(
                    ("content-type", "application/json"),
                    ("Etag", "1234567890"),
                    ("X", "1.5"),
                ),
                body=b'{"hello":"world"}',
            ),
        )

    def test_nothing_said(self) -> None:
        """
        Both keys are optional.
        """
        nothing: tuple[dict[str, Any], ...] = ({}, {"headers": {}}, {"text/plain": "2"})
        for value in nothing:
            response = answered(Outputs(stdout="x"), printed(value))
            self.assertEqual(kind_and_body(response), ("text/plain", b"x"))

    def test_lists(self) -> None:
        """
        A list is a header for each of its items.
        """
        response = answered(Outputs(), printed({"headers": {"Set-Cookie": ["a=1", "b=2", 3]}}))
        self.assertEqual(
            response.headers[1:],
            (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Set-Cookie", "3")),
        )

    def test_statuses(self) -> None:
        """
        Any code that may end a request, also as a string of digits, also one that nobody knows.
        """
        for given_status, status in ((200, 200), ("404", 404), (299, 299), (599, 599)):
            response = answered(Outputs(stdout="x"), printed({"status": given_status}))
            self.assertEqual((response.status, response.body), (status, b"x"))

    def test_bodiless(self) -> None:
        """
        Some codes have no body, whatever the cell has put out.
        """
        for status in (204, 205, 304):
            for outputs in (Outputs(stdout="x"), Outputs(response={"body": "x"}), Outputs()):
                response = answered(outputs, printed({"status": status}), produces=("image/png",))
                self.assertEqual((response.status, response.body), (status, b""))

    def test_not_json(self) -> None:
        """
        A cell that prints no JSON object is told so (row 304).
        """
        for text, what in (("", "nothing"), (" \n", "nothing"), ("{", "not JSON"), ("a 1", "JSON")):
            self.faulty(answered(Outputs(stdout="x"), Outputs(stdout=text)), what, '"status": 200')
        self.faulty(answered(Outputs(), Outputs(stdout="[" * 100_000)), "not JSON")
        self.faulty(answered(Outputs(), Outputs(result={"text/plain": "{}"})), "nothing")
        for text in ("[]", "1", "null", '"x"'):
            self.faulty(answered(Outputs(), Outputs(stdout=text)), "not a JSON object")

    def test_status_faults(self) -> None:
        """
        What is no status is not sent (row 304).
        """
        for status in (
            "OK",
            "0200",
            "",
            "²00",
            100,
            101,
            199,
            600,
            0,
            -200,
            200.0,
            True,
            None,
            [200],
        ):
            response = answered(Outputs(stdout="x"), printed({"status": status}))
            self.faulty(response, '"status"', "200 to 599")

    def test_header_faults(self) -> None:
        """
        What is no header is not sent (row 304).
        """

        def check(headers: Any, *words: str) -> None:
            self.faulty(answered(Outputs(stdout="x"), printed({"headers": headers})), *words)

        for text in ("[]", '"a: b"', "null", "1"):
            check(json.loads(text), '"headers"')
        for text in ("{}", "null", "true", "[[]]", "[null]", '["a", {}]'):
            check({"X-A": json.loads(text)}, "X-A", "list")
        check({"X-A": []}, "X-A", "leave it out")
        for value in ("a\r\nb: c", "a\n", "\r", "a\0", "\x7f", "\ud800"):
            check({"X-A": value}, "X-A", "remove")
            check({"X-A": ["a", value]}, "X-A", "remove")
        for name in ("", "a b", "a:", "a\r\nb", "é", "\ud800"):
            check({name: "x"}, "name of a header")

    def test_not_the_authors(self) -> None:
        """
        What belongs to the connection is left out.
        """
        headers = {"Content-Length": 99, "transfer-encoding": "chunked", "Connection": "close"}
        response = answered(Outputs(stdout="x"), printed({"headers": headers}))
        self.assertEqual(response.headers, (("Content-Type", "text/plain"),))

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.text() | st.sampled_from(["headers", "status"]), inner)
            ),
        )
    )
    def test_anything(self, value: Any) -> None:
        """
        Whatever is printed, there is an answer that can be sent.
        """
        response = answered(Outputs(stdout="x"), printed(value))
        self.assertIn(response.status, range(200, 600))
        for name, text in response.headers:
            self.assertNotRegex(name + text, "[\r\n\0]")
            (name + text).encode("utf-8")


class InlineTests(OutcomeTestCase):
    """
    `make_response`, with a response that the cell itself has displayed.
    """

    def test_body(self) -> None:
        """
        It may bring a body along, which is sent instead of the output.
        """
        outputs = Outputs(stdout="x", response={"body": "é", "status": 404})
        self.assertEqual(
            answered(outputs, produces=("image/png",), accept="image/png"),
            Response(status=404, headers=(("Content-Type", "text/plain"),), body="é".encode()),
        )

    def test_json(self) -> None:
        """
        Or a value, which is sent as JSON.
        """
        for value in ({"a": [1]}, None, "x", 1):
            kind, body = kind_and_body(answered(Outputs(response={"json": value})))
            self.assertEqual((kind, json.loads(body)), ("application/json", value))
        response = answered(
            Outputs(response={"json": 1, "headers": {"Content-Type": "application/problem+json"}})
        )
        self.assertEqual(response.headers, (("Content-Type", "application/problem+json"),))

    def test_headers_only(self) -> None:
        """
        Without a body the output is sent.
        """
        response = answered(
            Outputs(stdout="x", response={"headers": {"X-A": "1"}, "status": "201"})
        )
        self.assertEqual((response.status, response.body), (201, b"x"))
        self.assertEqual(response.headers, (("Content-Type", "text/plain"), ("X-A", "1")))

    def test_overridden(self) -> None:
        """
        The ResponseInfo cell has the last word, header by header.
        """
        outputs = Outputs(response={"body": "x", "headers": {"a": "1", "b": "1"}, "status": 201})
        response = answered(outputs, printed({"headers": {"A": "2"}, "status": 202}))
        self.assertEqual((response.status, response.body), (202, b"x"))
        self.assertEqual(response.headers[1:], (("A", "2"), ("b", "1")))
        self.assertEqual(answered(outputs, printed({})).status, 201)

    def test_faults(self) -> None:
        """
        It is checked like the other.
        """
        for response, word in (
            ([], "object"),
            ("x", "object"),
            ({"status": 99}, '"status"'),
            ({"headers": {"a": "\n"}}, "line break"),
            ({"headers": {"a": "€"}}, "not Latin-1"),
            ({"headers": {"a": "\x85"}}, "control character"),
            ({"body": 1}, '"json"'),
            ({"body": None}, '"json"'),
            ({"body": "x", "json": 1}, "choose"),
            ({"json": float("nan")}, "NaN"),
        ):
            self.faulty(answered(Outputs(stdout="x", response=response)), word)


class PromiseTests(OutcomeTestCase):
    """
    `make_response`, for a handler that promises media types.
    """

    def test_media_types(self) -> None:
        """
        Each kind of media type is sent in its own way.
        """
        for kind, data, label, body in (
            ("image/png", IMAGE, "image/png", PNG),
            ("application/pdf", IMAGE, "application/pdf", PNG),
            ("application/x-own", IMAGE, "application/x-own", PNG),
            ("image/svg+xml", "<svg>é", "image/svg+xml", "<svg>é".encode()),
            ("text/html", "é", "text/html; charset=utf-8", "é".encode()),
            ("text/latex", "$x$", "text/latex; charset=utf-8", b"$x$"),
            ("application/json", {"a": 1}, "application/json", b'{"a": 1}'),
            ("application/geo+json", [1], "application/geo+json", b"[1]"),
        ):
            for outputs in (
                Outputs(result={kind: data, "text/plain": "x"}, stdout="noise"),
                Outputs(result={"text/plain": "x"}, displayed={kind: data}),
            ):
                response = answered(outputs, produces=(kind,))
                self.assertEqual(kind_and_body(response), (label, body))
                self.assertEqual(len(response.headers), 1)

    def test_parameters(self) -> None:
        """
        A promise may have parameters; the bundle's names have none.
        """
        response = answered(
            Outputs(result={"text/csv": "a"}), produces=("Text/CSV; charset=UTF-8",)
        )
        self.assertEqual(kind_and_body(response), ("Text/CSV; charset=UTF-8", b"a"))

    def test_choice(self) -> None:
        """
        The client's favourite is sent; where it has none, the author's.
        """
        outputs = Outputs(result={"text/html": "h", "image/png": IMAGE, "text/plain": "p"})
        for accept, body in (
            (None, PNG),
            ("*/*", PNG),
            ("text/*", b"h"),
            ("text/html, image/png;q=0.9", b"h"),
            (BROWSER, b"h"),
        ):
            response = answered(outputs, produces=("image/png", "text/html"), accept=accept)
            self.assertEqual(response.body, body)
            self.assertIn(("Vary", "Accept"), response.headers)

    def test_printed(self) -> None:
        """
        What is printed stands for a textual type, if nothing else was given.
        """
        for produces, accept, label in (
            (("application/json",), None, "application/json"),
            (("image/png", "text/csv"), None, "text/csv; charset=utf-8"),
            (("image/svg+xml",), None, "image/svg+xml"),
            (("application/javascript",), None, "application/javascript"),
            (("text/csv", "application/json"), "application/*", "application/json"),
        ):
            outputs = Outputs(stdout="[1]", result={"text/plain": "x"})
            response = answered(outputs, produces=produces, accept=accept)
            self.assertEqual(kind_and_body(response), (label, b"[1]"))

    def test_broken(self) -> None:
        """
        A promise that is not kept is the notebook's mistake.
        """
        self.faulty(answered(Outputs(), produces=("image/png",)), "image/png", "nothing")
        self.faulty(answered(Outputs(), produces=("text/csv",)), "text/csv", "nothing")
        outputs = Outputs(stdout="x", result={"text/plain": "x"}, displayed={"text/html": "x"})
        self.faulty(
            answered(outputs, produces=("image/png", "image/gif")),
            "image/png or image/gif",
            "gave printed text, text/plain, text/html",
        )

    def test_other_statuses(self) -> None:
        """
        The promise is for when all goes well: an answer of another kind is sent as it is.
        """
        outputs = Outputs(stdout="no such thing", response={"status": 404})
        response = answered(outputs, produces=("image/png",), accept="image/png")
        self.assertEqual((response.status, response.body), (404, b"no such thing"))
        response = answered(outputs, produces=("application/json",), accept="image/png")
        self.assertEqual(response.headers, (("Content-Type", "application/json"),))

    def test_stated(self) -> None:
        """
        A Content-Type that the author has set decides which of the outputs it is.
        """
        outputs = Outputs(result={"text/html": "h", "image/png": IMAGE})
        info = printed({"headers": {"Content-Type": "image/png"}})
        for given_options in ({"produces": ("text/html", "image/png")}, {"rich": True}):
            response = answered(outputs, info, **given_options)
            self.assertEqual(kind_and_body(response), ("image/png", PNG))

    def test_not_acceptable(self) -> None:
        """
        What the client does not accept is not sent.
        """
        outputs = Outputs(result={"image/png": IMAGE, "text/html": "h"})
        response = answered(
            outputs, produces=("image/png", "text/html", "text/csv"), accept="text/csv"
        )
        self.faulty(response, "image/png, text/html", "Accept", status=406)

    def test_bad_data(self) -> None:
        """
        What is not encoded as its media type demands is the notebook's mistake.
        """
        for kind, data, due in (
            ("image/png", "not base64", "base64"),
            ("image/png", "é", "base64"),
            ("image/png", "AAA", "base64"),
            ("image/png", [IMAGE], "base64"),
            ("text/html", ["a"], "text"),
        ):
            self.faulty(answered(Outputs(result={kind: data}), produces=(kind,)), kind, due)
        outputs = Outputs(result={"application/json": [float("nan")]})
        self.faulty(answered(outputs, produces=("application/json",)), "NaN")


class RichTests(OutcomeTestCase):
    """
    `make_response`, when the operator wants results as what they are.
    """

    def test_stdout(self) -> None:
        """
        What is printed still comes first.
        """
        outputs = Outputs(stdout="x", result={"text/html": "h"})
        response = answered(outputs, accept="text/html", rich=True)
        self.assertEqual(kind_and_body(response), ("text/plain", b"x"))

    def test_preference(self) -> None:
        """
        Without a wish the best of all is sent.
        """
        for index, kind in enumerate(PREFERRED_TYPES):
            bundle = dict.fromkeys(reversed(PREFERRED_TYPES[index:]), IMAGE)
            response = answered(Outputs(displayed=bundle), rich=True)
            label, _ = kind_and_body(response)
            self.assertEqual(label.partition(";")[0], kind)
            self.assertIn(("Vary", "Accept"), response.headers)

    def test_others(self) -> None:
        """
        Other media types come last.
        """
        own = "application/vnd.own+json"
        outputs = Outputs(result={own: {"a": 1}, "text/plain": "x"})
        for accept, body in ((None, b"x"), (own, b'{"a": 1}'), ("application/*", b'{"a": 1}')):
            self.assertEqual(answered(outputs, accept=accept, rich=True).body, body)

    def test_no_media_type(self) -> None:
        """
        What cannot be a header's value never is one.
        """
        odd = {"a/b\r\nc: d": "x", "": "x", "text/h\u00e9": "x"}
        self.assertEqual(
            kind_and_body(answered(Outputs(result=odd), rich=True)),
            ("text/plain", json.dumps(odd).encode()),
        )
        response = answered(Outputs(result=odd | {"text/plain": "y"}), rich=True)
        self.assertEqual(response.body, b"y")

    def test_result_wins(self) -> None:
        """
        What is displayed counts when there is no result.
        """
        outputs = Outputs(result={"text/plain": "x"}, displayed={"text/html": "h"})
        self.assertEqual(answered(outputs, rich=True).body, b"x")

    def test_not_acceptable(self) -> None:
        """
        A client that accepts nothing of it learns what there is.
        """
        outputs = Outputs(result={"text/plain": "x", "text/html": "h"})
        response = answered(outputs, accept="image/png", rich=True)
        self.faulty(response, "text/html, text/plain", status=406)

    def test_other_statuses(self) -> None:
        """
        An error of the author's own making is sent whatever is accepted.
        """
        outputs = Outputs(result={"text/plain": "x"}, response={"status": 404})
        response = answered(outputs, accept="image/png", rich=True)
        self.assertEqual((response.status, response.body), (404, b"x"))

    def test_promise(self) -> None:
        """
        A promise is kept where there is one.
        """
        outputs = Outputs(result={"text/html": "h", "text/plain": "x"})
        response = answered(outputs, produces=("text/plain",), rich=True)
        self.assertEqual(response.body, b"x")


class AcceptTests(SynchronousTestCase):
    """
    `negotiate` and `is_acceptable`.
    """

    def test_best(self) -> None:
        """
        The most specific range counts, then its weight, then our order.
        """
        offers = ("text/html", "image/png", "application/json")
        for accept, chosen in (
            (None, "text/html"),
            ("", "text/html"),
            (" , ", "text/html"),
            ("*/*", "text/html"),
            ("*", "text/html"),
            ("image/*", "image/png"),
            ("IMAGE/PNG", "image/png"),
            ("image/png;q=0.5, application/json;q=0.8", "application/json"),
            ("text/html;q=0.1, */*;q=0.2", "image/png"),
            ("text/html;q=0, */*", "image/png"),
            ("text/*;q=0, image/*;q=0.0, */*;q=.1", "application/json"),
            ("text/html;level=1;q=0.2, text/html;level=2;q=0.9, image/png;q=0.5", "text/html"),
            ("application/json ; q = 1 , image/png ; Q=0.3", "application/json"),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "text/html"),
            (BROWSER, "text/html"),
            ("text/csv", None),
            ("*/*;q=0", None),
            ("text/html;q=0", None),
        ):
            self.assertEqual(negotiate(offers, accept), chosen, accept)
        self.assertIsNone(negotiate((), "*/*"))
        self.assertIsNone(negotiate((), None))

    def test_malformed(self) -> None:
        """
        One that cannot be read is as good as none.
        """
        for accept in (
            "png",
            "image/png;q=x",
            "image/png;q=2",
            "image/png;q=nan",
            "*/png",
            "/",
            ";",
        ):
            self.assertEqual(negotiate(("text/html", "image/png"), accept), "text/html", accept)

    def test_acceptable(self) -> None:
        """
        A handler that promises nothing may do anything.
        """
        self.assertTrue(is_acceptable((), "image/png"))
        self.assertTrue(is_acceptable(("text/html", "image/png"), "image/png"))
        self.assertTrue(is_acceptable(("text/csv; charset=utf-8",), "text/csv"))
        self.assertTrue(is_acceptable(("text/html",), None))
        self.assertFalse(is_acceptable(("text/html",), "image/png"))

    @given(st.text(alphabet="a*/,;q=.0 1"))
    def test_any(self, accept: str) -> None:
        """
        Nothing in it does any harm.
        """
        self.assertIn(negotiate(("a/a", "a/b"), accept), {"a/a", "a/b", None})
