"""
Comment prefixes, paths with parameters, and the way from a request to an endpoint.
"""

from __future__ import annotations

import math
import re
import time
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook, InvalidRequest
from kgd.notebook.api import Endpoint, Handler
from kgd.notebook.prefixes import comment_prefix
from kgd.notebook.routing import (
    Router,
    compile_path,
    first_parameter,
    is_constant_path,
    path_parameters,
    sort_paths,
    split_path,
    swagger_template,
)
from tests.support.notebook_sources import annotated


def router(*paths: str) -> Router:
    """
    :return: One that tries paths in this order.
    """
    return Router([Endpoint(path=path, handlers={"GET": Handler(source="")}) for path in paths])


class PrefixTests(SynchronousTestCase):
    """
    ``comment_prefix``.
    """

    def test_languages(self) -> None:
        """
        The language decides, however its name is written.
        """
        self.assertEqual(comment_prefix("scala"), "//")
        self.assertEqual(comment_prefix("C++"), "//")
        self.assertEqual(comment_prefix("haskell"), "--")
        self.assertEqual(comment_prefix("MATLAB"), "%")
        self.assertEqual(comment_prefix("clojure"), ";")

    def test_others(self) -> None:
        """
        It is ``#`` where nothing is known, and wherever it has always been.
        """
        for language in ("", "klingon", "python", "R", "julia", "ruby", "perl", "bash", "octave"):
            self.assertEqual(comment_prefix(language), "#", language)

    def test_operator(self) -> None:
        """
        What the operator says comes first: for the language, then for all others.
        """
        table = {"Scala": "##", "None": ";;"}
        self.assertEqual(comment_prefix("scala", table), "##")
        self.assertEqual(comment_prefix("python", table), ";;")
        self.assertEqual(comment_prefix("java", {"": ";;"}), ";;")
        self.assertEqual(comment_prefix("java", {"scala": "##"}), "//")

    def test_empty_prefix(self) -> None:
        """
        An entry without a prefix is as good as none: every cell would begin with it.
        """
        self.assertEqual(comment_prefix("scala", {"scala": "", "None": ""}), "//")


