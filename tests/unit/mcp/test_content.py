"""
What agents get of code that has run.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from kgd.mcp.content import CodeResult, text_of
from kgd.mcp.schemas import schema_of
from tests.support.agents import AgentTestCase

PNG = "iVBORw0KGgo="


class CodeTests(AgentTestCase):
    """
    Results of ``run_code``.
    """

    def run_code(self, *messages: tuple[str, dict[str, Any]], **reply: Any) -> Any:
        """
        :return: The result of code that publishes these messages.
        """
        kernel_id = self.start()
        arguments = {"code": "x", "kernel_id": kernel_id}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        script = self.script(kernel_id)
        request = script.take()
        for msg_type, content in messages:
            script.say(request, msg_type, **content)
        script.end(request, **{"execution_count": 3, **reply})
        result = exchange.message["result"]
        Draft202012Validator(schema_of(CodeResult)).validate(result["structuredContent"])
        return result

    def test_nothing(self) -> None:
        """
        A model is told that there is no output, rather than nothing.
        """
        result = self.run_code()
        self.assertEqual(result["content"], [{"type": "text", "text": "[kgd: no output]"}])
        structured = result["structuredContent"]
        self.assertEqual((structured["status"], structured["execution_count"]), ("ok", 3))
        self.assertIsNone(structured["result"])

    def test_text(self) -> None:
        """
        Text is in the order in which it came, and sorted by its kind; colours are gone.
        """
        result = self.run_code(
            ("stream", {"name": "stdout", "text": "a\x1b[31mb\x1b[0m\n"}),
            ("stream", {"name": "stderr", "text": "c"}),
            ("display_data", {"data": {"text/plain": "d", "text/html": "<b>d</b>"}}),
            ("stream", {"name": "stdout", "text": "e\n"}),
            ("execute_result", {"data": {"text/plain": "f"}, "execution_count": 3}),
        )
        self.assertEqual(result["content"], [{"type": "text", "text": "ab\nc\nd\ne\nf"}])
        structured = result["structuredContent"]
        self.assertEqual((structured["stdout"], structured["stderr"]), ("ab\ne\n", "c"))
        self.assertEqual((structured["displays"], structured["result"]), (["d"], "f"))

    def test_images(self) -> None:
        """
        Pictures are images, among the text, with base64 in one line; what else a picture has to say
        is left out.
        """
        result = self.run_code(
            ("stream", {"name": "stdout", "text": "a\n"}),
            ("display_data", {"data": {"image/png": f"{PNG[:4]}\n{PNG[4:]}\n", "text/plain": "P"}}),
            ("stream", {"name": "stdout", "text": "b\n"}),
            ("execute_result", {"data": {"image/jpeg": PNG, "text/plain": "Q"}}),
        )
        self.assertEqual(
            result["content"],
            [
                {"type": "text", "text": "a\n"},
                {"type": "image", "data": PNG, "mimeType": "image/png"},
                {"type": "text", "text": "b\n"},
                {"type": "image", "data": PNG, "mimeType": "image/jpeg"},
            ],
        )
        structured = result["structuredContent"]
        self.assertEqual((structured["images"], structured["displays"]), (2, []))
        self.assertEqual(structured["result"], "Q")

    def test_odd_displays(self) -> None:
        """
        A picture that is no text, and a display without anything that can be shown.
        """
        result = self.run_code(
            ("display_data", {"data": {"image/png": [PNG]}}),
            ("display_data", {"data": {}}),
            ("display_data", {"data": {"application/x-unknown": "x"}}),
        )
        self.assertEqual(result["content"], [{"type": "text", "text": "[kgd: no output]"}])

    def test_error(self) -> None:
        """
        The traceback is text, once, and the fields say the same.
        """
        error = {"ename": "E", "evalue": "v", "traceback": ["\x1b[31mone\x1b[0m", "two"]}
        for messages in (((("error", error),)), ()):
            result = self.run_code(*messages, status="error", **error)
            self.assertIs(result["isError"], True)
            self.assertEqual(result["content"], [{"type": "text", "text": "one\ntwo"}])
            structured = result["structuredContent"]
            self.assertEqual(structured["status"], "error")
            expected = {"ename": "E", "evalue": "v", "traceback": ["one", "two"]}
            self.assertEqual(structured["error"], expected)
        result = self.run_code(status="error", ename="E", evalue="v")
        self.assertEqual(result["content"], [{"type": "text", "text": "E: v"}])

    def test_timeout(self) -> None:
        """
        Code that takes too long is interrupted, then its kernel is restarted; the model is told.
        """
        kernel_id = self.start()
        arguments = {"code": "x", "kernel_id": kernel_id, "timeout": 2}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        script = self.script(kernel_id)
        request = script.take()
        self.clock.advance(2)
        self.assertEqual(self.kernels.interrupted, [kernel_id])
        script.fail(request, "KeyboardInterrupt", "")
        result = exchange.message["result"]
        self.assertIs(result["isError"], True)
        self.assertIn("did not end within 2 s", result["content"][0]["text"])
        structured = result["structuredContent"]
        self.assertEqual((structured["status"], structured["ended_by"]), ("timeout", "interrupt"))
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        self.clock.advance(2)
        self.clock.advance(self.settings.interrupt_grace)
        self.assertEqual(self.kernels.restarted, [kernel_id])
        script.fail(script.take(), "KernelRestarted", "it was restarted")
        result = exchange.message["result"]
        self.assertIn("restarted, its variables are gone", result["content"][0]["text"])
        self.assertEqual(result["structuredContent"]["ended_by"], "restart")

    def test_cut(self) -> None:
        """
        Long text is cut, and that is said.
        """
        kernel_id = self.start()
        arguments = {"code": "x", "kernel_id": kernel_id, "max_text_bytes": 10}
        exchange = self.stateless("tools/call", name="run_code", arguments=arguments)
        script = self.script(kernel_id)
        request = script.take()
        script.say(request, "stream", name="stdout", text="a" * 100)
        script.end(request)
        text = exchange.message["result"]["content"][0]["text"]
        self.assertEqual(text, "aaaaa\n[kgd: 90 bytes cut]\naaaaa")


class TextTests(SynchronousTestCase):
    """
    Displays as text.
    """

    def test_choice(self) -> None:
        """
        What a model reads best is taken.
        """
        for data, text in (
            ({}, None),
            ({"application/pdf": "x"}, None),
            ({"text/html": "h"}, "h"),
            ({"text/html": "h", "text/plain": "p"}, "p"),
            ({"text/markdown": "m", "text/plain": "p"}, "m"),
            ({"application/json": {"a": [1]}}, '{"a":[1]}'),
            ({"image/svg+xml": "<svg/>"}, "<svg/>"),
        ):
            self.assertEqual(text_of(data), text)
