"""What is read off normal sites, in both backends, against the numbers that they were made of."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pyro
import pyro.distributions as pyro_dist
import pytest
import torch

import numpyro_entropy.traces.normals
import numpyro_entropy.traces.pairs
import pyro_entropy.traces.normals
import pyro_entropy.traces.pairs
from tests.support.helpers import IDENTITY, B, H

RNG = np.random.default_rng(4)
# A prior that is not at zero, and scales that are not their squares.
PRIOR_MEAN, LOC = RNG.standard_normal(H), RNG.standard_normal((B, H))
SCALE = {"own": np.exp(RNG.standard_normal((B, H))), "constant": np.exp(RNG.standard_normal(H))}


def latents(library, dist, array, scale):
    """A model and guide of either host, which write them alike."""

    def model():
        with library.plate("data", B):
            library.sample("z", dist.Normal(array(PRIOR_MEAN), array(2.0)).to_event(1))

    def guide():
        with library.plate("data", B):
            library.sample("z", dist.Normal(array(LOC), array(scale)).to_event(1))

    return model, guide


def pyro_rows(scale, **kwargs):
    pair = pyro_entropy.traces.pairs.trace_pair(*latents(pyro, pyro_dist, torch.tensor, scale))
    return pyro_entropy.traces.normals.latent_rows(pair.model["z"], pair.guide["z"], **kwargs)


def numpyro_rows(scale, **kwargs):
    pair = numpyro_entropy.traces.pairs.trace_pair(
        jax.random.key(0), {}, *latents(numpyro, numpyro_dist, jnp.asarray, scale)
    )
    return numpyro_entropy.traces.normals.latent_rows(pair.model["z"], pair.guide["z"], **kwargs)


@pytest.mark.parametrize("rows_of", [pyro_rows, numpyro_rows])
@pytest.mark.parametrize("kind", SCALE)
def test_means_less_the_priors_and_variances(rows_of, kind):
    rows = rows_of(SCALE[kind])
    variance = np.broadcast_to(SCALE[kind] ** 2, (B, H))
    np.testing.assert_allclose(rows.loc, LOC - PRIOR_MEAN, rtol=IDENTITY)
    np.testing.assert_allclose(rows.variance, variance, rtol=IDENTITY)
    moments = ((LOC - PRIOR_MEAN) ** 2 + variance).mean(0)
    np.testing.assert_allclose(rows.second_moments, moments, rtol=IDENTITY)


@pytest.mark.parametrize("rows_of", [pyro_rows, numpyro_rows])
def test_variances_that_are_the_same_in_all_rows(rows_of):
    rows = rows_of(SCALE["constant"], constant=True)
    np.testing.assert_allclose(rows.variance, SCALE["constant"] ** 2, rtol=IDENTITY)
    with pytest.raises(ValueError, match="a variance that is constant over the batch"):
        rows_of(SCALE["own"], constant=True)
