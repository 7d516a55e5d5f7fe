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
from tests.parity.noise import PyroNoise
from tests.support.cases import CASES, observations
from tests.support.helpers import PARITY, B, mostly, random_weights

KEY = jax.random.key(0)
NUM_PARTICLES = 4


def noise_of(twin, params, x):
    """The standard normal noise of NumPyro's particles, `(K, B, H)`."""
    noise = []
    for key in jax.random.split(KEY, NUM_PARTICLES):
        _, guide_key = jax.random.split(key)
        site = trace(seed(substitute(twin.guide, params), guide_key)).get_trace(x)["z"]
        normal = numpyro_entropy.entropies.wrappers.elementwise(site["fn"])
        noise.append((site["value"] - normal.loc) / normal.scale)
    return np.stack(noise)


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
    loss = elbo.loss_and_grads(vae.model, guide, torch.tensor(x), total=total)
    twin_elbo = numpyro_entropy.IWAE_ELBO(NUM_PARTICLES, gradient=gradient)
    twin_loss, twin_grads = jax.value_and_grad(twin_elbo.loss, argnums=1)(
        KEY, params, twin.model, twin.guide, x, total=total
    )
    assert loss == pytest.approx(twin_loss.item(), rel=PARITY)
    twin_weights = to_weights(twin_grads)
    for key, parameter in vae.named_parameters():
        found = parameter.grad.numpy()
        assert np.abs(found).max() > 0
        twins = twin_weights[key.partition(".")[2]]
        np.testing.assert_allclose(found, twins, rtol=PARITY, atol=PARITY * np.abs(found).max())
    terms = elbo.terms(vae.model, guide, torch.tensor(x))
    twin_terms = twin_elbo.terms(KEY, params, twin.model, twin.guide, x)
    np.testing.assert_allclose([*terms], [*twin_terms], rtol=PARITY)
