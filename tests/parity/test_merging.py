"""However the data come in batches, and in which order: the report is the same."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import IDENTITY, STANDARD_ERRORS, D, H, mostly
from tests.support.objectives import NumPyroSide, PyroSide
from tests.support.pyro_noise import PyroNoise

N = 24
RNG = np.random.default_rng(0)
X, NOISE = RNG.standard_normal((N, D)), RNG.standard_normal((N, H))
ORDER = RNG.permutation(N)
SPLITS = {
    "one by one": np.split(np.arange(N), N),
    "uneven": np.split(np.arange(N), [3, 4, 15]),
    "in another order": np.split(ORDER, [5, 16]),
}


def pyro_sums(*rows_of_batches):
    """What a pass over batches has seen; the noise of a data point comes with it."""
    vae = PyroSide("VAE3").vae

    def model(x, noise):
        return vae.model(x)

    def guide(x, noise):
        return PyroNoise({"z": noise.numpy()})(vae.guide)(x)

    batches = [(torch.tensor(X[rows]), torch.tensor(NOISE[rows])) for rows in rows_of_batches]
    diagnostic = pyro_entropy.EntropySumDiagnostic(model, guide, num_particles=1)
    return diagnostic, diagnostic.accumulate(batches)


def numpyro_sums(*rows_of_batches):
    here = NumPyroSide("VAE3")

    def model(x, noise):
        return here.vae.model(x)

    def guide(x, noise):
        return NumPyroNoise(here.vae.guide, {"z": noise})(x)

    batches = [(jnp.asarray(X[rows]), jnp.asarray(NOISE[rows])) for rows in rows_of_batches]
    diagnostic = numpyro_entropy.EntropySumDiagnostic(model, guide, num_particles=1)
    return diagnostic, diagnostic.accumulate(jax.random.key(0), here.params, batches)


SIDES = pyro_sums, numpyro_sums


def one_pass(sums_of, split):
    diagnostic, sums = sums_of(*split)
    return diagnostic.report(sums)


def merged_passes(sums_of, split):
    diagnostic, sums = sums_of(split[0])
    for rows in split[1:]:
        # As it comes from another process.
        sums.merge(pickle.loads(pickle.dumps(sums_of(rows)[1])))
    return diagnostic.report(sums)


CELLS = [
    (sums, split, way) for sums in SIDES for split in SPLITS for way in (one_pass, merged_passes)
]
# The sums are the core's.
FEW = [
    *((pyro_sums, split, way) for split in list(SPLITS)[1:] for way in (one_pass, merged_passes)),
    (numpyro_sums, "in another order", merged_passes),
]


@pytest.mark.parametrize(("sums_of", "name", "report_of"), mostly(CELLS, FEW))
def test_any_split_gives_the_same_report(sums_of, name, report_of):
    whole, parts = one_pass(sums_of, [np.arange(N)]), report_of(sums_of, SPLITS[name])
    for table in ("summary", "sites", "latents"):
        left, right = getattr(whole, table)(), getattr(parts, table)()
        numbers = left.select_dtypes("number").columns
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=1e-10, atol=1e-10)
        assert left.drop(columns=numbers).equals(right.drop(columns=numbers))
    assert parts.to_datatree().attrs["num_data"] == N


@pytest.mark.parametrize("sums_of", mostly(SIDES, [pyro_sums]))
def test_the_numbers_depend_on_the_data(sums_of):
    some, every = (one_pass(sums_of, [np.arange(size)]) for size in (N // 2, N))
    assert abs(some["elbo"] - every["elbo"]) > 1e-3


def free_pyro(split, seed):
    vae = PyroSide("VAE3").vae
    torch.manual_seed(seed)
    diagnostic = pyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=20)
    return diagnostic.run([torch.tensor(X[rows]) for rows in split])


def free_numpyro(split, seed):
    here = NumPyroSide("VAE3")
    vae, key = here.vae, jax.random.key(seed)
    diagnostic = numpyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=20)
    return diagnostic.run(key, here.params, [jnp.asarray(X[rows]) for rows in split])


@pytest.mark.parametrize("report_of", [free_pyro, free_numpyro])
def test_with_draws_of_its_own_a_split_is_within_the_errors(report_of):
    left = report_of([np.arange(N)], 0).summary()
    right = report_of(SPLITS["uneven"], 1).summary()
    error = np.hypot(left["mcse"], right["mcse"])
    difference = (left["mean"] - right["mean"]).abs()
    assert difference["ELBO"] > 1e-6
    assert (difference <= STANDARD_ERRORS * error + IDENTITY).all()
