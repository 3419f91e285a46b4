"""
Outputs as URLs.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from kgd.testing.web import Response, read_response
from tests.support.api import APITestCase
from tests.support.scripted import Script

PNG = b"\x89PNG\r\n\x1a\n"
ENCODED = base64.encodebytes(PNG).decode()


class ArtifactsTests(APITestCase):
    """
    A kernel, whose part the test plays.
    """

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, **settings: Any) -> None:
        """
        Begin anew, with these settings.
        """
        self.serve(**settings)
        self.base = settings.get("base_url", "")
        response = self.request("POST", f"{self.base}/api/kernels")
        self.kernel_id = response.json["id"]
        self.kernel = f"{self.base}/api/kernels/{self.kernel_id}"
        self.script = Script(self.kernels.get(self.kernel_id))

    def run_code(self, *outputs: tuple[str, dict[str, Any]], **body: Any) -> Any:
        """
        Run code that gives some outputs.

        :param body: More of the request; ``accept`` is its header.
        :return: The response.
        """
        accept = body.pop("accept", "application/json")
        body = {"code": "x", "outputs": {"artifacts": "url"}, **body}
        content = json.dumps(body).encode()
        protocol = self.client.connect()
        head = f"POST {self.kernel}/execute HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n"
        protocol.dataReceived(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        request = self.script.take()
        self.script.begin(request)
        for msg_type, output in outputs:
            self.script.say(request, msg_type, **output)
        self.script.end(request, execution_count=1)
        transport: Any = self.client.transport
        response = read_response(transport.value())
        self.assertEqual(response.code, 200, response.body)
        protocol.connectionLost(Failure(ConnectionDone()))
        if accept == "application/json":
            return response.json["outputs"]
        events = [json.loads(line) for line in response.body.splitlines()]
        return [event["output"] for event in events if event["event"] == "output"]

    def display(self, **data: Any) -> tuple[str, dict[str, Any]]:
        """
        :return: A display of these media types, with underscores for slashes.
        """
        named = {kind.replace("_", "/", 1): value for kind, value in data.items()}
        return "display_data", {"data": named, "metadata": {}}

    def get(self, reference: dict[str, Any], **headers: str) -> Response:
        """
        Follow a reference.
        """
        response = self.request("GET", reference["url"], **headers)
        if response.code == 200:
            self.assertEqual(len(response.body), reference["size"])
            self.assertEqual(hashlib.sha256(response.body).hexdigest(), reference["sha256"])
        return response

    def test_inline(self) -> None:
        """
        Nothing is replaced unless that is wanted.
        """
        for outputs in ({}, {"artifacts": "inline"}):
            (shown,) = self.run_code(self.display(image_png=ENCODED), outputs=outputs)
            self.assertEqual(shown["data"], {"image/png": ENCODED})

    def test_replaced(self) -> None:
        """
        A picture is a URL, its text stays; the URL has the picture, which no browser runs.
        """
        for base in ("", "/gate/way"):
            self.begin(base_url=base)
            for accept in ("application/json", "application/x-ndjson"):
                (shown,) = self.run_code(
                    self.display(image_png=ENCODED, text_plain="<Figure>"), accept=accept
                )
                data = shown["data"]
                self.assertEqual(data["text/plain"], "<Figure>")
                reference = data["image/png"]
                self.assertTrue(reference["url"].startswith(f"{self.kernel}/artifacts/"))
                response = self.get(reference)
                self.assertEqual((response.code, response.body), (200, PNG))
                headers = response.headers
                self.assertEqual(headers["content-type"], "image/png")
                self.assertEqual(headers["x-content-type-options"], "nosniff")
                self.assertEqual(headers["content-security-policy"], "sandbox")
                self.assertEqual(headers["etag"], f'"{reference["sha256"]}"')
                self.assertEqual(self.get(reference, if_none_match=headers["etag"]).code, 304)
                self.assertEqual(self.get(reference, range="bytes=1-3").body, b"PNG")

    def test_big(self) -> None:
        """
        What is big is replaced, also if it is text; media types that headers cannot have count as
        unknown.
        """
        self.begin(artifact_threshold=20)
        (shown,) = self.run_code(
            self.display(
                text_html="<b>" * 10,
                text_plain="short",
                **{"application_json": [1] * 20, "x/\r\nSet-Cookie: a=b_": "y" * 20},
            )
        )
        data = shown["data"]
        self.assertEqual(data["text/plain"], "short")
        html = self.get(data["text/html"])
        self.assertEqual(html.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(self.get(data["application/json"]).json, [1] * 20)
        (strange,) = (kind for kind in data if "Cookie" in kind)
        response = self.get(data[strange])
        self.assertEqual(response.headers["content-type"], "application/octet-stream")
        self.assertNotIn("set-cookie", response.headers)

    def test_printed(self) -> None:
        """
        Of printed text that is big, head and tail are shown beside the reference, when it is
        complete.
        """
        self.begin(artifact_threshold=20)
        text = "0123456789" * 10
        pieces = [
            ("stream", {"name": "stdout", "text": text[n : n + 10]}) for n in range(0, 100, 10)
        ]
        for _ in range(2):
            (shown,) = self.run_code(*pieces)
            self.assertEqual(self.get(shown["artifact"]).body, text.encode())
            self.assertTrue(shown["text"].startswith("0123456789\n[kgd: 80 bytes cut]\n"))
        pieces = self.run_code(*pieces, accept="application/x-ndjson")
        self.assertEqual("".join(piece["text"] for piece in pieces), text)
        executions = self.request("GET", f"{self.kernel}/executions").json
        one = self.request("GET", f"{self.kernel}/executions/{executions[0]['execution_id']}")
        self.assertEqual(one.json["outputs"][0]["artifact"], shown["artifact"])

    def test_updated(self) -> None:
        """
        A display that is updated has the new picture.
        """
        named = {"metadata": {}, "transient": {"display_id": "d"}}
        other = base64.b64encode(b"other").decode()
        (shown,) = self.run_code(
            ("display_data", {"data": {"image/png": ENCODED}, **named}),
            ("update_display_data", {"data": {"image/png": other}, **named}),
        )
        self.assertEqual(self.get(shown["data"]["image/png"]).body, b"other")

    def test_gone(self) -> None:
        """
        An artifact is there for a while, as long as its kernel lives, and only for this kernel.
        """
        self.begin(artifact_lifetime=10)
        (shown,) = self.run_code(self.display(image_png=ENCODED))
        reference = shown["data"]["image/png"]
        other_id = self.start()
        other = reference["url"].replace(self.kernel_id, other_id)
        self.assertError(self.request("GET", other), 404)
        self.assertError(self.request("GET", f"{self.kernel}/artifacts/x"), 404)
        self.clock.advance(9)
        self.assertEqual(self.get(reference).code, 200)
        self.clock.advance(1)
        response = self.get(reference)
        self.assertError(response, 404)
        self.assertIn("expired", response.json["message"])
        (shown,) = self.run_code(self.display(image_png=ENCODED))
        files = [path for path in (self.folder / "artifacts").rglob("*") if path.is_file()]
        self.assertEqual([path.read_bytes() for path in files], [PNG])
        self.assertEqual(self.request("DELETE", self.kernel).code, 204)
        self.assertError(self.get(shown["data"]["image/png"]), 404)
        self.assertEqual([*(self.folder / "artifacts").iterdir()], [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_just_gone(self) -> None:
        """
        A file that has vanished is an artifact that has.
        """
        (shown,) = self.run_code(self.display(image_png=ENCODED))
        for path in (self.folder / "artifacts").rglob("*"):
            if path.is_file():
                path.unlink()
        self.assertError(self.get(shown["data"]["image/png"]), 404)

    def test_wrong(self) -> None:
        """
        Another value is refused, with what the field takes.
        """
        for value in ("urls", "", None, True):
            body = {"code": "x", "outputs": {"artifacts": value}}
            response = self.request("POST", f"{self.kernel}/execute", body)
            self.assertError(response, 400)
            self.assertIn("outputs.artifacts", response.json["message"])
            if isinstance(value, str):
                self.assertIn('"inline" or "url"', response.json["message"])
