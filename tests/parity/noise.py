"""NumPyro on given standard normal noise: the same draws, and gradients that pass through."""

import jax.numpy as jnp
import numpyro.distributions
from numpyro.primitives import Messenger as NumPyroMessenger

import numpyro_entropy.entropies.estimate


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
