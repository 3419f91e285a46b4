"""
What is a path, and what its segments stand for.
"""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.endpoints.paths import (
    canonical,
    decode_segment,
    decode_text,
    has_dot_segment,
    is_well_formed,
)

# What encoders leave as it is, besides letters, digits, "-", "." and "_": JavaScript's
# encodeURIComponent, Python's quote today and long ago, Java's and Go's.
LEFT = ("!~*'()", "~", "", "*", "$&+:=@~")


class PathTests(SynchronousTestCase):
    """
    ``kgd.endpoints.paths``.
    """

    def test_well_formed(self) -> None:
        """
        A path begins with a slash, and holds visible ASCII that no proxy takes for something else.
        """
        for path in ("/", "//", "/a/b", "/%C3%a9", "/~!$&'()*+,;=:@", '/"<>[]^`{|}', "/a/../b"):
            self.assertTrue(is_well_formed(path), path)
        for path in ("", "a", "*", "/%", "/%2", "/%zz", "/%%20", "/%2g", "/a\\b", "/a#b", "/a b",
                     "/\x00", "/\x7f", "/\xe9", "/a\n", "/a%\n"):  # fmt: skip
            self.assertFalse(is_well_formed(path), path)

    def test_dot_segments(self) -> None:
        """
        However a dot is encoded, but only if the segment has nothing else.
        """
        for dot in (".", "%2e", "%2E"):
            for path in (f"/{dot}", f"/a/{dot}/b", f"/{dot}{dot}", f"/{dot}./a", f"/a/.{dot}"):
                self.assertTrue(has_dot_segment(path), path)
        for path in ("/", "/...", "/.a", "/a.", "/..a/b", "/%2e%2e.", "/%252e", "/%2f..", "/.%20"):
            self.assertFalse(has_dot_segment(path), path)

    def test_decodes_once(self) -> None:
        """
        What is encoded twice stays encoded once, and a plus is a plus.
        """
        self.assertEqual(decode_text("a%252fb+%C3%A9%c3%a9%2F"), "a%2fb+\xe9\xe9/")
        for text in ("%", "%2", "%zz", "%ff", "%c0%af", "%ed%a0%80", "a%"):
            self.assertRaises(ValueError, decode_text, text)

    def test_one_name(self) -> None:
        """
        A segment is the name of one thing in one directory.
        """
        self.assertEqual(decode_segment("%2e%2e%2e"), "...")
        for text in ("", ".", "..", "%2e", ".%2E", "a/b", "a%2fb", "%2f", "%2F..", "%", "%ff"):
            self.assertRaises(ValueError, decode_segment, text)

    @given(st.text(min_size=1))
    def test_every_encoder(self, name: str) -> None:
        """
        A name is found again whatever encoded it, if it can be the name of anything.
        """
        if not name.isprintable() or "/" in name or name in (".", ".."):
            return
        spellings = {quote(name, safe=left) for left in LEFT}
        self.assertEqual({decode_segment(each) for each in spellings}, {name})
        self.assertEqual(len({canonical(each) for each in spellings}), 1)
        self.assertEqual(decode_segment(canonical(quote(name, safe=""))), name)
        self.assertTrue(all(is_well_formed(f"/{each}") for each in spellings))

    def test_canonical(self) -> None:
        """
        Letters and what separates segments have one spelling.
        """
        self.assertEqual(canonical("/it%27s/%7e%c3%a9"), "/it's/~%C3%A9")
        for path in ("/%6B", "/%2F", "/%2E", "/%25", "/a-b"):
            self.assertEqual(canonical(path), path)
