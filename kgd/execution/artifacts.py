"""
Outputs that clients get as URLs: big ones, and those that are not text. They are kept on disk, for
a while, as long as their kernel lives, and up to a size.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from kgd.deferreds import Waiters
from kgd.errors import NoSuchArtifact
from kgd.observability.logs import make_logger

# Bytes that are written in the reactor's thread; more would delay everything else.
MAX_INLINE_SIZE = 1024 * 1024
# Jupyter's messages have these in base64.
_BINARY_KINDS = ("image/", "audio/", "video/", "font/")
_BINARY_TYPES = frozenset(
    {
        "application/pdf",
        "application/octet-stream",
        "application/zip",
        "application/gzip",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.arrow.file",
        "application/vnd.apache.parquet",
    }
)
_TEXTUAL_SUFFIXES = ("+xml", "+json")
_JSON = "application/json"


@attrs.frozen(kw_only=True)
class ArtifactLimits:
    """
    :ivar threshold: Bytes from which an output is big.
    :ivar space: Most bytes of one kernel's artifacts together.
    :ivar lifetime: Seconds for which one is kept; 0 is as long as its kernel.
    """

    threshold: int = 64 * 1024
    space: int = 256 * 1024 * 1024
    lifetime: float = 3600.0


@attrs.define(eq=False)
class Artifact:
    """
    An output on disk.

    :ivar name: In its URL; the same for the same content.
    :ivar expires: On the reactor's clock; 0 for never.
    """

    name: str
    media_type: str
    size: int
    sha256: str
    path: Path
    expires: float
    is_written: bool = False
    is_removed: bool = False
    written: Waiters[None] = attrs.field(factory=Waiters)

    def when_written(self) -> Deferred[None]:
        """
        :return: Fires when the file is there, or has been removed.
        """
        return succeed(None) if self.is_written else self.written.wait()


class ArtifactStore:
    """
    The artifacts of one kernel.

    :param make_directory: Returns the directory in which to make one for them.
    """

    _log = make_logger()

    def __init__(
        self, reactor: Any, make_directory: Callable[[], Path], limits: ArtifactLimits
    ) -> None:
        self._reactor = reactor
        self._make_directory = make_directory
        self.limits = limits
        self._directory: Path | None = None
        self._artifacts: OrderedDict[str, Artifact] = OrderedDict()
        self._size = 0
        self._timer: IDelayedCall | None = None

    def add(self, media_type: str, content: bytes) -> Artifact | None:
        """
        Keep an output; older ones give way.

        :return: ``None`` if there is no room for it.
        """
        if len(content) > self.limits.space:
            return None
        digest = hashlib.sha256(content)
        digest_of_both = hashlib.sha256(media_type.encode() + digest.digest())
        name = digest_of_both.hexdigest()[:32]
        lifetime = self.limits.lifetime
        expires = self._reactor.seconds() + lifetime if lifetime else 0.0
        artifact = self._artifacts.get(name)
        if artifact is not None:
            artifact.expires = expires
            self._artifacts.move_to_end(name)
            return artifact
        while self._size + len(content) > self.limits.space:
            self._remove(next(iter(self._artifacts)))
        try:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(dir=self._make_directory()))
            path = self._directory / f"{name}-{os.urandom(4).hex()}"
            artifact = Artifact(name, media_type, len(content), digest.hexdigest(), path, expires)
            self._write(artifact, content)
        except OSError as error:
            self._complain(error)
            return None
        self._artifacts[name] = artifact
        self._size += len(content)
        if lifetime and self._timer is None:
            self._timer = self._reactor.callLater(lifetime, self._expire)
        return artifact

    def _write(self, artifact: Artifact, content: bytes) -> None:
        if len(content) <= MAX_INLINE_SIZE:
            artifact.path.write_bytes(content)
            artifact.is_written = True
            return

        def write() -> None:
            try:
                artifact.path.write_bytes(content)
            except OSError as error:
                self._reactor.callFromThread(self._failed, artifact, error)
            self._reactor.callFromThread(self._written, artifact)

        self._reactor.callInThread(write)

    def _failed(self, artifact: Artifact, error: OSError) -> None:
        if not artifact.is_removed:
            self._complain(error)
            self._remove(artifact.name)

    def _written(self, artifact: Artifact) -> None:
        artifact.is_written = True
        if artifact.is_removed:
            artifact.path.unlink(missing_ok=True)
        artifact.written.fire(None)

    def _complain(self, error: OSError) -> None:
        self._log.warn("an output cannot be kept: {error}", error=error.strerror)

    def find(self, name: str) -> Artifact:
        """
        :raises kgd.errors.NoSuchArtifact:
        """
        artifact = self._artifacts.get(name)
        if artifact is None:
            raise NoSuchArtifact(
                f"There is no artifact {name}; it may have expired, or given way to newer ones"
            )
        return artifact

    def _remove(self, name: str) -> None:
        artifact = self._artifacts.pop(name)
        self._size -= artifact.size
        artifact.is_removed = True
        if artifact.is_written:
            artifact.path.unlink(missing_ok=True)

    def _expire(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._artifacts:
            oldest = next(iter(self._artifacts.values()))
            if oldest.expires > now:
                self._timer = self._reactor.callLater(oldest.expires - now, self._expire)
                return
            self._remove(oldest.name)

    def close(self) -> None:
        """
        Remove all of them.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for artifact in self._artifacts.values():
            artifact.is_removed = True
        self._artifacts.clear()
        directory, self._directory = self._directory, None
        if directory is not None:
            self._reactor.callInThread(shutil.rmtree, directory, ignore_errors=True)


