"""
Headers, signatures and the other pure pieces of the protocol.
"""

from __future__ import annotations

import hashlib
import hmac
import json

import attrs
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import BadSignature, MalformedMessage
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo, CurveKeys
from kgd.protocol.mending import is_json
from kgd.protocol.messages import (
    DELIMITER,
    Signer,
    id_as_json,
    make_client_message,
    make_kernel_message,
    read_header,
    wire_frames,
)
from kgd.protocol.timestamps import timestamp

PARTS = (b'{"msg_type": "x"}', b"{}", b"{}", b'{"a": 1}')


class SignerTests(SynchronousTestCase):
    """
    The signature of the wire protocol.
    """

    @given(st.binary(min_size=1, max_size=200), st.binary())
    @example(b"k" * 64, b"")
    @example(b"k" * 65, b"")
    def test_sign(self, key: bytes, content: bytes) -> None:
        """
        It is the hex HMAC-SHA256 of the four parts, whatever their size.
        """
        for body in (content, content + b"x" * 40_000):
            parts = (b"h", b"p", b"m", body)
            expected = hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest().encode()
            self.assertEqual(Signer(key).sign(parts), expected)
            Signer(key).verify(expected, parts)

    def test_wrong_signature(self) -> None:
        """
        Another key's signature, a short one and none at all are refused.
        """
        signer = Signer(b"secret")
        for signature in (b"", b"abc", Signer(b"other").sign(PARTS)):
            self.assertRaises(BadSignature, signer.verify, signature, PARTS)

    def test_changed_part(self) -> None:
        """
        A signature does not fit changed content.
        """
        signer = Signer(b"secret")
        changed = (*PARTS[:3], b'{"a": 2}')
        self.assertRaises(BadSignature, signer.verify, signer.sign(PARTS), changed)

    def test_no_key(self) -> None:
        """
        An empty key switches signing off in both directions.
        """
        signer = Signer(b"")
        self.assertEqual(signer.sign(PARTS), b"")
        signer.verify(b"whatever", PARTS)

    def test_other_schemes(self) -> None:
        """
        Any hash will do; what is no HMAC is refused by name.
        """
        expected = hmac.new(b"k", b"".join(PARTS), hashlib.sha512).hexdigest().encode()
        self.assertEqual(Signer(b"k", "hmac-sha512").sign(PARTS), expected)
        error = self.assertRaises(ValueError, Signer, b"k", "rot13")
        self.assertIn("rot13", str(error))

    def test_wire_frames(self) -> None:
        """
        Delimiter, signature, the parts, then the buffers.
        """
        signer = Signer(b"k")
        frames = wire_frames(signer, PARTS, [b"one", b""])
        self.assertEqual(frames, [DELIMITER, signer.sign(PARTS), *PARTS, b"one", b""])


class HeaderTests(SynchronousTestCase):
    """
    What is read of a header.
    """

    def test_fields(self) -> None:
        """
        Type and id are found among other fields; an id may be missing.
        """
        header = read_header(b'{"x": [1], "msg_type": "status", "msg_id": "a", "session": null}')
        self.assertEqual((header.msg_type, header.msg_id), ("status", "a"))
        self.assertEqual(read_header(b'{"msg_type": "x"}').msg_id, "")

    def test_other_types(self) -> None:
        """
        Of a header, only the type is needed; all else may be of any type, spelled in any way.
        """
        values = (
            b"null", b"true", b"7", b"7.5", b"1795716739.56", b"[]", b"[1, [2]]", b"{}",
            b'{"a": {}}', b'""', b'"x"', b"9" * 40, b"9" * 5000, b"1e999", b"NaN", b"-Infinity",
            b'"\\ud800"', b'"\\ude00\\ud83d"', b'"\\ud83d\\ude00"', b'"\xff"',
            b'["\\ud800", NaN, "\xff"]',
        )  # fmt: skip
        names = ("date", "version", "username", "session", "subshell_id", "unknown")
        for value in values:
            for name in names:
                raw = b'{"%b": %b, "msg_type": "x", "msg_id": "a"}' % (name.encode(), value)
                header = read_header(raw)
                self.assertEqual((header.msg_type, header.msg_id), ("x", "a"), raw[:100])
            header = read_header(b'{"msg_type": "x", "msg_id": %b}' % value)
            self.assertEqual(header.msg_type, "x")
            # It can be a key, and goes back as JSON.
            self.assertIn(header.msg_id, {header.msg_id: None})
            self.assertTrue(is_json(id_as_json(header.msg_id)), value[:100])

    def test_ids(self) -> None:
        """
        An id goes back as the type that it came as, and equals what a kernel repeats in a spelling
        of its own.
        """
        for one, other in (
            (b'"a"', b'"\\u0061"'),
            (b"7", b"7"),
            (b"7.0", b"7"),
            (b"1e3", b"1000.0"),
            (b"null", b"null"),
            (b"true", b"true"),
            (b"[1, [2]]", b"[1,[2]]"),
            (b'{"b": 1, "a": "\xc3\xa9"}', b'{"a":"\\u00e9","b":1}'),
            (b"9" * 40, b"9" * 40),
            (b"9" * 5000, b"9" * 5000),
        ):
            ids = [
                read_header(b'{"msg_type": "x", "msg_id": %b}' % each).msg_id
                for each in (one, other)
            ]
            self.assertEqual(ids[0], ids[1])
            self.assertEqual(hash(ids[0]), hash(ids[1]))
            if len(one) < 100:
                self.assertEqual(json.loads(id_as_json(ids[0])), json.loads(one))
        self.assertEqual(read_header(b'{"msg_type": "x"}').msg_id, "")

    def test_malformed(self) -> None:
        """
        A header without a type is none.
        """
        for raw in (
            b"", b"{}", b"[]", b"null", b"NaN", b'{"msg_id": 7}', b'{"msg_type": NaN, "date": 1}',
            b'{"msg_type": "x", "date": 1', b'{"msg_type": "x", "msg_id": ' + b"[" * 100_000,
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, read_header, raw)
        for msg_type in (b"null", b"5", b"[]", b"{}", b'"\xff"', b'"\\ud800"'):
            for msg_id in (b'"a"', b"5", b"[]", b"NaN"):
                raw = b'{"msg_type": %b, "msg_id": %b}' % (msg_type, msg_id)
                self.assertRaises(MalformedMessage, read_header, raw)


