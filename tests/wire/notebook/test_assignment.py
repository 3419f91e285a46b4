"""
The assignment of a request, read by the languages themselves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from kgd.notebook.assignment import assign_request

BODIES = (
    "plain",
    "",
    "$(touch x)",
    "`touch x`",
    "${HOME} $HOME $0 $$ $x @x %ENV",
    "#{File.write('x', '')} #$0 #@a",
    "@{[system('touch x')]} {$x} {${system('touch x')}} $(run(`touch x`))",
    "[exec touch x] [touch x]",
    "it's \"quoted\" ''' \"\"\" '\\'' \\' \\\" ''",
    "\\",
    "\\\\'",
    "ends with a quote '",
    "line\nline\r\n\ttab \0 nul \x7f \u2028 \u00e9 \U0001f600 \ud800",
    "!! !$ !x ~ * ? & ; | < > <?php ?> <% %> __END__ =begin",
    "'; touch x; '",
    '"; touch x; "',
    "long " * 20_000,
)

# What prints the variable, by itself and after nothing but the assignment.
PRINT = {
    "bash": (["bash"], 'printf %s "$REQUEST"'),
    "sh": (["sh"], 'printf %s "$REQUEST"'),
    "zsh": (["zsh", "-f"], 'printf %s "$REQUEST"'),
    "perl": (["perl"], "print $REQUEST;"),
    "ruby": (["ruby"], "print REQUEST"),
    "php": (["php"], "echo $REQUEST;"),
    "julia": (["julia"], "print(REQUEST)"),
    "javascript": (["node"], "process.stdout.write(REQUEST)"),
    "r": (["Rscript"], "cat(REQUEST)"),
    "tcl": (["tclsh"], "puts -nonewline $REQUEST"),
    "octave": (["octave-cli", "-q"], "printf('%s', REQUEST)"),
    "powershell": (["pwsh", "-NoProfile", "-File"], "[Console]::Out.Write($REQUEST)"),
}


class InterpreterTests(SynchronousTestCase):
    """
    Every body arrives, and none of them runs anything.
    """

    def check(self, language: str) -> None:
        """
        Let the interpreter of a language say what it has been given.
        """
        command, ending = PRINT[language]
        if shutil.which(command[0]) is None:
            raise SkipTest(f"{command[0]} is not installed")
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        script = directory / "script.ps1"
        for body in BODIES:
            text = json.dumps({"body": body, "args": {body: [body]}})
            source = f"{assign_request(language, text)}\n{ending}\n"
            script.write_text(f"<?php {source}" if language == "php" else source, "ascii")
            done = subprocess.run(
                [*command, str(script)],
                cwd=directory,
                capture_output=True,
                timeout=60,
                check=False,
            )
            self.assertEqual((done.stdout.decode(), done.stderr), (text, b""), body[:60])
            self.assertEqual([path.name for path in directory.iterdir()], [script.name])


def _add(language: str) -> None:
    def test(self: InterpreterTests) -> None:
        self.check(language)

    test.__doc__ = f"{language} reads the very text."
    setattr(InterpreterTests, f"test_{language}", test)


for _language in PRINT:
    _add(_language)
