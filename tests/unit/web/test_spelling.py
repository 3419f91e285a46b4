"""
A path has one spelling and a method, too: everything else is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.interfaces import Match
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels, kernel_spec
from kgd.testing.web import MemoryClient
from tests.support.notebooks import python_notebook

ID = "1-2-3-4-5"
# What encodes a name: JavaScript's encodeURIComponent, Python's quote today and long ago, and what
# leaves whatever it may.
ENCODERS = ("!~*'()", "~", "", "!$&'()*+,;=:@~")
# Names that a directory and a file can have, and nobody has taken for a part of the path.
NAMES = (
    "a~b", "a!b", "a'b", "a*b", "a(b)", "a b", "a;b=c", "a,b&c", "a:b@c$d", "a+b", 'a"b', "a\\b",
    "a%2fb", "%2e%2e", "...", ".hidden", "caf\xe9", "\u65e5\u672c", "\U0001f40d", "a#b?c",
    "a\nb", "a<b>", "[a]", "a|b", "a^b`", "{a}",
)  # fmt: skip
# What somebody may take for a slash.
SEPARATORS = ("//", "/./", "/x/../", "%2f", "%2F", "%252f", "\\", "%5c", "%5C", ";/", "/;/")


def other_spellings(path: str) -> Iterator[str]:
    """
    :return: What is not the path, but what a proxy in front or a careless server may take for it.
    """
    yield f"/{path}"
    yield f"//{path}"
    yield f"{path}/"
    yield f"{path}//"
    yield f"/.{path}"
    yield f"/x/..{path}"
    yield f"/%2e{path}"
    yield f"/x/%2E%2e{path}"
    yield f"{path}/."
    yield f"{path}/x/.."
    yield f"{path};x=y"
    yield f"{path}%3bx"
    yield f"{path}%00"
    yield f"{path}%20"
    yield f"{path}%23"
    yield f"{path}%3f"
    yield f"{path}#x"
    yield f"{path}%"
    yield f"{path}\\"
    first, *rest = path[1:].split("/")
    yield f"/%{ord(first[0]):02x}{first[1:]}/{'/'.join(rest)}".rstrip("/")
    yield f"/%25{ord(first[0]):02x}{first[1:]}/{'/'.join(rest)}".rstrip("/")
    yield f"/{first.upper()}/{'/'.join(rest)}".rstrip("/")
    for separator in SEPARATORS:
        if rest:
            yield separator.join(["/" + first, *rest])
            yield f"/{'/'.join([first, *rest[:-1]])}{separator}{rest[-1]}"


def paths_of(rules: Sequence[str]) -> list[str]:
    """
    :return: A path for each rule.
    """
    filled = (re.sub(r"<(kernel_id|session_id|execution_id|artifact)>", ID, rule) for rule in rules)
    return [re.sub(r"<spec_name>", "it", each).replace("<path:file>", "page") for each in filled]


class SpellingTests(SynchronousTestCase):
    """
    Both personalities, without a token so that it is not what refuses.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.root = self.home / "root"
        for name in NAMES:
            (self.root / name / name).mkdir(parents=True)
            (self.root / name / name / name).write_bytes(b"a page")
        (self.root / "page").write_bytes(b"a page")
        self.notebooks = self.home / "notebooks"
        self.notebooks.mkdir()
        self.reached: list[str] = []

    def serve(self, kind: Any, **settings: Any) -> MemoryClient:
        """
        Start a personality, and note what it renders.
        """
        self.settings = Settings(list_kernels=True, static_path=str(self.root), **settings)
        specs = FakeKernelSpecs(
            kernel_spec(),
            kernel_spec("it", directory=self.root),
            *(
                attrs.evolve(
                    kernel_spec(name, directory=self.root / name),
                    resources={"logo": f"{name}/{name}/{name}"},
                )
                for name in NAMES
            ),
        )
        kernels = MemoryKernels(self.settings, specs)
        self.parts = GatewayContext(Clock(), self.settings, kernels, specs, None)
        personality = kind(self.parts)
        self.successResultOf(personality.start())
        operations: Any = self.parts.operations
        self.rules = sorted(
            {route.rule for route in (*personality._table.routes, *operations.routes)}
        )
        for server in (personality, operations):
            server.match = self.noting(server.match)
        client = MemoryClient(self.settings, personality, operations=operations)
        self.addCleanup(client.close)
        return client

    def noting(self, match: Any) -> Any:
        """
        :return: The same, but what is found only notes that it is rendered.
        """

        def noted(method: str, path: str) -> Match | None:
            found: Match | None = match(method, path)
            if found is None:
                return None

            def rendered(request: Any) -> bytes:
                self.reached.append(f"{method} {path}")
                return b"rendered"

            return attrs.evolve(found, render=rendered)

        return noted

    def notebook(self, name: str = "n", *cells: str) -> str:
        """
        :return: The path of a notebook.
        """
        path = self.notebooks / f"{name}.ipynb"
        path.write_bytes(python_notebook("x = 1", *(cells or ("# GET /hello\nx",))))
        return str(path)

    def both(self) -> Iterator[tuple[MemoryClient, str, list[str]]]:
        """
        Each personality, with and without a base URL, and paths of all routes.
        """
        notebook = self.notebook("n", "# GET /hello\nx", "# GET /a/:b/c\nx")
        for base in ("", "/gate/way"):
            yield self.serve(JupyterWebsocket, base_url=base), base, paths_of(self.rules)
            client = self.serve(NotebookHTTP, base_url=base, seed_uri=(f"/nb={notebook}",))
            paths = paths_of(self.rules)
            paths = [path.replace("<path:name>", "docs.css") for path in paths]
            yield client, base, [*paths, "/nb/hello", "/nb/a/b/c"]

    def test_paths(self) -> None:
        """
        Every route is served as it is spelled, and in no other spelling.
        """
        for client, base, paths in self.both():
            self.assertGreater(len(paths), 8)
            for path in paths:
                methods = ("GET", "POST")
                codes = [client.request(method, base + path, b"").code for method in methods]
                self.assertIn(200, codes, path)
                self.assertTrue(self.reached, path)
                self.reached.clear()
                others = {base + other for other in other_spellings(path)}
                for other in {*others, *other_spellings(base + path)}:
                    self.check_absent(client, other, path)

    def check_absent(self, client: MemoryClient, target: str, path: str) -> None:
        """
        Nothing serves a target as if it were the path. It may be the name of something else.
        """
        codes = {client.request(method, target, b"").code for method in ("GET", "POST")}
        named = re.search(
            r"/kernelspecs/|/executions/|/artifacts/|/files/|/public/|/_api/docs/|/nb/a/", path
        )
        if not named:
            self.assertLessEqual(codes, {400, 404}, target)
            self.assertEqual(self.reached, [], target)
        # What is found then has a value that is spelled as it was sent.
        for each in self.reached:
            self.assertNotEqual(each.partition(" ")[2], path, target)
            self.assertNotRegex(each, r"//|\\|#|/\.\.?(/|$)|(?i:/(%2e){1,2}(/|$))", target)
        self.reached.clear()

    def test_absolute_targets(self) -> None:
        """
        A target with scheme and host is the same path, and has one spelling, too.
        """
        for client, base, paths in self.both():
            path = paths[0]
            found = client.request("GET", f"http://gateway:8888{base}{path}").code
            self.assertEqual(found, client.request("GET", base + path).code)
            for target in (
                f"http://gateway:8888/{base}{path}",
                f"http://gateway:8888/.{base}{path}",
            ):
                self.assertEqual(client.request("GET", target).code, 404, target)

    def test_dots(self) -> None:
        """
        A parameter or wildcard of a notebook, which takes nearly all, takes no segments that a
        client or proxy would remove; slashes it may take.
        """
        notebook = self.notebook("n", "# GET /a/:b/c\nx", "# GET /files/.*\nx")
        client = self.serve(NotebookHTTP, seed_uri=(f"/nb={notebook}",))
        for path, code in (
            ("/a/x/c", 200),
            ("/a/.../c", 200),
            ("/a/x%2f..%2fy/c", 200),
            ("/a/%252e/c", 200),
            ("/files/x//y/", 200),
            *(
                (f"{start}{dots}{end}", 404)
                for dots in (".", "..", "%2e", "%2E.", ".%2e", "%2e%2E")
                for start, end in (("/a/", "/c"), ("/files/", ""), ("/files/x/", "/y"))
            ),
            ("/a/%/c", 400),
            ("/a/%2/c", 400),
            ("/a/x\\y/c", 400),
            ("/files/x#y", 400),
            ("/files/%zz", 400),
        ):
            self.assertEqual(client.request("GET", f"/nb{path}").code, code, path)

    def test_methods(self) -> None:
        """
        A method in another case, or one that nobody knows, is one that the path does not take.
        """
        for client, base, paths in self.both():
            for path in paths:
                for method in ("get", "Get", "gET", "post", "delete", "head", "options", "FOO",
                               "GETS", "GE", "PROPFIND", "TRACE"):  # fmt: skip
                    response = client.request(method, base + path, b"")
                    self.assertEqual(response.code, 405, (method, path))
                    self.assertEqual(response.json["reason"], "Method Not Allowed")
                    self.assertIn("OPTIONS", response.headers["allow"])
                    self.assertNotIn(method, response.headers["allow"].split(", "))
                    self.assertEqual(client.request(method, f"{base}/nope", b"").code, 404)
            self.assertEqual(self.reached, [])

    def test_names(self) -> None:
        """
        Whatever has a name is found under it, however that is encoded, and its listed URLs are.
        """
        client = self.serve(JupyterWebsocket)
        for name in NAMES:
            for left in ENCODERS:
                spelled = quote(name, safe=left)
                for path in (
                    f"/api/kernelspecs/{spelled}",
                    f"/kernelspecs/{spelled}/{spelled}/{spelled}",
                ):
                    self.assertEqual(client.request("GET", path).code, 200, path)
        for kernel_id in ("1%2D2-3-4-5", "%31-2-3-4-5", "_-%5F-3-4-5"):
            for path in (f"/api/kernels/{kernel_id}", f"/api/sessions/{kernel_id}"):
                self.assertEqual(client.request("GET", path).code, 200, path)
        for kernel_id in (
            "%C3%A9-2-3-4-5",
            "1-2-3-4",
            "1%2f-3-4-5-6",
            "1-2-3-4-5%0a",
            "1-2-3-4-%00",
        ):
            for path in (f"/api/kernels/{kernel_id}", f"/api/sessions/{kernel_id}"):
                self.assertEqual(client.request("GET", path).code, 404, path)
        self.assertEqual(client.request("GET", "/api/kernelspecs/%ff").code, 404)

    def test_notebook_names(self) -> None:
        """
        A notebook in a directory is found under its name, and what its endpoints take is decoded.
        """
        names = [name for name in NAMES if name not in ("...", ".hidden")]
        for name in names:
            self.notebook(name, "# GET /hello\nx", "# GET /hello/:who\nx")
        client = self.serve(NotebookHTTP, seed_uri=(str(self.notebooks),))
        for name in names:
            for left in ENCODERS:
                for spelled in {quote(name, safe=left), quote(name, safe=left).lower()} - {name}:
                    for path in (f"/{spelled}/hello", f"/{spelled}/_api/spec/openapi.json"):
                        self.assertEqual(client.request("GET", path).code, 200, path)
                    path = f"/{spelled}/hello/{spelled}"
                    self.assertEqual(client.request("GET", path).code, 200, path)
        self.assertEqual(client.request("GET", "/%61~b/hello").code, 404)


