"""
Text on its way to a log.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

from twisted.trial.unittest import SynchronousTestCase

from kgd.observability.scrubbing import Scrubber, escaped, passwords_in, scrubbed_uri, shortened


class URITests(SynchronousTestCase):
    """
    What clients ask for.
    """

    def test_secrets(self) -> None:
        """
        Values of arguments that look like secrets are hidden, however their names are spelled.
        """
        for uri, expected in (
            ("/api", "/api"),
            ("/api?", "/api?"),
            ("/api?x=1&y", "/api?x=1&y"),
            ("/api?token=abc", "/api?token=***"),
            ("/api?TOKEN=abc&x=1", "/api?TOKEN=***&x=1"),
            ("/api?x=1&t%6Fken=abc", "/api?x=1&t%6Fken=***"),
            ("/api?x=1;token=abc", "/api?x=1;token=***"),
            ("/api?token=a=b", "/api?token=***"),
            ("/api?access_token=a&Password=b", "/api?access_token=***&Password=***"),
            ("/api?session_id=s", "/api?session_id=s"),
            ("http://me:pw@host/api", "http://***@host/api"),
            ("//me:p@w@host/api", "//***@host/api"),
            ("/login?next=%2Fa%3Ftoken%3Dx&y=%2F", "/login?next=***&y=%2F"),
            ("/login?next=%252Fa%253Ftoken%253Dx", "/login?next=***"),
            ("/login?token%3Dx&y=1", "/login?***&y=1"),
            ("/api%3Ftoken%3Dx%0a/%zz", "/api?token=***"),
            ("/a%3Fb", "/a%3Fb"),
        ):
            self.assertEqual(scrubbed_uri(uri), expected)

    def test_unprintable(self) -> None:
        """
        Nothing that a terminal obeys is left.
        """
        self.assertEqual(scrubbed_uri("/a\x1b[31m\r\n\u202e"), "/a?[31m???")


class ScrubberTests(SynchronousTestCase):
    """
    Any text.
    """

    def test_known(self) -> None:
        """
        Known secrets are hidden wherever they are, also percent-encoded or escaped.
        """
        scrub = Scrubber(["s3cret/wörd", ""])
        for text, expected in (
            ("it is s3cret/wörd.", "it is ***."),
            ("s3cret%2Fw%C3%B6rd", "***"),
            ("'s3cret/w\\xf6rd'", "'***'"),
            ("%73%33cret%2fw%c3%B6rd", "***"),
            ("s3cret%252Fw%25c3%25B6rd", "***"),
            ('{"a": "s3cret/w\\u00f6rd"}', '{"a": "***"}'),
            ("100% s3cret", "100% s3cret"),
            ("s3cret", "s3cret"),
        ):
            self.assertEqual(scrub(text), expected)

    def test_in_base64(self) -> None:
        """
        So are they in Base64, wherever they begin.
        """
        secret = "s3cret/wörd?>"
        scrub = Scrubber([secret])
        for encode in (b64encode, urlsafe_b64encode):
            for before in ("", "m", "me", "me:"):
                encoded = encode(f"{before}{secret}behind".encode()).decode()
                self.assertIn("***", scrub(encoded))
                self.assertLess(len(scrub(encoded)), len(encoded) - 12)

    def test_short(self) -> None:
        """
        A secret that is too short to be one does not make other words unreadable.
        """
        self.assertEqual(Scrubber(["a"])("a cat"), "a cat")

    def test_later(self) -> None:
        """
        One that is known only later is found as well, and those before it still are.
        """
        scrub = Scrubber(["first-t0k3n"])
        scrub.add("second-t0k3n")
        self.assertEqual(scrub("first-t0k3n, second-t0k3n"), "***, ***")

    def test_forms(self) -> None:
        """
        What looks like a secret is hidden, too, and everything else stays.
        """
        scrub = Scrubber()
        for text, expected in (
            ("GET /api?token=wrong&x=1", "GET /api?token=***&x=1"),
            ("Authorization: Bearer wrong", "Authorization: ***"),
            ("{'Authorization': 'token wrong'}", "{'Authorization': '***'}"),
            ("https://me:pw@host/x.ipynb failed", "https://***@host/x.ipynb failed"),
            ("is available at http://127.0.0.1:8888", "is available at http://127.0.0.1:8888"),
            ("a@b // c@d", "a@b // c@d"),
        ):
            self.assertEqual(scrub(text), expected)

    def test_passwords(self) -> None:
        """
        Passwords of URIs are known as they stand there and as they are meant.
        """
        uris = ["/home/me/a.ipynb", "https://host/x", "https://me:p%40w@host/x"]
        self.assertEqual(passwords_in(uris), ["p%40w", "p@w"])


class EscapeTests(SynchronousTestCase):
    """
    Control characters.
    """

    def test_shortened(self) -> None:
        """
        Of a long text there is the beginning, without a word that may be half a secret.
        """
        self.assertEqual(shortened("a b", 3), "a b")
        self.assertEqual(shortened("/api/top-secret", 10), "/api/...")
        self.assertEqual(shortened("/api?token=top-secret", 15), "/api?token=...")
        self.assertEqual(shortened("top-secret", 9), "...")

    def test_escaped(self) -> None:
        """
        Whatever is not harmless becomes an escape; tabs and letters stay.
        """
        self.assertEqual(escaped("a\tb\né\x1b\x9b\u2028"), "a\tb\\né\\x1b\\x9b\\u2028")
