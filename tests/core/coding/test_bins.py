"""Bins of priors: their probabilities, under priors and encoders that depend on all variables."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from entropy_core.coding.bins import (
    DEFAULT_MOST_BITS,
    FEWEST_BITS,
    Grid,
    Mixture,
    Normals,
    Walk,
    choose_bits,
)
from entropy_core.coding.bits.search import Recording, search
from entropy_core.coding.bits.stacks import Stacks, seed_words
from entropy_core.coding.latents import Costs, pop_posterior, pop_prior, push_posterior, push_prior

H, K, A = 3, 4, 5
RNG = np.random.default_rng(3)


def factors(num):
    tril = np.tril(0.4 * RNG.standard_normal((num, H, H)), -1)
    return tril + np.eye(H) * RNG.uniform(0.3, 1, (num, H, 1))


PRIORS = {
    "standard": Mixture(np.zeros(1), Normals(np.zeros((1, H)), np.ones((1, H)))),
    "full": Mixture(
        np.zeros(1), Normals(0.3 * RNG.standard_normal((1, H)), factors(1) + 2 * np.eye(H))
    ),
    "mixture": Mixture(
        np.log(RNG.dirichlet(np.ones(K))),
        Normals(2 * RNG.standard_normal((K, H)), RNG.uniform(0.2, 1, (K, H))),
    ),
    "full mixture": Mixture(
        np.log(RNG.dirichlet(np.ones(K))), Normals(2 * RNG.standard_normal((K, H)), factors(K))
    ),
}
POSTERIORS = {
    "diagonal": Normals(RNG.standard_normal((A, H)), RNG.uniform(0.05, 1, (A, H))),
    "full": Normals(RNG.standard_normal((A, H)), factors(A)),
}


def log_density(normals, row, z):
    scale = normals.scale[row]
    covariance = scale @ scale.T if normals.is_full else np.diag(scale**2)
    return stats.multivariate_normal(normals.loc[row], covariance).logpdf(z)


def joint_log_prior(prior, z):
    parts = [
        prior.log_weights[k] + log_density(prior.components, k, z) for k in range(len(prior[0]))
    ]
    return logsumexp(np.array(parts), axis=0)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_draws_go_back_and_cost_what_densities_say(prior, posterior):
    prior, q = PRIORS[prior], POSTERIORS[posterior]
    grid = Grid(prior, 14)
    words = [seed_words(c, 20) for c in range(A)]
    stacks, back, forth = Stacks(words), Costs(), Costs()
    bins, z = pop_posterior(grid, q, stacks, back)
    push_prior(grid, bins, stacks, forth)
    before, after = 32 * 20 * A, sum(32 * len(w) for w in stacks.words())
    assert abs(after - before - (forth.coded - back.coded)) < 32 * A
    again, z_again = pop_prior(grid, A, stacks)
    np.testing.assert_array_equal(again, bins)
    np.testing.assert_array_equal(z_again, z)
    push_posterior(grid, again, q, stacks)
    for found, word in zip(stacks.words(), words, strict=True):
        np.testing.assert_array_equal(found, word)
    log_q = np.array([log_density(q, a, z[a]) for a in range(A)])
    for costs in (back, forth):
        assert costs.coded == pytest.approx(costs.exact, abs=1e-3)
    # The bins' widths are the same under both.
    densities = (log_q.sum(), joint_log_prior(prior, z).sum())
    widths = [c.exact + d / np.log(2) for c, d in zip((back, forth), densities, strict=True)]
    assert widths[0] == pytest.approx(widths[1], abs=0.01 * A * H)


@pytest.mark.parametrize("prior", ["mixture", "full mixture"])
def test_a_mixtures_bins_have_its_own_mass(prior):
    """Of the second variable, given the first, against integrals of the joint density."""
    prior, bits = PRIORS[prior], 8
    grid = Grid(prior, bits)
    everything = np.arange(1 << bits)[:, None]
    walk = Walk(grid, len(everything))
    first = np.full_like(everything, 100)
    walk.put(slice(0, 1), first)
    zeros = np.zeros_like(everything)
    known = Recording(count=False).known(everything)
    _, p = search(walk.prior_edge(slice(1, 2)), zeros, zeros + len(everything), known)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    edges = grid.loc[1] + grid.scale[1] * grid.edges
    x0 = walk.z[0, 0]
    inner = np.linspace(edges[100], edges[101], 41)
    two = Mixture(
        prior.log_weights,
        Normals(
            prior.components.loc[:, :2],
            prior.components.scale[:, :2, :2]
            if prior.components.is_full
            else prior.components.scale[:, :2],
        ),
    )
    scale = two.components.scale[:, :1, :1] if prior.components.is_full else two[1].scale[:, :1]
    one = Mixture(prior.log_weights, Normals(two.components.loc[:, :1], scale))
    joint = np.exp(joint_log_prior(two, np.stack([np.full(41, x0), inner], -1)))
    mass = np.trapezoid(joint, inner) / np.exp(joint_log_prior(one, np.array([x0])))
    assert p[100, 0] == pytest.approx(float(mass), rel=1e-4)


@pytest.mark.parametrize("bits", [1, 6, 14, 20])
def test_draws_far_outside_of_the_prior_go_back(bits):
    grid = Grid(PRIORS["standard"], bits)
    q = Normals(np.array([[30.0, -50.0, 4.0]]), np.array([[0.1, 3.0, 1e-6]]))
    words = seed_words(0, 20)
    stacks = Stacks([words])
    bins, _ = pop_posterior(grid, q, stacks, Costs())
    push_posterior(grid, bins, q, stacks)
    np.testing.assert_array_equal(stacks.words()[0], words)


@pytest.mark.parametrize(
    ("tau", "bits"), [(1.0, FEWEST_BITS), (0.1, 10), (0.02, 12), (1e-4, DEFAULT_MOST_BITS)]
)
def test_small_taus_ask_for_narrow_bins(tau, bits):
    q = Normals(np.zeros((2, H)), np.array([[1.0] * H, [1.0, tau, 1.0]]))
    assert choose_bits([q], PRIORS["standard"]) == bits


def test_taus_are_measured_by_the_priors_scale():
    wide = Mixture(np.zeros(1), Normals(np.zeros((1, H)), np.full((1, H), 10.0)))
    q = Normals(np.zeros((1, H)), np.full((1, H), 1.0))
    assert choose_bits([q], wide) == 10


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_no_normal_has_are_refused(scale):
    with pytest.raises(ValueError, match="for `encoder`"):
        Normals(np.zeros((1, 2)), np.array([[1.0, scale]])).check("encoder")
