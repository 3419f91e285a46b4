"""
What serves notebooks, piece by piece: finding them, watching them, callers, uploads, answers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest
from zope.interface.verify import verifyObject

from kgd.errors import (
    ConfigurationError,
    InvalidNotebook,
    NoSuchKernelSpec,
    NoSuchResource,
    ResourceForbidden,
    Unavailable,
)
from kgd.interfaces import ICellParser
from kgd.notebook.api import Response, Upload
from kgd.personalities.notebook_http.loading import (
    LoadedNotebook,
    NotebookLocation,
    find_notebooks,
    find_parser,
    load_notebook,
)
from kgd.personalities.notebook_http.sticky import CALLER_COOKIE, identify_caller
from kgd.personalities.notebook_http.streaming import StreamedResponse, write_response
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.watcher import INTERVAL, Watcher
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs
from kgd.web.files import confined
from tests.support.notebooks import SIMPLE_API, UNKNOWN_KERNEL, notebook, python_notebook


class SourcesTests(SynchronousTestCase):
    """
    From ``--seed-uri`` to notebooks.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()

    def add(self, name: str, content: bytes = SIMPLE_API) -> str:
        """
        :return: The path of a notebook.
        """
        path = self.home / name
        path.write_bytes(content)
        return str(path)

    def test_one(self) -> None:
        """
        A notebook is served at the root, whatever it is called.
        """
        path = self.add("weirdly%20named#notebook=1.ipynb")
        self.assertEqual(find_notebooks([path]), [NotebookLocation("", path)])
        self.assertEqual(NotebookLocation("", path).title, "weirdly%20named#notebook=1")
        self.assertEqual(NotebookLocation("", "https://h/a.b.ipynb?x=1").path, None)

    def test_prefixes(self) -> None:
        """
        With prefixes there may be several.
        """
        self.assertEqual(
            find_notebooks(["/a/b/=x.ipynb", "y.ipynb", "/é=https://h/z.ipynb"]),
            [
                NotebookLocation("/a/b", "x.ipynb"),
                NotebookLocation("", "y.ipynb"),
                NotebookLocation("/%C3%A9", "https://h/z.ipynb"),
            ],
        )

    def test_directory(self) -> None:
        """
        Each notebook of a directory is served at its name.
        """
        one, two = self.add("a b.ipynb"), self.add("c.ipynb")
        self.add("d.txt")
        self.assertEqual(
            find_notebooks([f"/team={self.home}"]),
            [NotebookLocation("/team/a%20b", one), NotebookLocation("/team/c", two)],
        )

    def test_wrong(self) -> None:
        """
        Nothing, two for one place, and an empty directory are said to be wrong.
        """
        for uris, word in (
            ([], "--seed-uri"),
            (["a.ipynb", "b.ipynb"], "prefix"),
            ([str(self.home)], "no notebook"),
        ):
            error = self.assertRaises(ConfigurationError, find_notebooks, uris)
            self.assertIn(word, str(error))

    def load(self, content: bytes, **settings: Any) -> LoadedNotebook:
        """
        Read a notebook.
        """
        source = NotebookLocation("", self.add("n.ipynb", content))
        loading = load_notebook(Clock(), Settings(**settings), FakeKernelSpecs(), source)
        done: Deferred[LoadedNotebook] = Deferred.fromCoroutine(loading)
        failures: list[Failure] = []
        done.addErrback(failures.append)
        if failures:
            failures[0].raiseException()
        return self.successResultOf(done)

    def test_load(self) -> None:
        """
        A notebook is its endpoints, what runs before, and the kernel for it.
        """
        loaded = self.load(SIMPLE_API)
        self.assertEqual([each.path for each in loaded.api.endpoints], ["/name"])
        self.assertEqual(loaded.seed.kernel_name, "python3")
        self.assertEqual([number for number, _ in loaded.seed.cells], [1])
        self.assertEqual((loaded.language, loaded.raw), ("python", SIMPLE_API))
        self.assertTrue(loaded.reads_metadata)
        self.assertNotIn("Test Name", repr(loaded))

    def test_load_fails(self) -> None:
        """
        What cannot be served says why.
        """
        plain = notebook(("code", "# GET /x"), kernel=None)
        for content, kind, word in (
            (b"{", InvalidNotebook, "not a notebook"),
            (plain, InvalidNotebook, "--force-kernel-name"),
            (python_notebook("x = 1"), InvalidNotebook, "annotat"),
            (UNKNOWN_KERNEL, NoSuchKernelSpec, "fakelang2000; install that kernel"),
        ):
            error = self.assertRaises(kind, self.load, content)
            self.assertIn(word, str(error))
        for content in (plain, UNKNOWN_KERNEL):
            loaded = self.load(content, force_kernel_name="python3")
            self.assertEqual(loaded.seed.kernel_name, "python3")