class PathTests(SynchronousTestCase):
    """
    ``kgd.notebook.routing``.
    """

    def groups(self, path: str, request: str) -> tuple[str, ...] | None:
        """
        :return: What is captured, or ``None`` when there is no match.
        """
        found = compile_path(path).fullmatch(request)
        return found and found.groups()

    def test_captures(self) -> None:
        """
        A parameter captures one segment; blanks at the end are none of the path.
        """
        self.assertEqual(self.groups("/foo/:bar", "/foo/1"), ("1",))
        self.assertEqual(self.groups("/foo/:bar/baz/:quo", "/foo/1/baz/2"), ("1", "2"))
        self.assertEqual(self.groups("/foo/:bar  \t", "/foo/1"), ("1",))
        for request in ("/foo", "/foo/", "/foo/1/", "/foo/1/2", "/FOO/1", "x/foo/1"):
            self.assertIsNone(self.groups("/foo/:bar", request), request)

    def test_names(self) -> None:
        """
        Names may have dashes, and one may begin with another.
        """
        self.assertEqual(path_parameters("/:a-b"), ("a-b",))
        self.assertEqual(path_parameters("/:a/:ab/:_c1"), ("a", "ab", "_c1"))
        self.assertEqual(self.groups("/:a/:ab", "/1/2"), ("1", "2"))

    def test_name_ends(self) -> None:
        """
        A name ends where its characters do; a dash that nothing follows is text.
        """
        self.assertEqual(path_parameters("/:from-:to/:name.txt"), ("from", "to", "name"))
        self.assertEqual(self.groups("/:from-:to", "/berlin-paris"), ("berlin", "paris"))
        self.assertEqual(self.groups("/:name.txt", "/a.txt"), ("a",))

    def test_no_names(self) -> None:
        """
        A colon without a name is text.
        """
        self.assertEqual(path_parameters("/:1/:/:é"), ())
        self.assertEqual(self.groups("/:1/a:", "/:1/a:"), ())
        self.assertTrue(is_constant_path("/:1/a:"))

    def test_same_name_twice(self) -> None:
        """
        Two parameters of one name are an error that names both path and parameter.
        """
        for function in (path_parameters, compile_path):
            error = self.assertRaises(InvalidNotebook, function, "/:a/x/:a")
            self.assertIn("/:a/x/:a", str(error))
            self.assertIn("called a", str(error))

    def test_text(self) -> None:
        """
        Text is not a regular expression, except for the wildcard.
        """
        self.assertIsNone(self.groups("/dot.txt", "/dotXtxt"))
        self.assertEqual(self.groups("/a+(b)", "/a+(b)"), ())
        self.assertEqual(self.groups("/star/.*", "/star/a/b"), ())
        self.assertEqual(self.groups("/star/.*", "/star/"), ())
        self.assertIsNone(self.groups("/star/.*", "/star"))

    def test_encoded_text(self) -> None:
        """
        Text that a URL cannot hold matches what a client makes of it.
        """
        self.assertEqual(self.groups("/caf\xe9/a b", "/caf%C3%A9/a%20b"), ())
        self.assertEqual(self.groups("/a%20b", "/a%20b"), ())

    def test_several_in_a_segment(self) -> None:
        """
        A parameter ends where the text after it occurs first, unless the path ends with that. One
        right before a wildcard is all of the segment's rest.
        """
        self.assertEqual(self.groups("/:a-:b", "/x-y-z"), ("x", "y-z"))
        self.assertEqual(self.groups("/:a-:b-:c", "/--x"), None)
        self.assertEqual(self.groups("/:a-:b-:c", "/-----"), ("-", "-", "-"))
        self.assertEqual(self.groups("/:name.txt", "/a.txt.txt"), ("a.txt",))
        self.assertEqual(self.groups("/:a.*-z/:b", "/x-z-z/y"), ("x-z-z", "y"))
        self.assertEqual(self.groups("/:a:b", "/xyz"), ("x", "yz"))

    @given(
        st.lists(st.sampled_from([":a", ":b", ":c", ".*", "-", "/", "x", "-x", "/x-"]), max_size=7),
        st.text("-/xy", max_size=9),
    )
    def test_as_an_expression(self, parts: list[str], request: str) -> None:
        """
        The paths that match are those that match when everything is tried everywhere.
        """
        path, request = "/" + "".join(parts), f"/{request}"
        plain = {"parameter": "[^/]+", "wildcard": ".*"}
        try:
            matches = self.groups(path, request) is not None
        except InvalidNotebook:
            return
        expression = "".join(
            plain.get(piece.kind, re.escape(piece.text)) for piece in split_path(path)
        )
        self.assertEqual(matches, re.fullmatch(expression, request) is not None)

    def test_long_requests(self) -> None:
        """
        No request takes long to compare, however little it fits.
        """
        for path, request in (
            ("/:a-:b-:c", "-" * 16_000 + "/"),
            ("/:a-:b/x", "-" * 16_000),
            ("/:a:b:c/x", "-" * 16_000),
            ("/.*/.*/.*/.*/x", "/" * 16_000),
            ("/.*/:a/.*/:b/.*/x", "/a" * 8_000),
            ("/:a.*/:b.*/:c.*x", "/a" * 8_000),
        ):
            started = time.monotonic()
            self.assertIsNone(self.groups(path, "/" + request))
            self.assertLess(time.monotonic() - started, 1.0, path)

    def test_first_parameter(self) -> None:
        """
        Its segment is counted from 0.
        """
        self.assertEqual(first_parameter("/:foo"), 0)
        self.assertEqual(first_parameter("/foo/:bar"), 1)
        self.assertEqual(first_parameter("/foo/quo/:bar/:x"), 2)
        self.assertEqual(first_parameter("/foo/quo/bar"), math.inf)

    def test_order(self) -> None:
        """
        Constant paths come first, and those that begin with a parameter last.
        """
        self.assertEqual(
            sort_paths(["/:foo", "/hello/:foo", "/hello/world"]),
            ["/hello/world", "/hello/:foo", "/:foo"],
        )
        self.assertEqual(
            sort_paths(["/:id", "/t/:z/:w", "/t/t/:id", "/a/b", "/t/:y/q", "/:x/b"]),
            ["/a/b", "/t/t/:id", "/t/:y/q", "/t/:z/:w", "/:x/b", "/:id"],
        )

    def test_order_of_equals(self) -> None:
        """
        Where nothing tells paths apart, the notebook's order stays.
        """
        self.assertEqual(sort_paths(["/b/c", "/a", "/:y", "/:x"]), ["/b/c", "/a", "/:y", "/:x"])

    def test_order_of_wildcards(self) -> None:
        """
        A wildcard comes before parameters, but after every constant path.
        """
        self.assertEqual(
            sort_paths(["/.*", "/a/:b", "/a/.*", "/a/b"]), ["/a/b", "/a/.*", "/.*", "/a/:b"]
        )

    def test_other_order(self) -> None:
        """
        A caller may have an order of its own; the greatest key comes first.
        """

        def key(path: str) -> int:
            return 0 if "1" in path else 1 if "a" in path else 2

        self.assertEqual(sort_paths(["/1", "/+", "/a"], key), ["/+", "/a", "/1"])

    def test_template(self) -> None:
        """
        Documents have parameters in braces, and no other braces.
        """
        self.assertEqual(swagger_template("/a/:b-c/:d.txt "), "/a/{b-c}/{d}.txt")
        self.assertEqual(swagger_template("/a{b}/.*"), "/a%7Bb%7D/.*")


