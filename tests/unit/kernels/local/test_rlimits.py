"""
How much of the machine a kernel may use, and what is ordered of the program before it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError, KernelStartFailed
from kgd.interfaces import NO_LIMITS, Limits
from kgd.kernels.local.environment import adapt_to_user
from kgd.kernels.local.rlimits import CPU_GRACE, exec_arguments, limits_of
from kgd.kernels.local.users import KernelUser, find_user, gateway_user_environment
from kgd.settings import Settings
from kgd.testing.kernels import kernel_spec

GIB = 1024**3


def spec_with(limits: Any) -> Any:
    """
    :return: A kernelspec that says something of limits.
    """
    return kernel_spec("odd", metadata={"kgd": {"limits": limits}})


class LimitsTests(SynchronousTestCase):
    """
    What the settings say, and what a kernelspec says.
    """

    def test_settings(self) -> None:
        """
        Without settings there is no limit; those that there are hold for every kernelspec.
        """
        self.assertEqual(limits_of(Settings(), kernel_spec()), NO_LIMITS)
        settings = Settings(
            kernel_memory=GIB,
            kernel_cpu_seconds=1,
            kernel_open_files=2,
            kernel_processes=3,
            kernel_file_size=4,
            kernel_nice=5,
        )
        expected = Limits(memory=GIB, cpu_seconds=1, open_files=2, processes=3, file_size=4, nice=5)
        self.assertEqual(limits_of(settings, kernel_spec()), expected)

    def test_kernelspec(self) -> None:
        """
        A kernelspec may want more, less, or no limit; what it does not mention stays.
        """
        settings = Settings(kernel_memory=GIB, kernel_cpu_seconds=10, kernel_nice=3)
        spec = spec_with({"memory": "2GiB", "cpu_seconds": None, "open_files": 64})
        expected = Limits(memory=2 * GIB, open_files=64, nice=3)
        self.assertEqual(limits_of(settings, spec), expected)

    def test_nonsense(self) -> None:
        """
        What makes no sense is refused with the name of the kernelspec and what would be right.
        """
        for said, expected in (
            ({"memory": "lots"}, "'lots' as memory; it takes bytes"),
            ({"memory": -1}, "-1 as memory"),
            ({"memory": 1.5}, "1.5 as memory"),
            ({"cpu_seconds": "10"}, "'10' as cpu_seconds; it takes a whole number"),
            ({"open_files": True}, "True as open_files"),
            ({"nice": 20}, "20 as nice; it takes a whole number from 0 to 19"),
            ({"memmory": "1GiB"}, "the unknown name 'memmory' (known: memory, cpu_seconds"),
            ({"file_size": 2**63}, "as file_size"),
            (["memory"], "must be objects"),
        ):
            error = self.assertRaises(KernelStartFailed, limits_of, Settings(), spec_with(said))
            self.assertIn("the kernelspec odd", str(error))
            self.assertIn(expected, str(error))
        wrong = kernel_spec("odd", metadata={"kgd": 3})
        error = self.assertRaises(KernelStartFailed, limits_of, Settings(), wrong)
        self.assertIn("must be objects", str(error))


class OrdersTests(SynchronousTestCase):
    """
    What the program between the gateway and a kernel is told.
    """

    def ordered(self, limits: Limits = NO_LIMITS, **changes: Any) -> dict[str, str]:
        """
        :return: The arguments, by name.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        given: dict[str, Any] = {"user": None, "parent_pid": None, "open_files": soft}
        words = exec_arguments(limits, **(given | changes)).split()
        return dict(word.split("=", 1) for word in words)

    def test_nothing(self) -> None:
        """
        Where there is nothing to order, nothing is ordered.
        """
        self.assertEqual(self.ordered(), {})
        self.assertEqual(self.ordered(parent_pid=7), {"parent": "7"})

    def test_limits(self) -> None:
        """
        Each is both a soft and a hard one; processor time has some grace between them.
        """
        limits = Limits(memory=GIB, cpu_seconds=10, nice=4)
        expected = f"{resource.RLIMIT_DATA}:{GIB}:{GIB},{resource.RLIMIT_CPU}:10:{10 + CPU_GRACE}"
        self.assertEqual(self.ordered(limits), {"nice": "4", "limits": expected})

    def test_not_more_than_the_gateway(self) -> None:
        """
        A kernel gets at most as many open files as the gateway may have.
        """
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        found = self.ordered(Limits(open_files=hard + 1))["limits"]
        self.assertEqual(found, f"{resource.RLIMIT_NOFILE}:{hard}:{hard}")

    def test_the_usual_open_files(self) -> None:
        """
        A soft limit that the gateway has raised is lowered again.
        """
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        found = self.ordered(open_files=17)["limits"]
        self.assertEqual(found, f"{resource.RLIMIT_NOFILE}:17:{hard}")

    def test_user(self) -> None:
        """
        A user comes with all its groups.
        """
        found = self.ordered(user=USER)
        self.assertEqual(found, {"groups": "20,30", "gid": "20", "uid": "10"})


USER = KernelUser(name="jane", uid=10, gid=20, groups=(20, 30), environment={"HOME": "/home/jane"})


class UserTests(SynchronousTestCase):
    """
    Users that kernels run as.
    """

    def test_may_enter(self) -> None:
        """
        Every directory on the way has to let the user pass.
        """
        top = Path(self.mktemp()).absolute()
        below = top / "below"
        below.mkdir(parents=True)
        root = attrs.evolve(USER, uid=0)
        owner = attrs.evolve(USER, uid=top.stat().st_uid)
        group = attrs.evolve(USER, groups=(top.stat().st_gid,))
        for mode, expected in ((0o700, False), (0o711, True), (0o710, False)):
            top.chmod(mode)
            self.assertEqual(USER._may_pass(top), expected)
        self.assertTrue(group._may_pass(top))
        self.assertTrue(owner._may_pass(top))
        top.chmod(0o700)
        self.assertFalse(USER.may_enter(below))
        self.assertTrue(root.may_enter(below))

    def test_environment(self) -> None:
        """
        It finds its own home, and nothing that leads to ours.
        """
        ours = {"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0", "PATH": "/bin"}
        found = adapt_to_user(ours, USER.environment)
        self.assertEqual(found, {"HOME": "/home/jane", "PATH": "/bin"})

    def test_find(self) -> None:
        """
        Only root may choose one, and it has to be there; what is wrong is said.
        """
        wrong = {"kgd-no-such-user": "no user", "nobody:kgd-no-such-group": "no group"}
        if os.geteuid() != 0:
            wrong = {"nobody": "runs as root"}
        for name, says in wrong.items():
            error = self.assertRaises(ConfigurationError, find_user, name)
            self.assertIn(says, str(error))
            self.assertIn(f"--kernel-user={name}", str(error))

    def test_ourselves(self) -> None:
        """
        Programs of ours find a home and a shell that works.
        """
        found = gateway_user_environment()
        self.assertTrue(os.path.isabs(found["HOME"]))
        self.assertFalse(found.get("SHELL", "").endswith("nologin"))
