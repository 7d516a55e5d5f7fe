"""The importance weighted bound and its three gradients are the same on the same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpyro.handlers import seed, substitute, trace

import numpyro_entropy
import pyro_entropy
from numpyro_entropy.params import to_weights
from tests.support.cases import CASES, observations
from tests.support.helpers import PARITY, B, mostly, random_weights
from tests.support.pyro_noise import PyroNoise

KEY = jax.random.key(0)
NUM_PARTICLES = 4


def noise_of(twin, params, x):
    """The standard normal noise of NumPyro's particles, `(K, B, H)`."""

    @jax.jit
    @jax.vmap
    def noise(key):
        _, guide_key = jax.random.split(key)
        site = trace(seed(substitute(twin.guide, params), guide_key)).get_trace(x)["z"]
        return (site["value"] - site["fn"].mean) / site["fn"].variance ** 0.5

    return np.asarray(noise(jax.random.split(KEY, NUM_PARTICLES)))


@pytest.mark.parametrize("name", mostly(["VAE1", "VAE2", "VampPrior"], ["VAE1"]))
@pytest.mark.parametrize("gradient", mostly(["plain", "dreg", "stl"], ["plain", "dreg"]))
def test_bound_and_gradients(name, gradient):
    case, total = CASES[name], 10 * B
    vae, twin = (
        case.make(m, dtype)
        for m, dtype in ((pyro_entropy, torch.float64), (numpyro_entropy, jnp.float64))
    )
    weights, x = random_weights(vae.get_weights()), observations(case.kind)
    vae.set_weights(weights)
    params = twin.set_weights(weights)
    guide = PyroNoise({"z": noise_of(twin, params, x)})(vae.guide)

    # Given, since the noise has particles also where the host only guesses it.
    elbo = pyro_entropy.IWAE_ELBO(NUM_PARTICLES, gradient=gradient, max_plate_nesting=1)
    # The first call compares two particles with single ones, and this noise is that of four.
    elbo.loss(vae.model, vae.guide, torch.tensor(x))
    loss = elbo.loss_and_grads(vae.model, guide, torch.tensor(x), total=total)
    twin_elbo = numpyro_entropy.IWAE_ELBO(NUM_PARTICLES, gradient=gradient)

    @jax.jit
    def everything(params):
        pair = params, twin.model, twin.guide, x
        loss = jax.value_and_grad(twin_elbo.loss, argnums=1)(KEY, *pair, total=total)
        return loss, twin_elbo.terms(KEY, *pair)

    (twin_loss, twin_grads), twin_terms = everything(params)
    assert loss == pytest.approx(twin_loss.item(), rel=PARITY)
    twin_weights = to_weights(twin_grads)
    for key, parameter in vae.named_parameters():
        found = parameter.grad.numpy()
        assert np.abs(found).max() > 0
        twins = twin_weights[key.partition(".")[2]]
        np.testing.assert_allclose(found, twins, rtol=PARITY, atol=PARITY * np.abs(found).max())
    terms = elbo.terms(vae.model, guide, torch.tensor(x))
    np.testing.assert_allclose([*terms], [*twin_terms], rtol=PARITY)
