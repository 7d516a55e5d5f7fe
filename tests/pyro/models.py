"""Hand-written models and guides of Pyro users, who know nothing of this library."""

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import constraints


def two_sites_model(x):
    scale = pyro.param("scale", torch.tensor(0.7, dtype=x.dtype), constraint=constraints.positive)
    with pyro.plate("rows", len(x)):
        level = pyro.sample("level", dist.Normal(x.new_zeros(()), 2.0))
        slope = pyro.sample("slope", dist.Normal(level, 1.0))
        pyro.sample("y", dist.Normal(level + slope * x[:, 0], scale), obs=x[:, 1])


def two_sites_guide(x):
    shift = pyro.param("shift", torch.tensor(0.3, dtype=x.dtype))
    spread = pyro.param("spread", torch.tensor(0.5, dtype=x.dtype), constraint=constraints.positive)
    with pyro.plate("rows", len(x)):
        level = pyro.sample("level", dist.Normal(shift * x[:, 1], spread))
        pyro.sample("slope", dist.Normal(0.5 * level + shift, 0.9))


def nested_model(x):
    rate = pyro.param("rate", torch.tensor(1.5, dtype=x.dtype), constraint=constraints.positive)
    with pyro.plate("groups", len(x), dim=-2):
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("members", x.shape[1], dim=-1):
            noise = pyro.sample("noise", dist.Gamma(x.new_tensor(2.0), rate))
            pyro.sample("y", dist.Normal(mean, noise), obs=x)


def nested_guide(x):
    weight = pyro.param("weight", torch.tensor(0.4, dtype=x.dtype))
    shape = pyro.param("shape", torch.tensor(3.0, dtype=x.dtype), constraint=constraints.positive)
    with pyro.plate("groups", len(x), dim=-2):
        pyro.sample("mean", dist.Normal(weight * x.mean(1, keepdim=True), 0.5))
        with pyro.plate("members", x.shape[1], dim=-1):
            pyro.sample("noise", dist.Gamma(shape, 1.0 + x.abs()))


def subsampled_model(x):
    offset = pyro.param("offset", torch.tensor(0.2, dtype=x.dtype))
    with pyro.plate("rows", len(x), subsample_size=4) as rows:
        batch = x[rows]
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(z.sum(-1) + offset, 0.8), obs=batch[:, 0])


def subsampled_guide(x):
    weight = pyro.param("weight", torch.tensor([0.5, -0.2], dtype=x.dtype))
    with pyro.plate("rows", len(x), subsample_size=4) as rows:
        loc = x[rows][:, :1] * weight
        pyro.sample("z", dist.Normal(loc, 0.6).to_event(1))


def crossed_model(x):
    """Two enumerated sites in crossed plates, which no sum over one after the other takes apart."""
    every = {"enumerate": "parallel"}
    size, width = x.shape
    rows, columns = pyro.plate("rows", size, dim=-2), pyro.plate("columns", width, dim=-1)
    with rows:
        a = pyro.sample("a", dist.Bernoulli(0.3), infer=every)
    with columns:
        b = pyro.sample("b", dist.Bernoulli(0.6), infer=every)
    with rows, columns:
        pyro.sample("x", dist.Normal(a + 2.0 * b, 1.0), obs=x)
        scale = pyro.param("crossed scale", x.new_tensor(0.8))
        pyro.sample("y", dist.Normal(0.0, scale), obs=x)


USER_MODELS = {
    "two sites": (two_sites_model, two_sites_guide),
    "nested plates": (nested_model, nested_guide),
    "subsampled plate": (subsampled_model, subsampled_guide),
}


class Tied(dist.Normal):
    """Draws with the noise of their data points, whichever batch these are in."""

    def __init__(self, loc, scale, noise):
        self.noise = noise
        super().__init__(loc, scale)

    def expand(self, batch_shape, _instance=None):
        return Tied(*(part.expand(batch_shape) for part in (self.loc, self.scale, self.noise)))

    def rsample(self, sample_shape=()):
        return self.loc + self.scale * self.noise
