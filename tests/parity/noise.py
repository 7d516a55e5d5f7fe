"""Both hosts on the same standard normal noise: the same draws, and gradients that pass through."""

import jax.numpy as jnp
import numpyro.distributions
import pyro.distributions
import torch
from numpyro.primitives import Messenger as NumPyroMessenger
from pyro.poutine.messenger import Messenger as PyroMessenger

import numpyro_entropy.entropies.estimate
import pyro_entropy.entropies.estimate


class PyroNoise(PyroMessenger):
    """Draws `loc + scale * noise` at the sites that `noise` names."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg):
        if msg["name"] in self.noise and not (msg["is_observed"] or msg["done"]):
            normal = pyro_entropy.entropies.wrappers.elementwise(msg["fn"])
            noise = torch.tensor(self.noise[msg["name"]])
            if isinstance(normal, pyro.distributions.MultivariateNormal):
                msg["value"] = normal.loc + (normal.scale_tril @ noise[..., None])[..., 0]
            else:
                msg["value"] = normal.loc + normal.scale * noise


class NumPyroNoise(NumPyroMessenger):
    """Draws `loc + scale * noise` at the sites that `noise` names."""

    def __init__(self, fn, noise):
        super().__init__(fn)
        self.noise = noise

    def process_message(self, msg):
        if msg["type"] == "sample" and msg["name"] in self.noise and msg["value"] is None:
            normal = numpyro_entropy.entropies.wrappers.elementwise(msg["fn"])
            noise = jnp.asarray(self.noise[msg["name"]])
            if isinstance(normal, numpyro.distributions.MultivariateNormal):
                msg["value"] = normal.loc + (normal.scale_tril @ noise[..., None])[..., 0]
            else:
                msg["value"] = normal.loc + normal.scale * noise
