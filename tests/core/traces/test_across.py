"""Batches that lie on several devices."""

import numpy as np
import pytest

from entropy_core.across import ALONE, Across
from entropy_core.traces.batch import whole_batch
from entropy_core.traces.records import Plate
from entropy_core.traces.sums import elbo
from tests.core.records import site


class Twice(Across):
    """Two devices with the same numbers."""

    num = 2

    def sum(self, values):
        return 2 * values

    def count(self, num_rows):
        return 2 * num_rows


def records(full_size):
    plate = Plate("data", -1, 4, full_size)
    inside = site("x", "decoder", np.arange(4.0), np.ones(4), (plate,))
    outside = site("mean", "prior", np.array(-3.0), np.array(5.0), ())
    return [inside, outside], plate


@pytest.mark.parametrize(("full_size", "scale"), [(4, 1), (16, 2)])
def test_sums_are_those_of_the_whole_batch(full_size, scale):
    both, plate = records(full_size)
    whole = whole_batch(both, plate, Twice())
    # Data points are added up, and what both devices see of one site is averaged.
    assert elbo(whole) == scale * 2 * 6 - 3
    assert [record.total(record.entropy) for record in whole] == [scale * 2 * 4, 5]
    (found,) = whole[0].plates
    assert (found.size, found.full_size) == (8, 16 if full_size == 16 else 8)


def test_one_device_has_the_whole_batch():
    both, plate = records(16)
    assert elbo(whole_batch(both, plate, ALONE)) == elbo(both) == 4 * 6 - 3


def test_a_total_is_no_smaller_than_the_batch():
    both, plate = records(6)
    with pytest.raises(ValueError, match="expected at least the 8 data points of all devices"):
        whole_batch(both, plate, Twice())
