"""
``/api/kernels/<kernel_id>/files`` in memory, on real files.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from kgd.testing.web import Response, read_response
from kgd.web.body_sink import MAX_WAITING
from kgd.web.downloads import PIECE, media_type_of
from kgd.web.server import site
from tests.support.api import APITestCase

PNG = b"\x89PNG\r\n"


class FilesCase(APITestCase):
    """
    A kernel with a working directory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.open_root()

    def open_root(self, **settings: Any) -> None:
        """
        Begin anew, with these settings and a few files.
        """
        self.serve(**settings)
        self.root = Path(self.mktemp()).resolve()
        (self.root / "sub").mkdir(parents=True)
        (self.root / "a.txt").write_bytes(b"0123456789")
        self.kernel_id = self.start()
        self.kernels.get(self.kernel_id).working_directory = str(self.root)
        self.files = f"/api/kernels/{self.kernel_id}/files"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """
        Make a request for a file.
        """
        return self.request(method, f"{self.files}/{path}", body, **headers)


class ReadingTests(FilesCase):
    """
    ``GET`` and ``HEAD``.
    """

    def test_get(self) -> None:
        """
        A file comes as it is, with all that a client needs to keep it, and to keep it harmless.
        """
        response = self.ask("GET", "a.txt")
        self.assertEqual((response.code, response.body), (200, b"0123456789"))
        headers = response.headers
        self.assertEqual(headers["content-type"], "text/plain")
        self.assertEqual(headers["content-length"], "10")
        self.assertEqual(headers["accept-ranges"], "bytes")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["content-security-policy"], "sandbox")
        self.assertIn("GMT", headers["last-modified"])
        self.assertRegex(headers["etag"], r'\A"[\w-]+"\Z')
        head = self.ask("HEAD", "a.txt")
        self.assertEqual((head.code, head.body), (200, b""))
        for name in ("content-type", "content-length", "etag", "last-modified"):
            self.assertEqual(head.headers[name], headers[name])

    def test_names(self) -> None:
        """
        Any name that a file can have is found.
        """
        for name, path in (
            ("a b.txt", "a%20b.txt"),
            ("\xe4.txt", "%C3%A4.txt"),
            ("a%b", "a%25b"),
            ("a#b?c", "a%23b%3Fc"),
            ("new\nline", "new%0Aline"),
            ("...", "..."),
        ):
            (self.root / name).write_bytes(name.encode())
            self.assertEqual(self.ask("GET", path).body, name.encode())
        listing = self.request("GET", self.files).json
        names = [each["name"] for each in listing["entries"]]
        self.assertEqual(names, sorted(names))
        self.assertIn("new\nline", names)

    def test_listing(self) -> None:
        """
        A directory comes as JSON, and has an ``ETag``, too.
        """
        (self.root / "sub" / "b").write_bytes(b"xy")
        (self.root / "sub" / "out").symlink_to("/")
        response = self.ask("GET", "sub")
        self.assertEqual(response.code, 200)
        times = {each.pop("modified")[-1] for each in response.json["entries"]}
        listed = response.json
        for each in listed["entries"]:
            del each["modified"]
        self.assertEqual(times, {"Z"})
        self.assertEqual(
            listed,
            {
                "path": "sub",
                "type": "directory",
                "entries": [
                    {"name": "b", "type": "file", "size": 2},
                    {"name": "out", "type": "link", "size": 1},
                ],
                "complete": True,
            },
        )
        again = self.ask("GET", "sub", if_none_match=response.headers["etag"])
        self.assertEqual((again.code, again.body), (304, b""))

    def test_ranges(self) -> None:
        """
        A part of a file, if it has such a part; several at once get all of it.
        """
        for wanted, content, shown in (
            ("bytes=0-3", b"0123", "bytes 0-3/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-2", b"89", "bytes 8-9/10"),
            ("bytes=-20", b"0123456789", "bytes 0-9/10"),
            ("bytes=5-99", b"56789", "bytes 5-9/10"),
            ("bytes=9-9", b"9", "bytes 9-9/10"),
        ):
            response = self.ask("GET", "a.txt", range=wanted)
            self.assertEqual((response.code, response.body), (206, content), wanted)
            self.assertEqual(response.headers["content-range"], shown)
            self.assertEqual(response.headers["content-length"], str(len(content)))
        for wanted in ("bytes=0-1,3-4", "bytes=3-1", "lines=1-2", "bytes=", "bytes=-", "x"):
            response = self.ask("GET", "a.txt", range=wanted)
            self.assertEqual((response.code, response.body), (200, b"0123456789"), wanted)
        for wanted in ("bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={'9' * 18}-"):
            response = self.ask("GET", "a.txt", range=wanted)
            self.assertError(response, 416)
            self.assertEqual(response.headers["content-range"], "bytes */10")
        self.assertEqual(self.ask("HEAD", "a.txt", range="bytes=0-3").code, 200)
        (self.root / "empty").touch()
        self.assertEqual(self.ask("GET", "empty").body, b"")
        self.assertError(self.ask("GET", "empty", range="bytes=0-"), 416)

    def test_conditions(self) -> None:
        """
        What the client has is not sent again, and a part belongs to what it has.
        """
        tag = self.ask("GET", "a.txt").headers["etag"]
        modified = self.ask("GET", "a.txt").headers["last-modified"]
        for headers in (
            {"if_none_match": tag},
            {"if_none_match": f'"x", W/{tag}'},
            {"if_none_match": "*"},
            {"if_modified_since": modified},
        ):
            for method in ("GET", "HEAD"):
                response = self.ask(method, "a.txt", **headers)
                self.assertEqual((response.code, response.body), (304, b""), headers)
                self.assertEqual(response.headers["etag"], tag)
        for headers in (
            {"if_none_match": '"x"', "if_modified_since": modified},
            {"if_modified_since": "Thu, 01 Jan 1970 00:00:10 GMT"},
            {"if_modified_since": "yesterday"},
        ):
            self.assertEqual(self.ask("GET", "a.txt", **headers).code, 200, headers)
        for condition, code in ((tag, 206), (f"W/{tag}", 200), ('"x"', 200), (modified, 200)):
            response = self.ask("GET", "a.txt", range="bytes=0-3", if_range=condition)
            self.assertEqual(response.code, code, condition)
        (self.root / "a.txt").write_bytes(b"abcdefghij")
        self.assertEqual(self.ask("GET", "a.txt", if_none_match=tag).code, 200)

    def test_media_types(self) -> None:
        """
        The name tells the media type, whatever is installed.
        """
        for name, kind in (
            ("a.png", "image/png"),
            ("a.html", "text/html"),
            ("a.ipynb", "application/x-ipynb+json"),
            ("a.csv", "text/csv"),
            ("a.tar.gz", "application/octet-stream"),
            ("a", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
        ):
            self.assertEqual(media_type_of(name), kind, name)

    def test_not_there(self) -> None:
        """
        Each refusal says what is wrong; no path leads out of the directory.
        """
        (self.root / "out").symlink_to("/etc")
        os.mkfifo(self.root / "pipe")
        for path, code, says in (
            ("no", 404, "no in the kernel's working directory"),
            ("a.txt/x", 404, "a.txt/x"),
            ("%00", 404, "working directory"),
            ("..", 404, ""),
            ("sub/..", 404, ""),
            ("%2e%2e/x", 404, ""),
            ("..%2fx", 404, ""),
            ("sub/", 404, ""),
            ("", 404, ""),
            ("sub//a", 404, ""),
            ("out/passwd", 403, "leads out"),
            ("out", 403, "leads out"),
            ("pipe", 403, "pipe"),
            ("x" * 300, 400, "shorter"),
        ):
            for method in ("GET", "PUT", "DELETE"):
                if (method, path) in (("PUT", "no"), ("PUT", "out"), ("DELETE", "out")):
                    continue
                if (method, path) in (("PUT", "a.txt/x"), ("DELETE", "pipe")):
                    continue
                response = self.ask(method, path, b"" if method == "PUT" else None)
                self.assertError(response, code)
                self.assertIn(says, response.json["message"], (method, path))

    def test_elsewhere(self) -> None:
        """
        A kernel of another machine has no files here, and a directory may be gone.
        """
        self.kernels.get(self.kernel_id).working_directory = ""
        self.assertError(self.ask("GET", "a.txt"), 501)
        self.kernels.get(self.kernel_id).working_directory = str(self.root / "gone")
        self.assertError(self.request("GET", self.files), 404)
        self.assertError(self.ask("PUT", "a", b""), 404)

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is not the client's fault.
        """
        self.patch(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
        response = self.ask("GET", "a.txt")
        self.assertError(response, 503, "The file cannot be read: I/O error")
        self.assertIn("retry-after", response.headers)


class StreamingTests(FilesCase):
    """
    Large files.
    """

    def begin(self, path: str) -> Any:
        """
        Ask for a file, whose response need not be complete.

        :return: The connection.
        """
        protocol = self.client.connect()
        protocol.dataReceived(f"GET {self.files}/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return protocol

    def test_pieces(self) -> None:
        """
        A large file is read in pieces, as fast as the client reads.
        """
        content = os.urandom(3 * PIECE + 5)
        (self.root / "big").write_bytes(content)
        protocol = self.client.connect()
        transport: Any = self.client.transport
        write = transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if len(data) >= PIECE and transport.producer is not None:
                transport.producer.pauseProducing()

        transport.write = write_and_pause
        protocol.dataReceived(f"GET {self.files}/big HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        sizes = []
        for _ in range(3):
            sizes.append(len(transport.value()) // PIECE)
            transport.producer.resumeProducing()
        self.assertEqual(sizes, [1, 2, 3])
        self.assertEqual(read_response(transport.value()).body, content)
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_the_client_leaves(self) -> None:
        """
        A client that leaves in the middle leaves nothing behind.
        """
        (self.root / "big").write_bytes(bytes(3 * PIECE))
        before = len(os.listdir("/proc/self/fd"))
        protocol = self.client.connect()
        transport: Any = self.client.transport
        write = transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if len(data) >= PIECE:
                transport.producer.pauseProducing()

        transport.write = write_and_pause
        protocol.dataReceived(f"GET {self.files}/big HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_the_file_shrinks(self) -> None:
        """
        A response that cannot be completed ends early, so that nobody takes it for the file.
        """
        (self.root / "big").write_bytes(bytes(3 * PIECE))
        pread = os.pread

        def shrinking(descriptor: int, size: int, offset: int) -> bytes:
            return b"" if offset else pread(descriptor, size, offset)

        self.patch(os, "pread", shrinking)
        protocol = self.begin("big")
        self.assertTrue(self.client.transport.disconnecting)
        response = read_response(self.client.transport.value())
        self.assertEqual(response.headers["content-length"], str(3 * PIECE))
        self.assertEqual(len(response.body), PIECE)
        protocol.connectionLost(Failure(ConnectionDone()))


class WritingTests(FilesCase):
    """
    ``PUT`` and ``DELETE``.
    """

    def test_put(self) -> None:
        """
        A new file is 201, a changed one 200; either comes with the tag that it has from now on.
        """
        response = self.ask("PUT", "b%20c/d.png", PNG, content_type="image/png")
        self.assertEqual(response.code, 201)
        self.assertEqual(response.headers["location"], f"{self.files}/b%20c/d.png")
        self.assertEqual({**response.json, "modified": ""}, {
            "path": "b c/d.png", "type": "file", "size": len(PNG), "modified": "",
        })  # fmt: skip
        read = self.ask("GET", "b%20c/d.png")
        self.assertEqual((read.body, read.headers["etag"]), (PNG, response.headers["etag"]))
        again = self.ask("PUT", "b%20c/d.png", b"")
        self.assertEqual((again.code, again.json["size"]), (200, 0))
        self.assertNotEqual(again.headers["etag"], response.headers["etag"])
        self.assertEqual(self.ask("PUT", "nothing").code, 201)
        self.assertEqual(os.listdir(self.root / "b c"), ["d.png"])

    def test_base_url(self) -> None:
        """
        The location has the base URL.
        """
        self.serve(base_url="/gate")
        kernel_id = self.request("POST", "/gate/api/kernels").json["id"]
        self.kernels.get(kernel_id).working_directory = str(self.root)
        response = self.request("PUT", f"/gate/api/kernels/{kernel_id}/files/b", b"")
        location = f"/gate/api/kernels/{kernel_id}/files/b"
        self.assertEqual(response.headers["location"], location)

    def test_conditions(self) -> None:
        """
        A client that has read a file changes that one and no other; one that makes a file changes
        none.
        """
        tag = self.ask("GET", "a.txt").headers["etag"]
        for method in ("PUT", "DELETE"):
            for headers, path, says in (
                ({"if_match": '"x"'}, "a.txt", "If-Match"),
                ({"if_match": "*"}, "no", "If-Match"),
                ({"if_match": tag}, "no", "If-Match"),
                ({"if_none_match": "*"}, "a.txt", "If-None-Match"),
                ({"if_none_match": tag}, "a.txt", "If-None-Match"),
            ):
                body = b"new" if method == "PUT" else None
                response = self.ask(method, path, body, **headers)
                self.assertError(response, 412)
                self.assertIn(says, response.json["message"])
        self.assertEqual((self.root / "a.txt").read_bytes(), b"0123456789")
        changed = self.ask("PUT", "a.txt", b"new", if_match=f'"x", {tag}')
        self.assertEqual(changed.code, 200)
        self.assertError(self.ask("PUT", "a.txt", b"newer", if_match=tag), 412)
        self.assertEqual(self.ask("PUT", "new", b"", if_none_match="*").code, 201)
        self.assertError(self.ask("PUT", "new", b"", if_none_match="*"), 412)
        tag = changed.headers["etag"]
        self.assertEqual(self.ask("DELETE", "a.txt", if_match=tag).code, 204)

    def test_delete(self) -> None:
        """
        Files go, and empty directories; once.
        """
        (self.root / "sub" / "b").touch()
        self.assertError(self.ask("DELETE", "sub"), 409)
        for path in ("sub/b", "sub", "a.txt"):
            response = self.ask("DELETE", path)
            self.assertEqual((response.code, response.body), (204, b""))
            self.assertError(self.ask("DELETE", path), 404)
        self.assertEqual(os.listdir(self.root), [])

    def test_conflicts(self) -> None:
        """
        What is a directory is no file, and the other way round; the root is neither.
        """
        for path, says in (("sub", "is a directory"), ("a.txt/x", "part of the path is a file")):
            response = self.ask("PUT", path, b"")
            self.assertError(response, 409)
            self.assertIn(says, response.json["message"])
        for method in ("PUT", "DELETE", "POST"):
            response = self.request(method, self.files, b"")
            self.assertError(response, 405)
            self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")
        response = self.ask("POST", "a.txt", b"")
        self.assertError(response, 405)
        self.assertEqual(response.headers["allow"], "DELETE, GET, HEAD, OPTIONS, PUT")

    def test_too_large(self) -> None:
        """
        A file may have so many bytes; a body, too.
        """
        self.open_root(max_file_size=5)
        self.assertEqual(self.ask("PUT", "b", b"12345").code, 201)
        response = self.ask("PUT", "b", b"123456")
        self.assertError(response, 413)
        self.assertIn("--max-file-size", response.json["message"])
        self.assertEqual(sorted(os.listdir(self.root)), ["a.txt", "b", "sub"])
        self.open_root(max_file_size=0, max_body_size=5)
        self.assertEqual(self.ask("PUT", "b", b"12345").code, 201)
        self.assertEqual(self.ask("PUT", "b", b"123456").code, 200)

    def test_of_another_server(self) -> None:
        """
        Where the gateway is mounted, the application's server may have the body in a file.
        """
        self.patch(site, "BytesIO", tempfile.TemporaryFile)
        self.assertEqual(self.ask("PUT", "b", b"content").code, 201)
        self.assertEqual((self.root / "b").read_bytes(), b"content")

    def test_parts(self) -> None:
        """
        A part of a file must not be taken for all of it.
        """
        response = self.ask("PUT", "a.txt", b"x", content_range="bytes 0-0/10")
        self.assertError(response, 400)
        self.assertIn("Content-Range", response.json["message"])
        self.assertEqual((self.root / "a.txt").read_bytes(), b"0123456789")


class UploadTests(FilesCase):
    """
    Files that are written while they arrive.
    """

    def begin(self, path: str, *headers: str) -> Any:
        """
        Send the head of a request.

        :return: The connection.
        """
        protocol = self.client.connect()
        head = [f"PUT {self.files}/{path} HTTP/1.1", "Host: a", *headers, "", ""]
        protocol.dataReceived("\r\n".join(head).encode())
        return protocol

    def response(self) -> Response:
        """
        :return: What has been answered.
        """
        transport: Any = self.client.transport
        return read_response(transport.value())

    def end(self, protocol: Any) -> None:
        """
        Let the client leave.
        """
        protocol.connectionLost(Failure(ConnectionDone()))

    def unfinished(self) -> list[int]:
        """
        The sizes of files that are being written.
        """
        return [path.stat().st_size for path in self.root.rglob(".kgd-*")]

    def test_arrives_in_pieces(self) -> None:
        """
        A large file is on disk before all of it has arrived, and in its place afterwards; a
        connection takes the next request then.
        """
        piece = os.urandom(50_000)
        for length, frame in (
            ("Content-Length: 200000", lambda data: data),
            ("Transfer-Encoding: chunked", lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
        ):
            protocol = self.begin("new/big", length)
            for count in range(1, 5):
                self.assertFalse((self.root / "new" / "big").exists())
                protocol.dataReceived(frame(piece))
                if count < 4:
                    self.assertEqual(self.unfinished(), [count * len(piece)])
            if "chunked" in length:
                protocol.dataReceived(b"0\r\n\r\n")
            response = self.response()
            self.assertEqual((response.code, response.json["size"]), (201, 200_000))
            self.assertEqual((self.root / "new" / "big").read_bytes(), 4 * piece)
            self.assertEqual(self.unfinished(), [])
            transport: Any = self.client.transport
            transport.clear()
            protocol.dataReceived(f"GET {self.files}/a.txt HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            # Other connections have their turn before.
            self.client.clock.advance(0)
            self.assertEqual(self.response().body, b"0123456789")
            self.end(protocol)
            (self.root / "new" / "big").unlink()

    def test_larger_than_bodies(self) -> None:
        """
        ``--max-body-size`` is for what is in memory; ``--max-file-size`` is exact, also for
        chunks.
        """
        self.open_root(max_file_size=200_000, max_body_size=10)
        self.assertEqual(self.ask("PUT", "b", bytes(200_000)).code, 201)
        response = self.ask("PUT", "b", bytes(200_001))
        self.assertError(response, 413)
        self.assertIn("--max-file-size", response.json["message"])
        protocol = self.begin("c", "Transfer-Encoding: chunked")
        protocol.dataReceived(b"30d41\r\n" + bytes(200_001))
        self.assertError(self.response(), 413)
        self.end(protocol)
        self.assertEqual(self.unfinished(), [])
        self.assertEqual(sorted(os.listdir(self.root)), ["a.txt", "b", "sub"])
        self.assertError(self.request("POST", "/api/kernels", bytes(11)), 413)

    def test_refused_at_once(self) -> None:
        """
        What is wrong with a large file is said before the client sends it, and before it is told
        to go on.
        """
        unknown = self.files.replace(self.kernel_id, "1-2-3-4-5")
        for path, header, code in (
            ("sub", "", 409),
            ("a.txt/x", "", 409),
            ("a.txt", "If-None-Match: *", 412),
            ("no/no", 'If-Match: "x"', 412),
            ("a.txt", "Content-Range: bytes 0-1/2", 400),
            ("a.txt", "Content-Encoding: gzip", 415),
            ("", "", 404),
        ):
            headers = ["Content-Length: 100000", "Expect: 100-continue", *filter(None, [header])]
            protocol = self.begin(path, *headers)
            self.assertError(self.response(), code)
            self.end(protocol)
        self.files, files = unknown, self.files
        protocol = self.begin("a", "Content-Length: 100000")
        self.assertError(self.response(), 404)
        self.end(protocol)
        self.files = files
        self.assertEqual(sorted(os.listdir(self.root)), ["a.txt", "sub"])
        protocol = self.begin("a.txt", "Content-Length: 100000", "Expect: 100-continue")
        transport: Any = self.client.transport
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 100 "))
        self.end(protocol)

    def test_the_client_leaves(self) -> None:
        """
        What is not complete when the client leaves is removed, and nothing stays open.
        """
        before = len(os.listdir("/proc/self/fd"))
        protocol = self.begin("a.txt", "Content-Length: 100000")
        protocol.dataReceived(bytes(50_000))
        self.assertEqual(self.unfinished(), [50_000])
        self.end(protocol)
        self.assertEqual(self.unfinished(), [])
        self.assertEqual((self.root / "a.txt").read_bytes(), b"0123456789")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_no_room(self) -> None:
        """
        When the disk is full, the rest need not be sent.
        """
        protocol = self.begin("a.txt", "Content-Length: 100000")
        protocol.dataReceived(bytes(10))

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "write", full)
        protocol.dataReceived(bytes(10))
        response = self.response()
        self.assertError(response, 507)
        self.assertEqual(response.headers["connection"], "close")
        protocol.dataReceived(bytes(10))
        self.end(protocol)
        self.assertEqual(self.unfinished(), [])
        self.assertEqual(self.ask("PUT", "b", b"x").code, 507)
        self.assertEqual(self.unfinished(), [])

    def test_changed_meanwhile(self) -> None:
        """
        A file that somebody else changes while the new one arrives stays.
        """
        tag = self.ask("GET", "a.txt").headers["etag"]
        protocol = self.begin("a.txt", "Content-Length: 100000", f"If-Match: {tag}")
        (self.root / "a.txt").write_bytes(b"theirs")
        protocol.dataReceived(bytes(100_000))
        self.assertError(self.response(), 412)
        self.end(protocol)
        self.assertEqual((self.root / "a.txt").read_bytes(), b"theirs")
        self.assertEqual(self.unfinished(), [])

    def test_a_slow_disk(self) -> None:
        """
        A client that sends faster than the disk writes has to wait, and what waits is bounded.
        """
        threads = self.clock
        waiting: list[Any] = []

        def later(done: Any, function: Any, *args: Any, **named: Any) -> None:
            waiting.append(lambda: call(done, function, *args, **named))

        call = threads.callInThreadWithCallback
        self.patch(threads, "callInThreadWithCallback", later)
        protocol = self.begin("big", f"Content-Length: {3 * MAX_WAITING}")
        transport: Any = self.client.transport
        protocol.dataReceived(bytes(MAX_WAITING))
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(bytes(1))
        self.assertEqual(transport.producerState, "paused")
        waiting.pop(0)()
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(bytes(2 * MAX_WAITING - 1))
        self.assertEqual(transport.producerState, "paused")
        while waiting:
            waiting.pop(0)()
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual((self.root / "big").stat().st_size, 3 * MAX_WAITING)
        self.assertEqual(self.response().code, 201)
        self.end(protocol)

    def test_leaves_while_a_thread_works(self) -> None:
        """
        The file goes when the thread is done with it.
        """
        waiting: list[Any] = []
        call = self.clock.callInThreadWithCallback

        def later(*args: Any, **named: Any) -> None:
            waiting.append(lambda: call(*args, **named))

        self.patch(self.clock, "callInThreadWithCallback", later)
        for steps in range(4):
            protocol = self.begin("big", "Content-Length: 100000")
            protocol.dataReceived(bytes(100_000))
            for _ in range(steps):
                if waiting:
                    waiting.pop(0)()
            self.end(protocol)
            while waiting:
                waiting.pop(0)()
            self.assertEqual(self.unfinished(), [], steps)
            self.assertEqual((self.root / "big").exists(), steps == 3)


class PrivateDirectoryTests(APITestCase):
    """
    ``workdir`` in ``POST /api/kernels``.
    """

    def test_wanted(self) -> None:
        """
        A private directory is asked for by name, and nothing is the same as ``shared``.
        """
        for body, is_private in (
            ({}, False),
            ({"workdir": None}, False),
            ({"workdir": "shared", "path": "a"}, False),
            ({"workdir": "private"}, True),
            ({"workdir": "private", "path": ""}, True),
        ):
            kernel = self.kernels.get(self.start(body))
            self.assertIs(kernel.request.has_private_directory, is_private)

    def test_wrong(self) -> None:
        """
        Anything else is refused, with the name of the field and what it takes.
        """
        for body, says in (
            ({"workdir": "privat"}, ("workdir", "shared", "private")),
            ({"workdir": ""}, ("workdir", "shared", "private")),
            ({"workdir": True}, ("workdir",)),
            ({"workdir": "private", "path": "a"}, ("workdir", "path")),
        ):
            response = self.request("POST", "/api/kernels", body)
            self.assertError(response, 400)
            for word in says:
                self.assertIn(word, response.json["message"], body)
        self.assertEqual(list(self.kernels.list()), [])
