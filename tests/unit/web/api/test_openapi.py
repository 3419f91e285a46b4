"""
The description of the API, compared with what is served.
"""

from __future__ import annotations

import re
from typing import Any

from kgd.interfaces import Access
from kgd.testing.web import Response
from kgd.web.api.openapi import BODIES, RESPONSES
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
        self.serve(list_kernels=True)
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
        self.assertLessEqual({*RESPONSES, *BODIES}, served)

    def test_operations(self) -> None:
        """
        Each has a summary, the variables of its path, and an answer for what goes wrong.
        """
        for (_, path), operation in self.operations().items():
            self.assertTrue(operation["summary"], path)
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            self.assertEqual(named, set(re.findall(r"{(\w+)}", path)))
            self.assertIn("default", operation["responses"])
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

    def test_answers(self) -> None:
        """
        What is answered is what is described.
        """
        operations = self.operations()

        def check(method: str, pattern: str, path: str, body: Any = None) -> Response:
            response = self.request(method, path, body)
            answers = operations[method, pattern]["responses"]
            if response.code < 400:
                self.assertIn(str(response.code), answers, path)
            answer = answers.get(str(response.code), answers["default"])
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
