"""
The example notebooks, as their README says that they are served.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from urllib.parse import quote

import nbformat
from twisted.internet.utils import getProcessValue
from twisted.python.procutils import which
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kgd.notebook.annotation_parser import AnnotationParser
from kgd.notebook.api import NotebookSource
from kgd.notebook.reading import read_notebook
from kgd.notebook.swagger_parser import SwaggerParser
from tests.support.gateway import ROOT, GatewayProcess, GatewayTestCase, Response, http

EXAMPLES = ROOT / "etc" / "api_examples"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}


def command_for(name: str) -> list[str]:
    """
    :return: The options that the README tells for a notebook.
    """
    text = (EXAMPLES / "README.md").read_text("utf-8")
    found = re.search(rf"^\| `{re.escape(name)}` \| .* \| `kgd (.*)` \|$", text, re.MULTILINE)
    assert found, f"{name} is not in the README"
    return [option.replace("etc/api_examples", str(EXAMPLES), 1) for option in found[1].split(" ")]


class FileTests(SynchronousTestCase):
    """
    The files.
    """

    def test_clean(self) -> None:
        """
        They are valid, without outputs, and each endpoint is described.
        """
        paths = sorted(EXAMPLES.glob("*.ipynb"))
        self.assertGreaterEqual(len(paths), 6)
        for path in paths:
            book: Any = nbformat.read(path, nbformat.NO_CONVERT)
            nbformat.validate(book)
            self.assertEqual((book.nbformat, book.nbformat_minor), (4, 5), path)
            self.assertEqual(len({cell.id for cell in book.cells}), len(book.cells), path)
            for cell in book.cells:
                if cell.cell_type == "code":
                    self.assertEqual((cell.outputs, cell.execution_count), ([], None), path)
            swagger = "--cell-parser=swagger" in command_for(path.name)
            notebook = read_notebook(path.read_bytes(), path.name)
            api = (SwaggerParser() if swagger else AnnotationParser()).parse(
                NotebookSource(
                    title=path.stem,
                    language=notebook.language(),
                    comment_prefix="#",
                    cells=notebook.cells,
                )
            )
            self.assertEqual(api.warnings, (), path)
            for endpoint in api.endpoints:
                for verb, handler in endpoint.handlers.items():
                    if not swagger:
                        self.assertTrue(handler.description, f"{path}: {verb} {endpoint.path}")

    def test_top_to_bottom(self) -> None:
        """
        Whoever works on one can run all of its cells, thanks to the sample of a request.
        """
        for path in sorted(EXAMPLES.glob("*.ipynb")):
            book: Any = nbformat.read(path, nbformat.NO_CONVERT)
            if read_notebook(path.read_bytes(), path.name).language() != "python":
                continue
            shown: list[Any] = []
            space: dict[str, Any] = {"display": lambda data, raw, shown=shown: shown.append(data)}
            with redirect_stdout(StringIO()) as printed:
                for cell in book.cells:
                    if cell.cell_type == "code":
                        exec(compile(cell.source, f"{path.name}: {cell.id}", "exec"), space)
            self.assertTrue(shown or printed.getvalue(), path)


class Example:
    """
    A notebook that is served.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: set[tuple[str, str]] = set()

    async def ask(
        self,
        method: str,
        template: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        at: Mapping[str, str] = {},
    ) -> Response:
        """
        :param template: The path as the OpenAPI document has it.
        :param at: Its parameters.
        """
        self.asked.add((method, template))
        path = re.sub(r"\{(\w+)\}", lambda found: quote(at[found[1]]), template)
        if body is not None and not isinstance(body, bytes):
            headers = {**JSON, **(headers or {})}
        return await http(self.port, method, path + query, body, headers)

    async def get(self, template: str, query: str = "", at: Mapping[str, str] = {}) -> Any:
        """
        :return: The JSON that there is to be had.
        """
        response = await self.ask("GET", template, query=query, at=at)
        assert response.code == 200, response.body
        return response.json

    async def endpoints(self) -> set[tuple[str, str]]:
        """
        :return: What it says that there is.
        """
        document = (await http(self.port, "GET", "/_api/spec/openapi.json")).json
        return {
            (verb.upper(), path)
            for path, item in document["paths"].items()
            for verb in item
            if verb != "parameters"
        }


