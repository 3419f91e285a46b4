"""
Paths below the new root of ``twistd --chroot``.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.chroot import chrooted
from kgd.config.options import OPTIONS
from kgd.settings import Settings


class ChrootTests(SynchronousTestCase):
    """
    ``twistd --chroot``.
    """

    def test_no_root(self) -> None:
        """
        Without a new root, nothing changes.
        """
        settings = Settings(root_dir="/srv", seed_uri=("/nb.ipynb",))
        self.assertIs(chrooted(settings, None), settings)

    def test_below(self) -> None:
        """
        What is below the new root is found there; what comes from the web stays as it is.
        """
        settings = Settings(
            root_dir="/jail/work",
            static_path="/jail",
            audit_log="/jail/audit.log",
            certfile="/jail/etc/c.pem",
            listen=("unix:/jail/s", "tcp:0"),
            seed_uri=("/jail/a b.ipynb", "/p=/jail/nb.ipynb", "https://host/jail", "file:///nb"),
        )
        found = chrooted(settings, "/jail/")
        self.assertEqual((found.root_dir, found.static_path), ("/work", "/"))
        self.assertEqual((found.audit_log, found.certfile), ("/audit.log", "/etc/c.pem"))
        self.assertEqual(found.listen, ("unix:address=/s", "tcp:0"))
        self.assertEqual(
            found.seed_uri, ("/a b.ipynb", "/p=/nb.ipynb", "https://host/jail", "file:///nb")
        )

    def test_every_path(self) -> None:
        """
        Options whose value depends on where the gateway was started are relative to the new root.
        """
        here = os.getcwd()
        moved = set()
        for option in OPTIONS:
            try:
                depends = here in str(
                    option.type.read("unix:." if option.name == "listen" else ".")
                )
            except ValueError:
                continue
            if not depends:
                continue
            moved.add(option.name)
            value: Any = "unix:/jail/below" if option.name == "listen" else "/jail/below"
            given: dict[str, Any] = {
                "root_dir": "/jail",
                option.field: (value,) if option.many else value,
            }
            found = str(option.value_in(chrooted(Settings(**given), "/jail")))
            self.assertIn("/below", found)
            self.assertNotIn("/jail", found, option.name)
        self.assertIn("connection-dir", moved)

    def test_outside(self) -> None:
        """
        What is outside is refused, by name; the working directory becomes the new root.
        """
        for settings, says in (
            (Settings(root_dir="/jailer"), "--root-dir=/jailer is outside of"),
            (Settings(root_dir="/jail", static_path="/pub"), "--static-path=/pub"),
            (Settings(root_dir="/jail", seed_uri=("/nb.ipynb",)), "--seed-uri=/nb.ipynb"),
        ):
            error = self.assertRaises(UsageError, chrooted, settings, "/jail")
            self.assertIn(says, str(error))
            self.assertIn("--chroot=/jail", str(error))
        self.assertEqual(chrooted(Settings(root_dir=os.getcwd()), "/jail").root_dir, "/")
