"""
Ports for kernels.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import KernelStartFailed
from kgd.kernels.local.ports import PortLeases, candidates, ephemeral_ports


class CandidatesTests(SynchronousTestCase):
    """
    Which ports kernels may have.
    """

    def test_usual(self) -> None:
        """
        With Linux' usual range all of ours are outside of it.
        """
        self.assertEqual(candidates((32_768, 60_999)), range(20_000, 32_001))

    @given(st.integers(1, 65_535), st.integers(1, 65_535))
    def test_any_range(self, one: int, other: int) -> None:
        """
        There are always candidates, outside of the ephemeral range if that leaves enough.
        """
        first, last = sorted((one, other))
        found = candidates((first, last))
        self.assertGreaterEqual(len(found), 1000)
        self.assertTrue(found[0] >= 1024 and found[-1] < 65_536)
        if last - first < 30_000:
            self.assertTrue(found[-1] < first or found[0] > last)

    def test_everything_is_ephemeral(self) -> None:
        """
        Where the system wants all ports for itself, kernels get some nevertheless.
        """
        self.assertEqual(candidates((1024, 65_535)), range(20_000, 32_001))


class EphemeralPortsTests(SynchronousTestCase):
    """
    What the system tells.
    """

    def test_file(self) -> None:
        """
        The file is read if there is one that can be understood.
        """
        file = Path(self.mktemp())
        self.assertEqual(ephemeral_ports(file), (32_768, 60_999))
        file.write_text("10000\t20000\n")
        self.assertEqual(ephemeral_ports(file), (10_000, 20_000))
        file.write_text("what?")
        self.assertEqual(ephemeral_ports(file), (32_768, 60_999))


class PortLeasesTests(SynchronousTestCase):
    """
    Lending.
    """

    def test_distinct(self) -> None:
        """
        No port is lent twice, until it is given back.
        """
        leases = PortLeases(range(100, 110), lambda _port: True)
        first, second = leases.lease(5), leases.lease(5)
        self.assertEqual(sorted(first + second), list(range(100, 110)))
        self.assertRaises(KernelStartFailed, leases.lease, 1)
        leases.release(first)
        self.assertEqual(sorted(leases.lease(5)), sorted(first))

    def test_taken_by_others(self) -> None:
        """
        Ports that others have are passed over.
        """
        leases = PortLeases(range(100, 110), lambda port: port % 2 == 0)
        self.assertEqual(sorted(leases.lease(5)), [100, 102, 104, 106, 108])

    def test_address_of_others(self) -> None:
        """
        An address that this machine does not have is said to be the reason.
        """
        # TEST-NET-1 of RFC 5737.
        leases = PortLeases(range(20_000, 20_010), ip="192.0.2.1")
        error = self.assertRaises(KernelStartFailed, leases.lease, 5)
        self.assertIn("192.0.2.1, which is not an address of this machine", str(error))
        self.assertIn("--kernel-ip", str(error))

    def test_too_few(self) -> None:
        """
        When there are not enough, none is kept, and the message says what to do.
        """
        leases = PortLeases(range(100, 104), lambda _port: True)
        error = self.assertRaises(KernelStartFailed, leases.lease, 5)
        self.assertIn("stop some", str(error))
        self.assertEqual(leases.leased, frozenset())
        self.assertEqual(len(leases.lease(4)), 4)
