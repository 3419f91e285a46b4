"""
The description of the API, compared with what is served.
"""

from __future__ import annotations

import re
from typing import Any

from kgd.interfaces import Access
from kgd.testing.web import Response
from kgd.web.api.openapi import BODIES, MEDIA_TYPES, QUERIES, RAISES, RESPONSES
from kgd.web.errors import OF_EVERY_REQUEST, STATUS_OF, describe_errors
from kgd.web.routes import Route
from tests.support.api import UNKNOWN, APITestCase

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "array": list,
    "object": dict,
}


class DescriptionTests(APITestCase):
    """
    ``/api/swagger.json``.
    """

    def setUp(self) -> None:
        super().setUp()
        self.serve(list_kernels=True, drain_endpoint=True)
        self.document = self.request("GET", "/api/swagger.json").json

    def routes(self) -> list[Route]:
        """
        The table from which requests are served.
        """
        return list(self.personality._described())

    def operations(self) -> dict[tuple[str, str], Any]:
        """
        What is described, by method and path.
        """
        return {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def assertFits(self, value: Any, schema: dict[str, Any], where: str) -> None:
        """
        The value is what the schema says, and has no fields of which it does not know.
        """
        if "$ref" in schema:
            schema = self.document["definitions"][schema["$ref"].rpartition("/")[2]]
        if "type" in schema:
            self.assertIsInstance(value, TYPES[schema["type"]], where)
        if isinstance(value, list):
            for number, item in enumerate(value):
                self.assertFits(item, schema["items"], f"{where}[{number}]")
        elif isinstance(value, dict):
            fields, others = schema.get("properties", {}), schema.get("additionalProperties")
            self.assertLessEqual(set(schema.get("required", ())), set(value), where)
            for name, field in value.items():
                known = fields.get(name, others)
                self.assertIsNotNone(known, f"{where}.{name}")
                self.assertFits(field, known, f"{where}.{name}")

    def test_all_routes(self) -> None:
        """
        The description has the methods and paths of the table of routes, and no others.
        """
        served = {
            (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.rule))
            for route in self.routes()
            for method in route.methods
        }
        self.assertEqual(set(self.operations()), served)

    def test_nothing_is_left_over(self) -> None:
        """
        What is known of bodies and answers is known of routes that there are.
        """
        served = {(method, route.rule) for route in self.routes() for method in route.methods}
        self.assertLessEqual({*RESPONSES, *BODIES, *QUERIES, *RAISES}, served)
        self.assertLessEqual({*MEDIA_TYPES}, {rule for _, rule in served})
        # What is not supported has no success.
        self.assertEqual(served - {*RESPONSES}, {("PATCH", "/api/me")})

    def test_operations(self) -> None:
        """
        Each has a summary, the variables of its path, and an answer for whatever goes wrong.
        """
        always = {str(STATUS_OF[kind].value) for kind in OF_EVERY_REQUEST} | {"500"}
        for (_, path), operation in self.operations().items():
            self.assertTrue(operation["summary"], path)
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            self.assertEqual(named, set(re.findall(r"{(\w+)}", path)))
            self.assertLessEqual(always, set(operation["responses"]))
            self.assertTrue(all(each["description"] for each in operation["responses"].values()))
        public = {
            path for (_, path), each in self.operations().items() if each.get("security") == []
        }
        self.assertEqual(
            public, {route.rule for route in self.routes() if route.access is Access.PUBLIC}
        )

    def test_definitions(self) -> None:
        """
        There are those that clients expect, and those that are referred to.
        """
        names = {"ApiInfo", "Error", "Kernel", "KernelSpec", "KernelSpecFile", "Session"}
        self.assertEqual(set(self.document["definitions"]), names)
        text = self.request("GET", "/api/swagger.json").body.decode()
        self.assertLessEqual(set(re.findall(r'"#/definitions/(\w+)"', text)), names)
        self.assertNotIn('"required": []', text)

    def test_statuses(self) -> None:
        """
        An operation has the statuses of what it can raise, which follow from its path, from who may
        use it, and from what it does.
        """

        def statuses(method: str, path: str) -> set[int]:
            return {int(status) for status in self.operations()[method, path]["responses"]}

        every = {400, 403, 408, 413, 414, 415, 417, 431, 500, 501, 503}
        self.assertEqual(statuses("GET", "/healthz"), every | {200, 304})
        self.assertEqual(statuses("GET", "/api"), every | {200, 304, 404})
        kernel = "/api/kernels/{kernel_id}"
        self.assertEqual(statuses("DELETE", kernel), every | {204, 404})
        self.assertEqual(statuses("POST", "/api/kernels"), every | {201, 404})
        self.assertEqual(statuses("GET", f"{kernel}/channels"), every | {101, 404, 426})
        file = "/kernelspecs/{spec_name}/{file}"
        self.assertEqual(statuses("GET", file), every | {200, 206, 304, 404, 416})
        self.assertEqual(statuses("PATCH", "/api/me"), every | {404})
        self.assertEqual(self.document["security"], [])
        self.serve(auth_token="t")
        self.document = self.request("GET", "/api/swagger.json").json
        for (method, path), operation in self.operations().items():
            self.assertEqual(401 in statuses(method, path), "security" not in operation, path)
        self.assertEqual(len(self.document["security"]), 2)

    def test_meanings(self) -> None:
        """
        Errors say themselves what their status means; those of one status are put together.
        """
        texts = describe_errors([])
        self.assertEqual(list(texts), sorted(texts))
        self.assertEqual({*texts} - {500}, {STATUS_OF[kind] for kind in OF_EVERY_REQUEST})
        for kind, status in STATUS_OF.items():
            found = describe_errors([kind, kind])[status]
            first = (kind.__doc__ or "").strip().partition("\n\n")[0]
            self.assertIn(" ".join(first.replace("``", "`").split()), found)
            self.assertNotIn("\n", found)

    def test_media_types(self) -> None:
        """
        What is not JSON is described as what it is, and errors are JSON everywhere.
        """
        for path, kind in (
            ("/healthz", "text/plain"), ("/readyz", "text/plain"), ("/metrics", "text/plain"),
            ("/api/swagger.yaml", "text/x-yaml"), ("/api/swagger.json", ""), ("/api/kernels", ""),
        ):  # fmt: skip
            response = self.request("GET", path)
            self.assertEqual(response.code, 200)
            described = self.operations()["GET", path].get("produces", self.document["produces"])
            self.assertEqual(described, [*filter(None, [kind]), "application/json"])
            self.assertIn(response.headers["content-type"].partition(";")[0], described)

    def test_nothing_instead(self) -> None:
        """
        Where a request may have ``null``, the description says so, and it is the same as nothing.
        """
        (body,) = self.operations()["POST", "/api/kernels"]["parameters"]
        fields = body["schema"]["properties"]
        nullable = {name for name, field in fields.items() if field.get("x-nullable")}
        self.assertEqual(nullable, {"name", "path", "kernel_id", "workdir"})
        self.assertIs(body["schema"]["x-nullable"], True)
        self.start(b"null")
        self.start(dict.fromkeys(nullable))
        self.assertError(self.request("POST", "/api/kernels", {"env": None}), 400)
        (body,) = self.operations()["POST", "/api/sessions"]["parameters"]
        fields = body["schema"]["properties"]
        for name in ("path", "type"):
            self.assertNotIn("x-nullable", fields[name])
            wrong = {"path": "a", "type": "b", name: None}
            self.assertError(self.request("POST", "/api/sessions", wrong), 400)

    def test_answers(self) -> None:
        """
        What is answered is what is described.
        """
        operations = self.operations()

        def check(method: str, pattern: str, path: str, body: Any = None) -> Response:
            response = self.request(method, path, body)
            answers = operations[method, pattern]["responses"]
            self.assertIn(str(response.code), answers, path)
            answer = answers[str(response.code)]
            if "schema" in answer:
                self.assertFits(response.json, answer["schema"], path)
            else:
                self.assertEqual(response.body, b"", path)
            return response

        kernel_id = check("POST", "/api/kernels", "/api/kernels").json["id"]
        self.kernels.get(kernel_id).reason = "for the sake of the field"
        body = {"path": "a", "type": "notebook", "kernel": {"id": kernel_id}}
        session_id = check("POST", "/api/sessions", "/api/sessions", body).json["id"]
        for path in ("/api", "/api/status", "/api/kernels", "/api/kernelspecs", "/api/sessions"):
            check("GET", path, path)
        check("GET", "/api/me", "/api/me?permissions=%7B%22a%22:[%22b%22]%7D")
        check("PATCH", "/api/me", "/api/me")
        check("GET", "/api/kernelspecs/{spec_name}", "/api/kernelspecs/python3")
        kernel, session = "/api/kernels/{kernel_id}", "/api/sessions/{session_id}"
        check("POST", f"{kernel}/restart", f"/api/kernels/{kernel_id}/restart")
        check("POST", f"{kernel}/interrupt", f"/api/kernels/{kernel_id}/interrupt")
        for each in (kernel_id, UNKNOWN):
            check("GET", kernel, f"/api/kernels/{each}")
        for each in (session_id, UNKNOWN):
            check("GET", session, f"/api/sessions/{each}")
            check("PATCH", session, f"/api/sessions/{each}", {"path": "b"})
            check("PATCH", session, f"/api/sessions/{each}", {"kernel": {"name": "cobol"}})
            check("DELETE", session, f"/api/sessions/{each}")
        check("DELETE", kernel, f"/api/kernels/{kernel_id}")
