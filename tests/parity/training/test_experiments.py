"""An experiment of the papers as a user writes it with `fit`: the ring, from several seeds.

Damm et al. 2023, Sec. 5.2: a VAE-3 on the ring, its ELBO beside the sum of entropies. Dynamic
binarisation, another one, is in the tests of `transform`.
"""

import jax
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from entropy_core.datasets import pca_ring

SEEDS, D, H = [0, 1], 10, 2
OPTIONS = {"num_epochs": 24, "batch_size": 50, "diagnose_every": 8, "progress_bar": False}


def in_pyro(x):
    def make():
        vae = pyro_entropy.VAE3(D, H, hidden=(20,))
        return vae.model, vae.guide

    return pyro_entropy.fit_seeds(make, torch.from_numpy(x), seeds=SEEDS, **OPTIONS)


def in_numpyro(x):
    vae = numpyro_entropy.VAE3(D, H, hidden=(20,))
    return numpyro_entropy.fit_seeds(
        vae.model, vae.guide, jax.numpy.asarray(x), seeds=SEEDS, **OPTIONS
    )


@pytest.mark.parametrize(
    "run", [pytest.param(in_pyro, id="pyro"), pytest.param(in_numpyro, marks=pytest.mark.slow)]
)
def test_the_ring_from_several_seeds(run):
    x = pca_ring(num_train=100, num_test=10).train.astype(np.float32)
    result = run(x)
    history = result.report["history"]
    assert (history.sizes["seed"], history.sizes["epoch"]) == (2, 3)
    elbo, entropies = history["elbo"].values, history["entropy_sum"].values
    # Each seed is a training of its own.
    assert (np.diff(elbo, axis=1) > 0).all()
    assert len(set(elbo[:, -1])) == len(SEEDS)
    assert np.isfinite(entropies).all()
    # The dataset has what a figure of means and spreads over seeds is drawn from.
    assert history.to_dataset()["elbo"].mean("seed").shape == (3,)