class RouterTests(SynchronousTestCase):
    """
    ``Router``.
    """

    def assertFound(self, among: Router, request: str, path: str, **values: str) -> None:
        """
        A request leads to the endpoint of this path.
        """
        match = among.find(request)
        assert match is not None
        self.assertEqual(match.endpoint.path, path)
        self.assertEqual(match.parameters, values)

    def test_values(self) -> None:
        """
        Values are decoded after the match, so that a slash can be part of one. A ``+`` is a plus.
        """
        hello = router("/hello/:who")
        self.assertFound(hello, "/hello/x%2Fy", "/hello/:who", who="x/y")
        self.assertFound(hello, "/hello/caf%c3%A9+1", "/hello/:who", who="caf\xe9+1")
        self.assertFound(hello, "/hello/%25zz%252F", "/hello/:who", who="%zz%2F")
        for value in ("~!$&'()*+,;=:@", "%7E%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%40"):
            self.assertFound(hello, f"/hello/{value}", "/hello/:who", who="~!$&'()*+,;=:@")

    def test_constant(self) -> None:
        """
        Constant paths match exactly.
        """
        found = router("/a", "/a/", "/A")
        for path in ("/a", "/a/", "/A"):
            self.assertFound(found, path, path)
        for request in ("/%C3%A9", "/%c3%a9"):
            self.assertFound(router("/\xe9"), request, "/\xe9")
            self.assertFound(router("/%c3%A9"), request, "/%c3%A9")
        for request in ("/~me", "/%7Eme", "/%7eme"):
            self.assertFound(router("/~me"), request, "/~me")
        self.assertFound(router("/100%"), "/100%25", "/100%")
        self.assertIsNone(router("/me").find("/m%65"))
        for path in ("", "/", "a", "/a//", "//a", "/b"):
            self.assertIsNone(found.find(path), path)

    def test_order(self) -> None:
        """
        The first that matches wins, constant or not.
        """
        self.assertFound(router("/:x", "/a"), "/a", "/:x", x="a")
        self.assertFound(router("/a", "/:x"), "/a", "/a")
        self.assertFound(router("/b/:x", "/a", "/:x"), "/a", "/a")
        self.assertFound(router("/:x", "/:y"), "/a", "/:x", x="a")

    def test_not_utf8(self) -> None:
        """
        A value that is not UTF-8 is the client's fault. Where nothing is captured, it is no match.
        """
        self.assertRaises(InvalidRequest, router("/:x").find, "/%ff")
        self.assertIsNone(router("/a").find("/%ff"))
        self.assertIsNone(router("/:x").find("/%ff/b"))

    def test_same_name_twice(self) -> None:
        """
        A path with two parameters of one name is refused.
        """
        self.assertRaises(InvalidNotebook, router, "/:a/:a")

    def test_no_endpoints(self) -> None:
        """
        Nothing is found among nothing.
        """
        self.assertIsNone(router().find("/"))

    @given(st.lists(annotated, max_size=6), annotated | st.text())
    def test_as_if_in_order(self, paths: list[str], request: str) -> None:
        """
        Whatever is looked up, the result is that of trying one path after the other; nothing but
        InvalidRequest is ever raised.
        """
        request = quote(request, safe="/:.*%", errors="replace")
        first = next((path for path in paths if compile_path(path).fullmatch(request)), None)
        try:
            match = router(*paths).find(request)
        except InvalidRequest:
            self.assertIsNotNone(first)
            return
        self.assertEqual(match and match.endpoint.path, first)

    @given(st.text())
    def test_odd_paths(self, request: str) -> None:
        """
        No text makes it fail, not even what cannot have come over HTTP.
        """
        try:
            router("/a", "/a/:x/.*", "/:x").find(request)
        except InvalidRequest:
            self.assertIn("%", request)
