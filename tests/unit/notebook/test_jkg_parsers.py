"""
Parsers that were written for the Jupyter Kernel Gateway.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError, InvalidNotebook
from kgd.notebook.api import NotebookAPI
from kgd.notebook.jkg_parsers import JKGParser
from kgd.notebook.openapi import swagger
from tests.support.notebook_sources import notebook


class Foreign:
    """
    A parser whose cells begin with ``@path``, and ``!path`` for responses.
    """

    def __init__(self, **made_with: Any) -> None:
        self.made_with = made_with

    def is_api_cell(self, source: str) -> bool:
        return source.startswith("@")

    def is_api_response_cell(self, source: str) -> bool:
        return source.startswith("!")

    def endpoints(self, sources: list[str]) -> Any:
        return [(text[1:], {"get": f"{text}\n"}) for text in sources if self.is_api_cell(text)]

    def endpoint_responses(self, sources: list[str]) -> Any:
        return {
            text[1:]: {"GET": f"{text}\n"} for text in sources if self.is_api_response_cell(text)
        }

    def get_default_api_spec(self) -> Any:
        return {"swagger": "2.0", "paths": {}, "info": {"title": "Default Title"}}


def module(**overrides: Any) -> Any:
    """
    :param overrides: Attributes of the parser; ``None`` for those that it lacks.
    """

    def create_parser(**made_with: Any) -> Any:
        parser = Foreign(**made_with)
        vars(parser).update(overrides)
        return parser

    return SimpleNamespace(__name__="foreign", create_parser=create_parser)


def parse(*sources: str | tuple[str, str], **overrides: Any) -> NotebookAPI:
    """
    Parse a notebook with a :py:class:`Foreign` parser.
    """
    return JKGParser(module(**overrides)).parse(notebook(*sources))


class LegacyTests(SynchronousTestCase):
    """
    ``JKGParser``.
    """

    def test_endpoints(self) -> None:
        """
        What the parser finds is what is served, in its order and with verbs in our case.
        """
        api = parse("x = 1", "@/:b", "!/:b", ("markdown", "@/c"), "@/a", " ")
        self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/:b", "/a"])
        handler = api.endpoints[0].handlers["GET"]
        self.assertEqual(handler.source, "@/:b\n")
        self.assertEqual(handler.response, "!/:b\n")
        self.assertEqual(handler.cells, (2,))
        self.assertIsNone(api.endpoints[1].handlers["GET"].response)
        self.assertEqual(api.seed, ((1, "x = 1"),))
        self.assertIsNone(api.document)
        self.assertEqual(list(swagger(api, "t", "/")["paths"]), ["/{b}", "/a"])

    def test_made_with(self) -> None:
        """
        The parser gets cells as nbformat has them, and a log whose warnings are ours.
        """
        seen: list[Any] = []

        def create_parser(**made_with: Any) -> Any:
            seen.append(made_with)
            made_with["log"].info("unheard")
            made_with["log"].warning("no %s", "document")
            return Foreign()

        parser = JKGParser(SimpleNamespace(create_parser=create_parser))
        api = parser.parse(notebook("x", ("markdown", "y"), prefix="//"))
        self.assertEqual(api.warnings, ("no document",))
        (made_with,) = seen
        self.assertEqual(set(made_with), {"parent", "log", "comment_prefix", "notebook_cells"})
        self.assertEqual(made_with["comment_prefix"], "//")
        code, markdown = made_with["notebook_cells"]
        self.assertEqual((code.cell_type, code.source), ("code", "x"))
        self.assertEqual((markdown["cell_type"], markdown["source"]), ("markdown", "y"))
        self.assertEqual(code.get("outputs"), None)
        self.assertFalse(hasattr(code, "outputs"))

    def test_document(self) -> None:
        """
        A document of the parser's own is kept; it need not have any.
        """
        own = {"swagger": "2.0", "paths": {"/a": {}}}
        self.assertEqual(parse("@/a", get_default_api_spec=lambda: own).document, own)
        for without in (None, lambda: None, lambda: "odd"):
            self.assertIsNone(parse("@/a", get_default_api_spec=without).document)

    def test_no_parser(self) -> None:
        """
        A module without ``create_parser`` is named.
        """
        for wrong in (
            SimpleNamespace(__name__="m"),
            SimpleNamespace(create_parser=1, __name__="m"),
        ):
            error = self.assertRaises(ConfigurationError, JKGParser, wrong)
            self.assertIn("m is not a cell parser", str(error))
            self.assertIn("create_parser()", str(error))

    def test_missing_method(self) -> None:
        """
        So is what a parser lacks.
        """
        for method in ("is_api_cell", "is_api_response_cell", "endpoints", "endpoint_responses"):
            error = self.assertRaises(ConfigurationError, parse, "@/a", **{method: None})
            self.assertIn(
                "foreign is not a cell parser: "
                f"the object that create_parser() returns has no {method}()",
                str(error),
            )

    def test_failing(self) -> None:
        """
        An exception of the parser's is told, with where it came from.
        """

        def endpoints(sources: list[str]) -> Any:
            raise KeyError("x")

        error = self.assertRaises(InvalidNotebook, parse, "@/a", endpoints=endpoints)
        self.assertIn("foreign failed in endpoints(): KeyError: 'x'", str(error))

    def test_wrong_signature(self) -> None:
        """
        The same for a maker that does not take what it should.
        """
        parser = JKGParser(SimpleNamespace(create_parser=lambda notebook_cells: None))
        self.assertRaises(InvalidNotebook, parser.parse, notebook("x"))

    def test_wrong_results(self) -> None:
        """
        Results of another form are refused, with the name of the method.
        """
        endpoints: list[Any] = [
            None,
            1,
            ["/a"],
            [("/a",)],
            [("a", {"GET": ""})],
            [(1, {})],
            [("/a", None)],
            [("/a", {"TRACE": ""})],
            [("/a", {1: ""})],
            [("/a", {"GET": [""]})],
        ]
        responses: list[Any] = [None, [("/a", {})], {"/a": None}, {"/a": {"GET": 1}}]
        for method, wrongs in (("endpoints", endpoints), ("endpoint_responses", responses)):
            for wrong in wrongs:
                overrides = {method: lambda sources, wrong=wrong: wrong}
                error = self.assertRaises(ConfigurationError, parse, "@/a", **overrides)
                self.assertIn(f"{method}() has to return", str(error))

    def test_unusable_path(self) -> None:
        """
        Its paths obey our rules.
        """
        error = self.assertRaises(InvalidNotebook, parse, "@/:a/:a")
        self.assertIn("/:a/:a", str(error))
