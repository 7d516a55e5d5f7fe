"""Oracles against others: SciPy's densities, scikit-learn's PCA, optimisers, conditioning."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats
from sklearn.decomposition import PCA

from entropy_core.datasets import ppca
from entropy_core.theory.closed_form import (
    active_units,
    collapsed_by_entropy,
    collapsed_by_kl,
    gaussian_entropy,
    linear_vae_entropy_sum,
    optimal_decoder_variance,
    optimal_prior_variance,
    ppca_log_likelihood,
    ppca_optimum,
)

# Well-conditioned float64 linear algebra in at most 12 dimensions loses a few digits, not more.
RTOL = 1e-9

SHAPES = pytest.mark.parametrize(("data_dim", "latent_dim"), [(2, 1), (5, 2), (10, 2), (12, 11)])


def draws(data_dim: int, latent_dim: int, num: int = 400) -> np.ndarray:
    return ppca(
        3, num_train=num, num_test=1, data_dim=data_dim, latent_dim=latent_dim, dtype=np.float64
    ).train


def likelihood_of(optimum, x):
    return ppca_log_likelihood(x, optimum.weight, optimum.mean, optimum.variance)


def test_gaussian_entropy_is_scipys():
    variance = np.array([[1e-8, 0.3], [1.0, 700.0]])
    assert_allclose(gaussian_entropy(variance), stats.norm(scale=variance**0.5).entropy(), RTOL)
    assert_allclose(gaussian_entropy(2.0), stats.norm(scale=2**0.5).entropy(), RTOL)


@SHAPES
def test_likelihood_is_the_mean_log_density(data_dim, latent_dim):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, data_dim))
    weight, mean = rng.normal(size=(data_dim, latent_dim)), rng.normal(size=data_dim)
    density = stats.multivariate_normal(mean, weight @ weight.T + 0.3 * np.eye(data_dim))
    assert_allclose(ppca_log_likelihood(x, weight, mean, 0.3), density.logpdf(x).mean(), RTOL)


def test_likelihood_is_sklearns():
    x = draws(10, 2)
    pca = PCA(n_components=3).fit(x)
    weight = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    ours = ppca_log_likelihood(x, weight, pca.mean_, float(pca.noise_variance_))
    assert_allclose(ours, pca.score(x), RTOL)


def test_float32_is_treated_in_float64():
    x, weight, mean = (np.float32(part) for part in (draws(10, 2), np.eye(10, 2) / 3, np.ones(10)))
    doubles = (part.astype(np.float64) for part in (x, weight, mean))
    assert ppca_log_likelihood(x, weight, mean, 0.01) == ppca_log_likelihood(*doubles, 0.01)
    assert all(np.asarray(part).dtype == np.float64 for part in ppca_optimum(x, 2))


@SHAPES
def test_optimum_is_sklearns(data_dim, latent_dim):
    x = draws(data_dim, latent_dim)
    optimum = ppca_optimum(x, latent_dim)
    pca = PCA(n_components=latent_dim).fit(x)
    # scikit-learn divides the covariance by N - 1, maximum likelihood by N.
    bias = (len(x) - 1) / len(x)
    assert_allclose(optimum.mean, pca.mean_, RTOL)
    assert_allclose(optimum.variance, bias * pca.noise_variance_, RTOL)
    assert_allclose(
        optimum.weight @ optimum.weight.T + optimum.variance * np.eye(data_dim),
        bias * pca.get_covariance(),
        RTOL,
        atol=RTOL,
    )


def test_an_optimiser_finds_no_more():
    x = draws(4, 2)
    best = likelihood_of(ppca_optimum(x, 2), x)

    def loss(flat):
        return -ppca_log_likelihood(x, flat[:8].reshape(4, 2), flat[8:12], np.exp(flat[12]))

    found = -optimize.minimize(loss, np.random.default_rng(0).normal(size=13)).fun
    assert found <= best + 1e-12
    # It stops where finite differences no longer tell the way up.
    assert_allclose(found, best, atol=1e-6)


def test_every_step_off_the_optimum_lowers_the_likelihood():
    x = draws(6, 2)
    optimum = ppca_optimum(x, 2)
    rng = np.random.default_rng(0)
    for part in ("weight", "mean", "variance"):
        value = getattr(optimum, part)
        for _ in range(20):
            step = 1e-3 * rng.normal(size=np.shape(value))
            moved = optimum._replace(**{part: value + (step if np.ndim(value) else float(step))})
            assert likelihood_of(moved, x) < likelihood_of(optimum, x)


@SHAPES
def test_encoder_is_the_exact_posterior(data_dim, latent_dim):
    optimum = ppca_optimum(draws(data_dim, latent_dim), latent_dim)
    weight = optimum.weight
    # Conditioning the joint Gaussian of z and x, which knows nothing of eigenvalues.
    gain = weight.T @ np.linalg.inv(weight @ weight.T + optimum.variance * np.eye(data_dim))
    assert_allclose(optimum.encoder_weight, gain, 1e-7, atol=RTOL)
    posterior = np.eye(latent_dim) - gain @ weight
    assert_allclose(np.diag(optimum.encoder_variance), posterior, 1e-7, atol=RTOL)


@SHAPES
def test_entropy_sum_is_the_likelihood_at_the_optimum(data_dim, latent_dim):
    x = draws(data_dim, latent_dim)
    optimum = ppca_optimum(x, latent_dim)
    entropies = linear_vae_entropy_sum(optimum.encoder_variance, optimum.variance, data_dim)
    assert_allclose(entropies, likelihood_of(optimum, x), RTOL)


def test_entropy_sum_is_encoder_less_prior_less_decoder():
    tau2, sigma2 = np.array([0.1, 0.7]), 0.3
    parts = gaussian_entropy(tau2).sum() - 2 * gaussian_entropy(1.0) - 5 * gaussian_entropy(sigma2)
    assert_allclose(linear_vae_entropy_sum(tau2, sigma2, data_dim=5), parts, RTOL)


@SHAPES
def test_optimal_variances_at_the_optimum_are_those_it_has(data_dim, latent_dim):
    x = draws(data_dim, latent_dim)
    optimum = ppca_optimum(x, latent_dim)
    loc = (x - optimum.mean) @ optimum.encoder_weight.T
    assert_allclose(optimal_prior_variance(loc, optimum.encoder_variance), 1.0, RTOL)
    # Draws at m +- tau e_h sqrt(H) have the posterior's first two moments exactly.
    steps = np.diag(np.sqrt(latent_dim * optimum.encoder_variance))
    z = loc + np.concatenate([steps, -steps])[:, None]
    decoded = z @ optimum.weight.T + optimum.mean
    assert_allclose(optimal_decoder_variance(x, decoded), optimum.variance, 1e-7)


def test_optimal_decoder_variance_about_the_mean_is_the_data_variance():
    x = draws(5, 2)
    assert_allclose(optimal_decoder_variance(x, x.mean(axis=0)), x.var(axis=0).mean(), RTOL)


def test_optimal_decoder_variance_maximises_the_density():
    rng = np.random.default_rng(0)
    x, mean = rng.normal(size=(30, 3)), rng.normal(size=(7, 30, 3))

    def loss(log_variance):
        return -stats.norm.logpdf(x, mean, np.exp(0.5 * log_variance)).sum()

    best = optimize.minimize_scalar(loss).x
    assert_allclose(optimal_decoder_variance(x, mean), np.exp(best), rtol=1e-6)


def test_optimal_prior_variance_maximises_the_expected_density():
    rng = np.random.default_rng(0)
    loc, variance = rng.normal(size=(30, 1)), rng.uniform(0.1, 1, size=(30, 1))
    # Gauss-Hermite quadrature is exact for a quadratic.
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)

    def loss(log_variance):
        z = loc + np.sqrt(variance) * nodes
        density = stats.norm.logpdf(z, scale=np.exp(0.5 * log_variance))
        return -(density @ weights).mean()

    best = optimize.minimize_scalar(loss).x
    assert_allclose(optimal_prior_variance(loc, variance), [np.exp(best)], rtol=1e-6)


def test_entropy_criterion_has_the_papers_threshold():
    encoder = np.array([1.4189, 1.001, 0.999, -3.0])
    collapsed = collapsed_by_entropy(encoder, gaussian_entropy(np.ones(4)))
    assert collapsed.tolist() == [True, True, False, False]


def test_entropy_criterion_measures_against_each_latents_own_prior():
    encoder = gaussian_entropy(np.array([0.9, 0.9, 9.0]))
    prior = gaussian_entropy(np.array([1.0, 100.0, 10.0]))
    assert collapsed_by_entropy(encoder, prior).tolist() == [True, False, True]
    assert collapsed_by_entropy(encoder, prior, delta=0.0).tolist() == [False, False, False]


def test_kl_criterion_calls_small_kl_collapsed():
    fraction = np.array([1.0, 0.99, 0.98, 0.0])
    assert collapsed_by_kl(fraction).tolist() == [True, True, False, False]
    assert collapsed_by_kl(fraction, delta=0.5).tolist() == [True, True, True, False]


def test_active_units():
    variance = np.array([1.0, 0.02, 0.01, 0.0])
    assert active_units(variance).tolist() == [True, True, False, False]
    assert active_units(variance, threshold=0.5).tolist() == [True, False, False, False]


SQUARE = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
W, MEAN = np.ones((2, 1)), np.zeros(2)

ERRORS = {
    "variance of zero": (lambda: gaussian_entropy(np.array([1.0, 0.0])), "variance"),
    "variance of NaN": (lambda: gaussian_entropy(np.array([np.nan])), "variance"),
    "decoder variance": (lambda: ppca_log_likelihood(SQUARE, W, MEAN, 0.0), "variance"),
    "infinite data": (lambda: ppca_log_likelihood(SQUARE / 0.0, W, MEAN, 1.0), "x"),
    "empty data": (lambda: ppca_log_likelihood(SQUARE[:0], W, MEAN, 1.0), "x"),
    "empty data of an optimum": (lambda: ppca_optimum(SQUARE[:0], 1), "x"),
    "latent_dim = D": (lambda: ppca_optimum(SQUARE, 2), "latent_dim"),
    "latent_dim of zero": (lambda: ppca_optimum(SQUARE, 0), "latent_dim"),
    "data on a line": (lambda: ppca_optimum(SQUARE * [1, 0], 1), "x"),
    "one data point": (lambda: ppca_optimum(SQUARE[:1], 1), "x"),
    "encoder variance": (lambda: linear_vae_entropy_sum(-np.ones(1), 1.0, 2), "encoder_variance"),
    "data_dim": (lambda: linear_vae_entropy_sum(np.ones(1), 1.0, 0), "data_dim"),
    "decoder mean": (lambda: optimal_decoder_variance(SQUARE, MEAN * np.nan), "mean"),
    "encoder mean": (lambda: optimal_prior_variance(SQUARE * np.nan, MEAN + 1), "loc"),
    "encoder variance of zero": (lambda: optimal_prior_variance(SQUARE, MEAN), "variance"),
    "KL in place of a fraction": (lambda: collapsed_by_kl(np.array([3.0])), "fraction_below"),
    "fraction of NaN": (lambda: collapsed_by_kl(np.array([np.nan])), "fraction_below"),
}


@pytest.mark.parametrize(("call", "name"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_argument(call, name):
    with (
        np.errstate(divide="ignore"),
        pytest.raises(ValueError, match=f"^expected .* for `{name}`"),
    ):
        call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "weight", "mean", "name"),
    [
        (SQUARE[0], W, MEAN, "x"),
        (SQUARE, np.ones((3, 1)), MEAN, "weight"),
        (SQUARE, np.ones(2), MEAN, "weight"),
        (SQUARE, W, np.zeros(1), "mean"),
    ],
)
def test_wrong_shapes_name_the_argument(x, weight, mean, name):
    with pytest.raises(ValueError, match=f"^expected .* for `{name}`; got \\("):
        ppca_log_likelihood(x, weight, mean, 1.0)


@pytest.mark.parametrize("data_dim", range(3, 9))
def test_optimum_of_data_without_leading_axes(data_dim):
    # All eigenvalues are equal: the mean of the others rounds to either side of a leading one.
    for scale in (0.1, 0.3, 1.1):
        x = scale * np.concatenate([np.eye(data_dim), -np.eye(data_dim)])
        for latent_dim in range(1, data_dim):
            optimum = ppca_optimum(x, latent_dim)
            assert_allclose(optimum.weight, 0.0, atol=1e-7)
            assert_allclose(optimum.encoder_variance, 1.0, RTOL)


@pytest.mark.parametrize("seed", range(8))
def test_optimum_refuses_data_of_low_rank(seed):
    # Rounding gives the discarded eigenvalues either sign, never an exact zero.
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 6))
    assert ppca_optimum(x, 1).variance > 0
    with pytest.raises(ValueError, match=r"^expected variance off the 2 leading axes for `x`"):
        ppca_optimum(x, 2)