class OwnMessageTests(SynchronousTestCase):
    """
    Messages that the gateway makes.
    """

    def test_message(self) -> None:
        """
        A message to a client has all header fields that validators ask for.
        """
        message = make_kernel_message(
            "status", b'{"execution_state": "dead"}', "their-session", 0.0
        )
        header = json.loads(bytes(message.parts[0]))
        self.assertEqual(
            {key: header[key] for key in ("msg_type", "session", "date", "version")},
            {
                "msg_type": "status",
                "session": "their-session",
                "date": "1970-01-01T00:00:00.000000Z",
                "version": "5.4",
            },
        )
        self.assertTrue(header["msg_id"] and header["username"])
        self.assertEqual((message.channel, message.parts[1]), ("iopub", b"{}"))

    def test_request_ids_differ(self) -> None:
        """
        No two requests have the same id.
        """
        ids = {
            make_client_message("shell", "x_request", b"{}", "s", 0.0).msg_id for _ in range(100)
        }
        self.assertEqual(len(ids), 100)


class ConnectionInfoTests(SynchronousTestCase):
    """
    Connection files.
    """

    info = ConnectionInfo(ports={c: 2000 + i for i, c in enumerate(CHANNELS)}, key=b"hidden")
    encrypted = attrs.evolve(info, curve=CurveKeys(b"hidden, too", b"more hidden"))

    def test_file(self) -> None:
        """
        The file has the fields that every kernel reads.
        """
        content = json.loads(self.info.to_json())
        self.assertEqual(
            (content["shell_port"], content["hb_port"], content["key"], content["transport"]),
            (2000, 2004, "hidden", "tcp"),
        )
        self.assertEqual(content["signature_scheme"], "hmac-sha256")

    def test_url(self) -> None:
        """
        Each channel has its address; one that does not exist is an error.
        """
        self.assertEqual(self.info.url("iopub"), "tcp://127.0.0.1:2001")
        self.assertRaises(KeyError, self.info.url, "nope")

    def test_sockets(self) -> None:
        """
        With Unix sockets, the address is the beginning of their paths.
        """
        info = attrs.evolve(self.info, transport="ipc", ip="/run/k")
        self.assertEqual(info.url("shell"), "ipc:///run/k-2000")
        content = json.loads(info.to_json())
        self.assertEqual((content["transport"], content["ip"]), ("ipc", "/run/k"))

    def test_curve(self) -> None:
        """
        Keys for encryption are in the file if there are any.
        """
        self.assertNotIn(b"curve", self.info.to_json())
        content = json.loads(self.encrypted.to_json())
        self.assertEqual(content["curve_publickey"], "hidden, too")
        self.assertEqual(content["curve_secretkey"], "more hidden")

    def test_keys_stay_secret(self) -> None:
        """
        No key appears where the value is printed.
        """
        self.assertNotIn("hidden", repr(self.encrypted))


class TimestampTests(SynchronousTestCase):
    """
    How times are written.
    """

    def test_always_six_digits(self) -> None:
        """
        The fraction is there even when it is zero, because clients parse a fixed format.
        """
        self.assertEqual(timestamp(1.0), "1970-01-01T00:00:01.000000Z")
        self.assertEqual(timestamp(0.25), "1970-01-01T00:00:00.250000Z")
