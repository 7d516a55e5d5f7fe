"""Sums in chunks against all weights at once: by NumPy, by SciPy and by arviz-stats."""

import numpy as np
import pytest
from arviz_stats.base import array_stats
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from entropy_core.evaluation.bits import bits_per_dim
from entropy_core.evaluation.likelihood import LogLikelihood, chunk_sizes
from entropy_core.evaluation.weights.pareto import tail_length
from entropy_core.evaluation.weights.sums import WeightSums
from tests.support.conjugate import LOG_EVIDENCE, SCALE, SHIFT, SLOPE, N, X, weight_variance

RNG = np.random.default_rng(0)
# Up to 225 draws the length of the tail follows another rule.
SIZES = pytest.mark.parametrize("num", [25, 224, 225, 226, 1000, 5000])


def estimate(log_weights, chunk_size=97):
    sums = WeightSums(len(log_weights))
    for start in range(0, len(log_weights), chunk_size):
        sums.add(log_weights[start : start + chunk_size])
    return sums.log_likelihood()


def draws(num, points=20, seed=0):
    """Log-weights far from zero, of tails from light to very heavy."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, points)) * np.linspace(0.1, 4, points) - 1500


def conjugate(num, seed):
    """Log-weights of the conjugate model under its wrong guide."""
    noise = np.random.default_rng(seed).normal(size=(num, N))
    z = SLOPE * X + SHIFT + SCALE * noise
    log_q = -0.5 * noise**2 - np.log(SCALE)
    return -0.5 * z**2 - 0.5 * (X - z) ** 2 - 0.5 * np.log(2 * np.pi) - log_q


@SIZES
@pytest.mark.parametrize("chunk_size", [1, 7, 100, 10_000])
def test_any_chunks_give_the_naive_values(num, chunk_size):
    weights = draws(num)
    found = estimate(weights, chunk_size)
    assert_allclose(found.values, logsumexp(weights, 0) - np.log(num), rtol=1e-14)
    # Relative to their mean, so that they can be exponentiated.
    relative = np.exp(weights - found.values)
    errors = relative.std(0, ddof=1) / num**0.5
    assert_allclose(found.standard_errors, errors, rtol=1e-10)
    assert found.num_particles == num


@SIZES
def test_pareto_k_is_that_of_all_weights(num):
    weights = draws(num)
    k = [array_stats.psislw(-column)[1] for column in weights.T]
    # From none to all of the points are flagged.
    assert min(k) < 0.3 < 0.9 < max(k)
    assert_allclose(estimate(weights).pareto_k, k, rtol=1e-12, atol=1e-12)


def test_float32_weights_are_summed_in_float64():
    weights = draws(5000).astype(np.float32)
    found = estimate(weights)
    expected = logsumexp(weights.astype(np.float64), 0) - np.log(5000)
    assert found.values.dtype == np.float64
    assert_allclose(found.values, expected, rtol=1e-14)


@pytest.mark.parametrize("k", [0.3, 0.5, 0.9])
def test_pareto_k_of_pareto_weights(k):
    # Of the right sign: psislw takes the negative of log-weights.
    weights = k * RNG.exponential(size=(5000, 100))
    found = estimate(weights).pareto_k
    # psislw shrinks k towards 0.5 by as much as ten draws in the tail weigh.
    tail = tail_length(5000)
    shrunk = (tail * k + 5) / (tail + 10)
    assert abs(found.mean() - shrunk) < 4 * found.std() / 10 + 0.01


def test_pareto_k_of_a_guide_that_is_too_narrow():
    # Of N(0, 1) under N(0, s^2): P(w > t) ~ t^-(1 / (1 - s^2)), and so k = 1 - s^2.
    for variance, flagged in ((0.1, True), (0.5, False)):
        z = RNG.normal(size=(20_000, 100)) * variance**0.5
        found = estimate(0.5 * z**2 * (1 / variance - 1), 1000).pareto_k
        # The tail has a slowly varying factor, which at this length hides some of it.
        assert 0.8 * (1 - variance) < np.median(found) < 1.05 * (1 - variance)
        assert ((found > 0.7).mean() > 0.9) == flagged
        assert ((found > 0.7).mean() < 0.1) != flagged


def test_values_and_errors_on_a_known_evidence():
    scores = []
    for seed in range(5):
        found = estimate(conjugate(2000, seed), 500)
        bias = weight_variance() / (2 * 2000)
        scores.append((found.values + bias - LOG_EVIDENCE) / found.standard_errors)
        total = found.mean + bias.mean() - LOG_EVIDENCE.mean()
        assert abs(total) < 4 * found.standard_error
    assert np.abs(scores).max() < 4.5  # of 500
    assert 0.9 < np.std(scores) < 1.1
    assert abs(np.mean(scores)) < 4 / 500**0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [0.0, 1e-14])
def test_equal_weights_have_no_tail_and_no_error(dtype, noise):
    weights = (np.log(2) * np.ones((1000, 3)) + noise * RNG.normal(size=(1000, 3))).astype(dtype)
    found = estimate(weights)
    assert_allclose(found.values, np.log(2), rtol=1e-7)
    assert (found.standard_errors < 1e-9).all()
    assert np.isnan(found.pareto_k).all()
    assert "Pareto k > 0.7  0 (0.0 %), not defined for 3" in str(found)


def test_rounding_of_equal_weights_looks_harmless():
    # In float32 the weights of an exact posterior differ by several last digits.
    weights = (-90 + 3e-5 * RNG.normal(size=(5000, 10))).astype(np.float32)
    found = estimate(weights)
    assert not (found.pareto_k > 0.7).any()
    assert_allclose(found.values, -90, rtol=1e-6)


def test_zero_weights_count():
    weights = np.full((1000, 3), -np.inf)
    weights[500:, 1] = 0.0
    weights[0, 2] = 3.0
    found = estimate(weights)
    assert_allclose(found.values, [-np.inf, np.log(0.5), 3 - np.log(1000)], rtol=1e-12)
    assert_allclose(found.standard_errors, [np.nan, 999**-0.5, 1.0], rtol=1e-12)
    # The tail of the second is equal; psislw has an answer for the third, and no warning.
    assert np.isnan(found.pareto_k[:2]).all()
    with np.errstate(all="ignore"):
        assert found.pareto_k[2] == array_stats.psislw(-weights[:, 2])[1]


def test_few_particles():
    one = estimate(np.array([[-1.0, -2.0]]))
    assert_allclose(one.values, [-1, -2])
    for few in (one, estimate(draws(24))):
        assert np.isnan(few.pareto_k).all()
    assert np.isnan(one.standard_errors).all()
    assert np.isnan(one.standard_error)
    assert "± nan" in str(one)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(bad):
    weights = np.zeros((5, 2))
    weights[3, 1] = bad
    with pytest.raises(ValueError, match=r"finite log-weights for `model` and `guide`; got 1 that"):
        estimate(weights)


def test_missing_weights_and_data_are_refused():
    sums = WeightSums(10)
    sums.add(np.zeros((9, 2)))
    with pytest.raises(ValueError, match="10 log-weights for `log_weights`; got 9"):
        sums.log_likelihood()
    with pytest.raises(ValueError, match="at least one data point for `batches`; got none"):
        LogLikelihood.concatenate([])


def test_gaps_are_those_of_the_divergence_and_their_errors_calibrated():
    # A guide N(0, s^2) of a posterior N(0, 1): KL(q || p) = (s^2 - 1) / 2 - log s.
    rng, scale, num = np.random.default_rng(1), 0.8, 4000
    z = scale * rng.standard_normal((num, 300))
    found = estimate(0.5 * z**2 * (1 / scale**2 - 1) + np.log(scale) - 700)
    exact = 0.5 * (scale**2 - 1) - np.log(scale)
    scores = (found.gaps - exact) / found.gap_errors
    assert (found.gaps > 0).all()
    assert abs(scores.mean()) < 0.3
    assert 0.85 < scores.std() < 1.15
    assert_allclose(found.elbos, (0.5 * z**2 * (1 / scale**2 - 1) + np.log(scale) - 700).mean(0))


def test_the_worst_points_come_first():
    one = np.ones(4)
    gaps = np.array([0.1, 3.0, 0.2, 2.0])
    found = LogLikelihood(one, one, 0.1 * one, 10, one - gaps, 0.5 * one)
    assert list(found.worst(2).index) == [1, 3]
    assert found.worst().loc[3, "gap"] == 2
    assert "above the ELBO by 1.3250, most at 1: 3.00 ± 0.50" in str(found)
    joined = LogLikelihood.concatenate([found, found])
    assert_allclose(joined.to_dataset()["gap"], np.tile(gaps, 2))
    with pytest.raises(ValueError, match="the ELBO of each data point"):
        LogLikelihood(one, one, one, 10).worst()


def test_a_weight_of_zero_has_an_infinite_gap():
    values = np.array([[0.0, -np.inf], [0.0, 0.0]])
    found = estimate(values)
    assert found.gaps.tolist() == [0.0, np.inf]
    assert np.isnan(found.gap_errors[1])


def test_chunk_sizes():
    assert chunk_sizes(5000, 100) == [100] * 50
    assert chunk_sizes(7, 100) == [7]


def test_result():
    k = np.array([0.2, 0.8, np.nan])
    first = LogLikelihood(np.array([-1.0, -2.0, -6.0]), np.array([0.3, 0.0, 0.4]), k, 50)
    both = LogLikelihood.concatenate([first, first])
    assert (both.mean, both.num_particles) == (-3.0, 50)
    assert first.standard_error == pytest.approx(0.5 / 3)
    assert both.standard_error == pytest.approx(0.5 / 3 / 2**0.5)
    assert str(both).splitlines() == [
        "log-likelihood  -3.0000 ± 0.1179 nats per data point",
        "6 data points, 50 draws each",
        "Pareto k > 0.7  2 (33.3 %), worst 0.80, not defined for 2",
    ]
    expected = bits_per_dim(-3.0, 10, bin_width=1 / 256)
    assert both.bits_per_dim(10, bin_width=1 / 256) == expected
    dataset = both.to_dataset()
    assert dataset.sizes == {"data": 6}
    assert dataset.attrs["num_particles"] == 50
    assert_allclose(dataset["log_likelihood"], both.values)
    assert_allclose(dataset["standard_error"], both.standard_errors)
    assert_allclose(dataset["pareto_k"], both.pareto_k)