class ParserTests(SynchronousTestCase):
    """
    ``--cell-parser``.
    """

    def setUp(self) -> None:
        self.module = ModuleType("kgd_test_parser")
        self.patch(sys, "modules", {**sys.modules, "kgd_test_parser": self.module})

    def test_known(self) -> None:
        """
        Both parsers, by either name.
        """
        for name in ("cell", "swagger"):
            parser = find_parser(name)
            verifyObject(ICellParser, parser)
            legacy = f"kernel_gateway.notebook_http.{name}.parser"
            self.assertIs(type(find_parser(legacy)), type(parser))

    def test_others(self) -> None:
        """
        A module of somebody else's, in our way or in the old one.
        """
        self.module.parser = find_parser("cell")  # type: ignore[attr-defined]
        self.assertIs(find_parser("kgd_test_parser"), self.module.parser)
        self.assertIs(find_parser("kgd_test_parser.parser"), self.module.parser)
        self.module.create_parser = lambda **_: None  # type: ignore[attr-defined]
        verifyObject(ICellParser, find_parser("kgd_test_parser"))

    def test_wrong(self) -> None:
        """
        What cannot be imported, and what is no parser.
        """
        error = self.assertRaises(ConfigurationError, find_parser, "no.such.parser")
        self.assertIn("use cell, swagger", str(error))
        error = self.assertRaises(ConfigurationError, find_parser, "kgd_test_parser")
        self.assertIn("does not fit", str(error))


