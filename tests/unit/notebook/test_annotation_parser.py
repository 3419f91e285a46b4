"""
Notebooks whose cells are annotated with verbs and paths.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook
from kgd.notebook.annotation_parser import (
    endpoint_and_verb,
    is_api_cell,
    is_response_cell,
    near_miss,
    read_annotation,
)
from kgd.notebook.api import VERBS, Example, Handler
from kgd.notebook.endpoints import require_endpoints
from kgd.notebook.markdown import read_description
from tests.support.notebook_sources import EXAMPLES, parse


def handler(*sources: str | tuple[str, str]) -> Handler:
    """
    :return: The only one of a notebook.
    """
    (endpoint,) = parse(*sources).endpoints
    (only,) = endpoint.handlers.values()
    return only


class AnnotationTests(SynchronousTestCase):
    """
    What a cell begins with.
    """

    def test_kinds(self) -> None:
        """
        Cells that answer, cells for the response, and others.
        """
        self.assertTrue(is_api_cell("# GET /yes"))
        self.assertTrue(is_response_cell("# ResponseInfo GET /yes"))
        self.assertFalse(is_api_cell("# ResponseInfo GET /yes"))
        self.assertFalse(is_response_cell("# GET /yes"))
        self.assertFalse(is_api_cell("no"))
        self.assertFalse(is_response_cell("no"))

    def test_endpoint_and_verb(self) -> None:
        """
        A cell tells its path and its verb.
        """
        self.assertEqual(endpoint_and_verb("# GET /foo"), ("/foo", "GET"))
        self.assertEqual(endpoint_and_verb("# POST /bar/quo"), ("/bar/quo", "POST"))
        self.assertEqual(endpoint_and_verb("some code"), (None, None))
        self.assertEqual(endpoint_and_verb("# ResponseInfo GET /foo"), (None, None))

    def test_blanks(self) -> None:
        """
        Between the words there are blanks and tabs, at the path's end they do not count.
        """
        for source in ("#\tGET   /a \t\nprint()", "# GET /a\r\nprint()"):
            self.assertEqual(endpoint_and_verb(source), ("/a", "GET"))
        for source in ("#\nGET /a", "# GET\n/a", "#\xa0GET /a"):
            self.assertFalse(is_api_cell(source), source)

    def test_verbs(self) -> None:
        """
        Every verb of ours, and no other; HEAD comes with GET.
        """
        for verb in VERBS:
            self.assertEqual(endpoint_and_verb(f"# {verb} /a"), ("/a", verb))
        for verb in ("HEAD", "get", "TRACE", "GETS"):
            self.assertFalse(is_api_cell(f"# {verb} /a"), verb)

    def test_prefix(self) -> None:
        """
        The prefix is text, not a regular expression.
        """
        self.assertTrue(is_api_cell("// GET /a", "//"))
        self.assertTrue(is_api_cell("(* GET /a", "(*"))
        self.assertFalse(is_api_cell("(( GET /a", "(*"))
        self.assertFalse(is_api_cell("# GET /a", "//"))

    def test_media_types(self) -> None:
        """
        After the path there may be what is to be made of the output.
        """
        plot = read_annotation("# GET /plot as image/png,  TEXT/HTML ,image/svg+xml")
        assert plot is not None
        self.assertEqual(plot.path, "/plot")
        self.assertEqual(plot.produces, ("image/png", "text/html", "image/svg+xml"))
        self.assertFalse(plot.streams)

    def test_streamed(self) -> None:
        """
        An endpoint may be streamed, with or without a type.
        """
        ticks = read_annotation("# GET /ticks streamed\nprint()")
        assert ticks is not None
        self.assertEqual((ticks.path, ticks.streams, ticks.produces), ("/ticks", True, ()))
        events = read_annotation("# GET /ticks streamed as text/event-stream")
        assert events is not None
        self.assertEqual(events.produces, ("text/event-stream",))
        self.assertEqual((events.path, events.streams), ("/ticks", True))

    def test_rest_of_line(self) -> None:
        """
        Everything that is not exactly of this form belongs to the path.
        """
        for path in (
            "/fakeprint 'I am not a real lang!'",
            "/a  list all",
            "/a as",
            "/a as png",
            "/a as image/*",
            "/a as image/png text/html",
            "/a as image/png, ",
            "/a as text/plain; charset=utf-8",
            "/a Streamed",
            "/a streamed twice",
            "/streamed",
            "/as/text/plain",
        ):
            annotation = read_annotation(f"# GET {path}")
            assert annotation is not None
            self.assertEqual(annotation.path, path.strip())
            self.assertFalse(annotation.streams or annotation.produces, path)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """
        Whatever follows the verb is an annotation with a path.
        """
        annotation = read_annotation(f"# GET /{text}")
        assert annotation is not None
        self.assertTrue(annotation.path.startswith("/"))
        self.assertNotIn("\n", annotation.path)


class NearMissTests(SynchronousTestCase):
    """
    What is nearly an annotation.
    """

    def test_meant(self) -> None:
        """
        The right spelling is told.
        """
        for source in (
            "#GET /x",
            " # GET /x",
            "\n# GET /x",
            "# get /x",
            "# HEAD /x",
            "# GET x",
            "#\xa0GET /x",
            "// GET /x",
        ):
            self.assertEqual(near_miss(source), "# GET /x", source)
        self.assertEqual(near_miss("# responseinfo GET /x"), "# ResponseInfo GET /x")
        self.assertEqual(near_miss("#POST /x as image/png"), "# POST /x as image/png")
        self.assertEqual(near_miss("# GET /x", "//"), "// GET /x")

    def test_remarks(self) -> None:
        """
        Other comments are left in peace.
        """
        for source in (
            "# get the data",
            "# Get data",
            "# GET data from there",
            "# delete /tmp/x before the rest",
            "# options",
            "# /x",
            "# TRACE /x",
            "print('# GET /x')",
            "x = 1\n# GET /x",
            "",
        ):
            self.assertIsNone(near_miss(source), source)

    def test_warning(self) -> None:
        """
        The cell is seed code, and a warning names it. Only code is looked at.
        """
        api = parse(("markdown", "#GET /x"), "#GET /x", ("raw", "# get /x"))
        self.assertEqual(api.seed, ((2, "#GET /x"),))
        (warning,) = api.warnings
        self.assertIn("cell 2 ", warning)
        self.assertIn('"# GET /x"', warning)

    def test_text_after_the_path(self) -> None:
        """
        A path that no client would ask for is served, with a warning.
        """
        for path in ("/fakeprint 'I am not a real lang!'", "/q?x=1", "/a#b"):
            api = parse("x = 1", f"# GET {path}")
            self.assertEqual(api.endpoints[0].path, path)
            (warning,) = api.warnings
            self.assertIn("cell 2:", warning)
            self.assertIn(path, warning)


class ParserTests(SynchronousTestCase):
    """
    ``AnnotationParser``.
    """

    def test_joined(self) -> None:
        """
        Cells of the same verb and path are one handler, each with a newline behind it.
        """
        for words in ("", "ResponseInfo "):
            cells = [
                f"# {words}POST /foo/:bar",
                f"# {words}POST /foo/:bar ",
                f"# {words}POST /foo",
                "ignored",
                f"# {words}GET /foo/:bar",
            ]
            first = ["# POST /foo/:bar", "# POST /foo", "# GET /foo/:bar"] if words else []
            api = parse(*first, *cells)
            self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/foo", "/foo/:bar"])
            plain, variable = (endpoint.handlers for endpoint in api.endpoints)
            self.assertEqual((list(plain), list(variable)), (["POST"], ["POST", "GET"]))
            of = (lambda found: found.response) if words else (lambda found: found.source)
            self.assertEqual(of(variable["POST"]), f"{cells[0]}\n{cells[1]}\n")
            self.assertEqual(of(variable["GET"]), f"{cells[4]}\n")
            self.assertEqual(of(plain["POST"]), f"{cells[2]}\n")
            self.assertEqual(api.warnings, ())

    def test_order(self) -> None:
        """
        Endpoints come in the order in which they are tried.
        """
        api = parse("# POST /:foo", "# POST /hello/:foo", "# GET /hello/:foo", "# PUT /hello/world")
        self.assertEqual(
            [endpoint.path for endpoint in api.endpoints], ["/hello/world", "/hello/:foo", "/:foo"]
        )

    def test_path_text_counts(self) -> None:
        """
        Paths that match the same are still two endpoints; that one is never reached is a warning.
        """
        api = parse("# GET /a/:x", "# POST /a/:y")
        self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/a/:x", "/a/:y"])
        (warning,) = api.warnings
        self.assertIn("/a/:y is never reached", warning)

    def test_seed(self) -> None:
        """
        Seed code is what is left of the code; what is blank is nothing.
        """
        api = parse(
            ("markdown", "# GET /heading"),
            "x = 1",
            "# GET /a",
            " \n",
            "# ResponseInfo GET /a",
            ("raw", "y"),
            "z = 2",
        )
        self.assertEqual(api.seed, ((2, "x = 1"), (7, "z = 2")))
        self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/a"])
        self.assertEqual(api.warnings, ())
        self.assertIsNone(api.document)

    def test_numbers(self) -> None:
        """
        A handler knows its cells.
        """
        self.assertEqual(handler("# GET /a", ("markdown", ""), "# GET /a").cells, (1, 3))

    def test_lonely_response(self) -> None:
        """
        A ResponseInfo without a cell that answers is a warning, and no seed code.
        """
        api = parse("# GET /a", "# ResponseInfo POST /a")
        self.assertEqual(api.seed, ())
        (warning,) = api.warnings
        self.assertIn("cell 2:", warning)
        self.assertIn("POST /a", warning)

    def test_response_first(self) -> None:
        """
        A ResponseInfo may stand above what it belongs to, and has no use for a type.
        """
        found = handler("# ResponseInfo GET /a as image/png", "# GET /a")
        self.assertEqual(found.response, "# ResponseInfo GET /a as image/png\n")
        self.assertEqual(found.produces, ())

    def test_types_merged(self) -> None:
        """
        What several cells promise is promised in their order.
        """
        found = handler(
            "# GET /a as image/png, text/html", "# GET /a", "# GET /a as text/html, text/csv"
        )
        self.assertEqual(found.produces, ("image/png", "text/html", "text/csv"))
        self.assertFalse(found.streams)

    def test_streamed(self) -> None:
        """
        What is streamed is text, unless it is a stream of events.
        """
        self.assertEqual(handler("# GET /a streamed").produces, ("text/plain",))
        found = handler("# GET /a", "# GET /a streamed as text/event-stream")
        self.assertEqual((found.produces, found.streams), (("text/event-stream",), True))

    def test_streamed_image(self) -> None:
        """
        Nothing else can be streamed; the error names the cells.
        """
        error = self.assertRaises(
            InvalidNotebook, parse, "x", "# GET /a streamed", "# GET /a as image/png"
        )
        self.assertIn("cells 2, 3: image/png", str(error))

    def test_streamed_response(self) -> None:
        """
        Headers that come after the output are too late: a warning, and they are not used.
        """
        api = parse("# GET /a streamed", "# ResponseInfo GET /a")
        self.assertIsNone(api.endpoints[0].handlers["GET"].response)
        self.assertEqual(api.seed, ())
        (warning,) = api.warnings
        self.assertIn("cell 2:", warning)
        self.assertIn("not used", warning)

    def test_same_name_twice(self) -> None:
        """
        A path with two parameters of one name is an error that names the cell.
        """
        error = self.assertRaises(InvalidNotebook, parse, "x", "# GET /:a/:a")
        self.assertIn("cell 2:", str(error))
        self.assertIn("/:a/:a", str(error))

    def test_prefix(self) -> None:
        """
        The notebook's language decides what an annotation begins with.
        """
        api = parse("// GET /a", "# GET /b", prefix="//")
        self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/a"])
        self.assertIn('"// GET /b"', api.warnings[0])

    def test_no_endpoints(self) -> None:
        """
        A notebook without endpoints can be parsed; whoever needs some is told what to do.
        """
        api = parse("#GET /x")
        error = self.assertRaises(InvalidNotebook, require_endpoints, api, "seed.ipynb")
        for words in ("no endpoints were discovered in seed.ipynb", "annotations", "cell 1 "):
            self.assertIn(words, str(error))
        require_endpoints(parse("# GET /x"), "seed.ipynb")
        self.assertRaises(InvalidNotebook, require_endpoints, parse(), "seed.ipynb")

    @given(st.lists(st.tuples(st.sampled_from(["code", "markdown"]), st.text()), max_size=5))
    def test_any_notebook(self, cells: list[tuple[str, str]]) -> None:
        """
        Every code cell with code is the seed's, or has become part of an endpoint.
        """
        api = parse(*cells, "# GET /last")
        handled = [
            number
            for endpoint in api.endpoints
            for found in endpoint.handlers.values()
            for number in found.cells
        ]
        code = [
            number
            for number, (kind, source) in enumerate(cells, 1)
            if kind == "code" and source.strip()
        ]
        seeded = [number for number, _ in api.seed]
        self.assertEqual(sorted(handled + seeded), [*code, len(cells) + 1])


class DescriptionTests(SynchronousTestCase):
    """
    Markdown above endpoints.
    """

    def test_above(self) -> None:
        """
        The markdown cell directly above a handler's first cell describes it.
        """
        found = handler(
            ("markdown", "far"), ("markdown", " near \n"), "# GET /a", ("markdown", "x"), "# GET /a"
        )
        self.assertEqual(found.description, "near")

    def test_not_above(self) -> None:
        """
        Other cells in between, or none above: no description.
        """
        self.assertEqual(handler("# GET /a").description, "")
        self.assertEqual(handler(("markdown", "x"), ("raw", ""), "# GET /a").description, "")
        self.assertEqual(handler(("markdown", "x"), "", "# GET /a").description, "")

    def test_examples(self) -> None:
        """
        Examples are taken out of the description; other code stays in it.
        """
        found = handler(("markdown", EXAMPLES), "# POST /hello")
        self.assertEqual(
            found.request_examples,
            (Example(media_type="application/json", text='{"name": "Ada"}'),),
        )
        self.assertEqual(
            found.response_examples, (Example(media_type="text/plain", text="hello\n~~~\nAda"),)
        )
        self.assertTrue(found.description.startswith("## Say hello\n\nTo somebody."))
        self.assertTrue(found.description.endswith('```python\nprint("not an example")\n```'))

    def test_media_types(self) -> None:
        """
        The words after the fence name the media type.
        """
        for words, media_type in (
            ("request", "text/plain"),
            ("text request", "text/plain"),
            ("Request JSON", "application/json"),
            ("html request", "text/html"),
            ("xml request", "application/xml"),
            ("csv request", "text/csv"),
            ("form request", "application/x-www-form-urlencoded"),
            ("application/geo+json request", "application/geo+json"),
            ("klingon request", "text/plain"),
        ):
            (example,) = read_description(f"```{words}\nx\n```").request_examples
            self.assertEqual(example, Example(media_type=media_type, text="x"), words)

    def test_odd_fences(self) -> None:
        """
        A fence may be open, empty or indented; backticks in a line are no fence.
        """
        (opened,) = read_description("```response\nx\n").response_examples
        self.assertEqual(opened.text, "x\n")
        (empty,) = read_description("  ```` response\n ````\n").response_examples
        self.assertEqual(empty.text, "")
        inline = read_description("``` request```\nx")
        self.assertEqual((inline.text, inline.request_examples), ("``` request```\nx", ()))
        nested = read_description("````\n```json request\n```\n````")
        self.assertEqual(nested.request_examples, ())
        self.assertEqual(read_description("```responses\nx\n```").response_examples, ())
