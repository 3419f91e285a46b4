"""
What a kernel finds in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidRequest
from kgd.kernels.local.environment import check_client_environment, kernel_environment

OURS = {
    "PATH": "/bin",
    "HOME": "/home/u",
    "LC_TIME": "de",
    "EDITOR": "vi",
    "KG_AUTH_TOKEN": "s3cret",
    "KGD_AUTH_TOKEN": "s3cret",
    "KERNEL_OF_GATEWAY": "x",
    "LISTEN_FDS": "1",
    "NOTIFY_SOCKET": "/run/n",
    "WATCHDOG_USEC": "1",
    "CREDENTIALS_DIRECTORY": "/run/c",
}
ALWAYS = {"KERNEL_GATEWAY": "1", "JPY_PARENT_PID": "42"}
NAMES = st.sampled_from(["PATH", "HOME", "A", "KERNEL_A", "KG_TOKEN", "KGD_X", "KERNEL_GATEWAY"])


def environment(
    wanted: Mapping[str, str] | None = None,
    of_spec: Mapping[str, str] | None = None,
    inherit: Set[str] = frozenset(),
    accept: Set[str] = frozenset(),
) -> dict[str, str]:
    """
    The environment of a kernel of ours.
    """
    return kernel_environment(
        OURS, wanted, of_spec or {}, inherit=inherit, accept=accept, parent_pid=42
    )


class KernelEnvironmentTests(SynchronousTestCase):
    """
    Which variables are passed on.
    """

    def test_request_without_env(self) -> None:
        """
        The kernel gets what the gateway has, but neither its settings nor its service manager's.
        """
        self.assertEqual(
            environment(),
            ALWAYS
            | {
                "PATH": "/bin",
                "HOME": "/home/u",
                "LC_TIME": "de",
                "EDITOR": "vi",
                "KERNEL_OF_GATEWAY": "x",
            },
        )

    def test_empty_env(self) -> None:
        """
        An empty ``env`` is not a missing one: the kernel gets no more than it needs.
        """
        self.assertEqual(
            environment({}), ALWAYS | {"PATH": "/bin", "HOME": "/home/u", "LC_TIME": "de"}
        )

    def test_client_variables(self) -> None:
        """
        Of the client's variables ``KERNEL_*`` and the accepted ones get through.
        """
        found = environment({"KERNEL_A": "1", "B": "2", "C": "3"}, accept={"B"})
        self.assertEqual((found["KERNEL_A"], found["B"]), ("1", "2"))
        self.assertNotIn("C", found)

    def test_path_is_not_the_clients(self) -> None:
        """
        A client changes PATH only if the operator accepts it.
        """
        self.assertEqual(environment({"PATH": "/evil"})["PATH"], "/bin")
        self.assertEqual(environment({"PATH": "/x"}, accept={"PATH"})["PATH"], "/x")

    def test_inherited(self) -> None:
        """
        The operator can name more variables to inherit; an accepted one of the client's wins.
        """
        self.assertEqual(environment({}, inherit={"EDITOR"})["EDITOR"], "vi")
        found = environment({"EDITOR": "ed"}, inherit={"EDITOR"}, accept={"EDITOR"})
        self.assertEqual(found["EDITOR"], "ed")

    def test_kernelspec(self) -> None:
        """
        The kernelspec's variables override all others, and may be made of them.
        """
        found = environment({"KERNEL_A": "1"}, {"KERNEL_A": "2", "P": "/x:${PATH}", "Q": "${NO}"})
        self.assertEqual((found["KERNEL_A"], found["P"], found["Q"]), ("2", "/x:/bin", "${NO}"))

    def test_no_secret_gets_through(self) -> None:
        """
        Not through the kernelspec, the client, or a list of the operator's either.
        """
        found = environment(
            {"KG_A": "1"},
            {"KGD_B": "2", "T": "${KG_AUTH_TOKEN}"},
            inherit={"KG_AUTH_TOKEN", "KGD_AUTH_TOKEN"},
            accept={"KG_A"},
        )
        self.assertEqual([name for name in found if name.startswith("KG")], [])
        self.assertNotIn("s3cret", found["T"])
        self.assertNotIn("s3cret", environment(None, {"T": "$KGD_AUTH_TOKEN"})["T"])

    def test_client_text_is_no_template(self) -> None:
        """
        What a client sends is not looked into.
        """
        self.assertEqual(environment({"KERNEL_A": "${HOME}"})["KERNEL_A"], "${HOME}")

    @given(
        st.none() | st.dictionaries(NAMES, st.text()),
        st.dictionaries(NAMES, st.sampled_from(["x", "${PATH}", "$KG_AUTH_TOKEN"])),
        st.sets(NAMES),
        st.sets(NAMES),
    )
    def test_always(
        self,
        wanted: Mapping[str, str] | None,
        of_spec: Mapping[str, str],
        inherit: Set[str],
        accept: Set[str],
    ) -> None:
        """
        No request removes the forced variables or gets the gateway's own.
        """
        found = environment(wanted, of_spec, inherit, accept)
        self.assertEqual(found | ALWAYS, found)
        self.assertFalse(any(name.startswith(("KG_", "KGD_")) for name in found))
        self.assertNotIn("s3cret", found.values())


class CheckClientEnvironmentTests(SynchronousTestCase):
    """
    What a client may send as ``env``.
    """

    def test_good(self) -> None:
        """
        Any strings that the system can take.
        """
        for good in ({}, {"A": ""}, {"a b": "\u00e4\n$(rm)"}):
            self.assertEqual(check_client_environment(good), good)

    def test_not_an_object(self) -> None:
        """
        ``null``, lists and strings are refused.
        """
        everything_else: tuple[object, ...] = (None, [], "A=1", 5)
        for bad in everything_else:
            self.assertRaises(InvalidRequest, check_client_environment, bad)

    def test_bad_variables(self) -> None:
        """
        Names and values that no environment can hold are refused, and the name is told.
        """
        for name, value in (
            ("", "x"),
            ("A=", "x"),
            ("A\0", "x"),
            ("A", 1),
            ("A", None),
            ("A", "\0"),
            ("A", "\ud800"),
            ("A", "x" * 131_072),
        ):
            error = self.assertRaises(InvalidRequest, check_client_environment, {name: value})
            self.assertIn(ascii(name), str(error))

    def test_values_are_not_told(self) -> None:
        """
        A value may be a secret.
        """
        error = self.assertRaises(InvalidRequest, check_client_environment, {"A": "pass\0word"})
        self.assertNotIn("pass", str(error))

    def test_too_much(self) -> None:
        """
        All of it together has a limit too.
        """
        env = {f"A{n}": "x" * 100_000 for n in range(6)}
        self.assertRaises(InvalidRequest, check_client_environment, env)
        self.assertEqual(len(check_client_environment(dict(list(env.items())[:5]))), 5)

    def test_long_names_are_cut(self) -> None:
        """
        The message stays short.
        """
        error = self.assertRaises(InvalidRequest, check_client_environment, {"x" * 9999: 1})
        self.assertLess(len(str(error)), 200)
