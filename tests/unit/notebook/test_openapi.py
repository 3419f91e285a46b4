"""
The documents that describe a notebook's endpoints.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook
from kgd.notebook.api import VERBS
from kgd.notebook.openapi import GatewayAnswers, openapi, swagger, title_of
from kgd.notebook.swagger_parser import SwaggerParser
from kgd.personalities.notebook_http.notebook import gateway_answers
from kgd.protocol.outputs import RESPONSE_TYPE
from kgd.settings import Settings
from tests.support.notebook_sources import (
    EXAMPLES,
    annotated,
    document,
    json_values,
    markdown,
    notebook,
    parse,
)

JSON = "application/json"
SUCCESS = {"responses": {"200": {"description": "Success"}}}


def valid(*sources: str | tuple[str, str], title: str = "t", base: str = "/") -> dict[str, Any]:
    """
    :return: The OpenAPI document of an annotated notebook, after validation.
    """
    return validated(openapi(parse(*sources), title, base))


def validated(document: dict[str, Any]) -> dict[str, Any]:
    """
    Complain unless it is OpenAPI 3.1 and JSON.
    """
    json.dumps(document, allow_nan=False)
    OpenAPIV31SpecValidator(document).validate()
    return document


class TitleTests(SynchronousTestCase):
    """
    ``title_of``.
    """

    def test_titles(self) -> None:
        """
        The base name ends at its first dot, unless that is all there is before it.
        """
        for uri, title in (
            ("/a/simple_api.ipynb", "simple_api"),
            ("a.b.ipynb", "a"),
            ("http://h.example/x/weirdly%20named#notebook.ipynb", "weirdly%20named#notebook"),
            ("/a.d/notebook", "notebook"),
            (".hidden.ipynb", ".hidden.ipynb"),
        ):
            self.assertEqual(title_of(uri), title)


class SwaggerTests(SynchronousTestCase):
    """
    ``swagger``.
    """

    def test_simple(self) -> None:
        """
        Paths without parameters have nothing but verbs.
        """
        self.assertEqual(
            swagger(parse("# GET /name", "# POST /name"), "simple_api", "/"),
            {
                "swagger": "2.0",
                "paths": {"/name": {"get": SUCCESS, "post": SUCCESS}},
                "info": {"version": "0.0.0", "title": "simple_api"},
            },
        )

    def test_only_endpoints(self) -> None:
        """
        Neither markdown cells nor ResponseInfo cells are endpoints.
        """
        api = parse(
            ("markdown", "# GET /x"),
            ("raw", "# GET /y"),
            "# GET /some/resource",
            "# ResponseInfo GET /some/resource",
            "# ResponseInfo PUT /z",
        )
        self.assertEqual(swagger(api, "t", "/")["paths"], {"/some/resource": {"get": SUCCESS}})

    def test_text_of_paths(self) -> None:
        """
        Constant paths are as they are annotated, and so are wildcards.
        """
        paths = {"/fakeprint 'I am not a real lang!'", "/star/.*", "/caf\xe9"}
        api = parse(*(f"# GET {path}" for path in paths))
        self.assertEqual(set(swagger(api, "t", "/")["paths"]), paths)

    def test_parameters(self) -> None:
        """
        Parameters are in braces, and declared.
        """
        document = swagger(parse("# GET /a/:b-c"), "t", "/")
        declared = {"name": "b-c", "in": "path", "required": True, "type": "string"}
        self.assertEqual(
            document["paths"], {"/a/{b-c}": {"get": SUCCESS, "parameters": [declared]}}
        )

    def test_base_path(self) -> None:
        """
        The base is in the document when there is one.
        """
        api = parse("# GET /a")
        self.assertEqual(swagger(api, "t", "/base/")["basePath"], "/base")
        for base in ("", "/"):
            self.assertNotIn("basePath", swagger(api, "t", base))

    def test_own_document(self) -> None:
        """
        A document of the notebook's own gets a title if it has none, and is otherwise left alone.
        """
        for info, expected in (
            ({}, {"info": {"title": "ours", "version": "0.0.0"}}),
            ({"info": {"version": "7"}}, {"info": {"title": "ours", "version": "7"}}),
            ({"info": {"title": "theirs"}}, {"info": {"title": "theirs"}}),
            ({"info": "odd"}, {"info": "odd"}),
        ):
            theirs = document({"/a": {}}, **info)
            api = SwaggerParser().parse(notebook(markdown(theirs)))
            self.assertEqual(swagger(api, "ours", "/base"), theirs | expected)
            self.assertEqual(api.document, theirs)

    def test_never_reached(self) -> None:
        """
        What is never reached is not promised.
        """
        document = swagger(parse("# GET /a/:x", "# POST /a/:y"), "t", "/")
        self.assertEqual(list(document["paths"]), ["/a/{x}"])


class OpenAPITests(SynchronousTestCase):
    """
    ``openapi``.
    """

    def test_heads(self) -> None:
        """
        Title, version and server.
        """
        document = valid("# GET /a", title="simple_api", base="/base/")
        self.assertEqual(document["openapi"], "3.1.0")
        self.assertEqual(document["info"], {"title": "simple_api", "version": "0.0.0"})
        self.assertEqual(document["servers"], [{"url": "/base"}])
        for base in ("", "/"):
            self.assertEqual(valid("# GET /a", base=base)["servers"], [{"url": "/"}])

    def test_operation(self) -> None:
        """
        What the markdown cell above says, and which cells run.
        """
        document = valid(("markdown", EXAMPLES), "# POST /hello/:who as text/html", "# GET /hello")
        item = document["paths"]["/hello/{who}"]
        self.assertEqual([entry["name"] for entry in item["parameters"]], ["who"])
        post = item["post"]
        self.assertEqual(post["operationId"], "post_hello_who")
        self.assertEqual(post["summary"], "Say hello")
        self.assertIn("To somebody.", post["description"])
        self.assertEqual(
            post["requestBody"],
            {"content": {"application/json": {"examples": {"1": {"value": {"name": "Ada"}}}}}},
        )
        content = post["responses"]["200"]["content"]
        self.assertEqual(list(content), ["text/html", "text/plain"])
        self.assertEqual(content["text/plain"]["examples"], {"1": {"value": "hello\n~~~\nAda"}})
        self.assertEqual(list(post["responses"]["500"]["content"]), ["text/plain"])
        self.assertEqual(post["x-kgd-cells"], [2])
        get = document["paths"]["/hello"]["get"]
        self.assertLessEqual({"summary", "description", "requestBody"} & set(get), set())
        self.assertNotIn("x-kgd-streamed", get)

    def test_verbs(self) -> None:
        """
        Every verb is listed; those that have a body say so. HEAD goes without saying.
        """
        item = valid(*(f"# {verb} /a" for verb in VERBS))["paths"]["/a"]
        self.assertEqual(list(item), [verb.lower() for verb in VERBS])
        with_body = {verb for verb in item if "requestBody" in item[verb]}
        self.assertEqual(with_body, {"put", "post", "patch", "delete"})

    def test_streamed(self) -> None:
        """
        A stream is marked, and has its type.
        """
        get = valid("# GET /a streamed as text/event-stream")["paths"]["/a"]["get"]
        self.assertIs(get["x-kgd-streamed"], True)
        self.assertEqual(list(get["responses"]["200"]["content"]), ["text/event-stream"])

    def test_response_info(self) -> None:
        """
        With a ResponseInfo cell, any status is possible.
        """
        document = valid("# GET /a", "# ResponseInfo GET /a", "# GET /b")
        self.assertIn("default", document["paths"]["/a"]["get"]["responses"])
        self.assertNotIn("default", document["paths"]["/b"]["get"]["responses"])

    def test_refusals(self) -> None:
        """
        Whatever the gateway answers itself is described once, and referred to by every endpoint
        whose code does not decide on statuses.
        """
        for needs_token in (False, True):
            answers = gateway_answers(Settings(auth_token="t" if needs_token else ""))
            parsed = parse(
                "# GET /a", "# POST /b as text/html", "# GET /c", "# ResponseInfo GET /c"
            )
            document = validated(openapi(parsed, "t", "/", answers))
            statuses = {"400", "403", "404", "406", "413", "415", "502", "503", "504"}
            refusals = document["components"]["responses"]
            self.assertLessEqual(statuses, set(refusals))
            self.assertEqual("401" in refusals, needs_token)
            self.assertEqual("security" in document, needs_token)
            for path, method in (("/a", "get"), ("/b", "post")):
                responses = document["paths"][path][method]["responses"]
                self.assertEqual(set(responses), {*refusals, "200", "500"})
                self.assertEqual(responses["404"], {"$ref": "#/components/responses/404"})
                # Of the code, or of the gateway.
                self.assertEqual(list(responses["500"]["content"]), ["text/plain", JSON])
            self.assertEqual(list(refusals["406"]["content"]), [JSON, "text/plain"])
            self.assertEqual(list(refusals["404"]["content"]), [JSON])
            free = document["paths"]["/c"]["get"]["responses"]
            self.assertEqual(set(free), {"200", "500", "default"})

    def test_free_answers(self) -> None:
        """
        Where the code, or what the client accepts, decides on the media type, it may be any.
        """
        rich = GatewayAnswers(rich=True)
        display = f"# GET /a\ndisplay({{{RESPONSE_TYPE!r}: {{}}}}, raw=True)"
        for cells, gateway, is_free in (
            (["# GET /a"], None, False),
            (["# GET /a"], rich, True),
            (["# GET /a as text/html"], rich, False),
            (["# GET /a", "# ResponseInfo GET /a"], None, True),
            ([display], None, True),
            (
                [f"def reply(): display({{{RESPONSE_TYPE!r}: {{}}}})", "# GET /a\nreply()"],
                None,
                True,
            ),
        ):
            document = validated(openapi(parse(*cells), "t", "/", gateway))
            content = document["paths"]["/a"]["get"]["responses"]["200"]["content"]
            self.assertEqual("*/*" in content, is_free, cells)

    def test_wildcards(self) -> None:
        """
        A wildcard is a parameter with a name that nothing else has.
        """
        document = valid("# GET /:wildcard/.*/.*", "# GET /.*")
        path = "/{wildcard}/{wildcard_2}/{wildcard_3}"
        self.assertEqual(list(document["paths"]), ["/{wildcard}", path])
        names = [entry["name"] for entry in document["paths"][path]["parameters"]]
        self.assertEqual(names, ["wildcard", "wildcard_2", "wildcard_3"])

    def test_same_template(self) -> None:
        """
        Of paths that match the same, the one that is served is described.
        """
        document = valid("# GET /a/:x", "# GET /a/:y", "# POST /a/:y")
        self.assertEqual(list(document["paths"]), ["/a/{x}"])
        self.assertEqual(document["paths"]["/a/{x}"]["get"]["x-kgd-cells"], [1])

    def test_operation_ids(self) -> None:
        """
        No two operations have one name.
        """
        document = valid("# GET /a/b", "# GET /a_b", "# GET /a/:b", "# GET /")
        names = [item["get"]["operationId"] for item in document["paths"].values()]
        self.assertEqual(names, ["get_a_b", "get_a_b_2", "get", "get_a_b_3"])

    def test_odd_examples(self) -> None:
        """
        What is called JSON and is none stays text.
        """
        for text in ("{", "NaN", "1e999", "[" * 100_000):
            document = valid(("markdown", f"```json request\n{text}\n```"), "# PUT /a")
            content = document["paths"]["/a"]["put"]["requestBody"]["content"]
            self.assertEqual(content["application/json"]["examples"]["1"]["value"], text)

    def test_own_document(self) -> None:
        """
        What the notebook's own document says is translated.
        """
        pet = {
            "operationId": "getPet",
            "summary": "Find a pet",
            "description": "By its id",
            "tags": ["pets", 1],
            "deprecated": True,
            "parameters": [
                {"name": "petId", "in": "path", "type": "integer", "format": "int64"},
                {"name": "q", "in": "query", "type": "array", "items": {"type": "string"}},
                {"name": "X", "in": "header", "enum": ["a"], "description": "x", "required": True},
                {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/Pet"}},
            ],
            "responses": {"404": {"description": "No pet"}, "200": {"description": "A pet"}},
        }
        theirs = document(
            {"/pets/{petId}": {"get": pet, "put": {**pet, "operationId": "put"}}},
            info={"title": "Pets", "version": "7", "contact": 1},
            consumes=["application/xml", 1],
        )
        cells = ("# operationId: getPet", "# operationId: put")
        api = SwaggerParser().parse(notebook(markdown(theirs), *cells))
        found = validated(openapi(api, "ours", "/"))
        self.assertEqual(found["info"], {"title": "Pets", "version": "7"})
        item = found["paths"]["/pets/{petId}"]
        get = item["get"]
        self.assertEqual(get["operationId"], "getPet")
        self.assertEqual((get["summary"], get["description"]), ("Find a pet", "By its id"))
        self.assertEqual((get["tags"], get["deprecated"]), (["pets"], True))
        self.assertEqual(
            get["parameters"],
            [
                {
                    "name": "petId",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "integer", "format": "int64"},
                },
                {
                    "name": "q",
                    "in": "query",
                    "required": False,
                    "schema": {"type": "array", "items": {"type": "string"}},
                },
                {
                    "name": "X",
                    "in": "header",
                    "required": True,
                    "description": "x",
                    "schema": {"enum": ["a"]},
                },
            ],
        )
        self.assertEqual(get["responses"]["404"], {"description": "No pet"})
        self.assertEqual(get["responses"]["200"]["description"], "A pet")
        self.assertEqual(list(item["put"]["requestBody"]["content"]), ["application/xml"])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["GET", "PUT", "OPTIONS", "ResponseInfo GET"]),
                annotated | st.text(max_size=8).map(lambda text: f"/{text}"),
                st.sampled_from(["", " as image/png, text/html", " streamed"]),
            ),
            max_size=5,
        ),
        st.text(max_size=20) | st.sampled_from(["```json request\n{}", "# T\n```response\n"]),
        st.text(max_size=5),
    )
    def test_odd_notebooks(
        self, annotations: list[tuple[str, str, str]], text: str, title: str
    ) -> None:
        """
        The document of any notebook is valid.
        """
        cells: list[str | tuple[str, str]] = []
        for verb, path, suffix in annotations:
            cells += [("markdown", text), f"# {verb} {path}{suffix}"]
        try:
            valid(*cells, title=title)
        except InvalidNotebook as error:
            self.assertRegex(str(error), "streamed|several parameters")

    @given(
        json_values, json_values, st.sampled_from(["tags", "responses", "parameters", "summary"])
    )
    def test_odd_documents(self, value: Any, item: Any, key: str) -> None:
        """
        So is the translation of any document.
        """
        paths = {
            "/a/{b}": {"get": {"operationId": "a", key: value}, "parameters": item},
            "/c": item,
        }
        theirs = document(paths, info=value, consumes=item)
        try:
            api = SwaggerParser().parse(notebook(markdown(theirs), "# operationId: a"))
        except InvalidNotebook as error:
            self.assertRegex(str(error), "^(the operation|cell) ")
        else:
            validated(openapi(api, "t", "/"))
