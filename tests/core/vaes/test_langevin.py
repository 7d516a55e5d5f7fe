"""The series of `log(sinh(u) / u)` and its derivatives where they are used, against mpmath."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from entropy_core.vaes.langevin import SERIES, SERIES_BELOW

# At the edge the second derivative lacks the next term, 4e-15 of it.
EXACT = {
    0: (lambda u: mpmath.log(mpmath.sinh(u) / u), 1e-15),
    1: (lambda u: mpmath.coth(u) - 1 / u, 1e-15),
    2: (lambda u: 1 / u**2 - 1 / mpmath.sinh(u) ** 2, 1e-14),
}


@pytest.mark.parametrize("order", EXACT)
def test_the_series_is_exact_up_to_its_edge(order):
    coefficients = np.zeros(2 * len(SERIES) + 1)
    coefficients[2::2] = SERIES
    series = np.polynomial.Polynomial(coefficients).deriv(order)
    exact, tolerance = EXACT[order]
    with mpmath.workdps(40):
        for u in (0.01, 0.1, SERIES_BELOW):
            assert_allclose(series(u), float(exact(mpmath.mpf(u))), tolerance)
