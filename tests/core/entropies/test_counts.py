"""Entropies and base measures of counts on NumPy, against sums over the support."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from entropy_core.entropies.counts import Binomial, Counts, Multinomial, NegativeBinomial, Poisson
from entropy_core.entropies.remainders import stirling
from tests.support.numpy_operations import NUMPY

RTOL = 1e-9


RATES = np.array([0.02, 1.0, 9.9, 10.1, 300.0])
P = np.array([1e-3, 0.3, 0.5, 0.97, 1 - 1e-9])
ODDS = np.array([0.01, 0.5, 3.0, 40.0, 2.0])
R = np.array([0.05, 1.0, 3.0, 7.5, 90.0])
CASES = {
    "poisson": (Poisson(NUMPY, RATES), stats.poisson(RATES), 2000),
    "binomial": (Binomial(NUMPY, 40, P, 1 - P), stats.binom(40, P), 41),
    "negative binomial": (NegativeBinomial(NUMPY, R, ODDS), stats.nbinom(R, 1 / (1 + ODDS)), 9000),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_a_sum_over_the_support(name):
    counts, exact, size = CASES[name]
    assert isinstance(counts, Counts)
    v = np.arange(float(size))[:, None]
    log_p = exact.logpmf(v)
    p = np.exp(log_p)
    assert_allclose(p.sum(0), 1, RTOL)
    assert_allclose(counts.entropy(), -(p * log_p).sum(0), RTOL, 1e-12)
    measure = counts.log_base_measure(v)
    assert_allclose(counts.mean_log_base_measure(), (p * measure).sum(0), RTOL, 1e-12)
    # What is left of the log-probability is linear in the count.
    assert_allclose(np.diff(log_p - measure, n=2, axis=0)[:20], 0, atol=1e-9)


def test_stirlings_remainder_has_all_digits():
    x = np.array([0.02, 1.0, 9.9, 10.0, 10.1, 13.0, 30.0, 1e3, 1e8])
    with mpmath.workdps(40):
        exact = [mpmath.loggamma(v + 1) - v * mpmath.log(v) + v for v in map(mpmath.mpf, x)]
    # Up to ten by the difference of numbers that are ten times as large.
    assert_allclose(stirling(NUMPY, x[:4]), np.array(exact[:4], float), 1e-14)
    assert_allclose(stirling(NUMPY, x[4:]), np.array(exact[4:], float), 1e-15)


def test_multinomial_is_scipys():
    p = np.array([0.2, 0.3, 0.5])
    counts, exact = Multinomial(NUMPY, 9, p), stats.multinomial(9, p)
    assert_allclose(counts.entropy(), exact.entropy(), RTOL)
    v = np.array([2.0, 3.0, 4.0])
    assert_allclose(counts.log_base_measure(v) + (v * np.log(p)).sum(), exact.logpmf(v), RTOL)
    n = np.array([1, 9])
    both = Multinomial(NUMPY, n, np.stack([p, p]))
    assert_allclose(both.entropy()[1], counts.entropy(), RTOL)
    assert_allclose(both.mean_log_base_measure()[0], 0, atol=1e-12)


def test_single_precision_stays():
    rates = RATES.astype(np.float32)
    found = Poisson(NUMPY, rates).entropy()
    assert found.dtype == np.float32
    assert_allclose(found, Poisson(NUMPY, RATES).entropy(), 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_entropies_without_zero(name):
    counts, exact, size = CASES[name]
    v = np.arange(1.0, size)[:, None]
    log_p = exact.logpmf(v) - np.log(exact.sf(0))
    p = np.exp(log_p)
    assert_allclose(p.sum(0), 1, RTOL)
    expected = -np.where(p > 0, p * log_p, 0.0).sum(0)
    assert_allclose(counts.entropy_without_zero(), expected, RTOL, 1e-9)
