"""
The tools for files, in directories of the test.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from kgd.testing.kernels import MemoryKernel
from tests.support.agents import AgentTestCase


class FileTests(AgentTestCase):
    """
    One kernel with a working directory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.kernel_id = self.start()
        kernel = self.kernels.get(self.kernel_id)
        assert isinstance(kernel, MemoryKernel)
        self.kernel = kernel
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        kernel.working_directory = str(self.directory)
        described = self.stateless("tools/list").message["result"]["tools"]
        self.outputs = {tool["name"]: tool["outputSchema"] for tool in described}

    def done(self, name: str, /, **arguments: Any) -> Any:
        """
        :return: The result of a tool that has worked, whose structured content is what its schema
            says.
        """
        result = self.call(name, **{"kernel_id": self.kernel_id, **arguments})
        self.assertIs(result["isError"], False, result)
        Draft202012Validator(self.outputs[name]).validate(result["structuredContent"])
        self.assertEqual(result["structuredContent"]["kernel_id"], self.kernel_id)
        return result

    def failed(self, name: str, text: str, /, **arguments: Any) -> None:
        """
        A tool fails with a text for the model.
        """
        result = self.call(name, **{"kernel_id": self.kernel_id, **arguments})
        self.assertIs(result["isError"], True, result)
        self.assertIn(text, result["content"][0]["text"])

    def test_text(self) -> None:
        """
        Text is written and read as it is; absolute paths of the directory are understood.
        """
        text = "größer\n"
        size = len(text.encode())
        for path in ("a/b.txt", "./a/b.txt", f"{self.directory}/a/b.txt"):
            told = self.done("write_file", path=path, content=text)["structuredContent"]
            self.assertEqual((told["path"], told["size"]), ("a/b.txt", size))
            self.assertIs(told["created"], path == "a/b.txt")
            self.assertIs(told["new_kernel"], False)
            result = self.done("read_file", path=path)
            self.assertEqual(result["content"], [{"type": "text", "text": text}])
            told = result["structuredContent"]
            self.assertEqual((told["content"], told["encoding"]), (text, "utf-8"))
            self.assertEqual((told["size"], told["next_offset"]), (size, None))
        self.assertEqual((self.directory / "a" / "b.txt").read_text("utf-8"), text)

    def test_bytes(self) -> None:
        """
        What is not text is in base64, which may have line breaks.
        """
        for data in (b"\x00\x01", b"\xff\xfe", b"a\xe9b", b"caf\xe9"[-1:]):
            encoded = base64.encodebytes(data).decode()
            self.done("write_file", path="b", content=encoded, encoding="base64")
            self.assertEqual((self.directory / "b").read_bytes(), data)
            told = self.done("read_file", path="b")["structuredContent"]
            self.assertEqual(told["encoding"], "base64")
            self.assertEqual(base64.b64decode(told["content"]), data)
        self.failed("write_file", "base64", path="b", content="*", encoding="base64")
        self.failed("write_file", "encoding", path="b", content="*", encoding="latin-1")

    def test_pieces(self) -> None:
        """
        A long file is read piece by piece, and no character is torn apart.
        """
        text = "äöü€" * 10
        (self.directory / "long").write_text(text, "utf-8")
        for size in (4, 5, 6, 7):
            offset, read = 0, ""
            while offset is not None:
                result = self.done("read_file", path="long", offset=offset, max_bytes=size)
                read += result["structuredContent"]["content"]
                offset = result["structuredContent"]["next_offset"]
                if offset is not None:
                    self.assertIn(f"offset {offset}", result["content"][1]["text"])
            self.assertEqual(read, text)
        told = self.done("read_file", path="long", offset=1000)["structuredContent"]
        self.assertEqual((told["content"], told["next_offset"]), ("", None))
        self.failed("read_file", "offset", path="long", offset=-1)
        self.failed("read_file", "max_bytes", path="long", max_bytes=3)
        self.failed("read_file", "max_bytes", path="long", max_bytes=10**9)

    def test_image(self) -> None:
        """
        A picture is an image, not text.
        """
        (self.directory / "a.png").write_bytes(b"\x89PNG")
        result = self.done("read_file", path="a.png")
        encoded = base64.b64encode(b"\x89PNG").decode()
        expected = {"type": "image", "data": encoded, "mimeType": "image/png"}
        self.assertEqual(result["content"], [expected])
        self.assertEqual(result["structuredContent"]["content"], "")
        self.assertIsNone(result["structuredContent"]["next_offset"])

    def test_list(self) -> None:
        """
        A directory is listed, with what its entries are.
        """
        (self.directory / "a").mkdir()
        (self.directory / "a" / "b").write_text("123")
        for path in ("", ".", "./", str(self.directory), f"{self.directory}/"):
            told = self.done("list_files", path=path)["structuredContent"]
            self.assertEqual(
                [(each["name"], each["type"]) for each in told["entries"]], [("a", "directory")]
            )
            self.assertIs(told["complete"], True)
        told = self.done("list_files", path="a/")["structuredContent"]
        (entry,) = told["entries"]
        self.assertEqual((told["path"], entry["name"], entry["size"]), ("a", "b", 3))

    def test_confined(self) -> None:
        """
        No path and no link leads out, and no device is opened.
        """
        os.symlink("/etc", self.directory / "out")
        os.mkfifo(self.directory / "pipe")
        for path, text in (
            ("../x", "below"),
            ("a/../../x", "below"),
            ("/etc/passwd", "below"),
            ("a//b", "below"),
            ("a/./b", "below"),
            (f"{self.directory}/../x", "below"),
            (f"{self.directory}x", "below"),
            ("out/passwd", "leads out"),
            ("pipe", "pipe"),
        ):
            self.failed("read_file", text, path=path)
            self.failed("write_file", text, path=path, content="x")
            self.failed("list_files", text, path=path)
        self.assertFalse((self.directory.parent / "x").exists())
        self.failed("read_file", "no file", path="a\0b")

    def test_wrong_kind(self) -> None:
        """
        The model is told which tool is the right one.
        """
        (self.directory / "a").mkdir()
        (self.directory / "b").touch()
        self.failed("read_file", "list_files", path="a")
        self.failed("read_file", "list_files", path="")
        self.failed("list_files", "read_file", path="b")
        self.failed("write_file", "directory", path="a", content="x")
        self.failed("write_file", "name a file", path="", content="x")
        self.failed("read_file", "no file missing", path="missing")

    def test_limit(self) -> None:
        """
        A file may have so many bytes.
        """
        self.serve(max_file_size=3)
        self.failed("write_file", "3 bytes", path="a", content="1234")

    def test_kernels(self) -> None:
        """
        Writing may be the first thing that a client does, reading may not.
        """
        for name in ("read_file", "list_files"):
            result = self.call(name, path="a")
            self.assertIs(result["isError"], True)
            self.assertIn("kernel_id", result["content"][0]["text"])
        session = self.initialize()
        self.assertIs(self.call("list_files", session)["isError"], True)
        result = self.call("write_file", path="../a", content="x")
        self.assertIs(result["isError"], True)
        self.assertEqual(self.kernel_ids(), [self.kernel_id])
        result = self.call("write_file", session, path="a", content="x")
        self.assertIn("not on the gateway's machine", result["content"][0]["text"])
        self.assertEqual(len(self.kernel_ids()), 2)
