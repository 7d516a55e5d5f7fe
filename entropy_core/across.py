"""Batches that lie on several devices: sums, means and rows over all of them."""

from typing import Any


class Across:
    """How what each device has of a batch is put together; here one device has all of it.

    Formulas that couple the data points of a batch ask for their means and their other rows here.
    A host whose arrays know of the other devices by themselves, as JAX's do, needs nothing else;
    one whose processes each have their own rows has a subclass, whose results are the same on all
    devices, and through which gradients pass.
    """

    # The number of devices.
    num = 1
    # How many rows of the batch lie on the devices before this one.
    start = 0

    def sum(self, values: Any) -> Any:
        """The sum over devices."""
        return values

    def count(self, num_rows: int) -> int:
        """How many rows all devices have, where this one has `num_rows`."""
        return num_rows

    def average(self, means: Any, num_rows: int) -> Any:
        """The mean over the rows of all devices, from the mean over the `num_rows` of this one."""
        return means

    def rows(self, values: Any) -> Any:
        """The rows of all devices, one device's after another's."""
        return values

    def log_sum_exp(self, values: Any, ops: Any) -> Any:
        """`log sum_r exp(values_r)` over devices, elementwise.

        Args:
            values: What this device has, of the same shape on all.
            ops: The host's functions.
        """
        return values


ALONE = Across()
