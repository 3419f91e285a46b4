"""
Paths in a jail.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.chroot import jailed
from kgd.config.options import OPTIONS
from kgd.settings import Settings


class JailTests(SynchronousTestCase):
    """
    ``twistd --chroot``.
    """

    def test_no_jail(self) -> None:
        """
        Without one, nothing changes.
        """
        settings = Settings(root_dir="/srv", seed_uri=("/nb.ipynb",))
        self.assertIs(jailed(settings, None), settings)

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
        found = jailed(settings, "/jail/")
        self.assertEqual((found.root_dir, found.static_path), ("/work", "/"))
        self.assertEqual((found.audit_log, found.certfile), ("/audit.log", "/etc/c.pem"))
        self.assertEqual(found.listen, ("unix:address=/s", "tcp:0"))
        self.assertEqual(
            found.seed_uri, ("/a b.ipynb", "/p=/nb.ipynb", "https://host/jail", "file:///nb")
        )

    def test_every_path(self) -> None:
        """
        Every option whose value depends on where the gateway was started is moved into the jail.
        """
        here = os.getcwd()
        moved = set()
        for option in OPTIONS:
            try:
                depends = here in str(option.read("unix:." if option.name == "listen" else "."))
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
            found = str(option.value_in(jailed(Settings(**given), "/jail")))
            self.assertIn("/below", found)
            self.assertNotIn("/jail", found, option.name)
        self.assertIn("connection-dir", moved)

    def test_outside(self) -> None:
        """
        What is outside is refused, by name; the working directory becomes the new root.
        """
        for settings, says in (
            (Settings(root_dir="/jailer"), "--root-dir is '/jailer', which is not below"),
            (Settings(root_dir="/jail", static_path="/pub"), "--static-path is '/pub'"),
            (Settings(root_dir="/jail", seed_uri=("/nb.ipynb",)), "--seed-uri is '/nb.ipynb'"),
        ):
            error = self.assertRaises(UsageError, jailed, settings, "/jail")
            self.assertIn(says, str(error))
            self.assertIn("--chroot=/jail", str(error))
        self.assertEqual(jailed(Settings(root_dir=os.getcwd()), "/jail").root_dir, "/")
