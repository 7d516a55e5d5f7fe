"""Pyro on given standard normal noise: the same draws, and gradients that pass through."""

import pyro.distributions
import torch
from pyro.poutine.messenger import Messenger as PyroMessenger

import pyro_entropy.entropies.estimate


class PyroNoise(PyroMessenger):
    """Draws `loc + scale * noise` at the sites that `noise` names."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg):
        if msg["name"] in self.noise and not (msg["is_observed"] or msg["done"]):
            normal = pyro_entropy.entropies.wrappers.elementwise(msg["fn"])
            noise = self.noise[msg["name"]]
            noise = noise if isinstance(noise, torch.Tensor) else torch.tensor(noise)
            if isinstance(normal, pyro.distributions.MultivariateNormal):
                msg["value"] = normal.loc + (normal.scale_tril @ noise[..., None])[..., 0]
            else:
                msg["value"] = normal.loc + normal.scale * noise
