"""
Kernel ids.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidRequest
from kgd.kernels.kernel_ids import check_kernel_id, new_kernel_id


class KernelIdTests(SynchronousTestCase):
    """
    Our own, and those of clients.
    """

    def test_new(self) -> None:
        """
        Ours are accepted, and no two are the same.
        """
        first, second = new_kernel_id(), new_kernel_id()
        self.assertEqual(check_kernel_id(first), first)
        self.assertNotEqual(first, second)

    def test_good(self) -> None:
        """
        The shape of a UUID is enough.
        """
        for good in ("1-2-3-4-5", "A_b-c-d-e-f" + "x" * 88):
            self.assertEqual(check_kernel_id(good), good)

    def test_bad(self) -> None:
        """
        Everything else is refused with a hint.
        """
        for bad in (None, 5, "", "1-2-3-4", "1-2-3-4-5\n", "a/b-2-3-4-5", "1-2-3-4-\u0665"):
            error = self.assertRaises(InvalidRequest, check_kernel_id, bad)
            self.assertIn("UUID", str(error))
