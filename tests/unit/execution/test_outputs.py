"""
Outputs that kernels send, also those that are hardly JSON.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.outputs import OutputCollector
from kgd.protocol.outputs import RESPONSE_TYPE, Failed, Outputs
from tests.support.jupyter_messages import DEEP, message


class OutputCollectorTests(SynchronousTestCase):
    """
    The outputs of one execution.
    """

    def outputs(self, msg_type: str, content: object) -> Outputs:
        """
        :return: What one message gives.
        """
        collector = OutputCollector()
        collector.received(message(msg_type, content))
        return collector.outputs()

    def test_size(self) -> None:
        """
        Displays count even if they are replaced; what is passed on at once does not.
        """
        seen: list[str] = []
        for collector, expected in (
            (OutputCollector(), [True, True, True]),
            (OutputCollector(seen.append), [False, True, True]),
        ):
            grown = []
            for msg_type, content in (
                ("stream", {"text": "x"}),
                ("display_data", {"data": {"text/plain": "1"}}),
                ("display_data", {"data": {"text/plain": "2"}}),
            ):
                before = collector.size
                collector.received(message(msg_type, content))
                grown.append(collector.size > before)
            self.assertEqual(grown, expected)
        self.assertEqual(seen, ["x"])

    def test_error_and_response(self) -> None:
        """
        The error of the execution becomes a part of its outputs; how to respond is kept apart.
        """
        collector = OutputCollector()
        collector.received(message("display_data", {"data": {RESPONSE_TYPE: {"status": 201}}}))
        error = Failed(ename="E", evalue="v")
        self.assertEqual(collector.outputs(error), Outputs(response={"status": 201}, error=error))

    def test_nested_too_deeply(self) -> None:
        """
        What is nested too deeply to be read is nothing.
        """
        content = b'{"data": {"text/plain": "x"}, "x": ' + DEEP + b"}"
        self.assertEqual(self.outputs("stream", content), Outputs())
        self.assertEqual(self.outputs("execute_result", content).result, {})

    def test_print(self) -> None:
        """
        Whatever is printed arrives, but for what is not a character.
        """
        for content, expected in (
            (rb'{"name": "stdout", "text": "a \ud800 b"}', "a ? b"),
            (b'{"name": "stdout", "text": "a \xff b"}', "a \ufffd b"),
            (rb'{"name": "stdout", "text": "a \ud83d\ude00 b", "x": NaN}', "a \U0001f600 b"),
            (b'{"name": "stderr", "text": "a \xff b"}', ""),
            (b'{"name": "stdout", "text": 1, "x": NaN}', ""),
            (b"no", ""),
        ):
            self.assertEqual(self.outputs("stream", content).stdout, expected)

    def test_result(self) -> None:
        """
        So does what is displayed.
        """
        bundle = rb'{"data": {"text/plain": "\ud800", "application/json": [NaN, "' + b'\xff"]}}'
        shown = self.outputs("execute_result", bundle).result
        assert shown is not None
        self.assertEqual(shown["text/plain"], "?")
        self.assertEqual(shown["application/json"][1], "\ufffd")
        self.assertIsNot(shown["application/json"][0], None)
