"""
YAML, as others read it.
"""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.web.api.yaml_text import MAX_KEY, yaml_text

TEXTS = (
    "", " ", "a", "yes", "No", "on", "y", "null", "~", "true", "1", "1.5", "0x1f", "1e3", "1_000",
    "12:30:45", "2026-11-27", "- a", "a: b", "a #b", "#", "*a", "&a", "!a", "%a", "@a", "`a", "|",
    ">", "{}", "[]", "<<", "=", "---", "...", "?", "'", '"', "\\", "/", "a\nb", "\ta", "a\r\n",
    "\x00", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\ufeff", "\uffff", "\xe9",
    "\U0001f600", "a" * 500,
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(TEXTS)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


class YAMLTests(SynchronousTestCase):
    """
    ``yaml_text``.
    """

    def test_looks(self) -> None:
        """
        It is in block style.
        """
        value = {"a": {"bcd": [1, {"get": "x", "put": []}, [True, None]], "/e": {}}, "200": "é"}
        self.assertEqual(
            yaml_text(value),
            """\
"a":
  bcd:
    - 1
    - get: "x"
      put: []
    - - true
      - null
  "/e": {}
"200": "é"
""",
        )

    def test_texts(self) -> None:
        """
        No text becomes anything else, wherever it is.
        """
        for text in TEXTS:
            for value in (text, [text], {text: text}, [[{text: [text]}]]):
                self.assertEqual(yaml.safe_load(yaml_text(value)), value)

    @given(values)
    def test_values(self, value: Any) -> None:
        """
        Nor does any value.
        """
        self.assertEqual(yaml.safe_load(yaml_text(value)), value)

    def test_refused(self) -> None:
        """
        What YAML cannot have, or would read as something else, is refused.
        """
        self.assertEqual(len(yaml.safe_load(yaml_text({"a" * MAX_KEY: 1}))), 1)
        for value in ({"a" * (MAX_KEY + 1): 1}, {"é" * (MAX_KEY // 2): 1}, 1.5, [1e300]):
            self.assertRaises(ValueError, yaml_text, value)
