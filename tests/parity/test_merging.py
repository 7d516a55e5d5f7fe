"""However the data come in batches, and in which order: the report is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from tests.helpers import D, H
from tests.objectives import NumPyroSide, PyroSide
from tests.parity.noise import NumPyroNoise, PyroNoise

N = 24
RNG = np.random.default_rng(0)
X, NOISE = RNG.standard_normal((N, D)), RNG.standard_normal((N, H))
ORDER = RNG.permutation(N)
SPLITS = {
    "one by one": np.split(np.arange(N), N),
    "uneven": np.split(np.arange(N), [3, 4, 15]),
    "in another order": np.split(ORDER, [5, 16]),
}


def pyro_report(rows_of_batches):
    """The noise of a data point comes with it."""
    vae = PyroSide("VAE3").vae

    def model(x, noise):
        return vae.model(x)

    def guide(x, noise):
        return PyroNoise({"z": noise.numpy()})(vae.guide)(x)

    batches = [(torch.tensor(X[rows]), torch.tensor(NOISE[rows])) for rows in rows_of_batches]
    return pyro_entropy.EntropySumDiagnostic(model, guide, num_particles=1).run(batches)


def numpyro_report(rows_of_batches):
    here = NumPyroSide("VAE3")

    def model(x, noise):
        return here.vae.model(x)

    def guide(x, noise):
        return NumPyroNoise(here.vae.guide, {"z": noise})(x)

    batches = [(jnp.asarray(X[rows]), jnp.asarray(NOISE[rows])) for rows in rows_of_batches]
    diagnostic = numpyro_entropy.EntropySumDiagnostic(model, guide, num_particles=1)
    return diagnostic.run(jax.random.key(0), here.params, batches)


@pytest.mark.parametrize("make", [pyro_report, numpyro_report])
@pytest.mark.parametrize("name", SPLITS)
def test_any_split_gives_the_same_report(make, name):
    whole, parts = make([np.arange(N)]), make(SPLITS[name])
    for table in ("summary", "sites", "latents"):
        left, right = getattr(whole, table)(), getattr(parts, table)()
        numbers = left.select_dtypes("number").columns
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=1e-10, atol=1e-10)
        assert left.drop(columns=numbers).equals(right.drop(columns=numbers))
    assert parts.to_datatree().attrs["num_data"] == N


@pytest.mark.parametrize("make", [pyro_report, numpyro_report])
def test_the_numbers_depend_on_the_data(make):
    some = make([np.arange(N // 2)])
    assert abs(some["elbo"] - make([np.arange(N)])["elbo"]) > 1e-3
