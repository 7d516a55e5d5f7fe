"""The objectives over a batch, one a line, each with a VAE that meets its conditions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch

import numpyro_entropy
import pyro_entropy
from entropy_core.elbos.edvae import EDVAEWeights
from numpyro_entropy.params import from_weights, to_weights
from tests.parity.noise import NumPyroNoise, PyroNoise
from tests.support.cases import CASES, Case
from tests.support.helpers import B, H, random_weights

# More latents than observed variables.
WIDE = Case(lambda m, dtype: m.LinearVAE(3, 5, dtype=dtype))
ALL_CASES = {**CASES, "wide": WIDE}
NOISE = np.random.default_rng(1).standard_normal((B, H))


class Objective(NamedTuple):
    """An objective of the table: makes it from the package, and the name of a VAE in `CASES`."""

    make: Callable[[Any], Any]
    vae: str = "VAE1"


def moved(*args):
    """Positives without noise; NumPyro hands over a random key, too."""
    return (args[-1] + 0.1,)


OBJECTIVES = {
    "BILBO": Objective(lambda m: m.BILBO_ELBO(), "ConstantVarianceVAE"),
    "full BILBO": Objective(lambda m: m.BILBO_ELBO(full_covariance=True), "ConstantVarianceVAE"),
    "BILBO, learned variance": Objective(lambda m: m.BILBO_ELBO(), "LinearVAE"),
    "constant variance": Objective(lambda m: m.ConstantVariance_ELBO(), "ConstantVarianceVAE"),
    "full constant variance": Objective(
        lambda m: m.ConstantVariance_ELBO(full_covariance=True), "full floating prior"
    ),
    "BAGGINS": Objective(lambda m: m.BAGGINS_ELBO(0.3), "ConstantVarianceVAE"),
    "BAGGINS, own prior": Objective(lambda m: m.BAGGINS_ELBO(0.3, prior="model"), "VAE2"),
    "profiled decoder": Objective(lambda m: m.Profiled_ELBO()),
    "profiled prior": Objective(lambda m: m.Profiled_ELBO(prior="diagonal", decoder=None), "VAE3"),
    "profiled": Objective(lambda m: m.Profiled_ELBO(prior="diagonal"), "SigmaVAE"),
    "profiled at the draws": Objective(
        lambda m: m.Profiled_ELBO(prior="full", decoder="diagonal", closed_form=False), "VAE2"
    ),
    "fully profiled": Objective(
        lambda m: m.Profiled_ELBO(prior="full", decoder="diagonal"), "SigmaVAE"
    ),
    "ED-VAE": Objective(lambda m: m.EDVAE_ELBO(positives=moved, temperature=2.0), "EDVAE"),
    "weighted ED-VAE": Objective(
        lambda m: m.EDVAE_ELBO(
            positives=moved, aggregate_entropy="weighted", weights=EDVAEWeights(1.0, 0.5, 2.0, 3.0)
        ),
        "EDVAE",
    ),
    "stratified ED-VAE": Objective(
        lambda m: m.EDVAE_ELBO(positives=moved, aggregate_entropy="stratified"), "SigmaVAE"
    ),
    "moments ED-VAE": Objective(
        lambda m: m.EDVAE_ELBO(positives=moved, aggregate_entropy="moment"), "SigmaVAE"
    ),
    "ED-VAE by the aggregate": Objective(
        lambda m: m.EDVAE_ELBO(mutual_information="aggregate"), "VampPrior"
    ),
}


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
