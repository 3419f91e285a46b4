"""
Annotated notebooks as HTTP APIs, with the real ipykernel: what notebooks for the Jupyter Kernel
Gateway expect, and what they could not have there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SkipTest
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data
from twisted.web.util import Redirect

from tests.support.gateway import (
    GatewayProcess,
    GatewayTestCase,
    Response,
    alive,
    children_of,
    http,
    raw,
    until,
)
from tests.support.notebooks import (
    KERNEL_API,
    RESPONSES,
    SIMPLE_API,
    UNKNOWN_KERNEL,
    notebook,
    python_notebook,
)

TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}
NOT_FOUND = {"reason": "Not Found", "message": ""}

# What the cells of a notebook can do with a request and with the answer to it.
ANSWERS = python_notebook(
    "import json\nfrom IPython.display import HTML, display\nx = 1",
    "# GET /printed\nprint('printed')\n1 + 1",
    "# GET /displayed\ndisplay(HTML('<b>x</b>'))",
    "# GET /result\ndisplay(HTML('<b>x</b>'))\n2",
    "# GET /half\nprint('so far')\n1 / 0",
    "# GET /text\nprint('k\\u016f\\u0148 \\U0001f40e', end='')",
    "# GET /nothing\nx = 1",
    "# GET /input\nprint(input('name?'))",
    "# GET /exit\nraise SystemExit(3)",
    "# POST /info\nprint('body')",
    "# ResponseInfo POST /info\nprint(json.loads(REQUEST)['body'], end='')",
    "# GET /shared\nmade = 'by the cell'",
    "# ResponseInfo GET /shared",
    "# ResponseInfo GET /shared\nprint(json.dumps({'headers': {'X-Made': made, 'X-Number': 7}}))",
    "# GET /raises\nprint('fine')",
    "# ResponseInfo GET /raises\nnope",
    "# GET /mime\nprint('fine')",
    "# ResponseInfo GET /mime\n{'status': 404}",
    "# ResponseInfo GET /lonely\nseeded = True",
    "# GET /seeded\nprint('seeded' in globals())",
    "# PATCH /patch\nprint('patched')",
    "# OPTIONS /patch\nprint('options')",
)

ECHO = python_notebook(
    "import json",
    "# GET /echo\nprint(REQUEST)",
    "# GET /echo/:name\nprint(REQUEST)",
    "# POST /echo\nprint(REQUEST)",
    "# GET /fails\nnope",
    "# POST /files\nprint(json.dumps([(field, open(file['path'], 'rb').read().hex(), file['path'])"
    " for field, files in json.loads(REQUEST)['files'].items() for file in files]))",
)

# A parser as third parties have them: it takes "#-> GET /path" and "#<- GET /path".
ARROWS = """
import re


class Arrows:
    def __init__(self, comment_prefix, notebook_cells, log=None, parent=None):
        self.prefix = comment_prefix
        code = [cell for cell in notebook_cells if cell.cell_type == "code"]
        log.warning("arrows has seen %d cells after %s", len(code), comment_prefix)

    def _match(self, arrow, source):
        return re.match(self.prefix + arrow + r" ([A-Z]+) (\\S+)", source)

    def is_api_cell(self, source):
        return self._match("->", source) is not None

    def is_api_response_cell(self, source):
        return self._match("<-", source) is not None

    def get_cell_endpoint_and_verb(self, source):
        found = self._match("->", source)
        return (found[2], found[1]) if found else (None, None)

    def get_path_content(self, source):
        return {"responses": {"200": {"description": "Success"}}}

    def get_default_api_spec(self):
        return {"swagger": "2.0", "paths": {}, "info": {"version": "0.0.0", "title": "Default"}}

    def _collect(self, arrow, sources):
        paths = {}
        for source in sources:
            found = self._match(arrow, source)
            if found:
                verbs = paths.setdefault(found[2], {})
                verbs[found[1]] = verbs.get(found[1], "") + source + "\\n"
        return paths

    def endpoints(self, source_cells, sort_func=None):
        return sorted(self._collect("->", source_cells).items(), key=lambda item: ":" in item[0])

    def endpoint_responses(self, source_cells, sort_func=None):
        return self._collect("<-", source_cells)


def create_parser(*args, **kwargs):
    return Arrows(*args, **kwargs)
