"""
Nothing outside of what is served can be had, in whatever way its path is spelled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels, kernel_spec
from kgd.testing.web import MemoryClient
from tests.support.notebooks import python_notebook

SECRET = b"the secret"
UP = ("..", "%2e%2e", "%2E.", ".%2e", "..%00", "%2e%2e%00", "..;", "%252e%252e", "%c0%ae%c0%ae",
      "..%c0%af", "%uff0e%uff0e", "\u2025".encode().decode("latin-1"), "...", ".../..")  # fmt: skip
SLASH = ("/", "%2f", "%2F", "\\", "%5c", "%5C", "//", "%2f%2f", "/./", "%252f", "%c0%af", "%00/",
         "/%00", ";/")  # fmt: skip


def spellings(root: Path) -> set[str]:
    """
    :return: Ways to spell a file ``secret`` that lies beside a directory, and above it.
    """
    found = {"secret%00", "secret\\", "%00", "%2e", "%2f", ".", "/", "//", "~", "~root", "~/secret"}
    for up in UP:
        for slash in SLASH:
            for depth in (1, 2):
                found.add(slash.join([*[up] * depth, "secret"]))
            found |= {
                f"sub{slash}{up}{slash}{up}{slash}secret",
                f"{slash}{up}{slash}secret",
                f"page{slash}{up}{slash}{up}{slash}secret",
                f"nothing{slash}{up}{slash}{up}{slash}secret",
            }
    absolute = str(root.parent / "secret")
    for path in (absolute, "/etc/passwd", "C:/secret", "c:\\secret", "\\\\host\\share\\secret",
                 "//host/share/secret", "file:///etc/passwd", f"/{absolute}", f"/{root}/../secret",
                 f"{root}x/secret", "/proc/self/environ", "/dev/zero"):  # fmt: skip
        found |= {path, path.replace("/", "%2f"), path.replace("\\", "%5c"), f"%2e{path}"}
    # What leads out by a link, or is no file.
    for name in (
        "link",
        "away/secret",
        "round",
        "pipe",
        "sub",
        "sub/",
        "beside/secret",
        "up/secret",
    ):
        found |= {name, name.replace("/", "%2f"), f"./{name}", f"sub/..%2f{name}"}
    return found


class TraversalTests(SynchronousTestCase):
    """
    Each directory that is served, with a secret beside it.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.root = self.home / "root"
        sub = self.root / "sub"
        sub.mkdir(parents=True)
        for folder in (self.home, self.home / "rootx", self.home / "away"):
            folder.mkdir(exist_ok=True)
            (folder / "secret").write_bytes(SECRET)
        (self.root / "page").write_bytes(b"a page")
        (sub / "page").write_bytes(b"a page")
        (self.root / "link").symlink_to("../secret")
        (self.root / "away").symlink_to("../away")
        # Its name begins like the root's.
        (self.root / "beside").symlink_to("../rootx")
        (self.root / "up").symlink_to("..")
        (self.root / "round").symlink_to("round")
        (self.root / "inside").symlink_to("sub/page")
        os.mkfifo(self.root / "pipe")
        self.notebook = self.home / "n.ipynb"
        self.notebook.write_bytes(python_notebook("x = 1", "# GET /hello\nx"))

    def serve(self, kind: Any) -> MemoryClient:
        """
        Start a personality that serves the directory.
        """
        settings = Settings(
            seed_uri=(str(self.notebook),) if kind is NotebookHTTP else (),
            static_path=str(self.root),
            default_kernel_name="it",
        )
        specs = FakeKernelSpecs(kernel_spec(), kernel_spec("it", directory=self.root))
        kernels = MemoryKernels(settings, specs)
        personality = kind(GatewayContext(Clock(), settings, kernels, specs, None))
        self.successResultOf(personality.start())
        client = MemoryClient(settings, personality)
        self.addCleanup(client.close)
        return client

    def test_nothing_gets_out(self) -> None:
        """
        No spelling of a path leads out of a kernelspec's files, static files, or the files of the
        page that describes notebooks.
        """
        for kind, base in (
            (JupyterWebsocket, "/kernelspecs/it"),
            (NotebookHTTP, "/public"),
            (NotebookHTTP, "/_api/docs"),
        ):
            client = self.serve(kind)
            names = spellings(self.root)
            self.assertGreater(len(names), 500)
            for name in names:
                response = client.request("GET", f"{base}/{name}")
                self.assertIn(response.code, (400, 403, 404), (base, name))
                self.assertNotIn(SECRET, response.body)
                self.assertNotIn(str(self.home), str((response.headers, response.body)))
            self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_is_inside(self) -> None:
        """
        What lies within can be had, however its name is encoded, and by links that stay within; but
        each path only in one way.
        """
        for kind, base in ((JupyterWebsocket, "/kernelspecs/it"), (NotebookHTTP, "/public")):
            client = self.serve(kind)
            for name in ("page", "sub/page", "inside", "p%61ge", "sub/%70%61%67%65"):
                response = client.request("HEAD", f"{base}/{name}")
                found = (response.code, response.headers.get("content-length"))
                self.assertEqual(found, (200, "6"), (base, name))
            for name in ("sub%2fpage", "./page", "/page", "sub//page", "page/", "sub/./page",
                         "sub/../page", "sub/%2e%2e/page", "sub%5cpage"):  # fmt: skip
                response = client.request("HEAD", f"{base}/{name}")
                self.assertEqual(response.code, 404, (base, name))

    def test_names_of_kernelspecs(self) -> None:
        """
        The name of a kernelspec is no path, whether files or a kernel are asked for.
        """
        client = self.serve(JupyterWebsocket)
        for name in ("..", "%2e%2e", "..%2froot", "it%2f..", "it%00", "%2fetc", "it%5c..", "."):
            for path in (f"/kernelspecs/{name}/page", f"/api/kernelspecs/{name}"):
                self.assertEqual(client.request("GET", path).code, 404, path)
        for name in ("..", "../root", "/etc", "it/../it", "it\0", ".", "it\\..", " it"):
            body = f'{{"name": {name!r}}}'.replace("'", '"').replace("\\x00", "\\u0000").encode()
            self.assertIn(client.request("POST", "/api/kernels", body).code, (400, 404), name)
