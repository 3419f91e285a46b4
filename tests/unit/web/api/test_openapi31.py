"""
The description of the API in OpenAPI 3.1, and the page that shows it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.task import Clock

from kgd.execution.notebook_outputs import NotebookOutputs, OutputOptions
from kgd.execution.submitted import CodeRequest, SubmittedExecution
from kgd.interfaces import Access
from kgd.testing.web import Response
from kgd.web.api import openapi
from kgd.web.api.event_stream import EVENT_STREAM, NDJSON, EventStream
from kgd.web.docs.page import HEADERS
from kgd.web.models import execution_model
from tests.support.api import APITestCase

ERRORS = "#/components/responses/"
EXECUTE = ("POST", "/api/kernels/<kernel_id>/execute")


def validate(document: Any, schema: Any, value: Any) -> None:
    """
    Complain unless a value fits a schema of a document.
    """
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)


def complain_of(document: Any, method: str, template: str, response: Response) -> None:
    """
    Complain unless an answer is as the document says.
    """
    described = document["paths"][template][method.lower()]["responses"][str(response.code)]
    if "$ref" in described:
        found = described["$ref"].removeprefix(ERRORS)
        described = document["components"]["responses"][found]
    if not response.body:
        assert "content" not in described or response.code == 304, (method, template)
        return
    media_type = response.headers["content-type"].partition(";")[0]
    validate(document, described["content"][media_type].get("schema", {}), response.json)


class WrittenRequest:
    """
    A request whose response is a stream.
    """

    channel = None

    def __init__(self) -> None:
        self.written = b""

    def setHeader(self, name: bytes, value: bytes) -> None:
        """
        It gets a header.
        """

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """
        Something is going to write.
        """

    def unregisterProducer(self) -> None:
        """
        That is all.
        """

    def write(self, data: bytes) -> None:
        """
        A piece of the response.
        """
        self.written += data


def streamed(kind: str) -> str:
    """
    :param kind: The media type.
    :return: A stream with everything that can happen to an execution.
    """
    clock, request = Clock(), WrittenRequest()
    outputs = NotebookOutputs(OutputOptions())
    submitted = SubmittedExecution(CodeRequest(code=""), outputs, 1.0, 10_000)
    events = submitted.events
    # This one is lost.
    events.first += 1
    events.add("accepted", {"execution_id": submitted.execution_id})
    events.add("started", {})
    events.add("output", {"output_type": "stream", "name": "stdout", "text": "a"})
    submitted.started = 2.0
    stream = EventStream(
        clock, request, kind, submitted, 5.0,
        result=lambda: execution_model(submitted, with_outputs=False),
        input_url="/input", suspend=lambda: None, resume=lambda: None, ended=lambda: None,
    )  # fmt: skip
    stream.begin(0)
    clock.advance(5.0)
    events.add("input_request", {"prompt": "", "password": False})
    error = {"ename": "E", "evalue": "e", "traceback": []}
    submitted.finish("error", error)
    events.add("result", {})
    assert stream.is_over
    stream.close()
    return request.written.decode()


class DocumentTests(APITestCase):
    """
    ``/api/openapi.json``.
    """

    def setUp(self) -> None:
        super().setUp()
        self.document = self.read(auth_token="t", drain_endpoint=True)

    def read(self, base: str = "", **settings: Any) -> Any:
        """
        Begin anew with these settings.

        :return: The document.
        """
        self.serve(base_url=base or "/", **settings)
        response = self.request("GET", f"{base}/api/openapi.json")
        self.assertEqual(response.headers["content-type"], "application/json")
        return response.json

    def operations(self) -> dict[tuple[str, str], Any]:
        """
        What is described, by method and path.
        """
        return {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def body_schema(self, method: str, path: str) -> Any:
        """
        :return: The schema of a request's body.
        """
        body = self.operations()[method, path]["requestBody"]
        return body["content"]["application/json"]["schema"]

    def refused(self, method: str, path: str, value: Any) -> bool:
        """
        Whether a body is not one that is described.
        """
        schema = {**self.body_schema(method, path), "components": self.document["components"]}
        return not Draft202012Validator(schema).is_valid(value)

    def test_valid(self) -> None:
        """
        It is OpenAPI 3.1, with a token and without one.
        """
        for document in (self.document, self.read("/b")):
            OpenAPIV31SpecValidator(document).validate()
            document["paths"]["/api"]["get"]["responses"]["200"]["schema"] = {}
            self.assertFalse(OpenAPIV31SpecValidator(document).is_valid())

    def test_as_swagger(self) -> None:
        """
        Both descriptions have the same operations, with the same statuses and parameters.
        """
        swagger = self.request("GET", "/api/swagger.json").json
        self.assertEqual(list(self.document["paths"]), list(swagger["paths"]))
        for (method, path), operation in self.operations().items():
            other = swagger["paths"][path][method.lower()]
            self.assertEqual(list(operation["responses"]), list(other["responses"]), path)
            named = [(each["in"], each["name"]) for each in operation["parameters"]]
            if "requestBody" in operation:
                named.append(("body", "body"))
            self.assertEqual(
                named, [(each["in"], each["name"]) for each in other["parameters"]], path
            )
        names = [operation["operationId"] for operation in self.operations().values()]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(self.document["info"], swagger["info"])

    def test_servers(self) -> None:
        """
        Paths are below the base URL.
        """
        self.assertEqual(self.document["servers"], [{"url": "/"}])
        self.assertEqual(self.read("/b")["servers"], [{"url": "/b"}])

    def test_security(self) -> None:
        """
        The token goes into the header, in either form, or the query, and has the scope that the
        route demands; what is public needs none, and without a token nothing does.
        """
        routes = {
            (method, openapi.template_of(route.rule)): route
            for route in self.personality._described()
            for method in route.methods
        }
        names = {"tokenBearer", "tokenHeader", "tokenParam"}
        self.assertEqual(set(self.document["components"]["securitySchemes"]), names)
        for key, operation in self.operations().items():
            route = routes[key]
            if route.access is Access.PUBLIC:
                self.assertEqual(operation["security"], [], key)
                continue
            scopes = route.scope.split()
            found = {name: each for one in operation["security"] for name, each in one.items()}
            self.assertEqual(found, dict.fromkeys(names, scopes), key)
        self.document = self.read()
        self.assertNotIn("securitySchemes", self.document["components"])
        for operation in self.operations().values():
            self.assertEqual(operation.get("security", []), [])

    def test_references(self) -> None:
        """
        Everything that is referred to is there, and nothing else is but for refusals.
        """
        text = json.dumps(self.document)
        for kind in ("schemas", "responses"):
            named = set(re.findall(rf'"#/components/{kind}/([^"]+)"', text))
            self.assertEqual(named, set(self.document["components"][kind]), kind)

    def test_explained(self) -> None:
        """
        Classes and fields are explained in plain words, without the marks of docstrings.
        """
        schema = self.document["components"]["schemas"]["ExecuteCode"]
        about = "Seconds that the code may run, as far as the operator allows."
        self.assertEqual(schema["properties"]["timeout"]["description"], about)
        for name, each in self.document["components"]["schemas"].items():
            self.assertTrue(each["description"], name)
            self.assertNotRegex(json.dumps(each), ":ivar|``")

    def test_nulls(self) -> None:
        """
        JSON Schema knows null, and it depends on the method what may be missing.
        """
        timeout = self.document["components"]["schemas"]["ExecuteCode"]["properties"]["timeout"]
        number = {"type": "number", "exclusiveMinimum": 0}
        self.assertEqual(timeout["anyOf"], [number, {"type": "null"}])
        self.assertNotIn("x-nullable", json.dumps(self.document))
        execute, session = "/api/kernels/{kernel_id}/execute", "/api/sessions/{session_id}"
        for method, path, value, is_refused in (
            ("POST", "/api/kernels", None, False),
            ("POST", "/api/kernels", {}, False),
            ("POST", "/api/kernels", {"name": None}, False),
            ("POST", "/api/kernels", {"name": 1}, True),
            ("POST", "/api/kernels", {"env": None}, True),
            ("POST", "/api/kernels", [], True),
            ("POST", "/api/sessions", None, True),
            ("POST", "/api/sessions", {"path": "a"}, True),
            ("POST", "/api/sessions", {"path": "a", "type": None}, True),
            ("POST", "/api/sessions", {"path": "a", "type": "b", "name": None}, False),
            ("PATCH", session, {}, False),
            ("PATCH", session, {"path": None}, False),
            ("PATCH", session, {"kernel": {"id": 1}}, True),
            ("POST", "/api/kernels", {"kernel_id": "no id"}, True),
            ("POST", execute, {}, True),
            ("POST", execute, {"code": None}, True),
            ("POST", execute, {"code": "", "timeout": None}, False),
            ("POST", execute, {"code": "", "timeout": 0.1}, False),
            ("POST", execute, {"code": "", "timeout": 0}, True),
            ("POST", execute, {"code": "", "queue": "jump"}, True),
            ("POST", execute, {"code": "", "outputs": {"max_text_bytes": 1}}, True),
            ("POST", execute, {"code": "", "color": True}, True),
        ):  # fmt: skip
            self.assertIs(self.refused(method, path, value), is_refused, (method, path, value))
        required = self.operations()["POST", "/api/kernels"]["requestBody"]["required"]
        self.assertIs(required, False)

    def test_examples(self) -> None:
        """
        Every example is what it is an example of.
        """
        count = 0
        for (method, path), operation in self.operations().items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in media:
                    validate(self.document, media["schema"], media["example"])
                    self.assertFalse(self.refused(method, path, media["example"]))
                    count += 1
        self.assertEqual(count, len(openapi.EXAMPLES))

    def stream_schema(self, media_type: str) -> Any:
        """
        :return: The schema of what is in a stream. It is described alike wherever there is one.
        """
        template = "/api/kernels/{kernel_id}/executions/{execution_id}"
        content = self.operations()["GET", template]["responses"]["200"]["content"]
        self.assertEqual([*content], ["application/json", NDJSON, EVENT_STREAM])
        schema = content[media_type]["schema"]
        self.assertEqual((schema["type"], schema["contentMediaType"]), ("string", media_type))
        return schema["contentSchema"]

    def test_lines(self) -> None:
        """
        Streams of lines are as they are described.
        """
        lines = [json.loads(line) for line in streamed(NDJSON).splitlines()]
        kinds = ["gap", "accepted", "started", "output", "keep-alive", "input_request", "result"]
        self.assertEqual([line["event"] for line in lines], kinds)
        schema = self.stream_schema(NDJSON)
        validate(self.document, schema, lines)
        self.assertEqual(len(schema["items"]["oneOf"]), len(kinds))
        del lines[1]["execution_id"]
        whole = {**schema, "components": self.document["components"]}
        self.assertFalse(Draft202012Validator(whole).is_valid(lines))

    def test_server_sent_events(self) -> None:
        """
        Server-sent events are as they are described, and so is what they carry.
        """
        blocks = [each for each in streamed(EVENT_STREAM).split("\n\n") if each]
        self.assertIn(": keep-alive", blocks)
        blocks.remove(": keep-alive")
        events = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        schema = self.stream_schema(EVENT_STREAM)
        validate(self.document, schema, events)
        forms = {
            each["properties"]["event"]["const"]: each["properties"]["data"]["contentSchema"]
            for each in schema["items"]["oneOf"]
        }
        self.assertEqual([*forms], [event["event"] for event in events])
        for event in events:
            validate(self.document, forms[event["event"]], json.loads(event["data"]))

    def test_last_event_id(self) -> None:
        """
        A header that a request may have is a parameter of it.
        """
        template = "/api/kernels/{kernel_id}/executions/{execution_id}"
        found = {each["name"]: each for each in self.operations()["GET", template]["parameters"]}
        self.assertEqual((found["Last-Event-ID"]["in"], found["wait"]["in"]), ("header", "query"))
        self.assertEqual(found["Last-Event-ID"]["schema"]["type"], "integer")

    def test_slashes(self) -> None:
        """
        A variable that takes slashes is marked, and only such.
        """
        marked = {
            (path, each["name"])
            for (_, path), operation in self.operations().items()
            for each in operation["parameters"]
            if "x-kgd-slashes" in each
        }
        self.assertIn(("/kernelspecs/{spec_name}/{file}", "file"), marked)
        self.assertNotIn(("/kernelspecs/{spec_name}/{file}", "spec_name"), marked)
        rules = [route.rule for route in self.personality._described()]
        self.assertEqual(len(marked), sum("<path:" in rule for rule in set(rules)))


class PageTests(APITestCase):
    """
    ``/api/docs``.
    """

    def test_page(self) -> None:
        """
        It needs no token, has the document in it and the policy of all such pages, and finds its
        files below the base URL.
        """
        self.serve(base_url="/b", auth_token="t")
        response = self.request("GET", "/b/api/docs")
        self.assertEqual(response.code, 200)
        for name, value in HEADERS:
            self.assertEqual(response.headers[name.decode().lower()], value.decode())
        text = response.body.decode()
        self.assertIn("<title>Kernel gateway API</title>", text)
        (apis,) = re.findall(r'<script type="application/json" id="apis">(.*)</script>', text)
        (api,) = json.loads(apis)
        self.assertEqual(api["base"], "/b")
        self.assertEqual(api["document"], self.request("GET", "/b/api/openapi.json").json)
        files = re.findall(r'(?:src|href)="(/[^"]+)"', text)
        self.assertEqual(files, ["/b/api/docs/docs.css", "/b/api/docs/docs.js"])
        for path in files:
            self.assertEqual(self.request("GET", path).code, 200)
        self.assertEqual(self.request("HEAD", "/b/api/docs").body, b"")

    def test_wrong_use(self) -> None:
        """
        There are no other files, and nothing can be sent.
        """
        for name in (
            "nope",
            "docs.html",
            "../docs",
            "page.py",
            "docs.js/",
            "%2e%2e/page.py",
            "a/b",
        ):
            self.assertError(self.request("GET", f"/api/docs/{name}"), 404)
        for method, path in (
            ("POST", "/api/docs"), ("PUT", "/api/docs/docs.js"), ("POST", "/api/openapi.json"),
        ):  # fmt: skip
            response = self.request(method, path, {})
            self.assertError(response, 405)
            self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")
