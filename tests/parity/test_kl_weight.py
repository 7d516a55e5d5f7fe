"""A weighted KL divergence and free bits are the same in both backends on the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from numpyro_entropy.params import to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.cases import CASES
from tests.support.helpers import PARITY, B, H, data, random_weights
from tests.support.pyro_noise import PyroNoise

NOISE = {"z": np.random.default_rng(1).standard_normal((B, H))}
OPTIONS = [{"kl_weight": 0.3}, {"free_bits": 0.5}, {"kl_weight": 0.3, "free_bits": 0.5}]


@pytest.mark.parametrize("name", ["LinearVAE", "VAE1"])
def test_loss_and_all_gradients(name):
    vae = CASES[name].make(pyro_entropy, torch.float64)
    twin = CASES[name].make(numpyro_entropy, jnp.float64)
    weights = random_weights(vae.get_weights())
    vae.set_weights(weights)
    guide, twin_guide = PyroNoise(NOISE)(vae.guide), NumPyroNoise(twin.guide, NOISE)
    x = data()
    if name == "LinearVAE":
        # The floor binds for the first of its latents alone.
        kl = (
            pyro_entropy.EntropySumDiagnostic(vae.model, guide).run(torch.tensor(x)).latents()["kl"]
        )
        assert list(kl < 0.5 * np.log(2)) == [True, False, False]

    @jax.jit
    def twins(params):
        return [
            jax.value_and_grad(numpyro_entropy.Standard_ELBO(**options).loss, argnums=1)(
                jax.random.key(0), params, twin.model, twin_guide, x, total=10 * B
            )
            for options in OPTIONS
        ]

    losses = []
    found = twins(twin.set_weights(weights))
    for options, (twin_loss, twin_grads) in zip(OPTIONS, found, strict=True):
        elbo = pyro_entropy.Standard_ELBO(**options)
        vae.zero_grad()
        losses.append(elbo.loss_and_grads(vae.model, guide, torch.tensor(x), total=10 * B))
        assert losses[-1] == pytest.approx(twin_loss.item(), rel=PARITY)
        twin_weights = to_weights(twin_grads)
        for key, parameter in vae.named_parameters():
            grad = parameter.grad.numpy()
            np.testing.assert_allclose(
                grad,
                twin_weights[key.partition(".")[2]],
                rtol=PARITY,
                atol=PARITY * np.abs(grad).max(),
            )
            assert np.abs(grad).max() > 0
