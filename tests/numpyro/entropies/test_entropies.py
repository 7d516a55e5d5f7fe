"""Entropies of every distribution of NumPyro, against draws of the host and against Pyro's."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import torch
from jax import random
from numpyro.distributions import transforms

import pyro_entropy.entropies.base_measures as twin_measures
import pyro_entropy.entropies.estimate as twin
from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.entropies.closed_forms import formula_entropy
from numpyro_entropy.entropies.counts import counts_entropy
from numpyro_entropy.entropies.estimate import (
    closed_entropy,
    entropy_estimate,
    sampled_entropy,
    sampled_entropy_and_error,
)
from tests.numpyro.entropy_cases import CASES, NORMAL, SKIPPED, A, L
from tests.support.entropy_table import CHANGE, HOST, NONE, OURS, SAMPLED, missing
from tests.support.helpers import PARITY, STANDARD_ERRORS, mostly

METHODS = {HOST: "closed form", OURS: "closed form", CHANGE: CHANGE, SAMPLED: SAMPLED, NONE: NONE}
# Of the entropies that are the library's own every third, the others with the slow tests.
OURS_ALONE = [name for name, case in CASES.items() if case.kind in (OURS, CHANGE)][::3]
every = pytest.mark.parametrize("name", mostly(CASES, OURS_ALONE[::2]))
NO_SAMPLER = {"GaussianCopulaBeta"}
wrapped = pytest.mark.parametrize(
    "name",
    mostly([n for n, c in CASES.items() if c.kind in (HOST, OURS) and c.wraps], OURS_ALONE[::3]),
)
KEYS = random.split(random.key(0))


def is_hosts(fn):
    if counts_entropy(fn) is not None or formula_entropy(fn) is not None:
        return False
    try:
        fn.entropy()
    except NotImplementedError:
        return False
    return True


def assert_close(found, error, exact, exact_error):
    bound = STANDARD_ERRORS * (error**2 + exact_error**2) ** 0.5 + 1e-9
    assert (np.abs(found - exact) <= bound).all(), (found, exact, bound)


def test_every_distribution_is_in_the_table():
    assert not (message := missing(dist, dist.Distribution, CASES, SKIPPED)), message


@every
def test_entropy_is_that_of_draws(name):
    fn, kind, num = CASES[name].make(), CASES[name].kind, CASES[name].num
    methods = []

    # What is sampled would be compared with itself: the host's sampler is compiled only once.
    drawn = kind in (HOST, OURS, CHANGE) and name not in NO_SAMPLER

    @jax.jit
    def draw(keys):
        values, error, method = entropy_estimate(keys[0], fn, num)
        methods.append(method)
        return values, error, fn.log_prob(fn.sample(keys[1], (num,))) if drawn else None

    values, error, log_probs = jax.device_get(draw(KEYS))
    assert methods[0] == METHODS[kind]
    assert values.shape == error.shape == fn.batch_shape
    if kind in (HOST, OURS):
        assert is_hosts(fn) == (kind == HOST)
        assert not error.any()
    assert np.isfinite(values).all()
    if drawn:
        assert values.dtype == np.float64
        assert_close(values, error, -log_probs.mean(0), log_probs.std(0) / num**0.5)


@wrapped
def test_wrappers(name):
    fn = CASES[name].make()
    entropy = np.asarray(closed_entropy(fn))
    mask = np.array([True, False])
    np.testing.assert_allclose(closed_entropy(fn.to_event(1)), entropy.sum(-1))
    np.testing.assert_allclose(closed_entropy(fn.mask(mask)), entropy * mask)
    np.testing.assert_allclose(closed_entropy(fn.mask(mask).to_event(1)), (entropy * mask).sum(-1))
    expanded = closed_entropy(fn.expand((3, 2)))
    np.testing.assert_allclose(expanded, np.broadcast_to(entropy, (3, 2)))


def test_gaussian_copula_beta():
    fn, other = CASES["GaussianCopulaBeta"].make(), CASES["GaussianCopula"].make()

    @jax.jit
    def found_and_exact():
        copula = closed_entropy(other) - closed_entropy(other.marginal_dist).sum(-1)
        return closed_entropy(fn), copula + closed_entropy(fn.marginal_dist).sum(-1)

    np.testing.assert_allclose(*found_and_exact())


def test_sampled_entropy():
    fn = dist.TransformedDistribution(dist.Normal(L, 0.1 * A), transforms.ExpTransform())
    found, error = sampled_entropy_and_error(KEYS[0], fn, 5000)
    exact = dist.LogNormal(L, 0.1 * A).entropy()
    assert_close(found, error, exact, 0)
    np.testing.assert_array_equal(sampled_entropy(KEYS[0], fn, 5000), found)
    estimate = entropy_estimate(KEYS[0], fn, 5000)
    assert_close(estimate.values, estimate.error, exact, 0)
    assert (estimate.error < error).all()
    assert np.isnan(entropy_estimate(KEYS[0], fn, 1).error).all()


class OneWay(transforms.ParameterFreeTransform):
    """A transform whose inverse would take numerical work."""

    domain = codomain = dist.constraints.real

    def __call__(self, x):
        return x + x**3

    def _inverse(self, y):
        raise NotImplementedError

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        return jnp.log1p(3 * x**2)


def test_draws_keep_the_way_that_they_have_taken():
    """Under all wrappers, with a mixture as the base, for which only draws are left."""
    base = dist.MixtureSameFamily(dist.CategoricalLogits(jnp.zeros(2)), dist.Normal(L, A))
    fn = dist.TransformedDistribution(base, OneWay())
    wrapped = fn.expand((3,)).mask(jnp.array([True, True, False])).to_event(1)
    methods = []

    @jax.jit
    def estimates(keys):
        whole = entropy_estimate(keys[0], wrapped, 4000)
        methods.append(whole.method)
        return whole[:2], entropy_estimate(keys[1], fn, 4000)[:2]

    (values, error), (part, part_error) = estimates(KEYS)
    assert methods == [SAMPLED]
    assert_close(values, error, 2 * part, 2 * part_error)


def test_change_of_variables_of_an_expanded_distribution():
    fn = dist.TransformedDistribution(dist.Normal(L, A), OneWay())
    methods = []

    @jax.jit
    def estimates(keys):
        whole = entropy_estimate(keys[0], fn.expand((50, 2)).to_event(2), 1000)
        methods.append(whole.method)
        return whole[:2], entropy_estimate(keys[1], fn, 50_000)[:2]

    (values, error), (part, part_error) = jax.device_get(estimates(KEYS))
    assert methods == [CHANGE]
    assert_close(values / 50, error / 50, part.sum(), (part_error**2).sum() ** 0.5)
    # Each of the 50 has draws of its own, 50 times fewer.
    expected = 50 * (part_error**2).sum() ** 0.5
    np.testing.assert_allclose(error, expected, rtol=0.2)


def test_constant_jacobians_are_closed():
    scale_tril = jnp.array([[0.5, 0.0], [0.3, 2.0]])
    affine = transforms.LowerCholeskyAffine(jnp.array([0.0, 1.0]), scale_tril)
    steps = [
        affine,
        transforms.AffineTransform(0.0, jnp.array([2.0, 3.0])),
        transforms.PermuteTransform(jnp.array([1, 0])),
        affine.inv,
    ]
    fn = dist.TransformedDistribution(NORMAL.to_event(1), steps)
    exact = NORMAL.entropy().sum() + jnp.log(6.0)
    np.testing.assert_allclose(closed_entropy(fn), exact)
    np.testing.assert_allclose(closed_entropy(fn.expand((3,))), jnp.broadcast_to(exact, (3,)))


COUNTS = {
    "poisson": (lambda r: dist.Poisson(r), lambda r: torch.distributions.Poisson(r)),
    "binomial": (
        lambda r: dist.BinomialProbs(r / 500, jnp.array([1, 40])),
        lambda r: torch.distributions.Binomial(torch.tensor([1, 40]).to(r), r / 500),
    ),
    "binomial logits": (
        lambda r: dist.BinomialLogits(jnp.log(r), 9),
        lambda r: torch.distributions.Binomial(9, logits=r.log()),
    ),
    "multinomial": (
        lambda r: dist.MultinomialProbs(r / r.sum(), 9),
        lambda r: torch.distributions.Multinomial(9, r),
    ),
    "negative binomial": (
        lambda r: dist.NegativeBinomialLogits(r / 30, jnp.array([-2.0, 2.0], r.dtype)),
        lambda r: torch.distributions.NegativeBinomial(
            r / 30, logits=torch.tensor([-2.0, 2.0]).to(r)
        ),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_other_side(name):
    """There sums over the support have confirmed them."""
    make, make_twin = COUNTS[name]
    value = np.array([1.0, 8.0])

    @jax.jit
    def found(rates):
        fn = make(rates)
        measure = None if name == "binomial" else log_base_measure(fn, value)
        return closed_entropy(fn), mean_log_base_measure(fn), measure

    for rates in ([0.01, 8.0], [1.0, 400.0]):
        entropy, mean, measure = found(jnp.array(rates))
        other = make_twin(torch.tensor(rates, dtype=torch.float64))
        exact = twin.closed_entropy(other)
        np.testing.assert_allclose(entropy, exact, PARITY, PARITY)
        np.testing.assert_allclose(mean, twin_measures.mean_log_base_measure(other), PARITY, PARITY)
        if measure is not None:
            exact_measure = twin_measures.log_base_measure(other, torch.tensor(value))
            np.testing.assert_allclose(measure, exact_measure, PARITY, PARITY)
        single = found(jnp.array(rates, jnp.float32))[0]
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, exact, rtol=2e-5, atol=1e-5)


def test_counts_under_transformations():
    def entropy(rate):
        return closed_entropy(dist.Poisson(rate))

    rate = torch.tensor(3.0).double().requires_grad_()
    exact = twin.closed_entropy(torch.distributions.Poisson(rate))
    exact.backward()
    found = jax.jit(jax.value_and_grad(entropy))(3.0)
    np.testing.assert_allclose(found, (exact.item(), rate.grad), rtol=PARITY)


def test_base_measures_under_wrappers():
    fn = dist.Poisson(jnp.array([1.0, 2.0])).mask(jnp.array([True, False])).to_event(1)
    np.testing.assert_allclose(log_base_measure(fn, jnp.array([2, 3])), -np.log(2))
    expanded = dist.Poisson(1.0).expand((3, 2)).to_event(1)
    assert log_base_measure(expanded, jnp.ones((3, 2))).shape == (3,)
    mean = mean_log_base_measure(dist.Poisson(1.0))
    np.testing.assert_allclose(mean_log_base_measure(expanded), np.full(3, 2 * mean))
    assert log_base_measure(NORMAL, L) is None
    assert mean_log_base_measure(NORMAL.to_event(1)) is None


@pytest.mark.parametrize("edges", [(-1.0, 2.0), (3.0, 3.5), (9.0, 40.0), (-40.0, -12.0)])
def test_truncated_normal(edges):
    low, high = edges
    for top in (high, np.inf):
        peak = np.clip(0.0, low, top)
        z = np.linspace(max(low, peak - 12), min(top, peak + 12), 200_001)
        log_p = 0.5 * (peak**2 - z**2)
        log_p -= np.log(np.trapezoid(np.exp(log_p), z))
        exact = np.log(2) - np.trapezoid(np.exp(log_p) * log_p, z)
        bounds = (
            {"low": 1 + 2 * low} if top == np.inf else {"low": 1 + 2 * low, "high": 1 + 2 * top}
        )
        found = closed_entropy(dist.TruncatedNormal(1.0, 2.0, **bounds))
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)
    assert closed_entropy(dist.TruncatedCauchy(low=0.0)) is None


@pytest.mark.parametrize("concentration", [1e-3, 1.0, 49.0, 51.0, 1e4])
def test_gompertz(concentration):
    from scipy.stats import gompertz

    found = closed_entropy(dist.Gompertz(concentration, 1.0))
    np.testing.assert_allclose(found, gompertz(concentration).entropy(), rtol=1e-8)


@pytest.mark.parametrize("alpha", [-2.5, -1.0, -1 + 1e-9, 0.0, 3.0])
def test_power_laws(alpha):
    x = np.linspace(2.0, 5.0, 20_001)
    log_p = alpha * np.log(x) - np.log(np.trapezoid(x**alpha, x))
    exact = -np.trapezoid(np.exp(log_p) * log_p, x)
    found = closed_entropy(dist.DoublyTruncatedPowerLaw(alpha, 2.0, 5.0))
    np.testing.assert_allclose(found, exact, rtol=1e-7)


@pytest.mark.parametrize("name", ["SoftLaplace", "VonMises", "Gumbel", "Dagum"])
def test_float32_stays(name):
    arguments = (A, A, A) if name == "Dagum" else (L, A)
    single = closed_entropy(getattr(dist, name)(*(x.astype("float32") for x in arguments)))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, closed_entropy(getattr(dist, name)(*arguments)), rtol=1e-5)


@pytest.mark.parametrize(
    ("fn", "entropy"),
    [
        (dist.ZeroInflatedPoisson(1.0, 3.0), 0.0),
        # -(1 - p) log(1 - p) of what is left, to first order, with p = sigmoid(20).
        (dist.ZeroInflatedLogits(dist.Poisson(50.0), jnp.asarray(20.0)), 4.9e-8),
        # Without a zero of its own.
        (dist.ZeroInflatedProbs(dist.CategoricalProbs(jnp.array([0.0, 0.5, 0.5])), 0.3), 1.0961),
    ],
)
def test_zero_inflated_entropies_at_the_ends_of_the_gate(fn, entropy):
    assert closed_entropy(fn).item() == pytest.approx(entropy, rel=0.05, abs=1e-12)
