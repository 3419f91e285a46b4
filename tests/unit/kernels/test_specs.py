"""
The kernelspecs that are installed here.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd.errors import NoSuchKernelSpec, UnusableKernelSpec
from kgd.interfaces import IKernelSpecs
from kgd.kernels import specs as module
from kgd.kernels.specs import InstalledKernelSpecs, search_path

LONG_AGO = 1_600_000_000


class InstalledKernelSpecsTests(SynchronousTestCase):
    """
    What is found in two directories, the first of which is stronger.
    """

    def setUp(self) -> None:
        """
        Two directories, of which the second does not exist yet.
        """
        self.first, self.second = Path(self.mktemp()).resolve(), Path(self.mktemp()).resolve()
        self.first.mkdir(parents=True)
        self.specs = InstalledKernelSpecs([str(self.first), str(self.second)])
        self.logged: list[str] = []

    def install(self, directory: Path, name: str, **fields: Any) -> Path:
        """
        Install a kernelspec.
        """
        content = {"argv": ["k", "{connection_file}"], "display_name": name, "language": "x"}
        return self.write(directory, name, json.dumps(content | fields))

    def write(self, directory: Path, name: str, text: str | bytes) -> Path:
        """
        Write a kernel.json.
        """
        (directory / name).mkdir(parents=True, exist_ok=True)
        raw = text.encode() if isinstance(text, str) else text
        (directory / name / "kernel.json").write_bytes(raw)
        return directory / name

    def names(self) -> set[str]:
        """
        The names found, apart from the Python kernel that is there without being installed.
        """
        return set(self.specs.all()) - {"python3"}

    def test_interface(self) -> None:
        """
        They are kernelspecs.
        """
        verifyObject(IKernelSpecs, self.specs)

    def test_fields(self) -> None:
        """
        What kernel.json says is there; what it does not say has a default.
        """
        self.install(self.first, "mini")
        directory = self.install(
            self.first,
            "Maxi",
            env={"A": "${B}"},
            interrupt_mode="MESSAGE",
            metadata={"debugger": True},
            kernel_protocol_version="5.5",
        )
        mini, maxi = self.specs.find("mini"), self.specs.find("MAXI")
        self.assertEqual(mini.argv, ("k", "{connection_file}"))
        self.assertEqual((mini.env, mini.interrupt_mode, mini.metadata), ({}, "signal", {}))
        self.assertEqual((mini.kernel_protocol_version, mini.language), ("", "x"))
        self.assertEqual((maxi.name, maxi.display_name), ("maxi", "Maxi"))
        self.assertEqual((maxi.env, maxi.interrupt_mode), ({"A": "${B}"}, "message"))
        self.assertEqual((maxi.metadata, maxi.kernel_protocol_version), ({"debugger": True}, "5.5"))
        self.assertEqual(maxi.directory, directory)

    def test_has(self) -> None:
        """
        Whether there is one is told without reading it.
        """
        self.install(self.second, "Mini")
        for name, expected in (("mini", True), ("MINI", True), ("nope", False), ("python", True)):
            self.assertEqual(self.specs.has(name), expected, name)

    def test_names_that_are_no_text(self) -> None:
        """
        What no response can hold is left out, and the others are there.
        """
        directory = self.install(self.first, "good")
        (directory / os.fsdecode(b"logo-\xff.png")).touch()
        (directory / "logo-\xe9.png").touch()
        self.install(self.first, os.fsdecode(b"a\xff"))
        self.install(self.first, "half", display_name="\ud83d")
        self.install(self.first, "whole", display_name="\U0001f40d")
        self.assertEqual(self.names(), {"good", "whole"})
        self.assertEqual(self.specs.find("good").resources, {"logo-\xe9": "logo-\xe9.png"})
        # jupyter_client warns about such names, and trial would write them to its log.
        self.flushWarnings()

    def test_resources(self) -> None:
        """
        Scripts go by their names, logos by theirs without the last extension, other files by none.
        """
        directory = self.install(self.first, "a")
        for name in ("kernel.js", "kernel.css", "logo-64x64.png", "logo-svg.svg", "logo-a.b.png"):
            (directory / name).touch()
        (directory / "README").touch()
        self.assertEqual(
            self.specs.find("a").resources,
            {
                "kernel.js": "kernel.js",
                "kernel.css": "kernel.css",
                "logo-64x64": "logo-64x64.png",
                "logo-svg": "logo-svg.svg",
                "logo-a.b": "logo-a.b.png",
            },
        )

    def test_first_wins(self) -> None:
        """
        A name that is in both directories means that of the first.
        """
        self.install(self.second, "a", display_name="second")
        self.assertEqual(self.specs.find("a").display_name, "second")
        self.install(self.first, "a", display_name="first")
        self.assertEqual(self.specs.find("a").display_name, "first")

    def test_python(self) -> None:
        """
        ``python`` means ``python3``, which is offered even if it is not installed.
        """
        self.assertEqual(self.specs.find("Python").name, "python3")
        self.assertIn("ipykernel_launcher", self.specs.find("python3").argv)
        self.install(self.first, "python3", display_name="mine")
        self.assertEqual(self.specs.find("python").display_name, "mine")

    def test_unknown(self) -> None:
        """
        An unknown name is told as it was asked for.
        """
        error = self.assertRaises(NoSuchKernelSpec, self.specs.find, "Cobol")
        self.assertEqual(str(error), "No such kernel: Cobol")

    def test_allowed(self) -> None:
        """
        Only those are there that are allowed, if that is limited at all.
        """
        self.install(self.first, "a")
        self.install(self.first, "b")
        specs = InstalledKernelSpecs([str(self.first)], ["A"])
        self.assertEqual(list(specs.all()), ["a"])
        self.assertEqual(
            (specs.has("a"), specs.has("b"), specs.has("python3")), (True, False, False)
        )
        self.assertRaises(NoSuchKernelSpec, specs.find, "b")
        aliased = InstalledKernelSpecs([str(self.first)], ["python"])
        self.assertEqual(list(aliased.all()), ["python3"])

    def test_native(self) -> None:
        """
        Without a kernelspec on disk, this Python's own kernel is offered, unless switched off.
        """
        specs = InstalledKernelSpecs([str(self.first)])
        self.assertEqual((list(specs.all()), specs.has("python3")), (["python3"], True))
        specs = InstalledKernelSpecs([str(self.first)], native=False)
        self.assertEqual((list(specs.all()), specs.has("python3")), ([], False))
        self.install(self.first, "python3")
        specs = InstalledKernelSpecs([str(self.first)], native=False)
        self.assertEqual((list(specs.all()), specs.has("python3")), (["python3"], True))

    def test_broken(self) -> None:
        """
        Broken kernelspecs are left out with a word in the log, and the good one stays.
        """
        self.patch(module, "_log", _Log(self.logged))
        self.install(self.first, "good")
        broken = {
            "nojson": "{",
            "list": "[]",
            "argv": '{"argv": 5}',
            "numbers": '{"argv": ["k", 1]}',
            "env": '{"argv": ["k"], "env": {"A": [1]}}',
            "nul": '{"argv": ["k\\u0000"]}',
            "mode": '{"argv": ["k"], "interrupt_mode": "x"}',
            "elsewhere": '{"argv": [], "metadata": {"kernel_provisioner": '
            '{"provisioner_name": "no-such-provisioner"}}}',
        }
        for name, text in broken.items():
            self.write(self.first, name, text)
        self.assertEqual(self.names(), {"good"})
        self.assertEqual(set(self.logged), set(broken))
        self.assertRaises(UnusableKernelSpec, self.specs.find, "nojson")

    def test_taken(self) -> None:
        """
        What is unusual, and can only be meant in one way, is taken: a byte order mark, numbers in
        the environment, null in place of what may be missing, unknown fields.
        """
        self.install(
            self.first,
            "a",
            env={"N": 4, "F": 0.5},
            metadata=None,
            display_name=None,
            language=None,
            interrupt_mode=None,
            codemirror_mode="r",
            resource_dir="/elsewhere",
        )
        self.install(self.first, "b", env=None)
        for codec in ("utf-8-sig", "utf-16"):
            file = self.first / "b" / "kernel.json"
            file.write_bytes(json.dumps({"argv": ["k"], "display_name": "\u00e4"}).encode(codec))
            found = self.specs.find("b")
            self.assertEqual((found.argv, found.display_name, found.env), (("k",), "\u00e4", {}))
        found = self.specs.find("a")
        self.assertEqual(found.env, {"N": "4", "F": "0.5"})
        self.assertEqual((found.metadata, found.display_name), ({}, ""))
        self.assertEqual(found.interrupt_mode, "signal")

    def test_why_not(self) -> None:
        """
        Who asks for a kernelspec that cannot be used reads which file is wrong, and how.
        """
        self.patch(module, "_log", _Log(self.logged))
        for text, word in (
            ('{\n  // R\n  "argv": ["R"]\n}', "line 2 column 3"),
            ('{"argv": ["R"],}', "comma"),
            ("", "not valid JSON"),
            ('{"display_name": "\u00e4"}'.encode("latin-1"), "UTF-8"),
            ("[]", "object"),
            ('{"argv": "R --slave"}', "argv must be a list"),
            ('{"argv": ["R", 1]}', "argv must be a list"),
            ('{"argv": ["R\\u0000"]}', "argv must be a list"),
            ('{"argv": ["R"], "env": []}', "env must be an object"),
            ('{"argv": ["R"], "env": {"A": null}}', "value of A in env"),
            ('{"argv": ["R"], "env": {"A": true}}', "value of A in env"),
            ('{"argv": ["R"], "env": {"A=B": "1"}}', "'A=B'"),
            ('{"argv": ["R"], "metadata": []}', "metadata must be an object"),
            ('{"argv": ["R"], "display_name": 1}', "display_name must be a text"),
            ('{"argv": ["R"], "interrupt_mode": "x"}', "interrupt_mode"),
            ('{"argv": ["R"], "display_name": "\\ud800"}', "no JSON"),
            ("[" * 100_000, "nested"),
        ):
            self.write(self.first, "bad", text)
            error = self.assertRaises(UnusableKernelSpec, self.specs.find, "Bad")
            self.assertIn(f"{self.first}/bad/kernel.json", str(error))
            self.assertIn(word, str(error))
            self.assertNotIn("\n", str(error))
            self.assertEqual(self.names(), set())

    def test_why_there_is_none(self) -> None:
        """
        So does who asks for one whose directory has no such file; one that is stronger or weaker
        and good is used instead.
        """
        self.second.mkdir()
        for name in ("none", "Folder", "dangling"):
            (self.first / name).mkdir()
        (self.first / "Folder" / "kernel.json").mkdir()
        (self.first / "dangling" / "kernel.json").symlink_to("/nonexistent/file")
        for name, word in (
            ("none", "No such file"),
            ("folder", "is a directory"),
            ("dangling", "No such file"),
        ):
            error = self.assertRaises(UnusableKernelSpec, self.specs.find, name)
            self.assertIn("/kernel.json: ", str(error))
            self.assertIn(word, str(error))
            self.install(self.second, name)
            self.assertEqual(self.specs.find(name).display_name, name)
        only = InstalledKernelSpecs([str(self.first)], ["a"])
        self.assertRaises(NoSuchKernelSpec, only.find, "none")

    def test_changes_are_seen(self) -> None:
        """
        New, changed and removed kernelspecs are seen at once.
        """
        self.assertEqual(self.names(), set())
        for round_number in range(20):
            self.install(self.first, "a", display_name=str(round_number))
            self.assertEqual(self.specs.find("a").display_name, str(round_number))
        (self.first / "a" / "logo-x.png").touch()
        self.assertIn("logo-x", self.specs.find("a").resources)
        self.install(self.second, "b")
        self.assertEqual(self.names(), {"a", "b"})
        shutil.rmtree(self.first / "a")
        self.assertEqual(self.names(), {"b"})

    def test_unsettled(self) -> None:
        """
        What changed a moment ago is read again, for its times may not show it if it changes again.
        """
        self.install(self.first, "a")
        self.assertIsNot(self.specs.all(), self.specs.all())

    def settle(self) -> None:
        """
        Let time pass since the last change.
        """
        now = time.time_ns()
        self.patch(time, "time_ns", lambda: now + 10_000_000_000)

    def test_settled(self) -> None:
        """
        What has not changed for a while is not read again, and what changes then is seen too.
        """
        directory = self.install(self.first, "a")
        (self.first / "empty").mkdir()
        self.settle()
        before = self.specs.all()
        self.assertIs(self.specs.all(), before)
        self.install(self.first, "empty")
        self.assertEqual(self.names(), {"a", "empty"})
        (directory / "kernel.css").touch()
        self.assertIn("kernel.css", self.specs.find("a").resources)
        self.second.mkdir()
        self.install(self.second, "b")
        self.assertIn("b", self.names())

    def test_replaced_by_an_older_file(self) -> None:
        """
        A file that is put in place with its old date is noticed.
        """
        self.install(self.first, "a", display_name="one")
        os.utime(self.first / "a" / "kernel.json", (LONG_AGO, LONG_AGO))
        self.settle()
        self.assertEqual(self.specs.find("a").display_name, "one")
        self.install(self.first, "a", display_name="two")
        os.utime(self.first / "a" / "kernel.json", (LONG_AGO, LONG_AGO))
        self.assertEqual(self.specs.find("a").display_name, "two")

    def test_unreadable_directory(self) -> None:
        """
        A directory that cannot be read, or is none, hides nothing but itself.
        """
        self.install(self.first, "a")
        self.second.write_text("no directory")
        self.assertEqual(self.names(), {"a"})


class SearchPathTests(SynchronousTestCase):
    """
    Where to look by default.
    """

    def test_environment(self) -> None:
        """
        Jupyter's directories, then IPython's.
        """
        self.patch(os, "environ", dict(os.environ) | {"JUPYTER_PATH": "/j", "IPYTHONDIR": "/i"})
        found = search_path()
        self.assertEqual((found[0], found[-1]), ("/j/kernels", "/i/kernels"))


class _Log:
    """
    Remembers the names of kernelspecs that were complained of.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def warn(self, _format: str, name: str, error: str) -> None:
        """
        A complaint.
        """
        if error:
            self._names.append(name)

    def emit(self, *_: object, **__: object) -> None:
        """
        What jupyter_client says is of no interest.
        """
