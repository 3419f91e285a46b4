"""
Parameters of notebooks, in several languages.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidRequest
from kgd.notebook.parameters import INJECTED_TAG, PARAMETERS_TAG, inject, parameters_cell, tags_of

# A value of JSON, and how Python, R, Julia and bash write it; None if bash cannot.
VALUES: tuple[tuple[Any, str, str, str, str | None], ...] = (
    (None, "None", "NULL", "nothing", "''"),
    (True, "True", "TRUE", "true", "true"),
    (False, "False", "FALSE", "false", "false"),
    (0, "0", "0", "0", "0"),
    (-7, "-7", "-7", "-7", "-7"),
    (0.1, "0.1", "0.1", "0.1", "0.1"),
    (1e300, "1e+300", "1e+300", "1e+300", "1e+300"),
    (2**63, str(2**63), str(2**63), f'parse(BigInt, "{2**63}")', str(2**63)),
    (float("inf"), 'float("inf")', "Inf", "Inf", "inf"),
    (float("-inf"), 'float("-inf")', "-Inf", "-Inf", "-inf"),
    (float("nan"), 'float("nan")', "NaN", "NaN", "nan"),
    ("a b", "'a b'", '"a b"', '"a b"', "'a b'"),
    ("", "''", '""', '""', "''"),
    ("it's", '"it\'s"', '"it\'s"', '"it\'s"', "'it'\\''s'"),
    ('"', "'\"'", '"\\u0022"', '"\\u0022"', "'\"'"),
    ("$(x)`", "'$(x)`'", '"\\u0024(x)`"', '"\\u0024(x)`"', "'$(x)`'"),
    ("\\n\n", "'\\\\n\\n'", '"\\u005cn\\u000a"', '"\\u005cn\\u000a"', "'\\n\n'"),
    ("é😀", "'é😀'", '"\\u00e9\\U0001f600"', '"\\u00e9\\U0001f600"', "'é😀'"),
    ([], "[]", "list()", "[]", "()"),
    ([1, "a"], "[1, 'a']", 'list(1, "a")', '[1, "a"]', "(1 'a')"),
    ([[1]], "[[1]]", "list(list(1))", "[[1]]", None),
    ({}, "{}", "list()", "Dict()", None),
    ({"a": [None]}, "{'a': [None]}", 'list("a" = list(NULL))', 'Dict("a" => [nothing])', None),
)


class LiteralTests(SynchronousTestCase):
    """
    Cells that set parameters.
    """

    def test_values(self) -> None:
        """
        Each value is written as the language has it.
        """
        for value, python, r, julia, bash in VALUES:
            for language, text in (("python", python), ("R", r), ("julia", julia), ("bash", bash)):
                if text is None:
                    with self.assertRaisesRegex(InvalidRequest, "parameters: x has an? "):
                        parameters_cell(language, {"x": value})
                    continue
                equals = "=" if language == "bash" else " = "
                self.assertEqual(
                    parameters_cell(language, {"x": value}), f"# Parameters\nx{equals}{text}"
                )

    def test_python_reads_it(self) -> None:
        """
        What is written for Python stands for the value again, whatever text is in it.
        """
        every = "".join(chr(code) for code in (*range(0x300), 0x2028, 0xFFFF, 0x10FFFF))
        for value in (every, {every: [every]}, 10**30, [1.5, None, True]):
            line = parameters_cell("python", {"x": value}).partition("\n")[2]
            self.assertEqual(ast.literal_eval(line.removeprefix("x = ")), value)

    def test_several(self) -> None:
        """
        Parameters are set in the order in which they are given.
        """
        cell = parameters_cell("Python", {"b": 1, "a_1": "x"})
        self.assertEqual(cell, "# Parameters\nb = 1\na_1 = 'x'")
        self.assertIn("a.b = 1", parameters_cell("R", {"a.b": 1}))

    def test_wrong(self) -> None:
        """
        What could not be set, or would be something else, is refused.
        """
        for language, name in (
            ("python", ""), ("python", "a b"), ("python", "1a"), ("python", "a\n"),
            ("python", "a=1;b"), ("python", "class"), ("python", "a.b"), ("python", "é"),
            ("R", "_a"), ("R", ".1"), ("R", "TRUE"), ("R", "a-b"), ("julia", "end"),
            ("julia", "a!"), ("bash", "a b"), ("bash", "x;ls"),
        ):  # fmt: skip
            with self.assertRaisesRegex(InvalidRequest, "cannot be the name of a variable"):
                parameters_cell(language, {name: 1})
        for language, value in (
            ("R", "\0"), ("bash", "\0"), ("R", {"": 1}), ("R", {"\0": 1}), ("bash", [{}]),
        ):  # fmt: skip
            with self.assertRaisesRegex(InvalidRequest, "parameters: x has "):
                parameters_cell(language, {"x": value})
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep]
        with self.assertRaisesRegex(InvalidRequest, "parameters: x is nested too deeply"):
            parameters_cell("python", {"x": deep})
        for language in ("cobol", ""):
            with self.assertRaisesRegex(InvalidRequest, "only in Julia, Python, R, bash"):
                parameters_cell(language, {"x": 1})


class InjectTests(SynchronousTestCase):
    """
    Where the cell goes.
    """

    def test_places(self) -> None:
        """
        In the place of the last run's, or after the defaults, or first.
        """
        new = {"source": "new"}
        for tags, expected in (
            ([], ["new"]),
            ([None, "x"], ["new", 0, 1]),
            ([None, PARAMETERS_TAG, None], [0, 1, "new", 2]),
            ([PARAMETERS_TAG, INJECTED_TAG, None], [0, "new", 2]),
            ([INJECTED_TAG, PARAMETERS_TAG], ["new", 1]),
        ):
            cells = [
                {"source": number, "metadata": {"tags": [tag]} if tag else {}}
                for number, tag in enumerate(tags)
            ]
            before = json.dumps(cells)
            self.assertEqual([cell["source"] for cell in inject(cells, new)], expected)
            self.assertEqual(json.dumps(cells), before)

    def test_tags(self) -> None:
        """
        Metadata may be anything.
        """
        odd: tuple[Any, ...] = (None, [], {}, {"tags": None}, {"tags": "parameters"})
        for metadata in odd:
            self.assertEqual(tags_of({"metadata": metadata}), [])
