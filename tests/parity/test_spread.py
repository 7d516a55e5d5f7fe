"""Entropies of a trained VAE-1 estimate its ELBO with far less variance than draws do."""

import jax
import numpy as np
import pyro
import pytest
import torch
from numpyro.optim import Adam

import numpyro_entropy
import pyro_entropy
from entropy_core.datasets import ppca

X = ppca(num_train=1000, num_test=1).train
OPTIONS = {"num_epochs": 30, "batch_size": 100, "diagnose_every": 30, "progress_bar": False}
SIZE, REPEATS = 50, 20
RNG = np.random.default_rng(0)
ROWS = [RNG.choice(len(X), SIZE, replace=False) for _ in range(REPEATS)]


def assert_spread(reports, whole):
    elbo, entropy_sum = (np.array([r[name] for r in reports]) for name in ("elbo", "entropy_sum"))
    assert entropy_sum.var(ddof=1) < elbo.var(ddof=1) / 10
    # Both are estimates of the same number, but for the residuals that training has left.
    assert abs(entropy_sum.mean() - whole["entropy_sum"]) < 0.05
    assert abs(whole["gap"]) < 1.0


def test_in_pyro():
    pyro.set_rng_seed(0)
    vae, x = pyro_entropy.VAE1(X.shape[1], 2, hidden=(16,)), torch.tensor(X)
    optim = pyro.optim.Adam({"lr": 2e-2})
    whole = pyro_entropy.fit(vae.model, vae.guide, x, optim=optim, **OPTIONS).report
    diagnostic = pyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    assert_spread([diagnostic.run(x[rows]) for rows in ROWS], whole)


@pytest.mark.slow
def test_in_numpyro():
    vae, key = numpyro_entropy.VAE1(X.shape[1], 2, hidden=(16,)), jax.random.key(0)
    optim = Adam(2e-2)
    result = numpyro_entropy.fit(key, vae.model, vae.guide, X, optim=optim, **OPTIONS)
    diagnostic = numpyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    keys = jax.random.split(key, REPEATS)
    reports = [
        diagnostic.run(k, result.params, X[rows]) for k, rows in zip(keys, ROWS, strict=True)
    ]
    assert_spread(reports, result.report)
