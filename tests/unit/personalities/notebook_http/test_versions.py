"""
Versions of a notebook: the first one, and those that replace it, or cannot.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError, GatewayError
from kgd.kernels.seed import load_seed
from kgd.personalities.notebook_http import loading
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs
from kgd.testing.personalities import MemoryGateway
from kgd.testing.web import MemoryClient
from tests.support.notebook_sources import document, markdown
from tests.support.notebooks import mutations, notebook

ANNOTATED = notebook(
    ("markdown", "# Hello\n\n```json response\n[1]\n```"),
    ("code", "x = 1"),
    ("code", "# GET /hello/:name\nprint(x)"),
    language="python",
)
WITH_SWAGGER = notebook(
    markdown(document({"/hello/{name}": {"get": {"operationId": "hello", "tags": ["a"]}}})),
    ("code", "# operationId: hello\nprint(x)"),
    language="python",
)


class VersionsTests(SynchronousTestCase):
    """
    A notebook that is served, and changed.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(ANNOTATED)

    def serve(self, **settings: Any) -> MemoryClient:
        """
        Serve the notebook.
        """
        gateway = MemoryGateway(
            Settings(seed_uri=(str(self.path),), allow_notebook_download=True, **settings)
        )
        self.personality = NotebookHTTP(gateway)
        self.successResultOf(self.personality.start())
        self.addCleanup(self.personality.stop)
        client = MemoryClient(gateway.settings, self.personality, operations=gateway.operations)
        self.addCleanup(client.close)
        return client

    def reload(self, raw: bytes) -> None:
        """
        Change the file, and have it read.
        """
        self.path.write_bytes(raw)
        self.successResultOf(self.personality.reload())

    def start_error(self, raw: bytes, **settings: Any) -> str:
        """
        :return: Why a gateway cannot start with this file; empty if it can.
        """
        self.path.write_bytes(raw)
        personality = NotebookHTTP(MemoryGateway(Settings(seed_uri=(str(self.path),), **settings)))
        outcomes: list[Any] = []
        personality.start().addBoth(outcomes.append)
        personality.stop()
        if outcomes == [None]:
            return ""
        outcomes[0].trap(ConfigurationError)
        return str(outcomes[0].value)

    def seed_error(self, raw: bytes) -> str:
        """
        :return: Why it cannot be a seed; empty if it can.
        """
        self.path.write_bytes(raw)
        settings = Settings(seed_uri=(str(self.path),))
        outcomes: list[Any] = []
        loading = Deferred.fromCoroutine(load_seed(None, settings, FakeKernelSpecs()))
        loading.addErrback(outcomes.append)
        if not outcomes:
            return ""
        outcomes[0].trap(ConfigurationError)
        return str(outcomes[0].value)

    def test_every_mutation(self) -> None:
        """
        A file that is nearly a notebook is served, with its documents, or refused in one line, at
        the start, as a seed and at a reload; then the older version is served, and the readiness
        says so.
        """
        for content, parser in ((ANNOTATED, "cell"), (WITH_SWAGGER, "swagger")):
            self.check_mutations(content, parser)

    def check_mutations(self, content: bytes, parser: str) -> None:
        """
        Try what may be made of a notebook.
        """
        self.path.write_bytes(content)
        client = self.serve(cell_parser=parser)

        @given(mutations(json.loads(content)), st.booleans())
        def check(mutated: Any, pretty: bool) -> None:
            raw = json.dumps(mutated, indent=1 if pretty else None).encode()
            seed_error, error = self.seed_error(raw), self.start_error(raw, cell_parser=parser)
            self.assertTrue(f"{seed_error}{error}".isprintable())
            self.reload(content)
            self.assertEqual(client.request("GET", "/readyz").body, b"ok\n")
            self.reload(raw)
            said = b"ok\n/ is out of date\n" if error else b"ok\n"
            self.assertEqual(client.request("GET", "/readyz").body, said)
            served = content if error else raw
            self.assertEqual(client.request("GET", "/_api/source").body, served)
            for name in ("openapi.json", "swagger.json"):
                self.assertEqual(client.request("GET", f"/_api/spec/{name}").code, 200)
            # A fault of the gateway's own would be logged with its traceback.
            self.assertEqual(self.flushLoggedErrors(), [])

        check()

    def test_names(self) -> None:
        """
        The error names file, cell and field.
        """
        raw = notebook(("code", "x"), ("code", "y")).replace(b'"y"', b"7")
        for error in (self.start_error(raw), self.seed_error(raw)):
            self.assertIn(f"{self.path}: cell 2: source is a number", error)

    def test_hostile_documents(self) -> None:
        """
        What JSON in markdown cannot be quoted is left out of the documents.
        """
        for text in ('["\\ud800"]', "[" * 300 + "]" * 300, "9" * 5000):
            for raw, parser in (
                (
                    notebook(("markdown", f"```json request\n{text}\n```"), ("code", "# PUT /x")),
                    "cell",
                ),
                (
                    notebook(
                        (
                            "markdown",
                            f'{{"swagger": "2.0", "paths": {{"/y": {{}}}}, "x": {text}}}',
                        ),
                        ("markdown", markdown(document({"/x": {"get": {"operationId": "a"}}}))[1]),
                        ("code", "# operationId: a"),
                    ),
                    "swagger",
                ),
            ):
                self.path.write_bytes(raw)
                client = self.serve(cell_parser=parser)
                for name in ("openapi.json", "swagger.json"):
                    response = client.request("GET", f"/_api/spec/{name}")
                    self.assertEqual((response.code, list(response.json["paths"])), (200, ["/x"]))

    def test_faults(self) -> None:
        """
        A fault of a parser's is logged with its traceback, and the readiness knows of it, too.
        """
        client = self.serve()

        class Faulty:
            def parse(self, source: Any) -> Any:
                raise ZeroDivisionError("of the parser")

        self.patch(loading, "find_parser", lambda name: Faulty())
        self.successResultOf(self.personality.reload())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(client.request("GET", "/readyz").body, b"ok\n/ is out of date\n")
        self.assertEqual(client.request("GET", "/_api/source").body, ANNOTATED)

    def test_unreadable_directory(self) -> None:
        """
        A directory that cannot be looked into is a mistake of the operator's.
        """

        def refuse(_: Path) -> bool:
            raise PermissionError(13, "Permission denied")

        client = self.serve()
        self.patch(Path, "is_dir", refuse)
        error = self.assertRaises(GatewayError, loading.find_notebooks, [str(self.path)])
        self.assertIn("Permission denied; the user that the gateway runs as", str(error))
        self.successResultOf(self.personality.reload())
        said = b"ok\nthe list of notebooks is out of date\n"
        self.assertEqual(client.request("GET", "/readyz").body, said)
