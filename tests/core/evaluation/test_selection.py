"""The BIC of a linear VAE against the likelihood of probabilistic PCA."""

import numpy as np
import pytest

from entropy_core import datasets
from entropy_core.evaluation.selection import (
    best_of,
    check_latent_dims,
    linear_vae_bic,
    num_parameters,
)
from entropy_core.theory.closed_form import ppca_log_likelihood, ppca_optimum

X = datasets.ppca(num_train=500, num_test=1, data_dim=6, latent_dim=3, dtype=np.float64).train


@pytest.mark.parametrize("count", ["paper", "ppca"])
def test_at_the_optimum_it_is_that_of_the_likelihood(count):
    bic = {}
    for latent_dim in range(1, 6):
        optimum = ppca_optimum(X, latent_dim)
        log_likelihood = ppca_log_likelihood(X, optimum.weight, optimum.mean, optimum.variance)
        parameters = num_parameters(6, latent_dim, count)
        bic[latent_dim] = linear_vae_bic(
            optimum.encoder_variance, optimum.variance, 6, len(X), count=count
        )
        wanted = -2 * len(X) * log_likelihood + parameters * np.log(len(X))
        assert bic[latent_dim] == pytest.approx(wanted, rel=1e-12)
    assert best_of(bic) == 3


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_parameters_are_those_of_the_covariance(latent_dim):
    """A covariance `W W^T + s I` has as many as its derivatives span dimensions."""
    rng, data_dim = np.random.default_rng(0), 6
    weight = rng.normal(size=(data_dim, latent_dim))
    columns = [np.eye(data_dim).ravel()]
    for i in range(data_dim):
        for h in range(latent_dim):
            step = np.zeros_like(weight)
            step[i, h] = 1.0
            columns.append((step @ weight.T + weight @ step.T).ravel())
    rank = np.linalg.matrix_rank(np.stack(columns))
    assert num_parameters(data_dim, latent_dim, "ppca") == rank
    assert num_parameters(data_dim, latent_dim) == data_dim * latent_dim + 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: num_parameters(0, 1), "positive integer for `data_dim`"),
        (lambda: num_parameters(3, 1.5), "positive integer for `latent_dim`"),
        (lambda: num_parameters(3, 1, "none"), r"one of \['paper', 'ppca'\] for `count`"),
        (lambda: linear_vae_bic(np.ones(1), 1.0, 3, 0), "positive integer for `num_data`"),
        (lambda: linear_vae_bic(np.zeros(1), 1.0, 3, 5), "positive values"),
        (lambda: check_latent_dims([], 3), "different integers below 3 for `latent_dims`"),
        (lambda: check_latent_dims([1, 1], 3), r"got \[1, 1\]"),
        (lambda: check_latent_dims([1, 3], 3), r"got \[1, 3\]"),
        (lambda: check_latent_dims([0], 3), "positive integer for `latent_dims`"),
        (lambda: best_of({}), "at least one call before for `update`; got none"),
    ],
)
def test_bad_arguments_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
