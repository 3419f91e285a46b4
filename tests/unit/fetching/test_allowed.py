"""
Notebooks that clients may name.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kgd.fetching.allowed import allowed_uri


class AllowedTests(SynchronousTestCase):
    """
    What the operator allows, and what only looks like it.
    """

    def test_remote(self) -> None:
        """
        A URL is allowed if it is below one, as any server would read it.
        """
        allowed = ("https://host/books/", "http://other:8080", "https://host/one.ipynb", "/files")
        for uri in (
            "https://host/books/a.ipynb",
            "HTTPS://HOST/books/a/b%20c.ipynb?x=../y",
            "https://host/books/",
            "http://other:8080/any.ipynb",
            "https://host/one.ipynb",
        ):
            self.assertEqual(allowed_uri(uri, allowed), uri)
        for uri in (
            "http://host/books/a.ipynb",
            "https://host/books",
            "https://host/booksellers/a.ipynb",
            "https://host:444/books/a.ipynb",
            "https://host.evil.org/books/a.ipynb",
            "https://evil@host/books/a.ipynb",
            "https://host/books/../secret",
            "https://host/books/%2e%2e/secret",
            "https://host/books/%252E%252e/secret",
            "https://host/books/..%2fsecret",
            "https://host/books/..%5csecret",
            "https://host/books/..\\secret",
            "https://host/books/./a",
            "https://host/books/a\nb",
            "https://host/books/a b",
            "https://host/one.ipynb2",
            "https://host/b%6foks/a.ipynb",
            "http://other/any.ipynb",
            "ftp://host/books/a.ipynb",
            "https:///books/a.ipynb",
            "//host/books/a.ipynb",
            "",
        ):
            self.assertIsNone(allowed_uri(uri, allowed), uri)
            self.assertIsNone(allowed_uri(uri, ()))

    def test_files(self) -> None:
        """
        A file is allowed if it really is in a directory that is, or is one that is.
        """
        root = Path(self.mktemp()).resolve()
        (root / "books" / "in").mkdir(parents=True)
        (root / "books2").mkdir()
        for name in ("books/a.ipynb", "books/in/b c.ipynb", "books2/a.ipynb", "secret", "one"):
            (root / name).write_text("{}")
        (root / "books" / "link").symlink_to(root / "books" / "a.ipynb")
        (root / "books" / "out").symlink_to(root / "secret")
        (root / "books" / "away").symlink_to(root / "books2")
        os.mkfifo(root / "books" / "pipe")
        allowed = (f"{root}/books", f"file://{root}/one", "https://host/")
        for uri, found in (
            ("books/a.ipynb", "books/a.ipynb"),
            ("books/in/b c.ipynb", "books/in/b c.ipynb"),
            ("books/in/../a.ipynb", "books/a.ipynb"),
            ("books/link", "books/a.ipynb"),
            ("books/missing", "books/missing"),
            ("one", "one"),
            ("secret", None),
            ("books", None),
            ("books/in", None),
            ("books/../secret", None),
            ("books/out", None),
            ("books/away/a.ipynb", None),
            ("books/pipe", None),
            ("books2/a.ipynb", None),
            ("books/a\0", None),
        ):
            expected = None if found is None else f"{root}/{found}"
            self.assertEqual(allowed_uri(f"{root}/{uri}", allowed), expected, uri)
            escaped = uri.replace(" ", "%20")
            self.assertEqual(allowed_uri(f"file://{root}/{escaped}", allowed), expected, uri)