class ArtifactStores:
    """
    The artifacts of all kernels that have any.
    """

    def __init__(
        self, reactor: Any, make_directory: Callable[[], Path], limits: ArtifactLimits
    ) -> None:
        self._reactor = reactor
        self._make_directory = make_directory
        self._limits = limits
        self._stores: dict[str, ArtifactStore] = {}

    def of(self, kernel_id: str) -> ArtifactStore:
        """
        :return: The store of a kernel, which is made if need be.
        """
        store = self._stores.get(kernel_id)
        if store is None:
            store = self._stores[kernel_id] = ArtifactStore(
                self._reactor, self._make_directory, self._limits
            )
        return store

    def find(self, kernel_id: str, name: str) -> Artifact:
        """
        :raises kgd.errors.NoSuchArtifact:
        """
        return self._stores.get(kernel_id, self._nothing).find(name)

    @property
    def _nothing(self) -> ArtifactStore:
        return ArtifactStore(self._reactor, self._make_directory, self._limits)

    def forget(self, kernel_id: str) -> None:
        """
        Remove the artifacts of a kernel that is gone.
        """
        store = self._stores.pop(kernel_id, None)
        if store is not None:
            store.close()


@attrs.frozen
class ArtifactLinks:
    """
    Replaces outputs by references to artifacts.

    :ivar url: What their URLs begin with.
    """

    store: ArtifactStore
    url: str

    @property
    def threshold(self) -> int:
        """
        Bytes from which an output is big.
        """
        return self.store.limits.threshold

    def reference(self, media_type: str, value: Any) -> dict[str, Any] | None:
        """
        :param value: What a message has: text, base64 of what is not text, or JSON.
        :return: What stands for it: ``url``, ``size`` in bytes, and ``sha256``; ``None`` if it
            stays as it is.
        """
        content = decoded(media_type, value)
        if content is None:
            content = value.encode("utf-8", "replace") if isinstance(value, str) else _json(value)
            if len(content) < self.threshold:
                return None
            if not isinstance(value, str):
                media_type = media_type if media_type.endswith("json") else _JSON
        artifact = self.store.add(media_type, content)
        if artifact is None:
            return None
        return {
            "url": f"{self.url}/{artifact.name}",
            "size": artifact.size,
            "sha256": artifact.sha256,
        }


def decoded(media_type: str, value: Any) -> bytes | None:
    """
    :return: The content of an output that is not text; ``None`` for text.
    """
    is_binary = media_type.startswith(_BINARY_KINDS) or media_type in _BINARY_TYPES
    if not is_binary or media_type.endswith(_TEXTUAL_SUFFIXES) or not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        # Some kernels send text under any name.
        return None


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
