"""
Outputs as a notebook shows them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.notebook_outputs import (
    NotebookOutputs,
    Output,
    OutputOptions,
    cut_text,
    resolve_overwrites,
    strip_ansi,
)
from kgd.protocol.messages import make_kernel_message


class NotebookOutputsTests(SynchronousTestCase):
    """
    Messages of a kernel, and what is shown of them.
    """

    def setUp(self) -> None:
        self.make()

    def make(self, max_size: int = 0, **options: Any) -> None:
        """
        Begin with no outputs.
        """
        self.outputs = NotebookOutputs(OutputOptions(**options), max_size)

    def receive(self, msg_type: str, **content: Any) -> Output | None:
        """
        The kernel publishes a message.
        """
        return self.outputs.received(
            make_kernel_message(msg_type, json.dumps(content).encode(), "s", 0.0)
        )

    def printed(self, text: str, name: str = "stdout") -> Output | None:
        """
        The code prints.
        """
        return self.receive("stream", name=name, text=text)

    def display(self, text: str, display_id: str = "", kind: str = "display_data") -> Output | None:
        """
        The code displays something.
        """
        transient = {"display_id": display_id} if display_id else {}
        return self.receive(kind, data={"text/plain": text}, metadata={}, transient=transient)

    def test_streams_are_joined(self) -> None:
        """
        What is printed in a row is one output, for each stream.
        """
        for text, name in (("a", "stdout"), ("b\n", "stdout"), ("e", "stderr"), ("c", "stdout")):
            self.printed(text, name)
        self.assertEqual(
            [(each["name"], each["text"]) for each in self.outputs.shown()],
            [("stdout", "ab\n"), ("stderr", "e"), ("stdout", "c")],
        )
        self.assertIsNone(self.printed(""))

    def test_all_kinds(self) -> None:
        """
        Results, displays and errors have the form of nbformat.
        """
        self.receive(
            "execute_result", data={"text/plain": "5"}, metadata={"a": 1}, execution_count=3
        )
        self.display("shown")
        self.receive("error", ename="E", evalue="v", traceback=["line"])
        self.assertEqual(
            self.outputs.shown(),
            [
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": "5"},
                    "metadata": {"a": 1},
                    "execution_count": 3,
                },
                {"output_type": "display_data", "data": {"text/plain": "shown"}, "metadata": {}},
                {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["line"]},
            ],
        )
        self.assertIsNone(self.receive("comm_open"))

    def test_clear_output(self) -> None:
        """
        It clears at once, or when the next output comes.
        """
        self.printed("old")
        self.receive("clear_output", wait=True)
        self.assertEqual(len(self.outputs.shown()), 1)
        self.printed("new")
        self.assertEqual([each["text"] for each in self.outputs.shown()], ["new"])
        self.receive("clear_output", wait=False)
        self.assertEqual(self.outputs.shown(), [])

    def test_updates(self) -> None:
        """
        A display is updated where it is, also by a later execution of the same kernel.
        """
        displays: dict[str, list[Output]] = {}
        self.outputs = first = NotebookOutputs(OutputOptions(), 0, displays)
        shown = self.display("before", "d")
        assert shown is not None
        self.assertEqual(shown["display_id"], "d")
        self.display("another")
        self.outputs = NotebookOutputs(OutputOptions(), 0, displays)
        self.display("after", "d", "update_display_data")
        self.assertEqual(
            [each["data"]["text/plain"] for each in first.shown()], ["after", "another"]
        )
        self.assertEqual(self.outputs.shown(), [])
        self.assertIsNone(self.display("nothing", "", "update_display_data"))

    def test_odd_messages(self) -> None:
        """
        What has other types than it should is shown as far as it can be.
        """
        for kind in ("stream", "display_data", "execute_result", "error", "clear_output"):
            for content in (b"[]", b"5", b"null", b'{"data": 5, "text": 7, "transient": []}', b"x"):
                self.outputs.received(make_kernel_message(kind, content, "s", 0.0))
        json.dumps(self.outputs.shown())

    def test_mime(self) -> None:
        """
        Of each display the best representation is kept; one without any is kept whole.
        """
        self.make(mime=("image/png", "text/html"))
        html = {"text/plain": "p", "text/html": "h"}
        self.receive("display_data", data=html, metadata={})
        self.receive("display_data", data={**html, "image/png": "aa"}, metadata={})
        self.receive("display_data", data={"text/plain": "p"}, metadata={})
        self.assertEqual(
            [each["data"] for each in self.outputs.shown()],
            [{"text/html": "h"}, {"image/png": "aa"}, {"text/plain": "p"}],
        )

    def test_long_text(self) -> None:
        """
        Of each text head and tail are kept, in little memory, and what is missing is said.
        """
        self.make(max_text_bytes=100)
        total = 0
        for number in range(10_000):
            text = f"line {number}\n"
            total += len(text)
            self.printed(text)
        self.display("y" * 1000)
        stream, display = self.outputs.shown()
        shown = stream["text"]
        self.assertTrue(shown.startswith("line 0\n"))
        self.assertTrue(shown.endswith("line 9999\n"))
        missing = int(shown.partition("[kgd: ")[2].split()[0])
        marker = len(f"\n[kgd: {missing} bytes cut]\n")
        self.assertEqual(missing + len(shown) - marker, total)
        self.assertIn("[kgd: 900 bytes cut]", display["data"]["text/plain"])

    def test_too_much(self) -> None:
        """
        What is more than is to be kept is told as it comes, and not kept.
        """
        self.make(max_size=300)
        self.display("a" * 50)
        self.display("b" * 400)
        self.assertEqual(self.display("c")["data"], {"text/plain": "c"})  # type: ignore[index]
        self.assertEqual([each["data"]["text/plain"][0] for each in self.outputs.shown()], ["a"])
        self.assertFalse(self.outputs.is_complete)

    def test_ansi(self) -> None:
        """
        Colours, links and titles of terminals are removed, wherever they are.
        """
        self.make(strip_ansi=True)
        self.printed("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x1b(Bend")
        self.receive("error", ename="E", evalue="\x1b[31mv", traceback=["\x1b[0;31mE\x1b[0m: v"])
        text, error = self.outputs.shown()
        self.assertEqual(text["text"], "red link end")
        self.assertEqual((error["evalue"], error["traceback"]), ("v", ["E: v"]))

    def test_overwriting(self) -> None:
        """
        Carriage returns and backspaces do what they do on a terminal.
        """
        for text, shown in (
            ("10%\r20%\rdone", "done"),
            ("longer\rabc", "abcger"),
            ("a\r\nb\r\n", "a\nb\n"),
            ("abc\b\bX", "aXc"),
            ("\b\bx", "x"),
            ("plain\ntext", "plain\ntext"),
        ):
            self.assertEqual(resolve_overwrites(text), shown, repr(text))
        for piece in ("0%", "\r50%", "\r100%\n"):
            self.printed(piece)
        self.assertEqual(self.outputs.shown()[0]["text"], "100%\n")

    @given(st.text(), st.integers(2, 50))
    def test_cut(self, text: str, limit: int) -> None:
        """
        What is kept is within the limit, and is the beginning and the end.
        """
        text = text.encode("utf-8", "replace").decode()
        cut = cut_text(text, limit)
        if len(text.encode()) <= limit:
            self.assertEqual(cut, text)
            return
        head, marker, tail = cut.rpartition("\n[kgd: ")
        self.assertTrue(marker)
        missing, _, tail = tail.partition(" bytes cut]\n")
        self.assertTrue(text.startswith(head) and text.endswith(tail))
        self.assertLessEqual(len(head.encode()) + len(tail.encode()), limit)
        self.assertEqual(int(missing) + len(head.encode()) + len(tail.encode()), len(text.encode()))

    @given(st.text())
    def test_no_escapes_left(self, text: str) -> None:
        """
        Text without the escape character stays as it is.
        """
        if "\x1b" not in text:
            self.assertEqual(strip_ansi(text), text)
