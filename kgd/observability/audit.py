"""
The audit log: which client did what to which kernel.

Format: one JSON object on a line. It has ``time`` (UTC, ISO 8601) and ``event``; ``by`` is
``client``, with its ``peer``, ``request_id`` and, if there is one, ``token``, or ``gateway``.
"""

from __future__ import annotations

import hmac
import json
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kgd.errors import ConfigurationError
from kgd.observability.logs import make_logger
from kgd.observability.request_context import CURRENT_REQUEST, RequestContext
from kgd.observability.scrubbing import Scrubber

# Characters of a field; clients may send fields of any length.
MAX_FIELD = 256
# Characters that are searched for secrets, which takes time. More than are shown, so that half a
# secret at the end is not.
_MAX_SEARCHED = 16 * MAX_FIELD
_CODE_FIELD = "code"


class AuditLog:
    """
    Writes the audit log.

    :param path: An absolute path; with an empty one, nothing is written.
    :param with_code: Whether the code that clients run is written, too.
    :param scrubber: Removes secrets from what clients have sent.
    :param wall_clock: Seconds since the epoch.
    """

    _log = make_logger()

    def __init__(
        self,
        path: str = "",
        with_code: bool = False,
        scrubber: Scrubber | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.with_code = with_code
        self._path = path
        self._now = wall_clock
        self._scrubber = scrubber or Scrubber()
        self._file = -1
        # Whether the last line is incomplete.
        self._is_line_incomplete = False
        self._salt = os.urandom(16)

    @property
    def is_on(self) -> bool:
        """
        Whether records are written.
        """
        return bool(self._path)

    def open(self) -> None:
        """
        Open the file, or open it again after it has been moved away.

        :raises kgd.errors.ConfigurationError: when that is not possible; then a file that was open
            stays so.
        """
        if not self._path:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            opened = os.open(self._path, flags, 0o600)
            try:
                # A device also belongs to others.
                if stat.S_ISREG(os.fstat(opened).st_mode):
                    os.fchmod(opened, 0o600)
            except OSError:
                os.close(opened)
                raise
        except OSError as error:
            raise ConfigurationError(
                f"cannot open --audit-log={self._path}: {error.strerror}; name a file of the "
                "gateway's own, in a directory that it can write to"
            ) from None
        self.close()
        self._file, self._is_line_incomplete = opened, False

    def close(self) -> None:
        """
        Close the file; later records are not written.
        """
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def fingerprint(self, token: bytes | None) -> str:
        """
        :return: Eight hexadecimal digits that tell tokens apart during one run of the gateway, and
            from which a token cannot be found.
        """
        return hmac.digest(self._salt, token, "sha256").hex()[:8] if token else ""

    def record(self, event: str, requester: RequestContext | None = None, **fields: Any) -> None:
        """
        Write a record.

        :param event: What was done, like ``kernel_started``.
        :param requester: The request that it was done for, if not the current one.
        :param fields: Further fields; those that are ``None`` are left out.
        """
        if self._file < 0:
            return
        requester = requester or CURRENT_REQUEST.get()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(self._now(), UTC).isoformat(),
            "event": event,
            "by": "gateway" if requester is None else "client",
        }
        if requester is not None:
            line |= {
                "peer": requester.peer,
                "request_id": requester.request_id,
                "token": requester.token or None,
            }
        line |= fields
        shown = {
            name: self._scrubbed(name, value) for name, value in line.items() if value is not None
        }
        # A line that did not fit on a full disk must not spoil the next one.
        data = (b"\n" if self._is_line_incomplete else b"") + json.dumps(shown).encode() + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self._log.error("the audit log cannot be written: {error}", error=error.strerror)
        else:
            self._is_line_incomplete = written < len(data)
            if self._is_line_incomplete:
                self._log.error("the audit log cannot be written: there is no more room")

    def _scrubbed(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._scrubbed(name, each) for each in value]
        if isinstance(value, dict):
            return {
                self._scrubbed(name, key): self._scrubbed(name, each) for key, each in value.items()
            }
        if not isinstance(value, str):
            return value
        if name == _CODE_FIELD:
            # It stays as it is, but for our own secrets.
            return self._scrubber.scrub_known(value)
        text = self._scrubber(value[:_MAX_SEARCHED])
        return text if len(text) <= MAX_FIELD else f"{text[:MAX_FIELD]}..."
