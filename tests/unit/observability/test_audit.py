"""
The audit log.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError
from kgd.observability.audit import MAX_FIELD, AuditLog
from kgd.observability.request_context import RequestContext
from kgd.observability.scrubbing import Scrubber
from kgd.protocol.messages import ClientMessage, read_header
from kgd.settings import Settings
from kgd.web.api.channels import MessageAudit


class AuditTests(SynchronousTestCase):
    """
    Writing it.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        self.audit = AuditLog(str(self.path), wall_clock=lambda: 0.0)
        self.addCleanup(self.audit.close)

    def lines(self) -> list[dict[str, Any]]:
        """
        What has been written.
        """
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_record(self) -> None:
        """
        A line says when, what and who; what is not known is left out.
        """
        self.audit.open()
        self.audit.record("kernel_started", kernel_id="k", reason=None)
        self.audit.record("executed", RequestContext("r", "1.2.3.4", "abcd"), size=3)
        self.assertEqual(
            self.lines(),
            [
                {
                    "time": "1970-01-01T00:00:00+00:00",
                    "event": "kernel_started",
                    "by": "gateway",
                    "kernel_id": "k",
                },
                {
                    "time": "1970-01-01T00:00:00+00:00",
                    "event": "executed",
                    "by": "client",
                    "peer": "1.2.3.4",
                    "request_id": "r",
                    "token": "abcd",
                    "size": 3,
                },
            ],
        )

    def test_secrets(self) -> None:
        """
        Whatever clients choose themselves has neither our token nor what looks like one, and is not
        of any length; code is only without our token.
        """
        secret = 'S3cr+et/tok"en'
        audit = AuditLog(str(self.path), True, Scrubber([secret]))
        audit.open()
        self.addCleanup(audit.close)
        code = f"token=mine; {secret}" + "x" * MAX_FIELD
        asker = RequestContext(quote(secret, safe=""), "1.2.3.4")
        audit.record("executed", asker, msg_type="token=x", msg_id="m" * 9999, code=code)
        audit.record("sent", asker, session_id=secret, msg_type=f"{'m' * (MAX_FIELD - 5)}{secret}")
        first, second = self.lines()
        self.assertEqual((first["request_id"], first["msg_type"]), ("***", "token=***"))
        self.assertEqual(len(first["msg_id"]), MAX_FIELD + 3)
        self.assertEqual(first["code"], "token=mine; ***" + "x" * MAX_FIELD)
        self.assertEqual(second["session_id"], "***")
        self.assertNotIn("S3", second["msg_type"])

    def test_appends(self) -> None:
        """
        The file is for its owner, is appended to, and opened anew when it has been moved away.
        """
        self.path.write_text('{"old": true}\n')
        self.path.chmod(0o644)
        self.audit.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.audit.record("a")
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.audit.record("b")
        self.audit.open()
        self.audit.record("c")
        self.assertEqual(len(moved.read_text().splitlines()), 3)
        self.assertEqual([line["event"] for line in self.lines()], ["c"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_off(self) -> None:
        """
        Without a path nothing is opened or written.
        """
        audit = AuditLog()
        audit.open()
        audit.record("a")
        self.assertFalse(audit.is_on)

    def test_cannot_be_opened(self) -> None:
        """
        Who names a file that cannot be had is told so; a file that is open stays so.
        """
        error = self.assertRaises(ConfigurationError, AuditLog("/no/such/dir/x").open)
        self.assertIn("--audit-log=/no/such/dir/x: No such file", str(error))
        self.audit.open()
        self.patch(self.audit, "_path", "/no/such/dir/x")
        self.assertRaises(ConfigurationError, self.audit.open)
        self.audit.record("a")
        self.assertEqual([line["event"] for line in self.lines()], ["a"])

    def test_full_disk(self) -> None:
        """
        What cannot be written is an error in the log, and none for who does something.
        """
        audit = AuditLog("/dev/full")
        audit.open()
        self.addCleanup(audit.close)
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)  # type: ignore[arg-type]
        audit.record("a")
        self.assertEqual([each["error"] for each in seen], ["No space left on device"])

    def test_half_a_line(self) -> None:
        """
        What did not fit in whole stays alone on its line when there is room again.
        """
        self.audit.open()
        write = os.write
        with mock.patch("os.write", lambda file, data: write(file, data[:10])):
            self.audit.record("a")
        self.audit.record("b")
        self.audit.record("c")
        first, *others = self.path.read_text().splitlines()
        self.assertEqual(first, '{"time": "')
        self.assertEqual([json.loads(line)["event"] for line in others], ["b", "c"])

    def test_code_that_cannot_be_read(self) -> None:
        """
        A request goes on its way whatever is in it.
        """
        self.audit.with_code = True
        self.audit.open()
        kernel: Any = mock.Mock(kernel_id="k")
        kernel.name = "python3"
        note = MessageAudit(self.audit, Settings()).recorder_for(
            RequestContext("r", "1.2.3.4"), kernel, None
        )
        assert note is not None
        header = b'{"msg_id": "a", "msg_type": "execute_request"}'
        for content in (b"no", b"{}", b'{"code": 1}', b'{"x": ' + b"[" * 100_000):
            note(ClientMessage("shell", read_header(header), (header, b"{}", b"{}", content)))
        self.assertEqual([line["code"] for line in self.lines()], [""] * 4)

    def test_ids_of_any_type(self) -> None:
        """
        An id is written as the type that it came as; no id is too long, and none hides a secret.
        """
        self.audit.open()
        kernel: Any = mock.Mock(kernel_id="k")
        kernel.name = "python3"
        note = MessageAudit(self.audit, Settings()).recorder_for(
            RequestContext("r", "1.2.3.4"), kernel, None
        )
        assert note is not None
        ids: list[Any] = ["a", 7, 7.5, True, ["x", {"a": [1]}], {"b": None}, 1 << 80]
        for msg_id in [*ids, ["x" * 10_000], ["?token=abcdefgh"], None]:
            header = json.dumps({"msg_id": msg_id, "msg_type": "execute_request"}).encode()
            note(ClientMessage("shell", read_header(header), (header, b"{}", b"{}", b"{}")))
        lines = self.lines()
        self.assertEqual([line["msg_id"] for line in lines[: len(ids)]], ids)
        long, secret, none = lines[len(ids) :]
        self.assertLess(len(long["msg_id"]), 300)
        self.assertNotIn("abcdefgh", json.dumps(secret))
        self.assertNotIn("msg_id", none)

    def test_fingerprint(self) -> None:
        """
        Tokens can be told from each other, in one run only, and are not given away.
        """
        ours = self.audit.fingerprint
        self.assertEqual(ours(b"token"), ours(b"token"))
        self.assertNotEqual(ours(b"token"), ours(b"other"))
        self.assertNotEqual(ours(b"token"), AuditLog("/x").fingerprint(b"token"))
        self.assertEqual((len(ours(b"token")), ours(None), ours(b"")), (8, "", ""))
