"""What is told of one VAE is the same in both packages, within their own errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from numpyro_entropy.evaluation.likelihood import log_likelihood as numpyro_log_likelihood
from pyro_entropy.evaluation.likelihood import log_likelihood
from tests.support.cases import CASES
from tests.support.helpers import STANDARD_ERRORS, D, data, random_weights


@pytest.mark.parametrize("name", ["VAE1", "BernoulliVAE"])
def test_log_likelihoods(name):
    case = CASES[name]
    vae, twin = (
        case.make(m, dtype)
        for m, dtype in ((pyro_entropy, torch.float64), (numpyro_entropy, jnp.float64))
    )
    # Small enough weights that the guide covers the posterior.
    weights = {key: 0.25 * w for key, w in random_weights(vae.get_weights()).items()}
    vae.set_weights(weights)
    params, x = twin.set_weights(weights), data(100)
    if case.kind == "binary":
        x = (x > 0).astype(float)
    options = {"num_particles": 4000, "chunk_size": 2000}
    left = log_likelihood(vae.model, vae.guide, torch.tensor(x), **options)
    right = numpyro_log_likelihood(jax.random.key(0), params, twin.model, twin.guide, x, **options)
    assert np.mean(left.pareto_k < 0.7) > 0.9
    errors = np.hypot(left.standard_errors, right.standard_errors)
    scores = (left.values - right.values) / errors
    assert 0.8 < np.std(scores) < 1.25
    error = np.hypot(left.standard_error, right.standard_error)
    assert abs(left.mean - right.mean) < STANDARD_ERRORS * error < 0.1


def test_guide_errors():
    case = CASES["BernoulliVAE"]
    vae, twin = case.make(pyro_entropy, torch.float64), case.make(numpyro_entropy, jnp.float64)
    params, x = twin.set_weights(vae.get_weights()), np.zeros((1000, D))
    pyro.set_rng_seed(0)
    left = pyro_entropy.guide_error(vae.model, vae.guide, torch.tensor(x))
    right = numpyro_entropy.guide_error(jax.random.key(0), params, twin.model, twin.guide, x)
    scores = [
        (left.sites[name].mean - right.sites[name].mean)
        / np.hypot(left.sites[name].error, right.sites[name].error)
        for name in left.sites
    ]
    assert np.abs(scores).max() < STANDARD_ERRORS
    assert left.std_error < 0.1
    tables = left.summary(), right.summary()
    for column in ("50 %", "90 %", "above"):
        shares, errors = ([t[f"{column}{kind}"] for t in tables] for kind in ("", " error"))
        assert (abs(shares[0] - shares[1]) < STANDARD_ERRORS * np.hypot(*errors)).all()