class ExampleTests(GatewayTestCase):
    """
    The real daemon, with the real kernels.
    """

    async def serve(self, name: str) -> Example:
        """
        Serve a notebook.
        """
        self.served: GatewayProcess = await self.gateway(*command_for(name))
        return Example(self.served.port)

    async def assert_all_asked(self, example: Example) -> None:
        """
        There is no endpoint that has not been asked for, and nothing went wrong unseen.
        """
        self.assertEqual(example.asked, await example.endpoints())
        self.assertNotIn("Traceback", self.served.output)

    async def test_api_intro(self) -> None:
        """
        Tasks are listed, added, changed and removed.
        """
        example = await self.serve("api_intro.ipynb")
        self.assertEqual(sorted(await example.get("/tasks")), ["1", "2"])
        self.assertEqual(list(await example.get("/tasks", "?word=note")), ["2"])
        added = await example.ask("POST", "/tasks", {"title": "tee trinken"})
        self.assertEqual(added.json, {"3": {"title": "tee trinken", "done": False}})
        changed = await example.ask("PUT", "/tasks/{id}", {"done": True}, at={"id": "3"})
        self.assertEqual(changed.json, {"title": "tee trinken", "done": True})
        self.assertEqual(await example.get("/tasks/{id}", at={"id": "3"}), changed.json)
        removed = await example.ask("DELETE", "/tasks/{id}", at={"id": "3"})
        self.assertEqual(removed.json, changed.json)
        gone = await example.ask("GET", "/tasks/{id}", at={"id": "3"})
        self.assertEqual((gone.code, gone.body), (500, b"Error KeyError: '3' \n"))
        shown = await example.get("/request", "?a=1&a=2")
        self.assertEqual((shown["args"], shown["method"]), ({"a": ["1", "2"]}, "GET"))
        self.assertEqual(shown["url"], "/request?a=1&a=2")
        await self.assert_all_asked(example)

    async def test_response_metadata(self) -> None:
        """
        Status and headers are what the notebook says.
        """
        example = await self.serve("response_metadata.ipynb")
        listed = await example.ask("GET", "/people")
        self.assertEqual(listed.headers["content-type"], "application/json")
        self.assertEqual(listed.headers["cache-control"], "no-store")
        added = await example.ask("POST", "/people", {"name": "Mary"})
        self.assertEqual((added.code, added.headers["location"]), (201, "/people/3"))
        self.assertEqual(added.json, {"id": "3"})
        self.assertEqual(await example.get("/people/{id}", at={"id": "3"}), {"name": "Mary"})
        removed = await example.ask("DELETE", "/people/{id}", at={"id": "3"})
        self.assertEqual((removed.code, removed.body), (204, b""))
        missing = await example.ask("GET", "/people/{id}", at={"id": "3"})
        self.assertEqual(missing.code, 404)
        self.assertIn("nobody", missing.json["error"])
        replaced = await example.ask("PUT", "/people/{id}", {"name": "Joan"}, at={"id": "1"})
        self.assertEqual((replaced.code, replaced.body), (204, b""))
        page = await example.ask("GET", "/page")
        self.assertEqual(page.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b"<li>Joan</li>", page.body)
        moved = await example.ask("GET", "/everybody")
        self.assertEqual((moved.code, moved.headers["location"]), (308, "/people"))
        await self.assert_all_asked(example)

    async def test_path_parameters(self) -> None:
        """
        Each path leads to its own cell.
        """
        example = await self.serve("path_parameters.ipynb")
        for expected, template, parameters in (
            ("hello Zoë", "/hello/{name}", {"name": "Zoë"}),
            ("hello everybody", "/hello/everybody", {}),
            (
                "hello Ada of the family Lovelace",
                "/hello/{first}/{last}",
                {"first": "Ada", "last": "Lovelace"},
            ),
            ("from CGN to LIS", "/flights/{from}-{to}", {"from": "CGN", "to": "LIS"}),
            ("this is left", "/{name}", {"name": "left"}),
        ):
            response = await example.ask("GET", template, at=parameters)
            self.assertEqual(response.body.decode(), f"{expected}\n")
        month = await example.get("/calendar/{year}/{month}", at={"year": "2024", "month": "2"})
        self.assertEqual(month, {"days": 29})
        put = await example.ask("PUT", "/files/{wildcard}", b"x", TEXT, at={"wildcard": "a/b.txt"})
        self.assertEqual(put.body, b"['a', 'b.txt']\n")
        await self.assert_all_asked(example)

    async def test_swagger_operations(self) -> None:
        """
        Each operation of the document is there.
        """
        example = await self.serve("swagger_operations.ipynb")
        self.assertEqual(await example.get("/cities", "?above=15"), ["Lisbon"])
        put = await example.ask("PUT", "/cities/{city}", 31.5, at={"city": "São Paulo"})
        self.assertEqual((put.code, put.body), (201, b""))
        self.assertEqual(await example.get("/cities/{city}", at={"city": "São Paulo"}), 31.5)
        unknown = await example.ask("GET", "/cities/{city}", at={"city": "Ys"})
        self.assertEqual((unknown.code, unknown.json), (404, {"error": "Ys is not known"}))
        removed = await example.ask("DELETE", "/cities/{city}", at={"city": "Cologne"})
        self.assertEqual(removed.body, b"2\n")
        history = await example.ask("GET", "/history")
        self.assertIn("São Paulo 31.5\n".encode(), history.body)
        document = (await http(example.port, "GET", "/_api/spec/swagger.json")).json
        self.assertEqual(document["info"]["title"], "Temperatures")
        await self.assert_all_asked(example)

    async def test_rich_and_streamed(self) -> None:
        """
        Clients get what they like best; streams and files arrive.
        """
        example = await self.serve("rich_and_streamed.ipynb")
        plot = await example.ask("GET", "/plot", query="?value=1&value=2")
        self.assertEqual(plot.headers["content-type"], "image/png")
        self.assertTrue(plot.body.startswith(b"\x89PNG\r\n"))
        drawn = await example.ask("GET", "/plot", headers={"Accept": "image/svg+xml"})
        self.assertEqual(drawn.headers["content-type"], "image/svg+xml")
        self.assertTrue(drawn.body.startswith(b"<svg "))
        table = await example.ask("GET", "/table", headers={"Accept": "application/json"})
        self.assertEqual(table.json[1], {"n": 2, "square": 4})
        unwanted = await example.ask("GET", "/table", headers={"Accept": "audio/ogg"})
        self.assertEqual(unwanted.code, 406)
        ticks = await example.ask("GET", "/ticks", query="?count=2&pause=0")
        self.assertEqual(ticks.headers["content-type"], "text/plain")
        events = await example.ask("GET", "/events", query="?count=2&pause=0")
        self.assertEqual(events.headers["content-type"], "text/event-stream")
        for number in range(2):
            self.assertIn(b"tick %d\n" % number, ticks.body)
            self.assertIn(b'data: {"tick": %d}\n\n' % number, events.body)
        form = (
            b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            b"Content-Type: text/plain\r\n\r\none\ntwo\n\r\n--x--\r\n"
        )
        posted = await example.ask(
            "POST", "/files", form, {"Content-Type": "multipart/form-data; boundary=x"}
        )
        self.assertEqual(
            posted.json,
            [{"name": "a.txt", "type": "text/plain", "size": 8, "lines": 2, "note": "hello"}],
        )
        digest = await example.ask(
            "PUT", "/digest", b"\0\xff", {"Content-Type": "application/octet-stream"}
        )
        self.assertEqual(digest.body.decode().strip(), hashlib.sha256(b"\0\xff").hexdigest())
        pixel = await example.ask("GET", "/pixel")
        self.assertTrue(pixel.body.startswith(b"GIF89a"))
        await self.assert_all_asked(example)

    async def test_bash(self) -> None:
        """
        The shell takes any text for what it is.
        """
        if not which("bash"):
            raise SkipTest("there is no bash here")
        self.add_spec(
            "bash", [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"],
            language="bash",
        )  # fmt: skip
        example = await self.serve("api_intro_bash.ipynb")
        title = 'don\'t $(expand) `this` "or" \\that\\ !!'
        added = await example.ask("POST", "/tasks", title.encode(), TEXT)
        self.assertEqual(added.body, b"3 tasks\n")
        found = await example.ask("GET", "/tasks", query="?word=expand")
        self.assertEqual(found.body.decode(), f"2 {title}\n")
        changed = await example.ask("PUT", "/tasks/{index}", b"rest", TEXT, at={"index": "2"})
        self.assertEqual(changed.body, b"2 rest\n")
        removed = await example.ask("DELETE", "/tasks/{index}", at={"index": "2"})
        self.assertEqual(removed.body, b"2 tasks\n")
        system = await example.ask("GET", "/system")
        self.assertEqual(system.headers["content-type"], "application/json")
        self.assertEqual(sorted(system.json), ["processors", "system"])
        await self.assert_all_asked(example)

    async def test_r(self) -> None:
        """
        R, with pictures.
        """
        found = "quit(status = !requireNamespace('IRkernel', quietly = TRUE))"
        if not which("R") or await getProcessValue(which("R")[0], ["--slave", "-e", found]):
            raise SkipTest("there is no R with IRkernel here")
        self.add_spec(
            "ir", ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
            language="R",
        )  # fmt: skip
        example = await self.serve("api_intro_r.ipynb")
        listed = await example.ask("GET", "/tasks", query="?word=note")
        self.assertEqual(listed.json, {"2": "write a notebook"})
        self.assertEqual(listed.headers["content-type"], "application/json")
        title = 'don\'t ${expand} "this" \\or\\ thät'
        added = await example.ask("POST", "/tasks", {"title": title})
        self.assertEqual(added.json, {"3": title})
        changed = await example.ask("PUT", "/tasks/{id}", {"title": "rest"}, at={"id": "3"})
        self.assertEqual(json.loads(changed.body), {"3": "rest"})
        removed = await example.ask("DELETE", "/tasks/{id}", at={"id": "3"})
        self.assertEqual(removed.body, b"2\n")
        plot = await example.ask("GET", "/plot")
        self.assertTrue(plot.body.startswith(b"\x89PNG\r\n"))
        await self.assert_all_asked(example)
