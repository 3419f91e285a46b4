"""
Errors whose text clients must not see.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from kgd.relay.redaction import Redactor
from tests.support.jupyter_messages import DEEP, content_of, message


class RedactionTests(SynchronousTestCase):
    """
    Errors that clients must not see.
    """

    def setUp(self) -> None:
        self.redactor = Redactor("hidden")

    def test_error(self) -> None:
        """
        An error on iopub says nothing but that it is one.
        """
        each = message("error", {"ename": "E", "evalue": "secret", "traceback": ["secret"]})
        self.assertEqual(
            content_of(self.redactor.redacted(each)),
            {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["hidden"]},
        )

    def test_reply(self) -> None:
        """
        Nor does the reply; what else it holds stays.
        """
        content = {
            "status": "error",
            "ename": "E",
            "evalue": "secret",
            "traceback": ["secret"],
            "execution_count": 3,
            "user_expressions": {},
        }
        shown = content_of(self.redactor.redacted(message("execute_reply", content)))
        self.assertNotIn("secret", json.dumps(shown))
        self.assertEqual((shown["execution_count"], shown["status"]), (3, "error"))

    def test_expressions(self) -> None:
        """
        An expression that failed does not show why either.
        """
        content = {
            "status": "ok",
            "user_expressions": {"x": {"status": "error", "evalue": "secret", "traceback": []}},
        }
        shown = content_of(self.redactor.redacted(message("execute_reply", content)))
        self.assertNotIn("secret", json.dumps(shown))
        self.assertEqual(shown["status"], "ok")

    def test_everything_else(self) -> None:
        """
        Other messages stay as they are.
        """
        for each in (message("stream", {"text": "x"}), message("execute_reply", {"status": "ok"})):
            self.assertIs(self.redactor.redacted(each), each)

    def test_unreadable(self) -> None:
        """
        An error that is not JSON is hidden, too.
        """
        shown = content_of(self.redactor.redacted(message("error", b"secret")))
        self.assertEqual(shown["ename"], "ExecutionError")

    def test_unreadable_reply(self) -> None:
        """
        Nor does a reply show one that only Python can read as JSON, or one that cannot be read.
        """
        failed = {"status": "error", "evalue": "secret"}
        odd = json.dumps({"status": "ok", "x": float("nan"), "user_expressions": {"a": failed}})
        odd_bytes = odd.encode().replace(b"ok", b"ok \xff")
        shown = content_of(self.redactor.redacted(message("execute_reply", odd_bytes)))
        self.assertEqual((shown["status"], shown["x"]), ("ok \ufffd", None))
        self.assertNotIn("secret", json.dumps(shown))
        for content in (b"secret", b'{"evalue": "secret", "x": ' + DEEP + b"}"):
            shown = content_of(self.redactor.redacted(message("execute_reply", content)))
            self.assertEqual(shown["ename"], "ExecutionError")