class WatcherTests(SynchronousTestCase):
    """
    Noticing changes.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.clock = Clock()
        self.changes: list[set[str]] = []
        self.watcher = Watcher(self.clock, self.home.iterdir, self.changed)

    def changed(self, paths: set[Path]) -> None:
        """
        Remember what has changed.
        """
        self.changes.append({path.name for path in paths})

    def look(self, rounds: int = 1) -> list[set[str]]:
        """
        :return: What has been noticed since.
        """
        for _ in range(rounds):
            self.clock.advance(INTERVAL)
        changes, self.changes = self.changes, []
        return changes

    def test_changes(self) -> None:
        """
        A file that has changed, and does not go on changing, is noticed once; so are those that
        come and go.
        """
        file = self.home / "a"
        file.write_text("1")
        self.watcher.start()
        self.assertEqual(self.look(3), [])
        file.write_text("12")
        self.assertEqual(self.look(1), [])
        file.write_text("123")
        self.assertEqual(self.look(1), [])
        self.assertEqual(self.look(1), [{"a"}])
        (self.home / "b").write_text("1")
        self.assertEqual(self.look(3), [{"b"}])
        file.unlink()
        self.assertEqual(self.look(3), [{"a"}])
        # With the same time and size as before.
        other = self.home / "c"
        other.write_text("2")
        status = (self.home / "b").stat()
        os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
        other.replace(self.home / "b")
        self.assertEqual(self.look(3), [{"b"}])
        self.watcher.stop()
        self.watcher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_there(self) -> None:
        """
        A file that cannot be seen has not changed.
        """
        watcher = Watcher(self.clock, lambda: [self.home / "x"], self.changed)
        watcher.start()
        self.assertEqual(self.look(3), [])
        watcher.stop()


class UploadsTests(SynchronousTestCase):
    """
    Files of a request.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.handed_over: list[Path] = []
        self.uploads = UploadDirectory(
            Clock(), lambda: self.home, lambda *paths: self.handed_over.extend(paths)
        )

    def store(self, *files: Upload) -> Any:
        """
        Store files.
        """
        return Deferred.fromCoroutine(self.uploads.store(files))

    def test_store(self) -> None:
        """
        They are there under names of ours, until they are removed; nobody else can read them.
        """
        directory, files = self.successResultOf(
            self.store(
                Upload(field="f", name="../../etc/x.csv", type="text/csv", content=b"1"),
                Upload(field="g", name="no suffix", type="", content=b"\xff\x00"),
                Upload(field="h", name="x.with blank", type="", content=b""),
            )
        )
        self.assertEqual([Path(file.path).name for file in files], ["1.csv", "2", "3"])
        self.assertEqual([file.size for file in files], [1, 2, 0])
        self.assertEqual(Path(files[1].path).read_bytes(), b"\xff\x00")
        self.assertEqual(files[0].name, "../../etc/x.csv")
        self.assertEqual(directory.stat().st_mode & 0o777, 0o700)
        # The directory last: from then on somebody else may change what is in it.
        self.assertEqual(self.handed_over[-1], directory)
        self.assertEqual({str(path) for path in self.handed_over[:-1]}, {f.path for f in files})
        self.uploads.remove(directory)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_no_room(self) -> None:
        """
        Whoever cannot be served may try again; nothing is left.
        """
        self.home.rmdir()
        upload = Upload(field="f", name="", type="", content=b"1")
        self.failureResultOf(self.store(upload), Unavailable)


