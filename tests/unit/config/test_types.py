"""
Types of option values.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd import options as face
from kgd.config.types import OptionType, hidden, several
from kgd.settings import OutOfRange


class OptionTypeTests(SynchronousTestCase):
    """
    What a type says of itself, and what becomes of the functions of other distributions.
    """

    def test_callable(self) -> None:
        """
        Every type that ``kgd.options`` offers is a function that reads, which says what it accepts.
        """
        for name in face.__all__:
            each = getattr(face, name)
            if name == "one_of":
                each = each("a", "b")
            self.assertIsInstance(each, OptionType, name)
            self.assertTrue(each.accepted, name)
            self.assertEqual(each.__doc__, each.accepted_sentence)
        self.assertEqual(face.size("2KiB"), 2048)
        self.assertEqual(face.one_of("a", "b")("A"), "a")
        self.assertEqual(getattr(face.switch, "__name__"), "switch")  # noqa: B009

    def test_of(self) -> None:
        """
        A function becomes a type; the first paragraph of its docstring says what it accepts.
        """

        def even(value: str) -> int:
            """
            An even number,
            like 2.

            :raises ValueError: for an odd one.
            """
            if int(value) % 2:
                raise ValueError
            return int(value)

        found = OptionType.of(even)
        self.assertEqual(found.accepted, "an even number, like 2")
        self.assertEqual(found.accepted_sentence, "An even number, like 2.")
        self.assertEqual(found("4"), 4)
        self.assertRaises(ValueError, found, "3")
        self.assertEqual((found.join, found.flags, found.map_paths), (None, {}, None))
        self.assertIs(OptionType.of(face.size), face.size)
        for read, accepted in (
            (str, "any text"),
            (int, "a whole number"),
            (lambda value: value, "another value"),
        ):
            self.assertEqual(OptionType.of(read).accepted, accepted)

    def test_abbreviation(self) -> None:
        """
        An abbreviation at the beginning keeps its capitals.
        """

        def method(value: str) -> str:
            """
            HTTP methods.
            """
            return value

        self.assertEqual(OptionType.of(method).accepted, "HTTP methods")

    def test_out_of_range(self) -> None:
        """
        Numbers that are too small or too large are told from what is no number.
        """
        for each, too_large in (
            (face.port_number, "65536"), (face.whole_number, str(2**31)), (face.niceness, "20"),
            (face.oom_score, "1001"),
            (face.small_number, "10001"), (face.size, str(2**62 + 1)), (face.seconds, "inf"),
            (face.log_level, "51"), (face.number_or_none, str(2**31)), (face.rate, "1e999"),
        ):  # fmt: skip
            self.assertRaises(OutOfRange, each, too_large)
            if each is not face.log_level:
                self.assertRaises(OutOfRange, each, "-1")
            for wrong in ("x", "nan"):
                error = self.assertRaises(ValueError, each, wrong)
                self.assertNotIsInstance(error, OutOfRange)

    def test_several(self) -> None:
        """
        Values of a repeated option are a tuple without empty ones; each has its own paths.
        """
        notebooks = several(face.notebook_uri)
        assert notebooks.join is not None
        assert notebooks.map_paths is not None
        self.assertEqual(notebooks.join(["/a", "", "/b"]), ("/a", "/b"))
        moved = notebooks.map_paths(("/a", "/p=/b", "http://h/c"), lambda path: f"/jail{path}")
        self.assertEqual(moved, ("/jail/a", "/p=/jail/b", "http://h/c"))
        self.assertIsNone(several(face.names).map_paths)

    def test_written(self) -> None:
        """
        A value of each kind is written as a file may have it, and read back.
        """
        for each, value, expected in (
            (face.size, 3 * 1024, "3KiB"), (face.size, 2 * 1024**2, "2MiB"), (face.size, 5, 5),
            (face.size, 0, 0), (face.seconds, 2.0, 2), (face.seconds, 2.5, 2.5),
            (face.names, frozenset("ba"), ["a", "b"]), (face.counts, {"ir": 2}, {"ir": 2}),
            (face.switch, True, True), (face.text, "a", "a"),
        ):  # fmt: skip
            self.assertEqual(each.write(value), expected)
        self.assertEqual(face.size.write("not a number"), "not a number")
        self.assertEqual((hidden("s3cret"), hidden("")), ("***", ""))