"""


def sources(content: bytes) -> list[str]:
    """
    :return: The code of a notebook.
    """
    return [cell["source"] for cell in json.loads(content)["cells"]]


def ask(port: int, method: str, path: str, body: Any = None) -> Deferred[Response]:
    """
    Make a request without waiting for its answer.
    """
    return Deferred.fromCoroutine(http(port, method, path, body))


async def hang_on(port: int, path: str) -> Any:
    """
    :return: A client that has made a request, and shall be closed.
    """
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    client: Any = await connectProtocol(endpoint, Protocol())
    client.transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


class NotebookTestCase(GatewayTestCase):
    """
    Tests with a gateway that serves notebooks.
    """

    def write(self, name: str, content: bytes) -> Path:
        """
        :return: The path of a file in the gateway's directory.
        """
        path = self.home / "work" / name
        path.write_bytes(content)
        return path

    async def serve(
        self, content: bytes, *options: str, env: Any = None, **prefixed: bytes
    ) -> GatewayProcess:
        """
        Start a gateway.

        :param content: Of the notebook that has no prefix.
        :param prefixed: Further notebooks.
        """
        self.write("api.ipynb", content)
        for prefix, more in prefixed.items():
            self.write(f"{prefix}.ipynb", more)
        return await self.gateway(
            "--api=notebook_http",
            "--seed-uri=api.ipynb",
            *(f"--seed-uri=/{prefix}={prefix}.ipynb" for prefix in prefixed),
            *options,
            env=env,
        )

    def assert_answer(self, response: Response, code: int, body: bytes | str) -> None:
        """
        It is plain text, this one.
        """
        expected = body if isinstance(body, bytes) else body.encode()
        self.assertEqual((response.code, response.body), (code, expected))
        self.assertEqual(response.headers["content-type"], "text/plain")
        self.assertEqual(response.headers["content-length"], str(len(expected)))

    def assert_refused(self, response: Response, code: int, reason: str, words: str = "") -> None:
        """
        It is the canonical JSON.
        """
        self.assertEqual(response.code, code, response.body)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.json["reason"], reason)
        self.assertIn(words, response.json["message"])

    def assert_no_traceback(self, gateway: GatewayProcess) -> None:
        """
        It has not logged any; what its kernels print is their own business.
        """
        lines = [line for line in gateway.output.splitlines() if "Traceback" in line]
        self.assertEqual([line for line in lines if "kgd.kernels.local.process" not in line], [])


class ParityTests(NotebookTestCase):
    """
    What the older gateway's own tests have, and what else notebooks rely on.
    """

    async def test_kernel_api(self) -> None:
        """
        The older gateway's notebook for tests is answered as there.
        """
        gateway = await self.serve(KERNEL_API)
        port = gateway.port
        for method, path, body, expected in (
            ("GET", "/hello", None, "hello world\n"),
            ("GET", "/hello/governor", None, "hello governor\n"),
            ("GET", "/hello/person?person=governor", None, "hello governor\n"),
            ("GET", "/hello/persons?person=governor,%20rick", None, "hello governor, rick\n"),
            ("GET", "/hello/x%2Fy+z", None, "hello x/y+z\n"),
            ("GET", "/hello/%C5%BElu%C5%A5", None, "hello žluť\n"),
            ("PUT", "/message", b"hola {}", ""),
            ("GET", "/message", None, "hola {}\n"),
            ("GET", "/stderr", None, "I am text on stdout\n"),
            ("GET", "/execute_result", None, '{"text/plain": "2"}'),
            ("GET", "/multi", None, "x is 1\n"),
            ("GET", "/env_kernel_gateway", None, "KERNEL_GATEWAY is 1\n"),
            ("GET", "/sleep/0", None, ""),
        ):
            self.assert_answer(await http(port, method, path, body), 200, expected)
        people = ["Rick", "Maggie", "Glenn", "Carol", "Daryl"]
        response = await http(port, "POST", "/people", people, JSON)
        self.assertEqual((response.code, response.json), (200, people))
        response = await http(port, "DELETE", "/people/2")
        del people[2]
        self.assertEqual((response.code, response.json), (200, people))
        for content_type in ("text/plain", "application/json", "application/atom+xml", "foo"):
            response = await http(
                port, "GET", "/content-type", headers={"Content-Type": content_type}
            )
            self.assert_answer(response, 200, content_type)
        tag = '""9a28a9262f954494a8de7442c63d6d0715ce0998""'
        self.assert_answer(
            await http(port, "GET", "/etag", headers={"If-None-Match": tag}), 200, tag
        )
        response = await http(port, "GET", "/error")
        self.assertEqual((response.code, response.headers["content-type"]), (500, "text/plain"))
        self.assertRegex(response.body.decode(), r"\AError SyntaxError: [^\n]+ \n\Z")

    async def test_methods(self) -> None:
        """
        What there is no cell for is refused in JSON: other paths, other methods. ``HEAD`` comes
        with ``GET``; ``OPTIONS`` and ``PATCH`` are for cells, too.
        """
        gateway = await self.serve(KERNEL_API, answers=ANSWERS)
        port = gateway.port
        for path in (
            "/not/an/endpoint", "/_api/source", "/public", "/public/", "/public/x", "/", "/api",
            "/api/kernels", "/api/kernelspecs", "/api/sessions", "/hello/", "/Hello",
        ):  # fmt: skip
            response = await http(port, "GET", path)
            self.assertEqual((response.code, response.json), (404, NOT_FOUND), path)
        for method, path, allowed in (
            ("DELETE", "/message", "GET, HEAD, OPTIONS, PUT"),
            ("PATCH", "/message", "GET, HEAD, OPTIONS, PUT"),
            ("TRACE", "/message", "GET, HEAD, OPTIONS, PUT"),
            ("GET", "/people/1", "DELETE, OPTIONS"),
            ("POST", "/_api/spec/swagger.json", "GET, HEAD, OPTIONS"),
        ):
            response = await http(port, method, path)
            self.assert_refused(response, 405, "Method Not Allowed")
            self.assertEqual(response.json["message"], "")
            self.assertEqual(response.headers["allow"], allowed)
        response = await http(port, "HEAD", "/people/1")
        self.assertEqual((response.code, response.body), (405, b""))
        response = await http(port, "HEAD", "/hello")
        self.assertEqual((response.code, response.body), (200, b""))
        self.assertEqual(response.headers["content-length"], "12")
        for path in ("/message", "/answers/nothing", "/not/an/endpoint"):
            response = await http(port, "OPTIONS", path)
            self.assertEqual((response.code, response.body), (200, b""))
        self.assert_answer(await http(port, "PATCH", "/answers/patch", b""), 200, "patched\n")
        self.assert_answer(await http(port, "OPTIONS", "/answers/patch"), 200, "options\n")
        preflight = {"Origin": "http://a", "Access-Control-Request-Method": "PATCH"}
        response = await http(port, "OPTIONS", "/answers/patch", headers=preflight)
        self.assertEqual((response.code, response.body), (200, b""))

    async def test_answers(self) -> None:
        """
        An answer is the error, or else what was printed, or else the result, or else nothing; and a
        ResponseInfo cell has its say. Nothing that goes wrong looks like success.
        """
        gateway = await self.serve(RESPONSES, odd=ANSWERS)
        port = gateway.port
        response = await http(port, "GET", "/json")
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual((response.code, response.json), (200, {"hello": "world"}))
        tag = response.headers["etag"]
        response = await http(port, "GET", "/json", headers={"If-None-Match": tag})
        self.assertEqual((response.code, response.body), (304, b""))
        response = await http(port, "GET", "/nocontent")
        self.assertEqual((response.code, response.body), (204, b""))
        response = await http(port, "GET", "/etag", headers={"If-None-Match": "1234567890"})
        self.assertEqual((response.code, response.json), (200, {"hello": "world"}))
        self.assertEqual(response.headers["etag"], "1234567890")
        self.assertEqual(response.headers["content-type"], "application/json")

        for path, code, expected in (
            ("printed", 200, "printed\n"),
            ("result", 200, '{"text/plain": "2"}'),
            ("half", 500, "Error ZeroDivisionError: division by zero \n"),
            ("text", 200, "kůň 🐎"),
            ("nothing", 200, ""),
            ("raises", 500, "Error NameError: name 'nope' is not defined \n"),
            ("seeded", 200, "False\n"),
        ):
            self.assert_answer(await http(port, "GET", f"/odd/{path}"), code, expected)
        response = await http(port, "GET", "/odd/displayed")
        self.assertEqual(response.json["text/html"], "<b>x</b>")
        response = await http(port, "GET", "/odd/shared")
        self.assert_answer(response, 200, "")
        self.assertEqual(response.headers["x-made"], "by the cell")
        self.assertEqual(response.headers["x-number"], "7")
        response = await http(port, "GET", "/odd/mime")
        self.assertEqual(response.code, 500)
        for path, name in (("input", "StdinNotImplementedError"), ("exit", "SystemExit")):
            response = await http(port, "GET", f"/odd/{path}")
            self.assertEqual(response.code, 500)
            self.assertIn(f"Error {name}", response.body.decode())
        self.assertIn("no cell is annotated with GET /lonely", gateway.output)

        async def info(text: str) -> Response:
            return await http(port, "POST", "/odd/info", text.encode(), TEXT)

        for fault in (
            "", "no JSON", "[]", "7", '{"status": 200} {}', '{"headers": []}',
            '{"headers": {"X": {}}}', '{"headers": {"X": null}}', '{"headers": {"X": "a\\nY: b"}}',
            '{"headers": {"X": "a\\r\\nY: b"}}', '{"headers": {"a b": "c"}}',
            '{"headers": {"X": [["a"]]}}', '{"status": "no"}', '{"status": 20}', '{"status": 1e9}',
        ):  # fmt: skip
            response = await info(fault)
            self.assertEqual(response.code, 500, fault)
            self.assertEqual(response.headers["content-type"], "text/plain")
            self.assertNotIn("y", response.headers)
            self.assertGreater(len(response.body), 30)
        for said, code, body in (
            ("{}", 200, b"body\n"),
            ('{"other": 1}', 200, b"body\n"),
            ('{"status": 201}', 201, b"body\n"),
            ('{"status": "404"}', 404, b"body\n"),
            ('{"status": 204}', 204, b""),
            ('{"status": 304}', 304, b""),
            ('{"headers": {"Content-Length": "1", "Connection": "upgrade"}}', 200, b"body\n"),
        ):
            response = await info(said)
            self.assertEqual((response.code, response.body), (code, body), said)
        text = b'{"headers": {"Set-Cookie": ["a=1", "b=2"]}, "status": 299}'
        answer = await raw(
            port,
            b"POST /odd/info HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text),
        )
        self.assertTrue(answer.startswith(b"HTTP/1.1 299 Unknown\r\n"), answer)
        self.assertIn(b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", answer)


class RequestTests(NotebookTestCase):
    """
    What a cell finds in ``REQUEST``, and what is beside the endpoints.
    """

    async def test_request(self) -> None:
        """
        ``REQUEST`` has the body, the arguments, the path and the headers, whatever the client
        sends; what should be text but is not does not get to the code, and files do.
        """
        gateway = await self.serve(ECHO)
        port = gateway.port

        async def echo(body: bytes, content_type: str | None) -> Any:
            headers = {"Content-Type": content_type} if content_type else {}
            response = await http(port, "POST", "/echo", body, headers)
            self.assertEqual(response.code, 200, response.body)
            return response.json["body"]

        utf8 = "; charset=utf-8"
        multipart = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
        for body, content_type, expected in (
            (b"text \xc5\xaf \"'\\ $(x) {}", "text/plain", "text ů \"'\\ $(x) {}"),
            (b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
            (b'"a"', "Application/JSON" + utf8, "a"),
            (b'{"a": ', "application/json", '{"a": '),
            (b'{"a": 1}', "application/atom+xml", '{"a": 1}'),
            (b'{"a": 1}', None, '{"a": 1}'),
            (b"a=1&a=2&b=", "application/x-www-form-urlencoded", {"a": ["1", "2"], "b": [""]}),
            (b"a=%C5%AF+", "application/x-www-form-urlencoded" + utf8, {"a": ["ů "]}),
            (multipart, "multipart/form-data; boundary=x", {"a": ["1"]}),
            (b"", "application/json", ""),
            (b"", None, ""),
        ):
            self.assertEqual(await echo(body, content_type), expected, content_type)

        for body, content_type in (
            (b"\xff", "text/plain"),
            (b"\xff", "application/json"),
            (b"a=%ff", "application/x-www-form-urlencoded"),
            (b"no form", "multipart/form-data; boundary=x"),
            (multipart, "multipart/form-data"),
        ):
            response = await http(port, "POST", "/echo", body, {"Content-Type": content_type})
            self.assert_refused(response, 400, "Bad Request")
        for path in ("/echo?a=%ff", "/echo/%ff"):
            self.assert_refused(await http(port, "GET", path), 400, "Bad Request")

        for header, code in (
            (b"Accept: \xff", 200),
            (b"X-Any: \xff", 200),
            (b"Origin: \xff", 200),
            (b"Content-Type: \xff", 200),
            (b"Content-Type: text/plain; charset=none", 400),
            (b"Content-Type: multipart/form-data; boundary=\xff", 400),
        ):
            head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n" % header
            answer = await raw(port, head + b"Content-Length: 1\r\n\r\nx")
            self.assertEqual(int(answer.split()[1]), code, answer)

        head = b"GET /echo/x%20y?a=1&b=&a=%C5%AF+&a HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Connection: close\r\n"
        answer = await raw(port, head + b"x-many: 1\r\nX-ONE: 1\r\nX-Many: 2\r\n\r\n")
        request = json.loads(answer.partition(b"\r\n\r\n")[2])
        self.assertEqual(list(request)[:4], ["body", "args", "path", "headers"])
        self.assertEqual(request["args"], {"a": ["1", "ů ", ""], "b": [""]})
        self.assertEqual(request["path"], {"name": "x y"})
        self.assertEqual(
            request["headers"],
            {"Host": "localhost", "Connection": "close", "X-Many": ["1", "2"], "X-One": "1"},
        )

        # Files.
        content = b"\xff\x00\x89PNG"
        form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="../a.png"\r\n\r\n%b\r\n'
        for body, content_type, field in (
            (content, "application/octet-stream", "body"),
            (form % content + multipart, "multipart/form-data; boundary=x", "f"),
        ):
            response = await http(port, "POST", "/files", body, {"Content-Type": content_type})
            self.assertEqual(response.code, 200, response.body)
            ((name, found, path),) = response.json
            self.assertEqual((name, bytes.fromhex(found)), (field, content))
            self.assertNotIn("..", path)
            await self.gone(Path(path))

    async def gone(self, path: Path) -> None:
        """
        Wait until there is no such file.
        """
        await until(lambda: not path.exists(), f"{path} is gone")

    async def test_token_and_origins(self) -> None:
        """
        Everything of the notebook needs the token, which its code never sees; everything, errors
        too, has CORS headers. Static files and unknown paths need no token.
        """
        static = self.home / "static"
        static.mkdir()
        (static / "index.html").write_text("<p>hello</p>")
        gateway = await self.serve(
            ECHO,
            "--auth-token=s3cret",
            "--allow-origin=https://page.example",
            "--expose-headers=X-Made",
            "--allow-notebook-download",
            f"--static-path={static}",
        )
        port = gateway.port
        right = {"Authorization": "token s3cret"}
        guarded = ("/echo", "/_api/spec/swagger.json", "/_api/source")
        for path, headers, code in (
            *((path, {}, 401) for path in guarded),
            *((path, {"Authorization": "token wrong"}, 401) for path in guarded),
            *((path, right, 200) for path in guarded),
            *((f"{path}?token=s3cret", {}, 200) for path in guarded),
            ("/unknown", {}, 404),
            ("/public", {}, 404),
            ("/public/index.html", {}, 200),
            ("/public/none", {}, 404),
            ("/public/..%2fx", {}, 404),
            ("/files", right, 405),
            ("/fails", right, 500),
            ("/fails", {}, 401),
        ):
            origin = {"Origin": "https://page.example"}
            response = await http(port, "GET", path, headers={**headers, **origin})
            self.assertEqual(response.code, code, (path, response.body))
            if code in (401, 404, 405):
                self.assertEqual(set(response.json), {"reason", "message"})
            self.assertEqual(
                response.headers["access-control-allow-origin"], "https://page.example"
            )
            self.assertEqual(response.headers["access-control-expose-headers"], "X-Made")
            # A page of another origin is not refused here, but cannot read the answer.
            response = await http(port, "GET", path, headers={**headers, "Origin": "http://other"})
            self.assertEqual(response.code, code, path)
            self.assertNotEqual(response.headers.get("access-control-allow-origin"), "http://other")
        for path in (*guarded, "/public/index.html", "/unknown"):
            response = await http(port, "OPTIONS", path)
            self.assertEqual((response.code, response.body), (200, b""))

        response = await http(port, "GET", "/echo?a=1&token=s3cret&b=2", headers=right)
        self.assertEqual(response.json["args"], {"a": ["1"], "b": ["2"]})
        self.assertNotIn("Authorization", response.json["headers"])
        self.assertNotIn(b"s3cret", response.body)

        response = await http(port, "GET", "/public/index.html")
        self.assertEqual(response.headers["content-type"], "text/html")
        self.assertEqual(response.body, b"<p>hello</p>")
        response = await http(port, "GET", "/_api/source", headers=right)
        self.assertEqual(response.body, ECHO)
        self.assertEqual(set(response.json), {"cells", "metadata", "nbformat", "nbformat_minor"})
        response = await http(port, "HEAD", "/_api/source", headers=right)
        self.assertEqual((response.code, response.body), (200, b""))
        self.assertNotIn("s3cret", gateway.output)

    async def test_descriptions(self) -> None:
        """
        The Swagger document of a simple notebook is what it always was. Markdown is in none,
        parameters are, and so is the base URL.
        """
        simple, other = await gatherResults(
            [
                Deferred.fromCoroutine(self.serve(SIMPLE_API)),
                Deferred.fromCoroutine(self.serve_below_a_base_url()),
            ]
        )
        response = await http(simple.port, "GET", "/_api/spec/swagger.json")
        self.assertEqual(response.headers["content-type"], "application/json")
        success = {"responses": {"200": {"description": "Success"}}}
        self.assertEqual(
            response.json,
            {
                "swagger": "2.0",
                "paths": {"/name": {"get": success, "post": success}},
                "info": {"version": "0.0.0", "title": "api"},
            },
        )
        self.assert_answer(await http(simple.port, "GET", "/name"), 200, "Test Name\n")
        self.assert_answer(await http(simple.port, "POST", "/name", "x", JSON), 200, "x\n")

        port = other.port
        document = (await http(port, "GET", "/base/_api/spec/swagger.json")).json
        self.assertEqual(document["basePath"], "/base")
        self.assertNotIn("/markdown", document["paths"])
        item = document["paths"]["/a/{id}"]
        self.assertEqual(set(item), {"get", "parameters"})
        self.assertEqual(
            item["parameters"],
            [{"name": "id", "in": "path", "required": True, "type": "string"}],
        )
        # A wildcard hides nothing of the gateway's.
        for path, expected in (
            ("/a/b", "constant"), ("/a/c", "one c"), ("/a/b/c", "two b c"), ("/q/z", "q"),
            ("/x/y/z", "three x y z"), ("/_api/x/y", "wildcard"), ("/dot.txt", "dot"),
            ("/x-1", "dash 1"), ("/p/1/2", "prefixes 1 2"),
        ):  # fmt: skip
            response = await http(port, "GET", f"/base{path}")
            self.assert_answer(response, 200, f"{expected}\n")
        for path in (
            "/a/b", "/", "/base", "/basement/a/b", "/_api/spec/swagger.json", "/base/dotXtxt",
            "/base/a/",
        ):  # fmt: skip
            response = await http(port, "GET", path)
            self.assertEqual((response.code, response.json), (404, NOT_FOUND))

    async def serve_below_a_base_url(self) -> GatewayProcess:
        """
        :return: A gateway with all kinds of paths.
        """
        path = "import json\np = lambda: ' '.join(json.loads(REQUEST)['path'].values())"
        content = notebook(
            ("code", path),
            ("markdown", "# GET /markdown"),
            ("code", "# GET /_api/.*\nprint('wildcard')"),
            ("code", "# GET /:a/:b/:c\nprint('three', p())"),
            ("code", "# GET /x-:a-b\nprint('dash', p())"),
            ("code", "# GET /p/:a/:ab\nprint('prefixes', p())"),
            ("code", "# GET /dot.txt\nprint('dot')"),
            ("code", "# GET /a/:id\nprint('one', p())"),
            ("code", "# GET /a/:x/:y\nprint('two', p())"),
            ("code", "# GET /a/b\nprint('constant')"),
            ("code", "# GET /:first/z\nprint(p())"),
            language="python",
        )
        self.write("paths.ipynb", content)
        return await self.gateway(
            "--api=notebook_http", "--seed-uri=paths.ipynb", "--base-url=/base"
        )


class PoolTests(NotebookTestCase):
    """
    The kernels of a notebook.
    """

    async def test_three_kernels(self) -> None:
        """
        A request gets the kernel that has been free for the longest time, and has it to itself,
        with its ResponseInfo cell. More requests than kernels wait. All kernels go together.
        """
        valve = self.valve()
        begun = self.home / "begun"
        gateway = await self.serve(
            python_notebook(
                *sources(KERNEL_API),
                "# GET /pid\nprint(os.getpid())",
                f"# GET /wait\nopen({str(begun)!r}, 'w').close()\n{valve.wait}\nprint('long')",
                "# POST /mine/:n\nrequest = json.loads(REQUEST)\nprint(request['body'])",
                "# ResponseInfo POST /mine/:n\n"
                "assert request == json.loads(REQUEST)\n"
                "print(json.dumps({'headers': {'X-Mine': request['path']['n']}}))",
            ),
            "--prespawn-count=3",
        )
        port = gateway.port
        assert gateway.transport is not None
        self.assertEqual(len(children_of(gateway.transport.pid)), 3)
        pids = [(await http(port, "GET", "/pid")).json for _ in range(6)]
        self.assertEqual(len(set(pids[:3])), 3)
        self.assertEqual(pids[:3], pids[3:])

        self.assert_answer(await http(port, "PUT", "/message", b"hola {}"), 200, "")
        texts = [(await http(port, "GET", "/message")).body for _ in range(3)]
        self.assertEqual(texts, [b"hello {}\n", b"hello {}\n", b"hola {}\n"])

        long = ask(port, "GET", "/wait")
        await until(begun.exists, "the long request runs")
        self.assert_answer(await http(port, "GET", "/sleep/0.01"), 200, "")
        self.assertFalse(long.called)
        others = {(await http(port, "GET", "/pid")).json for _ in range(4)}
        self.assertEqual(len(others), 2)
        valve.open()
        self.assert_answer(await long, 200, "long\n")

        responses = await gatherResults([ask(port, "GET", "/sleep/0.05") for _ in range(7)])
        self.assertEqual([response.code for response in responses], [200] * 7)
        responses = await gatherResults(
            [ask(port, "POST", f"/mine/{n}", f"body {n}".encode()) for n in range(20)]
        )
        for n, response in enumerate(responses):
            self.assert_answer(response, 200, f"body {n}\n")
            self.assertEqual(response.headers["x-mine"], str(n))

        begun.unlink()
        busy = await hang_on(port, "/wait")
        await until(begun.exists, "a request runs")
        self.assertEqual(await gateway.stop(), 0)
        busy.transport.abortConnection()
        self.assertEqual([pid for pid in pids if alive(pid)], [])
        self.assertEqual(self.leftovers(), [])
        self.assert_no_traceback(gateway)

    async def test_one_kernel(self) -> None:
        """
        While its only kernel is busy, what cannot be served is refused at once, and the rest waits
        in order. A client that goes leaves no trace, whether it is served or waits. A kernel that
        dies takes only its request along: the next one is served, and seeded.
        """
        valve = self.valve()
        began = self.home / "began"
        gateway = await self.serve(
            python_notebook(
                "import os\nserved = []",
                f"# GET /wait/:n\nopen({str(began)!r}, 'a').write('x')\n"
                f"{valve.wait}\nprint(*served)",
                "# GET /next/:n\nimport json\nserved.append(json.loads(REQUEST)['path']['n'])",
                "# GET /served\nprint(*served)",
                "# GET /die\nos.kill(os.getpid(), 9)",
                "# ResponseInfo GET /die\nprint({})",
                "# GET /pid\nprint(os.getpid())",
            )
        )
        port = gateway.port

        async def begun(times: int) -> None:
            await until(
                lambda: began.exists() and len(began.read_text()) == times, f"{times} have begun"
            )

        busy = ask(port, "GET", "/wait/1")
        await begun(1)
        self.assert_refused(await http(port, "DELETE", "/served"), 405, "Method Not Allowed")
        queued = []
        for n in range(5):
            client = await hang_on(port, f"/next/{n}")
            queued.append(client)
            # Whoever is answered on a newer connection shows that this request has been read.
            self.assertEqual((await http(port, "GET", "/nothing")).code, 404)
        queued[2].transport.abortConnection()
        self.assertEqual((await http(port, "GET", "/nothing")).code, 404)
        self.assertFalse(busy.called)
        valve.open()
        self.assert_answer(await busy, 200, "\n")
        self.assert_answer(await http(port, "GET", "/served"), 200, "0 1 3 4\n")
        for client in queued:
            client.transport.abortConnection()

        gone = await hang_on(port, "/wait/2")
        await begun(2)
        gone.transport.abortConnection()
        waiting = ask(port, "GET", "/served")
        self.assertEqual((await http(port, "GET", "/nothing")).code, 404)
        self.assertFalse(waiting.called)
        valve.open()
        self.assert_answer(await waiting, 200, "0 1 3 4\n")

        self.assert_refused(await http(port, "GET", "/die"), 502, "Bad Gateway", "the kernel ended")
        pid = (await http(port, "GET", "/pid")).json
        self.assert_answer(await http(port, "GET", "/served"), 200, "\n")
        await http(port, "GET", "/next/5")
        busy = ask(port, "GET", "/wait/3")
        await begun(3)
        waiting = ask(port, "GET", "/served")
        self.assertEqual((await http(port, "GET", "/nothing")).code, 404)
        os.kill(pid, signal.SIGKILL)
        self.assert_refused(await busy, 502, "Bad Gateway", "the kernel ended")
        self.assert_answer(await waiting, 200, "\n")
        # One that dies while nobody uses it is replaced as well.
        pid = (await http(port, "GET", "/pid")).json
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid), "the kernel is dead")
        response = await http(port, "GET", "/served")
        if response.code == 502:
            # The gateway has not seen it yet.
            response = await http(port, "GET", "/served")
        self.assert_answer(response, 200, "\n")
        self.assert_no_traceback(gateway)

    async def test_limits(self) -> None:
        """
        Code that runs for too long or puts out too much is interrupted, and its kernel, with its
        state, is the next request's. Not more requests wait than may.
        """
        valve = self.valve()
        begun = self.home / "begun"
        gateway = await self.serve(
            python_notebook(
                "state = []",
                f"# GET /wait\nstate.append('late')\nopen({str(begun)!r}, 'w').close()\n"
                f"{valve.wait}",
                "# GET /flood\nstate.append('flood')\nwhile True:\n    print(100 * 'x')",
                "# GET /state\nprint(*state)",
            ),
            "--request-timeout=2",
            "--queue-limit=0",
            "--max-response-size=10000",
        )
        port = gateway.port
        late = ask(port, "GET", "/wait")
        await until(begun.exists, "the request runs")
        response = await http(port, "GET", "/state")
        self.assert_refused(response, 503, "Service Unavailable", "too many requests")
        self.assertGreater(int(response.headers["retry-after"]), 0)
        self.assert_refused(await late, 504, "Gateway Timeout", "--request-timeout")
        response = await http(port, "GET", "/flood")
        while response.code == 503:
            # The kernel may still be on its way back.
            response = await http(port, "GET", "/flood")
        self.assert_refused(response, 500, "Internal Server Error", "--max-response-size")
        response = await http(port, "GET", "/state")
        while response.code == 503:
            response = await http(port, "GET", "/state")
        self.assert_answer(response, 200, "late flood\n")
        self.assert_no_traceback(gateway)

    async def test_no_kernel(self) -> None:
        """
        When no kernel can be had any more, requests are refused until one can.
        """
        broken = self.home / "broken"
        gateway = await self.serve(
            python_notebook(
                f"import os\nassert not os.path.exists({str(broken)!r})",
                "# GET /pid\nprint(os.getpid())",
                "# GET /die\nos._exit(1)",
            )
        )
        port = gateway.port
        broken.touch()
        self.assertEqual((await http(port, "GET", "/die")).code, 502)
        response = await http(port, "GET", "/pid")
        self.assert_refused(response, 503, "Service Unavailable", "cell 1 of the seed notebook")
        self.assertGreater(int(response.headers["retry-after"]), 0)
        broken.unlink()
        response = await http(port, "GET", "/pid")
        while response.code == 503:
            response = await http(port, "GET", "/pid")
        self.assertEqual(response.code, 200)


class LanguageTests(NotebookTestCase):
    """
    Notebooks that are not written in Python, or not for a kernel that is there.
    """

    async def test_shell(self) -> None:
        """
        In a shell's notebook nothing of a request is evaluated.
        """
        if shutil.which("bash") is None or find_spec("bash_kernel") is None:
            raise SkipTest("there is no kernel for bash here")
        self.add_spec("bash", [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"])
        gateway = await self.serve(
            notebook(
                ("code", 'seeded="from the seed"'),
                ("code", '# GET /seeded\necho "$seeded"'),
                ("code", "# POST /echo\nprintf '%s' \"$REQUEST\""),
                ("code", "# GET /fails\nfalse"),
                kernel="bash",
                language="bash",
            )
        )
        port = gateway.port
        self.assert_answer(await http(port, "GET", "/seeded"), 200, "from the seed\n")
        mark = self.home / "mark"
        touch = f"touch {mark}"
        for text, content_type in (
            (f"$({touch}) `{touch}` * '$({touch})'", "text/plain"),
            (f"'; {touch}; '\"; {touch}; \"\n{touch}\n;{touch};", "text/plain"),
            (f"\\'; {touch} #\\\\ \\n $HOME !! ~ '\\'' ů \U0001f40e \x00 \\", "application/json"),
        ):
            is_json = content_type == "application/json"
            body = json.dumps({text: text}) if is_json else text
            headers = {"Content-Type": content_type, "X-Text": f"'$({touch})' `{touch}`"}
            path = f"/echo?{quote(text)}={quote(text)}"
            response = await http(port, "POST", path, body.encode(), headers)
            self.assertEqual(response.code, 200)
            self.assertEqual(response.json["body"], {text: text} if is_json else text)
            self.assertEqual(response.json["args"], {text: [text]})
            self.assertEqual(response.json["headers"]["X-Text"], headers["X-Text"])
        self.assertFalse(mark.exists())
        response = await http(port, "GET", "/fails")
        self.assertEqual(response.code, 500)

    async def test_unknown_kernel(self) -> None:
        """
        A notebook for a kernel that nobody has is served with another one; its language, not the
        kernel's, says how its comments begin.
        """
        scala = notebook(
            ("code", "// GET /slashes"), ("code", "# GET /hash"), kernel="apache", language="Scala"
        )
        gateway = await self.serve(UNKNOWN_KERNEL, "--force-kernel-name=python3", scala=scala)
        port = gateway.port
        self.assert_answer(await http(port, "GET", "/print"), 200, "I am\n")
        self.assertEqual((await http(port, "GET", "/fakeprint")).code, 404)
        # Python does not understand the comment, but it was asked.
        response = await http(port, "GET", "/scala/slashes")
        self.assertEqual((response.code, response.body[:18]), (500, b"Error SyntaxError:"))
        self.assertEqual((await http(port, "GET", "/scala/hash")).code, 404)
        self.assertIn("all of \"/fakeprint 'I am not a real lang!'\" is the path", gateway.output)


class ParserTests(NotebookTestCase):
    """
    Notebooks that are not annotated, but have a Swagger document, or are for a parser of somebody
    else.
    """

    async def test_swagger(self) -> None:
        """
        Operations are served as the document says, with braces, verbs in any case and ResponseInfo
        cells; the document is there as it was written.
        """
        get_pet = {"operationId": "getPet", "responses": {"200": {"description": "A pet"}}}
        in_path = {"name": "petId", "in": "path", "required": True, "type": "string"}
        in_query = {"name": "q", "in": "query", "type": "string"}
        document = {
            "swagger": "2.0",
            "info": {"version": "1.2.3", "title": "Pets", "description": "Of all kinds"},
            "basePath": "/v1",
            "paths": {
                "/pets": {
                    "get": {**get_pet, "operationId": "listPets", "parameters": [in_query]},
                    "POST": {**get_pet, "operationId": "addPet"},
                },
                "/pets/{petId}": {
                    "parameters": [in_path],
                    "get": {**get_pet, "parameters": [in_query]},
                    "delete": {**get_pet, "operationId": "nobody"},
                },
            },
            "definitions": {"Pet": {"type": "object"}},
        }
        gateway = await self.serve(
            notebook(
                (
                    "markdown",
                    f"# Pets\n```json\n{json.dumps(document, indent=1)}\n```\nwith a tail",
                ),
                ("markdown", "1"),
                ("code", "1"),
                ("code", "import json\npets = ['cat', 'dog']"),
                ("code", "#operationId: getPet\nrequest = json.loads(REQUEST)"),
                ("code", "# operationId:getPet \nprint(pets[int(request['path']['petId'])])"),
                ("code", "# ResponseInfo operationId: getPet\nargs = json.dumps(request['args'])"),
                ("code", "#ResponseInfo operationId:getPet\nsaid = {'headers': {'X-Args': args}}"),
                ("code", "# ResponseInfo operationId: getPet\nprint(json.dumps(said))"),
                ("code", "# operationId: listPets\nprint(pets)"),
                ("code", "# operationId: addPet\npets.append(json.loads(REQUEST)['body'])"),
                ("code", "# ResponseInfo operationId: addPet\nprint('{\"status\": 201}')"),
                ("code", "# operationId: unheardOf\nraise SystemError"),
                ("code", "# GET /annotated\nprint('no annotation here')"),
                language="python",
            ),
            "--cell-parser=kernel_gateway.notebook_http.swagger.parser",
        )
        port = gateway.port
        response = await http(port, "GET", "/pets/1?q=a")
        self.assert_answer(response, 200, "dog\n")
        self.assertEqual(json.loads(response.headers["x-args"]), {"q": ["a"]})
        self.assert_answer(await http(port, "POST", "/pets", "cow", JSON), 201, "")
        self.assert_answer(await http(port, "GET", "/pets"), 200, "['cat', 'dog', 'cow']\n")
        response = await http(port, "DELETE", "/pets/1")
        self.assert_refused(response, 405, "Method Not Allowed")
        self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")
        for path in ("/v1/pets", "/pets/1/q", "/pets/{petId}/x", "/annotated"):
            self.assertEqual((await http(port, "GET", path)).code, 404)
        response = await http(port, "GET", "/_api/spec/swagger.json")
        self.assertEqual((response.code, response.json), (200, document))
        for words in ("operation nobody is declared", "operation unheardOf is not used"):
            self.assertIn(words, gateway.output)

    async def test_third_party(self) -> None:
        """
        A parser that somebody wrote for the older gateway does what it did there.
        """
        library = self.home / "library"
        library.mkdir()
        (library / "arrows.py").write_text(ARROWS)
        path = os.pathsep.join([str(library), self.environment()["PYTHONPATH"]])
        gateway = await self.serve(
            notebook(
                ("code", "import json\nseeded = 'seeded'"),
                ("markdown", "#-> GET /markdown"),
                ("code", "#-> GET /things/:id\nthing = json.loads(REQUEST)['path']['id']"),
                ("code", "#-> GET /things/:id\nprint(thing, seeded)"),
                ("code", '#<- GET /things/:id\nprint(\'{"headers": {"X-Thing": 1}}\')'),
                ("code", "#-> POST /things/one\nprint('one')"),
                ("code", "# GET /annotated\nprint('seed code for this parser')"),
                language="python",
            ),
            "--cell-parser=arrows",
            env={"PYTHONPATH": path},
        )
        port = gateway.port
        response = await http(port, "GET", "/things/a%20b")
        self.assert_answer(response, 200, "a b seeded\n")
        self.assertEqual(response.headers["x-thing"], "1")
        self.assert_answer(await http(port, "POST", "/things/one", b""), 200, "one\n")
        for path in ("/annotated", "/markdown"):
            self.assertEqual((await http(port, "GET", path)).code, 404)
        document = (await http(port, "GET", "/_api/spec/swagger.json")).json
        self.assertEqual(set(document["paths"]), {"/things/{id}", "/things/one"})
        self.assertIn("arrows has seen 6 cells after #", gateway.output)


class StartTests(NotebookTestCase):
    """
    What a gateway needs to start.
    """

    async def test_sources(self) -> None:
        """
        Notebooks come from files with odd names and from servers, in old formats too. All cells
        that are no part of an endpoint have run, in order.
        """
        cells = ("a = [1]", "", "a.append(2)", "# GET /a\nprint(a)", "%matplotlib --list", "a += a")
        content = python_notebook(*cells)
        old = {
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": {"name": "old"},
            "worksheets": [
                {
                    "metadata": {},
                    "cells": [
                        {
                            "cell_type": "code", "language": "python", "metadata": {},
                            "collapsed": False, "input": [source], "outputs": [],
                        }
                        for source in cells
                    ],
                }
            ],
        }  # fmt: skip
        self.write("weirdly%20named#notebook.ipynb", content)
        self.write("old.v3.ipynb", json.dumps(old).encode())
        root = Resource()
        root.putChild(b"there.ipynb", Data(content, "application/json"))
        root.putChild(b"moved", Redirect(b"/there.ipynb"))
        site = Site(root)
        site.noisy = False
        server = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(server.stopListening)
        gateway = await self.gateway(
            "--api=notebook_http",
            "--seed-uri=weirdly%20named#notebook.ipynb",
            f"--seed-uri=/old=file://{self.home}/work/old.v3.ipynb",
            f"--seed-uri=/web=http://127.0.0.1:{server.getHost().port}/moved",
            "--force-kernel-name=python3",
            "--allow-notebook-download",
        )
        port = gateway.port
        for prefix in ("", "/old", "/web"):
            self.assert_answer(await http(port, "GET", f"{prefix}/a"), 200, "[1, 2, 1, 2]\n")
        response = await http(port, "GET", "/web/_api/source")
        self.assertEqual(response.body, content)
        for prefix, title in (("", "weirdly%20named#notebook"), ("/old", "old"), ("/web", "moved")):
            document = (await http(port, "GET", f"{prefix}/_api/spec/swagger.json")).json
            self.assertEqual(document["info"]["title"], title)

    async def test_errors(self) -> None:
        """
        Whatever is wrong with the notebook or the settings ends the start with status 1 and one
        line that says what it is.
        """
        fine = "# GET /a"
        for name, content in (
            ("fine", python_notebook(fine)),
            ("none", python_notebook("# get /a", "#GET /a")),
            ("lost", notebook(("code", fine), kernel="fakelang2000")),
            ("nameless", notebook(("code", fine), kernel=None)),
            ("broken", b"{}"),
            ("twice", python_notebook("x = 1", "# GET /:a/:a")),
            ("failing", python_notebook("x = 1", "y = 1 / 0", fine)),
        ):
            self.write(f"{name}.ipynb", content)
        launched = [
            (options, words, self.launch("--api=notebook_http", "--port=0", *options))
            for options, words in (
                ((), "name it with --seed-uri"),
                (("--seed-uri=none.ipynb",), "no endpoints were discovered in none"),
                (("--seed-uri=nameless.ipynb",), "--force-kernel-name"),
                (("--seed-uri=broken.ipynb",), "broken is not a notebook"),
                (("--seed-uri=twice.ipynb",), "cell 2: the path /:a/:a has several"),
                (
                    ("--seed-uri=failing.ipynb", "--prespawn-count=2"),
                    "cell 2 of the seed notebook failed: ZeroDivisionError",
                ),
                (
                    ("--seed-uri=fine.ipynb", "--prespawn-count=2", "--max-kernels=1"),
                    "--max-kernels=1",
                ),
                (("--seed-uri=fine.ipynb", "--cell-parser=no.such"), "--cell-parser=no.such"),
                (("--seed-uri=fine.ipynb", "--seed-uri=none.ipynb"), "fine and none"),
                (
                    ("--seed-uri=fine.ipynb", "--seed-uri=/n=lost.ipynb"),
                    "lost cannot be served: No such kernel: fakelang2000",
                ),
            )
        ]
        for options, words, gateway in launched:
            self.assertEqual(await gateway.ended(), 1, options)
            said = [line for line in gateway.output.splitlines() if "cannot start" in line]
            self.assertEqual(len(said), 1, gateway.output)
            self.assertIn(words, said[0])
            self.assert_no_traceback(gateway)
            self.assertNotIn("is available at", gateway.output)
        self.assertEqual(self.leftovers(), [])

    async def test_stuck_seed(self) -> None:
        """
        A gateway whose seed does not come to its end can be stopped, or gives up by itself.
        """
        valve = self.valve()
        gateways = []
        for name, options in (("stopped", ()), ("patient", ("--seed-timeout=1",))):
            pid = self.home / name
            self.write(
                f"{name}.ipynb",
                python_notebook(
                    f"import os\nopen({str(pid)!r}, 'w').write(f'{{os.getpid()}}\\n')",
                    valve.wait,
                    "# GET /a",
                ),
            )
            uri = f"--seed-uri={name}.ipynb"
            gateways.append((pid, self.launch("--api=notebook_http", "--port=0", uri, *options)))
        (pid, stopped), (_, patient) = gateways
        await until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the seed runs")
        self.assertEqual(await stopped.stop(), 0)
        self.assertFalse(alive(int(pid.read_text())))
        self.assert_no_traceback(stopped)
        self.assertEqual(await patient.ended(), 1)
        (said,) = [line for line in patient.output.splitlines() if "cannot start" in line]
        self.assertIn("--seed-timeout", said)
        self.assert_no_traceback(patient)
        self.assertEqual(self.leftovers(), [])
