"""Importance weights per data point against sums written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from entropy_core.traces.importance import common_scale, log_weights
from entropy_core.traces.records import PARTICLES, Plate
from tests.core.records import in_plates, site

DRAWS = Plate(PARTICLES, -3, 5, 1)
# Of the data three in twelve are seen, and of what is inside of each two in six.
ROWS, COLUMNS = Plate("rows", -2, 3, 12), Plate("columns", -1, 2, 6)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("outer", [(), (DRAWS,)], ids=["one draw", "five at once"])
def test_inner_plates_are_summed_over_and_scaled_where_they_subsample(outer):
    first = tuple(plate.size for plate in outer)
    q, p = RNG.normal(size=(2, *first, 3, 1))
    x, factor = RNG.normal(size=(2, *first, 3, 2))
    data = (*outer, ROWS)
    found = log_weights(
        [
            site("z", "encoder", q, q, data, 0.5),
            site("z", "prior", p, p, data, 0.5),
            site("x", "decoder", x, x, (*data, COLUMNS), 0.5),
            site("f", "guide factor", factor, factor, (*data, COLUMNS), 0.5),
        ]
    )
    # In these records a log-probability is one below the term.
    scale = 6 / 2
    model = (p - 1)[..., 0] + scale * (x - 1).sum(-1)
    guide = (q - 1)[..., 0] + scale * (factor - 1).sum(-1)
    assert_allclose(found.model, model, rtol=1e-12)
    assert_allclose(found.guide, guide, rtol=1e-12)
    assert_allclose(found.values, model - guide, rtol=1e-12)
    # The plate's scale and the handlers' stay outside of every exponent.
    assert found.scale == 0.5 * 12 / 3


def test_handlers_that_differ_between_sites_are_refused():
    sites = [in_plates("z", "prior", ROWS), in_plates("x", "decoder", ROWS)]
    assert common_scale(sites) == 1.0
    other = [sites[0], replace(sites[1], handler_scale=2.0)]
    with pytest.raises(ValueError, match=r"the same `scale` handler .* got 1.0 and, at 'x', 2.0"):
        common_scale(other)
