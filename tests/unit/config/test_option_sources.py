"""
Every option, from every source.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.command_line import Options
from kgd.config.options import OPTIONS, OWN
from kgd.config.render import to_toml
from tests.support.option_rows import SAMPLES, Sample, jupyters

#: What would be wrong for a reader, if anything is.
WRONG = ("x", "-1", "/no/such/directory", "::", "null", "\u20ac ?", "tcp:x")


class SourcesTests(SynchronousTestCase):
    """
    Valid values arrive; others are refused.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def effective(self, arguments: Sequence[str], environ: dict[str, str]) -> dict[str, Any]:
        """
        :return: What ``--show-config-json`` prints.
        """
        self.patch(os, "environ", {"JUPYTER_NO_CONFIG": "1", **environ})
        printed = StringIO()
        self.patch(sys, "stdout", printed)
        error = self.assertRaises(
            SystemExit, Options().parseOptions, [*arguments, "--show-config-json"]
        )
        self.assertEqual(error.code, 0)
        found: dict[str, Any] = json.loads(printed.getvalue())
        return found

    def file(self, name: str, content: str) -> list[str]:
        """
        :return: What reads a file with this in it.
        """
        path = self.directory / name
        path.write_text(content)
        return [f"--config={path}"]

    def sources(
        self, *samples: Sample
    ) -> Iterator[tuple[str, Sequence[Sample], list[str], dict[str, str]]]:
        """
        :return: For every way to say values: what they are said to come from, which of the samples
            can be said so, the command line, and the environment.
        """
        said = "on the command line"
        yield said, samples, [f"--{each.option}={each.text}" for each in samples], {}
        underscores = [f"--{each.option.replace('-', '_')}={each.text}" for each in samples]
        yield said, samples, underscores, {}
        valued = [each for each in samples if not OWN.by_name[each.option].is_switch]
        apart = [word for each in valued for word in (f"--{each.option}", each.text)]
        yield said, valued, apart, {}
        switches = [each for each in samples if isinstance(each.value, bool)]
        turned = [f"--{'' if each.value else 'no-'}{each.option}" for each in switches]
        yield said, switches, turned, {}
        for prefix in ("KGD_", "KG_"):
            variables = {prefix + each.variable: each.text for each in samples}
            yield f"in the variable {prefix}", samples, [], variables
        lines = [f"{each.option} = {to_toml(each.value)}\n" for each in samples]
        yield "kgd.toml", samples, self.file("kgd.toml", "".join(lines)), {}
        theirs = [each for each in samples if each.trait]
        yield said, theirs, [f"--{each.trait}={each.text}" for each in theirs], {}
        valued = [each for each in theirs if each in valued or each in switches]
        apart = [word for each in valued for word in (f"--{each.trait}", each.text)]
        yield said, valued, apart, {}
        lines = [f"c.{each.trait} = {each.value!r}\n" for each in theirs]
        yield "j.py", theirs, self.file("j.py", "".join(lines)), {}
        yield "j.json", theirs, self.file("j.json", json.dumps(jupyters(theirs))), {}

    def test_complete(self) -> None:
        """
        There is a sample for every option that changes anything, and no other.
        """
        self.assertEqual(
            [each.option for each in SAMPLES], [row.name for row in OPTIONS if not row.no_effect]
        )
        default = self.effective([], {})
        for each in SAMPLES:
            self.assertNotEqual(default[each.option]["value"], each.shown, each.option)
        traits = {
            option
            for family in OWN.trait_aliases
            for option in family.options.values()
            if not OWN.by_name[option].no_effect
        }
        self.assertEqual({each.option for each in SAMPLES if each.trait}, traits)

    def test_sources(self) -> None:
        """
        A value from any source is effective, and its place is shown.
        """
        for origin, samples, arguments, environ in self.sources(*SAMPLES):
            self.assertGreater(len(samples), 10)
            found = self.effective(arguments, environ)
            for each in samples:
                shown = found[each.option]
                self.assertEqual(shown["value"], each.shown, (each.option, origin))
                self.assertIn(origin, shown["from"], each.option)

    def test_drop_in(self) -> None:
        """
        In place of the Jupyter Kernel Gateway, connection files are where its users look for them,
        and kernels that were started in advance are listed, unless the operator wants otherwise.
        """
        link, spare = "link-connection-files", "spare-kernels"
        on: list[str] = ["--drop-in"]
        for option, words, environ, expected, origin in (
            (link, [], {}, False, "default"),
            (link, on, {}, True, "--drop-in"),
            (link, [*on, "--no-link-connection-files"], {}, False, "command line"),
            (link, on, {"KGD_LINK_CONNECTION_FILES": "no"}, False, "the variable KGD_LINK"),
            (spare, [], {}, "hidden", "default"),
            (spare, on, {}, "listed", "--drop-in"),
            (spare, on, {"KGD_SPARE_KERNELS": "hidden"}, "hidden", "KGD_SPARE_KERNELS"),
        ):
            found = self.effective(words, environ)[option]
            self.assertEqual(found["value"], expected)
            self.assertIn(origin, found["from"])

    def test_wrong(self) -> None:
        """
        A value that is not valid is refused with the option, the value, its place and the remedy.
        """
        refused = set()
        for each in SAMPLES:
            option = OWN.by_name[each.option]
            for value in WRONG:
                try:
                    option.type.read(value)
                except ValueError:
                    refused.add(option.name)
                    self.assert_refused(each, value)
                    break
        anything = {"text", "names", "path", "notebook_uri", "token"}
        self.assertEqual(
            {
                row.name
                for row in OPTIONS
                if row.type.read.__name__ not in anything and not row.no_effect
            }
            - refused,
            set(),
        )

    def assert_refused(self, each: Sample, value: str) -> None:
        """
        From every source.
        """
        wrong = Sample(each.option, value, value, each.trait)
        for origin, samples, arguments, environ in self.sources(wrong):
            if not samples:
                continue
            self.patch(os, "environ", {"JUPYTER_NO_CONFIG": "1", **environ})
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            # A value on the command line is in sight.
            place = "" if origin == "on the command line" else origin
            shown = repr(value) if " " in value else value
            accepted = OWN.by_name[each.option].type.accepted
            for part in (f"--{each.option}={shown} ", place, accepted):
                self.assertIn(part, str(error), arguments)
