"""Closed forms in float32 at parameters far out, against float64 and against known values."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import random
from jax.test_util import check_grads

from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_estimate,
)
from tests.numpyro.entropy_cases import CASES
from tests.numpyro.extreme_cases import EXTREMES, OTHERS, last_digits, precision
from tests.support.entropy_table import HOST, OURS, assert_stated
from tests.support.helpers import LAST_DIGITS, assert_last_digits, mostly

# Of each kind of formula one, the others with the slow tests: Pyro's side has the same formulas.
SOME = (
    "BernoulliLogits",
    "Gamma",
    "GeometricProbs",
    "LeftTruncatedDistribution",
    "LogUniform",
    "Normal",
    "TwoSidedTruncatedDistribution",
    "VonMises",
    "WishartCholesky",
)


def f(*values):
    return jnp.array(values, jnp.float32)


def test_every_closed_form_is_tried_far_out():
    assert EXTREMES.keys() == {n for n, c in CASES.items() if c.kind in (HOST, OURS)}
    assert OTHERS.keys() <= EXTREMES.keys()


@pytest.mark.parametrize("name", mostly(EXTREMES, SOME))
def test_float32_has_all_digits_far_out(name):
    assert_stated({name: last_digits(EXTREMES[name]).max()})


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_float32_has_all_digits_of_other_parts(name):
    assert_stated({name: last_digits(OTHERS[name]).max()})


def standard(loc):
    return dist.Normal(f(loc), f(1.0))


@pytest.mark.parametrize(
    ("make", "entropy"),
    [
        (lambda: dist.Gamma(f(1e6), f(2.0)), 7.633546),
        (lambda: dist.Beta(f(1e6), f(1e6)), -6.528538),
        (lambda: dist.StudentT(f(1e7), f(0.0), f(1.0)), 1.418939),
        (lambda: dist.GeometricProbs(f(1e-6)), 14.815510),
        (lambda: dist.GeometricProbs(f(1.0)), 0.0),
        (lambda: dist.Normal(f(0.0), f(1e-30)), 0.5 * math.log(2 * math.pi * math.e * 1e-60)),
        (lambda: dist.LeftTruncatedDistribution(standard(-3.0), f(0.0)), -0.264140),
        (lambda: dist.LeftTruncatedDistribution(standard(-12.0), f(0.0)), -1.498449),
        (lambda: dist.LeftTruncatedDistribution(standard(-100.0), f(0.0)), -3.605370),
        (lambda: dist.HurdlePoisson(f(1.0), f(3.0)), 0.0),
        (lambda: dist.HurdlePoisson(f(0.3), f(1e-6)), 0.610870),
        (lambda: dist.HurdleProbs(dist.GeometricProbs(f(1.0)), f(0.3)), 0.610864),
        (lambda: dist.ZeroInflatedPoisson(f(1.0), f(3.0)), 0.0),
        (lambda: dist.ZeroInflatedProbs(dist.GeometricProbs(f(1.0)), f(0.3)), 0.0),
    ],
)
def test_known_values(make, entropy):
    with precision(np.float32):
        found = entropy_estimate(random.key(0), make(), 3)
    assert found.method == "closed form"
    assert found.values.item() == pytest.approx(entropy, rel=1e-6, abs=2e-6)


def inside(a):
    return dist.TwoSidedTruncatedDistribution(dist.Normal(a, jnp.ones_like(a)), 0.5 * a, a + 1)


FLAT = {
    "gamma": lambda a: dist.Gamma(a, a),
    "Student's t": lambda a: dist.StudentT(a, a, a),
    "von Mises": lambda a: dist.VonMises(a, a),
    "LKJ": lambda a: dist.LKJCholesky(3, a),
    "truncated": inside,
    "hurdle": lambda a: dist.HurdleProbs(dist.GammaPoisson(a, jnp.full_like(a, 0.5)), 0.3),
    "geometric": lambda a: dist.GeometricLogits(a - 5),
}


@pytest.mark.parametrize("name", mostly(FLAT, ("gamma", "truncated", "geometric")))
def test_gradients(name):
    """On both sides of every switch between formulas, and finite far from them; under jit."""

    @jax.jit
    def total(a):
        return closed_entropy(FLAT[name](a)).sum()

    check_grads(total, (jnp.array([0.3, 0.9, 2.9, 3.1, 9.9, 10.1, 15.9, 21.0]),), 1, ["rev"])
    with precision(np.float32):
        gradient = jax.grad(total)(f(1e-4, 1.0, 3.0, 10.0, 16.0, 1e4, 1e7))
    assert gradient.dtype == jnp.float32
    assert jnp.isfinite(gradient).all()


def test_base_measures_of_nearly_poisson_counts():
    """Of `theta` far above the mean `log C(v + theta - 1, v)` is about `v log theta - log v!`."""

    @jax.jit
    def measures(mean, theta):
        fn = dist.NegativeBinomial2(mean, theta)
        return mean_log_base_measure(fn), log_base_measure(fn, f(3.0))

    for theta, mean, exact in ((1e7, 5.0, 75.338894), (1e10, 0.5, 11.431862)):
        found, measure = measures(f(mean), f(theta))
        assert found.item() == pytest.approx(exact, rel=1e-6)
        assert measure.item() == pytest.approx(3 * math.log(theta) - math.log(6), rel=1e-6)


CROSS = {
    "gamma": (dist.Gamma, (1e6, 1e6), (1.001e6, 1.001e6)),
    "beta": (dist.Beta, (1e5, 2e5), (1.001e5, 2e5)),
    "Dirichlet": (lambda *a: dist.Dirichlet(jnp.stack(a, -1)), (1e5, 2e4), (1.001e5, 2e4)),
}


@pytest.mark.parametrize("name", CROSS)
def test_cross_entropies_of_narrow_distributions(name):
    make, *parameters = CROSS[name]

    def cross_entropy(dtype):
        with precision(dtype):
            q, p = (make(*(jnp.array([x], dtype) for x in np.float32(xs))) for xs in parameters)
            return np.asarray(closed_cross_entropy(q, p, jnp.zeros(1)))

    found = cross_entropy(np.float32)
    assert found.dtype == np.float32
    assert_last_digits(found, cross_entropy(np.float64), 4 * LAST_DIGITS)


def test_rows_of_other_numbers_of_trials():
    probs, counts = jnp.array([0.2, 0.3, 0.5]), jnp.array([9, 2, 0])
    value = jnp.array([[2.0, 3.0, 4.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    ragged = dist.MultinomialProbs(probs, counts)
    alone = [dist.MultinomialProbs(probs, n) for n in (9, 2, 0)]
    for of in (closed_entropy, mean_log_base_measure):
        whole, each = jax.jit(lambda of=of: (of(ragged), [of(fn) for fn in alone]))()
        np.testing.assert_allclose(whole, each, atol=1e-12)
    rest = jax.jit(lambda value: ragged.log_prob(value) - log_base_measure(ragged, value))(value)
    np.testing.assert_allclose(rest, (value * jnp.log(probs)).sum(-1), atol=1e-12)


def test_a_host_divergence_that_stops_its_series_is_not_taken():
    q, p = dist.Kumaraswamy(1.0, 1.0), dist.Beta(2.0, 2.0)
    # H[q] = 0 and KL = 2 - log 6, of which the host's is short by (beta - 1) / 11.
    assert dist.kl_divergence(q, p) < 2 - math.log(6) - 0.05
    assert closed_cross_entropy(q, p, f(0.5)) is None
