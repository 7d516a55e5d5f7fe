"""Hand-written models and guides of NumPyro users, who know nothing of this library."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO


def two_sites_model(x):
    scale = numpyro.param("scale", 0.7, constraint=constraints.positive)
    with numpyro.plate("rows", len(x)):
        level = numpyro.sample("level", dist.Normal(0.0, 2.0))
        slope = numpyro.sample("slope", dist.Normal(level, 1.0))
        numpyro.sample("y", dist.Normal(level + slope * x[:, 0], scale), obs=x[:, 1])


def two_sites_guide(x):
    shift = numpyro.param("shift", 0.3)
    spread = numpyro.param("spread", 0.5, constraint=constraints.positive)
    with numpyro.plate("rows", len(x)):
        level = numpyro.sample("level", dist.Normal(shift * x[:, 1], spread))
        numpyro.sample("slope", dist.Normal(0.5 * level + shift, 0.9))


def nested_model(x):
    rate = numpyro.param("rate", 1.5, constraint=constraints.positive)
    with numpyro.plate("groups", len(x), dim=-2):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
        with numpyro.plate("members", x.shape[1], dim=-1):
            noise = numpyro.sample("noise", dist.Gamma(2.0, rate))
            numpyro.sample("y", dist.Normal(mean, noise), obs=x)


def nested_guide(x):
    weight = numpyro.param("weight", 0.4)
    shape = numpyro.param("shape", 3.0, constraint=constraints.positive)
    with numpyro.plate("groups", len(x), dim=-2):
        numpyro.sample("mean", dist.Normal(weight * x.mean(1, keepdims=True), 0.5))
        with numpyro.plate("members", x.shape[1], dim=-1):
            numpyro.sample("noise", dist.Gamma(shape, 1.0 + jnp.abs(x)))


def subsampled_model(x):
    offset = numpyro.param("offset", 0.2)
    with numpyro.plate("rows", len(x), subsample_size=4) as rows:
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(z.sum(-1) + offset, 0.8), obs=x[rows, 0])


def subsampled_guide(x):
    weight = numpyro.param("weight", jnp.array([0.5, -0.2]))
    with numpyro.plate("rows", len(x), subsample_size=4) as rows:
        numpyro.sample("z", dist.Normal(x[rows, :1] * weight, 0.6).to_event(1))


def crossed_model(x):
    """Two enumerated sites in crossed plates, which no sum over one after the other takes apart."""
    every = {"enumerate": "parallel"}
    size, width = x.shape
    rows, columns = numpyro.plate("rows", size, dim=-2), numpyro.plate("columns", width, dim=-1)
    with rows:
        a = numpyro.sample("a", dist.Bernoulli(0.3), infer=every)
    with columns:
        b = numpyro.sample("b", dist.Bernoulli(0.6), infer=every)
    with rows, columns:
        numpyro.sample("x", dist.Normal(a + 2.0 * b, 1.0), obs=x)
        scale = numpyro.param("crossed scale", 0.8)
        numpyro.sample("y", dist.Normal(0.0, scale), obs=x)


USER_MODELS = {
    "two sites": (two_sites_model, two_sites_guide),
    "nested plates": (nested_model, nested_guide),
    "subsampled plate": (subsampled_model, subsampled_guide),
}


def initial_params(model, guide, *args):
    """The parameters as the host draws them."""
    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
    return jax.jit(lambda key: svi.get_params(svi.init(key, *args)))(jax.random.key(0))


class Tied(dist.Normal):
    """Draws with the noise of their data points, whichever batch these are in."""

    pytree_data_fields = ("noise",)

    def __init__(self, loc, scale, noise):
        self.noise = noise
        super().__init__(loc, scale)

    def expand(self, batch_shape):
        return Tied(*(jnp.broadcast_to(p, batch_shape) for p in (self.loc, self.scale, self.noise)))

    def sample(self, key, sample_shape=()):
        return self.loc + self.scale * self.noise
