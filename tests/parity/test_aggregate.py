"""Estimates of the aggregate posterior and of the mutual information, in both backends."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_dist
import pyro.distributions as pyro_dist
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import multivariate_normal, norm

import numpyro_entropy.elbos.aggregate
import numpyro_entropy.elbos.edvae
import pyro_entropy.elbos.aggregate
import pyro_entropy.elbos.edvae
from tests.support.helpers import IDENTITY, PARITY, STANDARD_ERRORS, H, mostly

ESTIMATORS = ["minibatch", "weighted", "stratified", "moment"]
N = 64
RNG = np.random.default_rng(3)
LOC, SCALE = RNG.standard_normal((N, H)), np.exp(0.5 * RNG.standard_normal((N, H)) - 1)
Z = LOC + SCALE * RNG.standard_normal((N, H))
FACTORS = np.tril(RNG.standard_normal((N, H, H)))
COVARIANCES = FACTORS @ FACTORS.swapaxes(1, 2) + 0.1 * np.eye(H)


class PyroSide:
    array = staticmethod(lambda x, dtype=np.float64: torch.tensor(np.asarray(x, dtype)))
    aggregate = pyro_entropy.elbos.aggregate
    info_nce = staticmethod(pyro_entropy.elbos.edvae.info_nce)
    density_info_nce = staticmethod(pyro_entropy.elbos.edvae.density_info_nce)

    def normal(self, loc, scale):
        return pyro_dist.Normal(self.array(loc), self.array(scale)).to_event(1)

    def full(self, loc, covariance):
        return pyro_dist.MultivariateNormal(self.array(loc), self.array(covariance))

    def other(self, loc, scale):
        return pyro_dist.Laplace(self.array(loc), self.array(scale)).to_event(1)


class NumPyroSide:
    array = staticmethod(lambda x, dtype=np.float64: jnp.asarray(np.asarray(x, dtype)))
    aggregate = numpyro_entropy.elbos.aggregate
    info_nce = staticmethod(numpyro_entropy.elbos.edvae.info_nce)
    density_info_nce = staticmethod(numpyro_entropy.elbos.edvae.density_info_nce)

    def normal(self, loc, scale):
        # As a plate leaves it.
        loc = self.array(loc)
        return numpyro_dist.Normal(loc, self.array(scale)).to_event(1).expand(loc.shape[:1])

    def full(self, loc, covariance):
        loc = self.array(loc)
        fn = numpyro_dist.MultivariateNormal(loc, covariance_matrix=self.array(covariance))
        return fn.expand(loc.shape[:1])

    def other(self, loc, scale):
        return numpyro_dist.Laplace(self.array(loc), self.array(scale)).to_event(1)


SIDES = {"pyro": PyroSide(), "numpyro": NumPyroSide()}
side = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
# What both sides' same values have in common.
one_side = pytest.mark.parametrize("side", mostly(SIDES.values(), [SIDES["pyro"]]), ids=SIDES)


def entropy(side, rows, num_data=N, estimator="minibatch", z=Z):
    q = side.normal(LOC[rows], SCALE[rows])
    found = side.aggregate.aggregate_entropy(q, side.array(z[rows]), num_data, estimator)
    return float(found)


def pairwise(z, loc, scale):
    return norm.logpdf(z[:, None], loc, scale).sum(-1)


# Of the whole data set, at the draws.
EXACT = -(logsumexp(pairwise(Z, LOC, SCALE), axis=1) - np.log(N)).mean()


@side
def test_log_probabilities_of_all_pairs(side):
    found = side.aggregate.pairwise_log_prob
    np.testing.assert_allclose(
        found(side.normal(LOC, SCALE), side.array(Z)), pairwise(Z, LOC, SCALE), rtol=IDENTITY
    )
    full = [
        [multivariate_normal.logpdf(z, m, c) for m, c in zip(LOC, COVARIANCES, strict=True)]
        for z in Z
    ]
    np.testing.assert_allclose(found(side.full(LOC, COVARIANCES), side.array(Z)), full, rtol=1e-9)
    other = (-np.abs(Z[:, None] - LOC) / SCALE - np.log(2 * SCALE)).sum(-1)
    np.testing.assert_allclose(found(side.other(LOC, SCALE), side.array(Z)), other, rtol=IDENTITY)


@side
def test_the_product_keeps_its_digits_far_from_the_origin(side):
    # In float32 a product that is not centred is 1.0 off here.
    shift = 20.0
    single = [side.array(part, np.float32) for part in (LOC + shift, SCALE, Z + shift)]
    normal = pyro_dist.Normal if side is SIDES["pyro"] else numpyro_dist.Normal
    found = side.aggregate.pairwise_log_prob(normal(*single[:2]).to_event(1), single[2])
    wanted = pairwise(Z, LOC, SCALE)
    near = wanted > wanted.max() - 50
    assert np.abs(np.asarray(found) - wanted)[near].max() < 0.02


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_both_sides_have_the_same_estimates(estimator):
    rows = slice(0, 8)
    found = [entropy(side, rows, N, estimator) for side in SIDES.values()]
    assert found[0] == pytest.approx(found[1], rel=PARITY)
    pairs = [[side.array(z[rows]) for z in (Z, Z + 0.1)] for side in SIDES.values()]
    found = [
        float(side.info_nce(*pair, 2.0)) for side, pair in zip(SIDES.values(), pairs, strict=True)
    ]
    assert found[0] == pytest.approx(found[1], rel=PARITY)


@side
@pytest.mark.parametrize("estimator", ["minibatch", "stratified"])
def test_exact_where_the_batch_is_the_data_set(side, estimator):
    assert entropy(side, slice(None), N, estimator) == pytest.approx(EXACT, rel=IDENTITY)


@one_side
def test_weighted_is_minibatch_plus_log_n(side):
    rows = slice(0, 8)
    difference = entropy(side, rows, 1000, "weighted") - entropy(side, rows, 1000)
    assert difference == pytest.approx(np.log(1000), abs=1e-12)


@one_side
def test_minibatch_is_low_and_stratified_is_high_and_both_less_in_larger_batches(side):
    biases = {}
    for estimator in ("minibatch", "stratified"):
        for size in (4, 16):
            rng = np.random.default_rng(0)
            found = [
                entropy(side, rng.choice(N, size, replace=False), N, estimator) for _ in range(300)
            ]
            biases[estimator, size] = np.mean(found) - EXACT
            assert np.std(found) / 300**0.5 * STANDARD_ERRORS < abs(biases[estimator, size])
    assert biases["minibatch", 4] < biases["minibatch", 16] < 0
    assert biases["stratified", 4] > biases["stratified", 16] > 0


@one_side
def test_moments_of_the_data_set_are_an_upper_bound_and_exact_for_a_normal_aggregate(side):
    draws = np.random.default_rng(0).integers(N, size=20_000)
    z = LOC[draws] + SCALE[draws] * np.random.default_rng(1).standard_normal((len(draws), H))
    log_prob = logsumexp(pairwise(z, LOC, SCALE), axis=1) - np.log(N)
    error = log_prob.std() / len(draws) ** 0.5
    assert entropy(side, slice(None), N, "moment") > -log_prob.mean() + STANDARD_ERRORS * error
    same = np.broadcast_to(LOC[:1], LOC.shape), np.broadcast_to(COVARIANCES[:1], COVARIANCES.shape)
    found = side.aggregate.aggregate_entropy(side.full(*same), side.array(Z), N, "moment")
    wanted = multivariate_normal(LOC[0], COVARIANCES[0]).entropy()
    assert float(found) == pytest.approx(wanted, rel=IDENTITY)


@one_side
def test_the_estimate_is_the_entropy_by_quadrature(side):
    # One dimension, sixteen components, many draws of each.
    loc, scale = LOC[:16, :1], SCALE[:16, :1]
    grid, step = np.linspace(-12, 12, 20_001, retstep=True)
    density = np.exp(norm.logpdf(grid[:, None], loc[:, 0], scale[:, 0])).mean(1)
    wanted = -np.sum(density * np.log(np.maximum(density, 1e-300))) * step
    found = []
    for seed in range(200):
        z = loc + scale * np.random.default_rng(seed).standard_normal(loc.shape)
        q = side.normal(loc, scale)
        found.append(float(side.aggregate.aggregate_entropy(q, side.array(z), 16)))
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found) - wanted) < STANDARD_ERRORS * error < 0.1


@side
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_info_nce_of_both_critics(side, temperature):
    positive, wanted = Z + 0.3, []
    full = [
        [multivariate_normal.logpdf(z, m, c) for m, c in zip(LOC, COVARIANCES, strict=True)]
        for z in Z
    ]
    other = (-np.abs(Z[:, None] - LOC) / SCALE - np.log(2 * SCALE)).sum(-1)
    for scores in (Z @ positive.T, pairwise(Z, LOC, SCALE), np.array(full), other):
        wanted.append(np.log(N) + np.diag(log_softmax(scores / temperature, -1)).mean())
    z, density = side.array(Z), side.density_info_nce
    found = [
        side.info_nce(z, side.array(positive), temperature),
        density(side.normal(LOC, SCALE), z, temperature),
        density(side.full(LOC, COVARIANCES), z, temperature),
        density(side.other(LOC, SCALE), z, temperature),
    ]
    np.testing.assert_allclose([float(value) for value in found], wanted, rtol=1e-9)


@one_side
def test_info_nce_never_exceeds_log_b(side):
    for scale in (0.1, 1.0, 100.0):
        z, positive = scale * Z, scale * (Z + 0.01)
        for temperature in (0.01, 1.0, 10.0):
            found = float(side.info_nce(side.array(z), side.array(positive), temperature))
            assert found <= np.log(N) + IDENTITY
    assert float(side.info_nce(side.array(100 * Z), side.array(100 * Z))) < np.log(N) + IDENTITY


@one_side
@pytest.mark.parametrize("variance", [0.25, 9.0])
def test_info_nce_of_draws_never_exceeds_the_mutual_information_in_expectation(side, variance):
    # z = x + noise with x ~ N(0, 1): I = 1/2 log(1 + 1 / variance).
    exact = 0.5 * np.log1p(1 / variance)
    estimates = {"draws": [], "means": [], "density": []}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((16, 1))
        z, positive = (x + variance**0.5 * rng.standard_normal((16, 1)) for _ in range(2))
        estimates["draws"].append(float(side.info_nce(side.array(z), side.array(positive))))
        estimates["means"].append(float(side.info_nce(side.array(x), side.array(x))))
        q = side.normal(x, np.full_like(x, variance**0.5))
        estimates["density"].append(float(side.density_info_nce(q, side.array(z))))
    density = np.array(estimates["density"])
    error = STANDARD_ERRORS * density.std() / len(density) ** 0.5
    assert density.mean() < exact + error
    # It is the better critic, and tight where I is far below log B.
    assert density.mean() > np.mean(estimates["draws"]) + error
    assert density.mean() > 0.9 * exact - error
    draws = np.array(estimates["draws"])
    assert draws.mean() < exact + STANDARD_ERRORS * draws.std() / len(draws) ** 0.5
    # With means in place of draws it bounds nothing.
    if variance == 9.0:
        assert np.mean(estimates["means"]) > 2 * exact


@side
@pytest.mark.parametrize(
    ("rows", "num_data", "estimator", "match"),
    [
        (slice(0, 1), N, "minibatch", r"\(B,\) with B >= 2 for `q`; got \(1,\)"),
        (slice(0, 8), 7, "minibatch", "at least the batch size 8 for `num_data`; got 7"),
        (slice(0, 8), 0, "stratified", "a positive integer for `num_data`"),
        (slice(0, 8), N, "exact", "for `estimator`; got 'exact'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_aggregate_is_refused(side, rows, num_data, estimator, match):
    with pytest.raises(ValueError, match=match):
        entropy(side, rows, num_data, estimator)
