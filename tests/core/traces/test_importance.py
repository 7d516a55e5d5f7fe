"""Importance weights per data point against sums written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from entropy_core.traces.importance import common_scale, log_weights
from entropy_core.traces.records import PARTICLES, Plate
from tests.core.records import in_plates

DATA = Plate("data", -2, 3, 12)
INNER = Plate("inner", -1, 2, 10)
DRAWS = Plate(PARTICLES, -3, 5, 1)


def test_plates_inside_are_summed_over_and_scaled():
    rng = np.random.default_rng(0)
    model = [
        in_plates("z", "prior", DRAWS, DATA, INNER, rng=rng, handler_scale=0.5),
        in_plates("x", "decoder", DRAWS, DATA, INNER, rng=rng, handler_scale=0.5),
        in_plates("f", "factor", DRAWS, DATA, rng=rng, handler_scale=0.5),
    ]
    guide = [
        in_plates("z", "encoder", DRAWS, DATA, INNER, rng=rng, handler_scale=0.5),
        in_plates("g", "guide factor", DRAWS, DATA, rng=rng, handler_scale=0.5),
    ]

    def by_hand(inside, outside):
        # Two of ten elements stand for all of them.
        each = 5.0 * sum(site.log_prob.sum(-1) for site in inside)
        return each + outside.log_prob.reshape(5, 3)

    found = log_weights([*guide, *model])
    assert_allclose(found.model, by_hand(model[:2], model[2]))
    assert_allclose(found.guide, by_hand(guide[:1], guide[1]))
    assert_allclose(found.values, found.model - found.guide)
    # The data plate's factor belongs to the sum over data points, with that of the handlers.
    assert found.scale == 0.5 * 4.0


def test_handlers_that_differ_between_sites_are_refused():
    sites = [in_plates("z", "prior", DATA), in_plates("x", "decoder", DATA)]
    assert common_scale(sites) == 1.0
    other = [sites[0], replace(sites[1], handler_scale=2.0)]
    with pytest.raises(ValueError, match=r"the same `scale` handler .* got 1.0 and, at 'x', 2.0"):
        common_scale(other)