class FilesTests(SynchronousTestCase):
    """
    What is served as it is.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        (self.root / "a").write_text("a")

    def test_there(self) -> None:
        """
        A file is found, also by a link that stays inside.
        """
        (self.root / "b").symlink_to("a")
        for name in ("a", "b", "./a"):
            self.assertEqual(confined(self.root, name), (self.root / "a").resolve())

    def test_outside(self) -> None:
        """
        Neither a directory nor anything outside is, whatever leads to it.
        """
        (self.root / "out").symlink_to("/etc")
        for name in ("", ".", "..", "a/..", "../x", "out", "out/passwd", "out/none"):
            self.assertRaises(ResourceForbidden, confined, self.root, name)

    def test_nothing(self) -> None:
        """
        What cannot be the name of a file is the name of none.
        """
        (self.root / "circle").symlink_to("circle")
        for name in ("none", "a/x", "circle", "x" * 300, "x/" * 3000, "\0", "\\a", "/etc/passwd"):
            self.assertRaises(NoSuchResource, confined, self.root, name)


class CallersTests(SynchronousTestCase):
    """
    Who is who.
    """

    def request(self, **headers: str) -> Any:
        """
        :return: A request.
        """
        request: Any = DummyRequest([])
        request.cookies = []
        request.received_cookies = {}
        request.getCookie = request.received_cookies.get
        request.addCookie = lambda *args, **more: request.cookies.append((args, more))
        request.isSecure = lambda: False
        for name, value in headers.items():
            request.requestHeaders.setRawHeaders(name, [value])
        return request

    def test_nobody(self) -> None:
        """
        Without the option, and without what tells, it is all the same.
        """
        request = self.request()
        self.assertIsNone(identify_caller(request, "", "/"))
        self.assertIsNone(identify_caller(request, "x-caller", "/"))
        self.assertEqual(request.cookies, [])

    def test_header(self) -> None:
        """
        A header tells, unless it is too long to be a name.
        """
        self.assertEqual(identify_caller(self.request(**{"X-Caller": "a"}), "x-caller", "/"), "a")
        self.assertIsNone(identify_caller(self.request(**{"X-Caller": "a" * 257}), "x-caller", "/"))

    def test_cookie(self) -> None:
        """
        Whoever has no cookie gets one, that scripts cannot see.
        """
        request = self.request()
        caller = identify_caller(request, "cookie", "/base")
        (((name, value), attributes),) = request.cookies
        self.assertEqual((name, value), (CALLER_COOKIE, caller))
        self.assertEqual(attributes["path"], "/base")
        self.assertTrue(attributes["httpOnly"])
        again = self.request()
        again.received_cookies[CALLER_COOKIE] = b"known"
        self.assertEqual(identify_caller(again, "cookie", "/"), "known")
        self.assertEqual(again.cookies, [])


class WritingTests(SynchronousTestCase):
    """
    Answers.
    """

    def written(
        self, status: int, *headers: tuple[str, str], body: bytes = b"x", method: bytes = b"GET"
    ) -> Any:
        """
        :return: The request, answered.
        """
        request: Any = DummyRequest([])
        request.method = method
        request.setETag = lambda tag: request.responseHeaders.setRawHeaders("ETag", [tag])
        write_response(request, Response(status=status, headers=headers, body=body))
        self.assertEqual(request.finished, 1)
        return request

    def test_headers(self) -> None:
        """
        The notebook's headers are sent, several of a name too.
        """
        headers = self.written(
            299,
            ("X-A", "1"),
            ("X-A", "2"),
            ("X-B", "ü"),
        ).responseHeaders
        self.assertEqual(headers.getRawHeaders("x-a"), ["1", "2"])
        self.assertEqual(headers.getRawHeaders("content-length"), ["1"])
        self.assertEqual(headers.getRawHeaders(b"x-b"), [b"\xfc"])

    def test_entity_tag(self) -> None:
        """
        A success gets one, unless the notebook has set it.
        """
        for status, headers, method, expected in (
            (200, (), b"GET", True),
            (200, (), b"HEAD", True),
            (200, (), b"POST", False),
            (201, (), b"GET", False),
        ):
            request = self.written(status, *headers, method=method)
            self.assertEqual(request.responseHeaders.hasHeader("etag"), expected)
        request = self.written(200, ("Etag", "mine"))
        self.assertEqual(request.responseHeaders.getRawHeaders("etag"), ["mine"])

    def test_no_body(self) -> None:
        """
        Some answers have none.
        """
        request = self.written(204, ("Content-Type", "text/plain"))
        self.assertEqual(request.written, [])
        self.assertFalse(request.responseHeaders.hasHeader("content-type"))
        request = self.written(200, method=b"HEAD")
        self.assertEqual(request.written, [])
        self.assertEqual(request.responseHeaders.getRawHeaders("content-length"), ["1"])

    def test_stream(self) -> None:
        """
        A stream begins with the first word, and holds the kernel while the client is slow.
        """
        held: list[bool] = []
        request: Any = DummyRequest([])
        request.registerProducer = lambda producer, streaming: None
        request.unregisterProducer = lambda: None
        stream = StreamedResponse(request, "text/event-stream", held.append)
        verifyObject(IPushProducer, stream)
        self.assertFalse(stream.has_begun)
        stream.write("")
        self.assertEqual((stream.has_begun, request.written), (True, []))
        stream.write("é")
        self.assertEqual(request.written, ["é".encode()])
        stream.pauseProducing()
        stream.resumeProducing()
        self.assertEqual(held, [True, False])
        stream.end()
        self.assertEqual(request.finished, 1)
        headers = request.responseHeaders
        self.assertEqual(headers.getRawHeaders("content-type"), ["text/event-stream"])
