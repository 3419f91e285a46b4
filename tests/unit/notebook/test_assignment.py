"""
The assignment of a request, read as its language would.
"""

from __future__ import annotations

import ast
import json
import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.notebook.assignment import REQUEST_VARIABLE, assign_from_metadata, assign_request

HOSTILE = "$(touch x) `id` #{1} @{[1]} ${HOME} %PATH% 'a' \"b\" \\ \\' [exec id] !! \u2028\0\n\\"

requests: st.SearchStrategy[Any] = st.dictionaries(
    st.text(), st.text() | st.lists(st.text()), max_size=5
)


def without(prefix: str, line: str, suffix: str = "") -> str:
    """
    :return: The literal of an assignment that has to begin and end like this.
    """
    assert line.startswith(prefix), line
    assert line.endswith(suffix), line
    return line[len(prefix) : len(line) - len(suffix)]


def single_quoted(literal: str) -> str:
    """
    Read a literal in which a backslash only protects a quote and itself.
    """
    assert literal[0] == literal[-1] == "'", literal
    chars = iter(literal[1:-1])
    found = ""
    for char in chars:
        assert char != "'", literal
        found += next(chars) if char == "\\" else char
    return found


class StatementTests(SynchronousTestCase):
    """
    `assign_request`.
    """

    def test_beginnings(self) -> None:
        """
        The variable is written as the language wants it.
        """
        for language, beginning in (
            ("", 'REQUEST = "'),
            ("python", 'REQUEST = "'),
            ("scala", 'REQUEST = "'),
            ("R", 'REQUEST = "'),
            ("perl", "my $REQUEST = '"),
            ("Perl", "my $REQUEST = '"),
            ("bash", "REQUEST='"),
            ("zsh", "REQUEST='"),
            ("php", "$REQUEST = '"),
            ("ruby", "REQUEST = '"),
            ("julia", 'REQUEST = "'),
            ("powershell", "$REQUEST = '"),
            ("octave", "REQUEST = '"),
            ("tcl", 'set REQUEST "'),
        ):
            line = assign_request(language, '{"body": "it\'s"}')
            self.assertTrue(line.startswith(beginning), (language, line))
            self.assertTrue(line.isascii() and line.isprintable(), line)

    @given(requests)
    def test_python(self, request: Any) -> None:
        """
        Python reads the very text, whatever is in it.
        """
        text = json.dumps(request)
        literal = without("REQUEST = ", assign_request("python", text))
        self.assertEqual(ast.literal_eval(literal), text)

    @given(requests)
    def test_encoded_twice(self, request: Any) -> None:
        """
        For a language like C it is the text, encoded as JSON once more.
        """
        text = json.dumps(request)
        self.assertEqual(assign_request("scala", text), "REQUEST = " + json.dumps(text))

    @given(requests)
    def test_shell(self, request: Any) -> None:
        """
        A shell reads one word, which is the text.
        """
        text = json.dumps(request)
        for language in ("bash", "sh", "zsh"):
            self.assertEqual(shlex.split(assign_request(language, text)), ["REQUEST=" + text])

    @given(requests)
    def test_single_quotes(self, request: Any) -> None:
        """
        Perl, Ruby and PHP find no double quote in which they would evaluate something.
        """
        text = json.dumps(request)
        for language, prefix, suffix in (
            ("perl", "my $REQUEST = ", ";"),
            ("raku", "my $REQUEST = ", ";"),
            ("ruby", "REQUEST = ", ""),
            ("php", "$REQUEST = ", ";"),
        ):
            literal = without(prefix, assign_request(language, text), suffix)
            self.assertEqual(single_quoted(literal), text)

    @given(requests)
    def test_doubled_quotes(self, request: Any) -> None:
        """
        PowerShell and MATLAB know nothing but quotes that are doubled.
        """
        text = json.dumps(request)
        for language, prefix in (("powershell", "$REQUEST = "), ("matlab", "REQUEST = ")):
            literal = without(prefix, assign_request(language, text))
            self.assertEqual(literal[1:-1].replace("''", "\0").count("'"), 0)
            self.assertEqual(literal[1:-1].replace("''", "'"), text)

    def test_escaped(self) -> None:
        """
        Where everything is in double quotes, what they would evaluate is escaped.
        """
        text = json.dumps({"body": "$HOME [id]"})
        self.assertEqual(
            assign_request("julia", text), 'REQUEST = "{\\"body\\": \\"\\$HOME [id]\\"}"'
        )
        self.assertEqual(
            assign_request("tcl", text), 'set REQUEST "{\\"body\\": \\"\\$HOME \\[id]\\"}"'
        )

    @given(requests)
    def test_unknown_language(self, request: Any) -> None:
        """
        A language that we do not know finds the same JSON, without what languages interpolate.
        """
        for language in ("", "kotlin", "elixir", "no such language"):
            literal = without("REQUEST = ", assign_request(language, json.dumps(request)))
            self.assertEqual(json.loads(json.loads(literal)), request)
            self.assertFalse(set("$#`@%&!") & set(literal))

    def test_hostile(self) -> None:
        """
        What a client sends cannot end the literal.
        """
        text = json.dumps({"body": HOSTILE})
        self.assertEqual(shlex.split(assign_request("bash", text)), ["REQUEST=" + text])
        literal = without("REQUEST = ", assign_request("", text))
        self.assertEqual(json.loads(json.loads(literal)), {"body": HOSTILE})


class MetadataTests(SynchronousTestCase):
    """
    Cells that look for their request themselves.
    """

    def test_line_by_line(self) -> None:
        """
        Only the annotation is another line then.
        """
        source = "# GET /x\nprint(1)\n# GET /x\n1 / 0\n"
        changed = assign_from_metadata(source)
        assert changed is not None
        first, *rest = changed.splitlines()
        self.assertEqual(rest, source.splitlines()[1:])
        message = {"metadata": {REQUEST_VARIABLE: "text"}}

        class Shell:
            @staticmethod
            def get_parent() -> Any:
                return message

        found: dict[str, Any] = {"get_ipython": Shell}
        exec(first, found)
        self.assertEqual(found[REQUEST_VARIABLE], "text")
        self.assertEqual((assign_from_metadata("# GET /x") or "").count("\n"), 0)

    def test_not_possible(self) -> None:
        """
        Code that has to be the first of its cell stays the first.
        """
        for source in ("print(1)", "# GET /x\nfrom __future__ import annotations\n", ""):
            self.assertIsNone(assign_from_metadata(source))
