"""The objectives of the table at given weights and noise, on either side."""

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch

import numpyro_entropy
import pyro_entropy
from numpyro_entropy.params import from_weights, to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import random_weights
from tests.support.objective_table import ALL_CASES, NOISE
from tests.support.pyro_noise import PyroNoise


class PyroSide:
    """One objective at given weights and noise, in Pyro."""

    module = pyro_entropy

    def __init__(self, vae, weights=None):
        self.vae = ALL_CASES[vae].make(pyro_entropy, torch.float64)
        self.weights = random_weights(self.vae.get_weights()) if weights is None else weights
        self.vae.set_weights(self.weights)

    def pair(self, noise=None):
        guide = self.vae.guide if noise is None else PyroNoise({"z": noise})(self.vae.guide)
        pyro.set_rng_seed(0)
        return self.vae.model, guide

    def value_and_grads(self, elbo, x, noise=NOISE, **kwargs):
        self.vae.zero_grad()
        loss = elbo.loss_and_grads(*self.pair(noise), torch.tensor(x), **kwargs)
        grads = {
            name.partition(".")[2]: (p.grad if p.grad is not None else 0 * p).detach().numpy()
            for name, p in self.vae.named_parameters()
        }
        return loss, grads

    def terms(self, elbo, x, noise=NOISE, call="terms", **kwargs):
        found = getattr(elbo, call)(*self.pair(noise), torch.tensor(x), **kwargs)
        return jax.tree.map(lambda leaf: leaf.detach().numpy(), found)


class NumPyroSide:
    """One objective at given weights and noise, in NumPyro."""

    module = numpyro_entropy

    def __init__(self, vae, weights=None):
        self.vae = ALL_CASES[vae].make(numpyro_entropy, jnp.float64)
        shapes = jax.eval_shape(self.vae.init, jax.random.key(0))
        if weights is None:
            weights = random_weights(to_weights(shapes))
        self.weights = weights
        self.params = from_weights(weights, shapes)

    def pair(self, noise=None):
        guide = self.vae.guide if noise is None else NumPyroNoise(self.vae.guide, {"z": noise})
        return self.vae.model, guide

    def value_and_grads(self, elbo, x, noise=NOISE, **kwargs):
        @jax.jit
        def both(params, x):
            return jax.value_and_grad(elbo.loss, argnums=1)(
                jax.random.key(0), params, *self.pair(noise), x, **kwargs
            )

        loss, grads = both(self.params, jnp.asarray(x))
        return loss.item(), to_weights(grads)

    def terms(self, elbo, x, noise=NOISE, call="terms", **kwargs):
        @jax.jit
        def terms(params, x):
            return getattr(elbo, call)(jax.random.key(0), params, *self.pair(noise), x, **kwargs)

        return jax.tree.map(np.asarray, terms(self.params, jnp.asarray(x)))


SIDES = {"pyro": PyroSide, "numpyro": NumPyroSide}
