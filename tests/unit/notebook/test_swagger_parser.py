"""
Notebooks that bring a Swagger document along.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook
from kgd.notebook.api import NotebookAPI
from kgd.notebook.openapi import swagger
from kgd.notebook.routing import Router
from kgd.notebook.swagger_parser import (
    SwaggerParser,
    is_api_cell,
    is_response_cell,
    near_miss,
    read_operations,
    read_reference,
)
from tests.support.notebook_sources import document, json_values, markdown, notebook


def operation(operation_id: str, *names: str, **more: Any) -> dict[str, Any]:
    """
    :param names: Of parameters that do not say where they are.
    """
    parameters = [{"name": name} for name in names]
    return {"operationId": operation_id, "parameters": parameters, **more}


def parse(*sources: str | tuple[str, str]) -> NotebookAPI:
    """
    Parse a notebook.
    """
    return SwaggerParser().parse(notebook(*sources))


def paths(api: NotebookAPI) -> list[str]:
    """
    :return: The endpoints' paths, in order.
    """
    return [endpoint.path for endpoint in api.endpoints]


class ReferenceTests(SynchronousTestCase):
    """
    What a cell begins with.
    """

    def test_api_cells(self) -> None:
        """
        Blanks are optional.
        """
        for source in ("#operationId:foo", "# operationId:foo", "#operationId: foo"):
            self.assertTrue(is_api_cell(source), source)
            self.assertFalse(is_response_cell(source), source)
        for source in ("no", "# another comment", "# operationId:", "#\noperationId:a"):
            self.assertFalse(is_api_cell(source), source)

    def test_response_cells(self) -> None:
        """
        The same with ResponseInfo.
        """
        for source in (
            "#ResponseInfo operationId:foo",
            "# ResponseInfo operationId:foo",
            "#ResponseInfo operationId: foo",
            "# ResponseInfo operationId: foo",
        ):
            self.assertTrue(is_response_cell(source), source)
            self.assertFalse(is_api_cell(source), source)
        for source in ("# operationId: foo", "no", "# ResponseInfo foo"):
            self.assertFalse(is_response_cell(source), source)

    def test_id(self) -> None:
        """
        It ends with the line, without blanks.
        """
        reference = read_reference("//  operationId:  get Foo \t\nx", "//")
        assert reference is not None
        self.assertEqual(reference.operation_id, "get Foo")

    def test_near_misses(self) -> None:
        """
        What is nearly a reference is a warning, and seed code.
        """
        self.assertEqual(near_miss(" # OperationID : a"), "# operationId: a")
        self.assertEqual(
            near_miss("// responseInfo operationId: a"), "# ResponseInfo operationId: a"
        )
        self.assertIsNone(near_miss("# about operationId: a"))
        api = parse(markdown(document({})), "\n# operationId: a")
        self.assertEqual(api.seed, ((2, "\n# operationId: a"),))
        self.assertIn("cell 2 ", api.warnings[-1])


class DocumentTests(SynchronousTestCase):
    """
    Where the document comes from.
    """

    def test_fences(self) -> None:
        """
        It stands between fences, or is the whole cell.
        """
        text = json.dumps(document({"/a": {}}))
        for source in (text, f"x\n```\n{text}\n```\ny", f"```json\n{text}\n```", f"```\n{text}"):
            self.assertEqual(parse(("markdown", source)).document, document({"/a": {}}))

    def test_merged(self) -> None:
        """
        Later documents replace what earlier ones say.
        """
        api = parse(
            markdown(document({"/a": {}}, host="x")),
            markdown({"paths": {}}),
            markdown(document({"/b": {}})),
        )
        self.assertEqual(api.document, document({"/b": {}}, host="x"))

    def test_others_ignored(self) -> None:
        """
        Other JSON is no document, and neither is anything in a code or raw cell.
        """
        text = json.dumps(document({"/a": {}}))
        api = parse(
            *(("markdown", text) for text in ("1", "true", "null", '"swagger"', '["swagger"]')),
            ("raw", text),
            text,
            "1",
        )
        self.assertIsNone(api.document)
        self.assertEqual(api.seed, ((7, text), (8, "1")))

    def test_none(self) -> None:
        """
        Without a document there is a warning, and there are no paths.
        """
        api = parse("# operationId: a")
        self.assertEqual((api.endpoints, api.seed), ((), ()))
        self.assertIn("no markdown cell", api.warnings[0])
        self.assertFalse(swagger(api, "t", "/")["paths"])

    def test_no_paths(self) -> None:
        """
        A document without paths is worth a warning, too.
        """
        self.assertIn('no "paths"', parse(markdown(document())).warnings[0])
        self.assertIn('no "paths"', parse(markdown(document([]))).warnings[0])

    def test_not_json(self) -> None:
        """
        What was to be a document is named; so is one that no JSON parser of others would read.
        """
        for text in ('{"swagger": "2.0",}', '{"swagger": "2.0", "paths": NaN}'):
            api = parse(("markdown", f"```\n{text}\n```"))
            self.assertIsNone(api.document)
            self.assertIn("cell 1 ", api.warnings[0])
            self.assertIn("not JSON", api.warnings[0])

    def test_preserved(self) -> None:
        """
        The document is served as it is.
        """
        full = document(
            {"/a": {"get": operation("a")}},
            description="d",
            info={"title": "theirs", "version": "7"},
            definitions={"x": {"type": "object"}},
            basePath="/v1",
        )
        api = parse(markdown(full), "# operationId: a")
        self.assertEqual(swagger(api, "ours", "/base"), full)


class ParserTests(SynchronousTestCase):
    """
    ``SwaggerParser``.
    """

    def test_order(self) -> None:
        """
        A parameter that is missing in the path comes at its end.
        """
        api = parse(
            markdown(
                document(
                    {
                        "": {"post": operation("postRoot", "foo")},
                        "/hello": {
                            "post": operation("postHello", "foo"),
                            "get": operation("getHello", "foo"),
                        },
                        "/hello/world": {"put": operation("putWorld")},
                    }
                )
            ),
            "# operationId:postRoot",
            "# operationId:postHello",
            "# operationId:getHello",
            "# operationId:putWorld",
        )
        self.assertEqual(paths(api), ["/hello/world", "/hello/:foo", "/:foo"])
        self.assertEqual(list(api.endpoints[1].handlers), ["POST", "GET"])
        self.assertEqual(api.warnings, ())

    def test_paths_and_verbs(self) -> None:
        """
        The document knows an operation's path and verb, in any case.
        """
        found = read_operations(
            document(
                {
                    "/foo": {"get": operation("getFoo")},
                    "/bar/quo": {"POST": operation("post_bar_Quo")},
                }
            )
        )
        self.assertEqual(
            [(each.operation_id, each.path, each.verb) for each in found],
            [("getFoo", "/foo", "GET"), ("post_bar_Quo", "/bar/quo", "POST")],
        )

    def test_joined(self) -> None:
        """
        Cells of one operation are joined. An id that begins alike is another one.
        """
        api = parse(
            markdown(document({"/foo": {"put": operation("putFoo", "bar")}})),
            "# operationId: putFoo ",
            "# operationId:puttFoo",
            "# ResponseInfo operationId: putFoo ",
            "# operationId:putFoo\t",
            "# ResponseInfo operationId: puttFoo",
            "# ResponseInfo operationId:putFoo",
            "x = 1",
        )
        self.assertEqual(paths(api), ["/foo/:bar"])
        handler = api.endpoints[0].handlers["PUT"]
        self.assertEqual(handler.source, "# operationId: putFoo \n# operationId:putFoo\t\n")
        self.assertEqual(
            handler.response,
            "# ResponseInfo operationId: putFoo \n# ResponseInfo operationId:putFoo\n",
        )
        self.assertEqual(handler.cells, (2, 5))
        self.assertEqual(api.seed, ((8, "x = 1"),))

    def test_undeclared(self) -> None:
        """
        A cell of an operation that the document does not declare is a warning; wherever the
        document is, the cell is no seed code.
        """
        declared = markdown(document({"/a": {"get": operation("a")}}))
        for cells in (
            (declared, "# operationId: b", "# operationId: a"),
            ("# operationId: a", "# operationId: b", declared),
        ):
            api = parse(*cells)
            self.assertEqual((paths(api), api.seed), (["/a"], ()))
            (warning,) = api.warnings
            self.assertIn("cell 2: the operation b ", warning)

    def test_head(self) -> None:
        """
        HEAD cannot be declared by itself.
        """
        api = parse(markdown(document({"/a": {"head": operation("a")}})), "# operationId: a")
        self.assertEqual(api.endpoints, ())
        self.assertIn("any of GET,", api.warnings[0])

    def test_unreferenced(self) -> None:
        """
        An operation that no cell implements is a warning, and no endpoint.
        """
        api = parse(
            markdown(document({"/a": {"get": operation("a"), "put": operation("b")}})),
            "# operationId: a",
        )
        self.assertEqual(list(api.endpoints[0].handlers), ["GET"])
        (warning,) = api.warnings
        self.assertIn("the operation b ", warning)

    def test_lonely_response(self) -> None:
        """
        A ResponseInfo without a cell that answers is a warning.
        """
        api = parse(
            markdown(document({"/a": {"get": operation("a")}})), "# ResponseInfo operationId: a"
        )
        self.assertEqual((api.endpoints, api.seed), ((), ()))
        self.assertIn("cell 2: this ResponseInfo", api.warnings[-1])

    def test_real_document(self) -> None:
        """
        Templates, lower-case verbs, parameters of the path and elsewhere, and ResponseInfo.
        """
        pets = {
            "/pets/{petId}": {
                "parameters": [{"name": "petId", "in": "path", "required": True, "type": "string"}],
                "get": {
                    "operationId": "getPet",
                    "summary": "Find a pet",
                    "parameters": [
                        {"name": "verbose", "in": "query", "type": "boolean"},
                        {"name": "X-Trace", "in": "header", "type": "string"},
                    ],
                },
                "put": {
                    "operationId": "putPet",
                    "description": "Change it",
                    "summary": "Short",
                    "parameters": [{"name": "pet", "in": "body", "schema": {}}],
                },
            }
        }
        api = parse(
            markdown(document(pets)),
            "# operationId: getPet",
            "# ResponseInfo operationId: getPet",
            "# operationId: putPet",
        )
        self.assertEqual(api.warnings, ())
        match = Router(api.endpoints).find("/pets/7")
        assert match is not None
        self.assertEqual(match.parameters, {"petId": "7"})
        handlers = match.endpoint.handlers
        self.assertEqual(handlers["GET"].response, "# ResponseInfo operationId: getPet\n")
        self.assertEqual(handlers["GET"].description, "Find a pet")
        self.assertEqual(handlers["PUT"].description, "Change it")

    def test_shared_parameters(self) -> None:
        """
        A parameter may stand elsewhere in the document, and an operation's replaces the path's.
        """
        shared = {"pet": {"name": "petId", "in": "path"}}
        item = {
            "parameters": [{"$ref": "#/parameters/pet"}, {"$ref": "#/parameters/none"}],
            "get": operation("a", "petId", "other"),
        }
        (found,) = read_operations(document({"/pets": item}, parameters=shared))
        self.assertEqual(found.path, "/pets/:petId/:other")
        self.assertEqual(found.parameters, ({"name": "petId"}, {"name": "other"}))

    def test_extensions(self) -> None:
        """
        An operation may promise types, and be streamed.
        """
        api = parse(
            markdown(
                document(
                    {
                        "/plot": {"get": operation("a", **{"x-kgd-produces": ["image/PNG"]})},
                        "/ticks": {"get": operation("b", **{"x-kgd-streamed": True})},
                    }
                )
            ),
            "# operationId: a",
            "# operationId: b",
        )
        plot, ticks = (endpoint.handlers["GET"] for endpoint in api.endpoints)
        self.assertEqual((plot.produces, plot.streams), (("image/png",), False))
        self.assertEqual((ticks.produces, ticks.streams), (("text/plain",), True))

    def test_wrong_extensions(self) -> None:
        """
        Wrong ones are errors that name the operation, or its cell.
        """
        for wrong, words in (
            ({"x-kgd-produces": "image/png"}, "operation a: x-kgd-produces"),
            ({"x-kgd-produces": ["png"]}, "operation a: x-kgd-produces"),
            ({"x-kgd-produces": [1]}, "operation a: x-kgd-produces"),
            ({"x-kgd-streamed": "yes"}, "operation a: x-kgd-streamed"),
            ({"x-kgd-streamed": True, "x-kgd-produces": ["image/png"]}, "cell 2: image/png"),
        ):
            declared = document({"/a": {"get": operation("a", **wrong)}})
            error = self.assertRaises(
                InvalidNotebook, parse, markdown(declared), "# operationId: a"
            )
            self.assertIn(words, str(error))

    def test_unusable_parameters(self) -> None:
        """
        A parameter that our paths cannot have is an error that names it; unless nothing uses it.
        """
        for template, name in (
            ("/{pet.id}", "pet.id"),
            ("/{x}y", "x"),
            ("/{1}", "1"),
            ("/{x}:cancel", "cancel"),
        ):
            declared = markdown(document({template: {"get": operation("a")}}))
            error = self.assertRaises(InvalidNotebook, parse, declared, "# operationId: a")
            self.assertIn(f"{{{name}}}", str(error))
            self.assertEqual(parse(declared).endpoints, ())
        twice = markdown(document({"/{x}/{x}": {"get": operation("a")}}))
        error = self.assertRaises(InvalidNotebook, parse, twice, "# operationId: a")
        self.assertIn("cell 2: the path /:x/:x", str(error))

    def test_same_verb_twice(self) -> None:
        """
        Two operations of one path and verb: the first is served, and a warning names the other.
        """
        api = parse(
            markdown(document({"/a": {"get": operation("a"), "GET": operation("b")}})),
            "# operationId: b",
            "# operationId: a",
        )
        self.assertEqual(api.endpoints[0].handlers["GET"].cells, (3,))
        self.assertIn("operation b is never reached", api.warnings[0])

    @given(json_values, st.sampled_from(["paths", "parameters"]))
    def test_any_document(self, value: Any, key: str) -> None:
        """
        Documents of any form are read, or refused in our words.
        """
        base = {"/a/{b}": {"get": operation("a")}}
        odd = document(base) | {key: value}
        try:
            api = parse(markdown(odd), "# operationId: a")
        except InvalidNotebook:
            return
        self.assertEqual(api.document, odd)

    @given(json_values)
    def test_any_item(self, value: Any) -> None:
        """
        The same for what stands under a path.
        """
        try:
            parse(markdown(document({"/a/{b}": value})), "# operationId: a", "# operationId: ")
        except InvalidNotebook as error:
            self.assertRegex(str(error), "^(the operation|cell) ")
