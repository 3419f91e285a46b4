"""
Outputs on disk.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import NoSuchArtifact
from kgd.execution import artifacts
from kgd.execution.artifacts import (
    Artifact,
    ArtifactLimits,
    ArtifactLinks,
    ArtifactStore,
    ArtifactStores,
    decoded,
)
from tests.support.api import ThreadlessClock

PNG = b"\x89PNG\r\n\x1a\n"


class _LateThreads(ThreadlessClock):
    """
    Threads that begin when they are told to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def callInThread(self, function: Any, *args: Any, **named: Any) -> None:
        """
        Remember the function.
        """
        self.waiting.append(lambda: function(*args, **named))

    def begin(self) -> None:
        """
        Let all threads run.
        """
        waiting, self.waiting = self.waiting, []
        for function in waiting:
            function()


class _Case(SynchronousTestCase):
    """
    A store on a disk.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.clock = ThreadlessClock()
        self.make()

    def make(self, **limits: Any) -> None:
        """
        Begin with an empty store.
        """
        self.store = ArtifactStore(self.clock, lambda: self.folder, ArtifactLimits(**limits))

    def add(self, content: bytes, media_type: str = "text/plain") -> Artifact:
        """
        Keep an output.
        """
        artifact = self.store.add(media_type, content)
        assert artifact is not None
        return artifact

    def files(self) -> list[bytes]:
        """
        What is on disk.
        """
        return sorted(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


class ArtifactStoreTests(_Case):
    """
    The artifacts of a kernel.
    """

    def test_nothing(self) -> None:
        """
        A store that keeps nothing makes nothing, and sets no timer.
        """
        self.assertEqual(os.listdir(self.folder), [])
        self.assertRaises(NoSuchArtifact, self.store.find, "x")
        self.store.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept(self) -> None:
        """
        An output is found under its name, and only the gateway's user can read it.
        """
        artifact = self.add(b"content", "a/b")
        self.assertEqual((artifact.media_type, artifact.size), ("a/b", 7))
        self.assertEqual(artifact.sha256, hashlib.sha256(b"content").hexdigest())
        self.assertIs(self.store.find(artifact.name), artifact)
        self.assertEqual(artifact.path.read_bytes(), b"content")
        (directory,) = self.folder.iterdir()
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        self.successResultOf(artifact.when_written())
        self.store.close()
        self.assertEqual(os.listdir(self.folder), [])
        self.assertRaises(NoSuchArtifact, self.store.find, artifact.name)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_same(self) -> None:
        """
        The same output is kept once, and not for another media type.
        """
        first = self.add(b"x")
        self.assertIs(self.add(b"x"), first)
        self.assertNotEqual(self.add(b"x", "text/html").name, first.name)
        self.assertEqual(self.files(), [b"x", b"x"])

    def test_space(self) -> None:
        """
        The oldest give way, an output that was given again is new, and one that is too large for
        all of the space is not kept.
        """
        self.make(space=10)
        first, second = self.add(b"1111"), self.add(b"2222")
        self.assertIs(self.add(b"1111"), first)
        self.add(b"3333")
        self.assertRaises(NoSuchArtifact, self.store.find, second.name)
        self.assertEqual(self.files(), [b"1111", b"3333"])
        self.assertIsNone(self.store.add("a/b", bytes(11)))
        self.assertEqual(self.files(), [b"1111", b"3333"])
        self.add(bytes(10))
        self.assertEqual(self.files(), [bytes(10)])

    def test_lifetime(self) -> None:
        """
        Each is removed in its time.
        """
        self.make(lifetime=10.0)
        first = self.add(b"1")
        self.clock.advance(6)
        self.add(b"2")
        self.clock.advance(1)
        self.add(b"3")
        self.clock.advance(2)
        self.assertEqual(self.files(), [b"1", b"2", b"3"])
        self.clock.advance(1)
        self.assertEqual(self.files(), [b"2", b"3"])
        self.assertRaises(NoSuchArtifact, self.store.find, first.name)
        self.add(b"2")
        self.clock.advance(7)
        self.assertEqual(self.files(), [b"2"])
        self.clock.advance(3)
        self.assertEqual((self.files(), self.clock.getDelayedCalls()), ([], []))

    def test_for_ever(self) -> None:
        """
        Without a lifetime, they are kept as long as the kernel.
        """
        self.make(lifetime=0.0)
        self.add(b"1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_disk(self) -> None:
        """
        An output that cannot be written is not kept.
        """
        self.folder.rmdir()
        self.assertIsNone(self.store.add("a/b", b"x"))

    def test_large(self) -> None:
        """
        A large one is written in a thread: whoever asks for it waits, and one that is removed in
        the meantime leaves no file.
        """
        self.clock = threads = _LateThreads()
        self.patch(artifacts, "MAX_INLINE_SIZE", 3)
        self.make(space=20)
        first = self.add(b"1111")
        waiting = first.when_written()
        self.assertNoResult(waiting)
        threads.begin()
        self.successResultOf(waiting)
        self.assertEqual(first.path.read_bytes(), b"1111")
        self.add(b"2222")
        self.add(bytes(20))
        threads.begin()
        self.assertEqual(self.files(), [bytes(20)])
        self.add(b"3333")
        self.store.close()
        threads.begin()
        self.assertEqual(self.files(), [])

    def test_large_and_no_disk(self) -> None:
        """
        One that cannot be written in the end is gone, and nobody waits for it.
        """
        self.clock = threads = _LateThreads()
        self.patch(artifacts, "MAX_INLINE_SIZE", 3)
        self.make()
        artifact = self.add(b"1111")
        waiting = artifact.when_written()
        artifact.path.parent.rmdir()
        threads.begin()
        self.successResultOf(waiting)
        self.assertRaises(NoSuchArtifact, self.store.find, artifact.name)

    def test_of_all_kernels(self) -> None:
        """
        Each kernel has its own, which go with it.
        """
        stores = ArtifactStores(self.clock, lambda: self.folder, ArtifactLimits())
        one, other = stores.of("one"), stores.of("other")
        self.assertIs(stores.of("one"), one)
        artifact = one.add("a/b", b"1")
        assert artifact is not None
        other.add("a/b", b"2")
        self.assertIs(stores.find("one", artifact.name), artifact)
        self.assertRaises(NoSuchArtifact, stores.find, "other", artifact.name)
        self.assertRaises(NoSuchArtifact, stores.find, "none", artifact.name)
        stores.forget("one")
        stores.forget("none")
        self.assertEqual(self.files(), [b"2"])
        self.assertRaises(NoSuchArtifact, stores.find, "one", artifact.name)


class ArtifactLinksTests(_Case):
    """
    What is replaced.
    """

    def test_references(self) -> None:
        """
        Big outputs, and those that are not text, of whatever size.
        """
        self.make(threshold=100)
        links = ArtifactLinks(self.store, "/api/x")
        encoded = base64.encodebytes(PNG).decode()
        for media_type, value, content, kept_type in (
            ("image/png", encoded, PNG, "image/png"),
            ("application/pdf", encoded, PNG, "application/pdf"),
            ("image/png", "", b"", "image/png"),
            ("text/html", "a" * 100, b"a" * 100, "text/html"),
            ("image/svg+xml", "a" * 100, b"a" * 100, "image/svg+xml"),
            ("text/plain", "\xe4" * 50, "\xe4".encode() * 50, "text/plain"),
            ("application/json", ["a" * 100], b'["' + b"a" * 100 + b'"]', "application/json"),
            (
                "application/vnd.vega.v5+json",
                {"a": "b" * 100},
                None,
                "application/vnd.vega.v5+json",
            ),
            ("text/plain", ["a" * 100], b'["' + b"a" * 100 + b'"]', "application/json"),
            ("image/png", "?" * 100, b"?" * 100, "image/png"),
        ):
            reference = links.reference(media_type, value)
            assert reference is not None, (media_type, value)
            self.assertEqual(sorted(reference), ["sha256", "size", "url"])
            artifact = self.store.find(reference["url"].removeprefix("/api/x/"))
            self.assertEqual(artifact.media_type, kept_type)
            self.assertEqual(artifact.path.stat().st_size, reference["size"])
            if content is not None:
                self.assertEqual(artifact.path.read_bytes(), content)
                self.assertEqual(reference["sha256"], hashlib.sha256(content).hexdigest())
        for media_type, small in (
            ("text/html", "a" * 99),
            ("image/svg+xml", "<svg/>"),
            ("application/json", {"a": 1}),
            ("application/json", None),
            ("image/png", "no base64?"),
            ("image/png", None),
        ):
            self.assertIsNone(links.reference(media_type, small), media_type)

    def test_no_room(self) -> None:
        """
        An output for which there is no room stays where it is.
        """
        self.make(space=5)
        encoded = base64.b64encode(bytes(6)).decode()
        self.assertIsNone(ArtifactLinks(self.store, "").reference("image/png", encoded))

    def test_decoded(self) -> None:
        """
        What is not text is base64, in lines or not.
        """
        self.assertEqual(decoded("image/png", "iVBO\nRw==\n"), b"\x89PNG")
        self.assertEqual(decoded("audio/wav", "iVBORw=="), b"\x89PNG")
        for media_type in ("text/plain", "image/svg+xml", "application/x-latex"):
            self.assertIsNone(decoded(media_type, "iVBORw=="))
        for wrong in ("iVBOR", "\xe4", 7, None, ["iVBORw=="]):
            self.assertIsNone(decoded("image/png", wrong))
