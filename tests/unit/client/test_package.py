"""
What importing the clients needs.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

import kgd.client
from kgd.client import calls


class ImportTests(SynchronousTestCase):
    """
    ``kgd.client``.
    """

    def test_without_libraries(self) -> None:
        """
        Without its library, a client says which extra has it, and the others are there.
        """
        for name, module, library in (
            ("Client", "blocking", "httpx"),
            ("AsyncClient", "asynchronous", "httpx"),
            ("DeferredClient", "deferred", "treq"),
        ):
            self.assertTrue(getattr(kgd.client, name))
            with patch.dict(sys.modules, {library: None}):
                del sys.modules[f"kgd.client.{module}"]
                with self.assertRaises(ImportError) as caught:
                    getattr(kgd.client, name)
            self.assertIn(f"kgd.client.{name} needs {library}", str(caught.exception))
            self.assertIn('pip install "kgd[client]"', str(caught.exception))

    def test_names(self) -> None:
        """
        All that is promised is there, and nothing else.
        """
        for name in kgd.client.__all__:
            self.assertTrue(getattr(kgd.client, name))
        with self.assertRaises(AttributeError):
            kgd.client.nothing  # noqa: B018


class URLTests(SynchronousTestCase):
    """
    ``base_of``.
    """

    def test_urls(self) -> None:
        """
        A base path may be there, and a slash at its end; what is no gateway's URL is refused.
        """
        self.assertEqual(calls.base_of("http://h:1/"), "http://h:1")
        self.assertEqual(calls.base_of("https://h/base/"), "https://h/base")
        for url in ("h:1", "ftp://h", "http://", "http://u:p@h", "http://h?token=t", "http://h#f"):
            with self.assertRaises(ValueError):
                calls.base_of(url)