class ListedTests(SynchronousTestCase):
    """
    URLs that the gateway lists, without anything that only notes them.
    """

    def test_resources(self) -> None:
        """
        Each listed resource is served.
        """
        root = Path(self.mktemp()).resolve()
        specs = []
        for name in NAMES:
            (root / name).mkdir(parents=True)
            (root / name / f"logo-{name}").write_bytes(b"a logo")
            specs.append(
                attrs.evolve(
                    kernel_spec(name, directory=root / name),
                    resources={f"logo-{name}": f"logo-{name}"},
                )
            )
        for base in ("", "/gate/way"):
            settings = Settings(base_url=base)
            installed = FakeKernelSpecs(*specs)
            kernels = MemoryKernels(settings, installed)
            personality = JupyterWebsocket(
                GatewayContext(Clock(), settings, kernels, installed, None)
            )
            client = MemoryClient(settings, personality)
            self.addCleanup(client.close)
            listed = client.request("GET", f"{base}/api/kernelspecs").json["kernelspecs"]
            self.assertEqual(set(listed), set(NAMES))
            for name, row in listed.items():
                (url,) = row["resources"].values()
                response = client.request("HEAD", url)
                self.assertEqual((response.code, response.headers["content-length"]), (200, "6"))
                shown = client.request("GET", f"{base}/api/kernelspecs/{quote(name, safe='')}")
                self.assertEqual(shown.json["name"], name)
