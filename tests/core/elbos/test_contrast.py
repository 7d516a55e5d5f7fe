"""InfoNCE of given scores, and its floor."""

import numpy as np
import pytest
from scipy.special import log_softmax

from entropy_core.elbos.contrast import floored, info_nce
from tests.support.helpers import IDENTITY
from tests.support.numpy_operations import NUMPY

SCORES = np.random.default_rng(0).standard_normal((6, 6))


def test_the_estimate_is_the_mean_log_share_of_the_own_positive():
    wanted = np.log(6) + np.diag(log_softmax(SCORES, -1)).mean()
    assert info_nce(SCORES, NUMPY) == pytest.approx(wanted, rel=IDENTITY)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6, 1e30])
def test_it_is_never_above_log_b_in_few_digits_either(size):
    own = np.diag(SCORES.max(1) + 1)
    scores = (size * (SCORES + own)).astype(np.float32)
    assert info_nce(scores, NUMPY) <= np.float32(np.log(6))


def test_a_positive_of_zero_density_is_refused_by_no_nan():
    scores = SCORES.copy()
    scores[2, 2] = scores[3, 4] = -np.inf
    assert info_nce(scores, NUMPY) == -np.inf
    scores[2, 2] = 0.0
    wanted = np.log(6) + np.diag(log_softmax(scores, -1)).mean()
    assert info_nce(scores, NUMPY) == pytest.approx(wanted, rel=IDENTITY)


@pytest.mark.parametrize(
    ("estimate", "floor", "wanted"),
    [
        (-1.5, True, (0.0, 1.0)),
        (-1.5, False, (-1.5, 0.0)),
        (0.5, True, (0.5, 0.0)),
        (-np.inf, True, (0.0, 1.0)),
    ],
)
def test_the_floor_says_where_it_is_active(estimate, floor, wanted):
    assert floored(np.float64(estimate), floor, NUMPY) == wanted


def test_the_floor_hides_no_nan():
    assert np.isnan(floored(np.float64(np.nan), True, NUMPY)[0])
