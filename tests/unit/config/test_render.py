"""
What is printed and written of options: effective values, files to begin with.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tomllib
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd import __version__
from kgd.config.command_line import ACTION_NAMES, Options
from kgd.config.files import read_toml
from kgd.config.options import OPTIONS, OWN
from kgd.config.render import config_file, environment_file, to_toml
from kgd.config.resolve import resolve
from kgd.config.sources import from_environment
from kgd.settings import Settings

ROWS = [option for option in OPTIONS if not option.no_effect]


def uncommented(text: str) -> str:
    """
    :return: A file in which every option is set.
    """
    return re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)


class WrittenTests(SynchronousTestCase):
    """
    Files with all options.
    """

    def test_config_file(self) -> None:
        """
        It has all options, says nothing as it is, and the defaults when all of it is let in.
        """
        self.assertEqual(tomllib.loads(config_file(OWN)), {})
        path = Path(self.mktemp())
        path.write_text(uncommented(config_file(OWN)))
        source = read_toml(path, OWN)
        self.assertEqual(list(source), [option.name for option in ROWS])
        self.assertEqual(resolve(OWN, source).settings, Settings(root_dir=str(Path.cwd())))
        for option in ROWS:
            self.assertIn(option.help.split()[0], config_file(OWN))

    def test_environment_file(self) -> None:
        """
        It has a variable for every option, with the default, if that can be said there.
        """
        lines = uncommented(environment_file()).splitlines()
        variables = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
        self.assertEqual(
            list(variables), [option.environment[0] for option in ROWS] + ["KGD_CONFIG"]
        )
        settings = resolve(OWN, from_environment(variables, OWN)).settings
        self.assertEqual(settings, Settings(root_dir=str(Path.cwd())))

    def test_toml(self) -> None:
        """
        Any value is read back as it was.
        """
        for value in (
            'a"b\\c\n\x7f\x01ü€😀',
            1,
            1.5,
            True,
            ["a", "b"],
            {"a b": 1, "c": "d"},
            [],
            {},
        ):
            self.assertEqual(tomllib.loads(f"x = {to_toml(value)}"), {"x": value})


class CommandTests(SynchronousTestCase):
    """
    The options that print or write something, and stop.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.environ = {"JUPYTER_CONFIG_DIR": str(self.directory), "HOME": "/"}
        self.patch(os, "environ", self.environ)

    def run_command(self, *arguments: str) -> str:
        """
        :return: What was printed.
        """
        printed = io.StringIO()
        self.patch(sys, "stdout", printed)
        error = self.assertRaises(SystemExit, Options().parseOptions, arguments)
        self.assertIn(error.code, (0, None))
        return printed.getvalue()

    def test_show_config(self) -> None:
        """
        Values from everywhere, each with its origin; as TOML they mean the same.
        """
        self.directory.mkdir()
        file = self.directory / "kgd.toml"
        file.write_text("port = 1\nmax-kernels = 2\nreplay-bytes = '2KiB'\n[prespawn]\nir = 1")
        self.environ |= {"KG_PORT": "3", "KGD_PORT_RETRIES": "4"}
        shown = json.loads(self.run_command("--show-config-json", "--port=5"))
        self.assertEqual(list(shown), [option.name for option in ROWS])
        for name, value, where in (
            ("port", 5, "on the command line"),
            ("port-retries", 4, "in the variable KGD_PORT_RETRIES"),
            ("max-kernels", 2, f"as max-kernels in {file}"),
            ("replay-bytes", "2KiB", f"as replay-bytes in {file}"),
            ("prespawn", {"ir": 1}, f"as prespawn in {file}"),
            ("ip", "127.0.0.1", "default"),
            ("list-kernels", False, "default"),
            ("max-body-size", "100MiB", "default"),
        ):
            self.assertEqual(shown[name], {"value": value, "from": where})
        text = self.run_command("--show-config", "--port=5")
        self.assertIn("\nport = 5  # on the command line\n", text)
        self.assertEqual(tomllib.loads(text), {name: row["value"] for name, row in shown.items()})

    def test_secrets(self) -> None:
        """
        Neither the token nor the credentials in a URI are shown.
        """
        self.environ["KG_AUTH_TOKEN"] = "s3cret"
        for kind in ("--show-config", "--show-config-json"):
            text = self.run_command(
                kind, "--seed-uri=/a=https://me:pa55@host/x.ipynb?key=s4cret", "--seed-uri=/b?c#d"
            )
            for secret in ("s3cret", "pa55", "s4cret"):
                self.assertNotIn(secret, text)
            for harmless in ("***", "/a=https://host/x.ipynb", "/b?c#d"):
                self.assertIn(harmless, text)

    def test_secrets_are_not_read_back(self) -> None:
        """
        A file with what is shown gives nobody the token ``***``, nor a URI without its password; it
        has what is no secret.
        """
        self.environ["KG_AUTH_TOKEN"] = "s3cret"
        text = self.run_command("--show-config", "--seed-uri=https://me:pa55@host/x.ipynb")
        self.assertIn('\n#auth-token = "***"  # in the variable KG_AUTH_TOKEN\n', text)
        self.assertIn('\n#seed-uri = ["https://host/x.ipynb"]  # on the command line\n', text)
        del self.environ["KG_AUTH_TOKEN"]
        text = self.run_command("--show-config", "--seed-uri=https://host/x.ipynb")
        found = tomllib.loads(text)
        self.assertEqual((found["auth-token"], found["seed-uri"]), ("", ["https://host/x.ipynb"]))

    def test_generate_config(self) -> None:
        """
        It writes a file where it will be found, and no other over it unless told to.
        """
        file = self.directory / "kgd.toml"
        self.assertEqual(self.run_command("--generate-config"), f"wrote {file}\n")
        self.assertEqual(file.read_text(), config_file(OWN))
        file.write_text("port = nonsense")
        error = self.assertRaises(UsageError, Options().parseOptions, ["--generate-config"])
        self.assertIn(f"{file} exists already; replace it with --force", str(error))
        self.assertEqual(file.read_text(), "port = nonsense")
        for force in ("--force", "-y", "--JupyterApp.answer_yes=true"):
            file.write_text("port = nonsense")
            self.run_command("--generate-config", force)
            self.assertEqual(file.read_text(), config_file(OWN))

    def test_generate_config_elsewhere(self) -> None:
        """
        ``--config`` names another file; a place that cannot be written to is an error.
        """
        file = self.directory / "new" / "mine.toml"
        self.run_command("--generate-config", f"--config={file}")
        self.assertEqual(file.read_text(), config_file(OWN))
        error = self.assertRaises(
            UsageError, Options().parseOptions, ["--generate-config", "-c", f"{file}/below"]
        )
        self.assertIn("cannot be written: ", str(error))
        self.environ["JUPYTER_CONFIG_DIR"] = str(self.directory / ("x" * 300))
        error = self.assertRaises(UsageError, Options().parseOptions, ["--generate-config"])
        self.assertIn(
            "kgd.toml cannot be written: File name too long; name another",
            str(error),
        )

    def test_config_variable(self) -> None:
        """
        A file can be chosen by a variable, too.
        """
        self.directory.mkdir()
        file = self.directory / "mine.toml"
        file.write_text("port = 7")
        self.environ["KGD_CONFIG"] = str(file)
        self.assertEqual(json.loads(self.run_command("--show-config-json"))["port"]["value"], 7)
        options = Options()
        options.parseOptions(["--config", os.devnull])
        self.assertEqual(options.settings.port, 8888)

    def test_version(self) -> None:
        """
        Programs ask for the version to find out whether there is a gateway.
        """
        self.assertEqual(self.run_command("--version"), f"{__version__}\n")

    def test_manual(self) -> None:
        """
        The options that are no rows of the table are all in the manual.
        """
        actions = {
            name.removeprefix("opt_").replace("_", "-")
            for name in dir(Options)
            if name.startswith("opt_") and len(name) > len("opt_") + 1
        }
        rows = {option.name for option in OPTIONS} | {f"no-{option.name}" for option in OPTIONS}
        rows.add("access-log-failures")
        self.assertEqual(actions - rows | {"help"}, set(ACTION_NAMES))
