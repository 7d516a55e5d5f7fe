"""The pairs of `tests.support.styles`: a model and a guide as functions of a graph and a net."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from flax import nnx
from numpyro import handlers
from numpyro.contrib.module import flax_module, nnx_module

from tests.numpyro.models import Tied
from tests.support.styles import COLUMNS, WIDTH, Graph

FAMILIES = {
    "Normal": lambda a, b: dist.Normal(a, b),
    "Laplace": lambda a, b: dist.Laplace(a, b),
    "Gamma": lambda a, b: dist.Gamma(jnp.exp(a / 4), b),
    "LogNormal": lambda a, b: dist.LogNormal(a, b),
    "Bernoulli": lambda a, b: dist.Bernoulli(logits=a * b),
}
DATA = {"Gamma": jnp.exp, "Bernoulli": lambda x: (x > 0).astype(int)}


class NNXNet(nnx.Module):
    """What moves in training mode: running statistics, and outputs by dropout."""

    def __init__(self, graph: Graph):
        rngs, d64 = nnx.Rngs(graph.seed), {"dtype": jnp.float64, "param_dtype": jnp.float64}
        self.first = nnx.Linear(COLUMNS, 3, rngs=rngs, **d64)
        self.norm = nnx.BatchNorm(3, rngs=rngs, **d64)
        # NNX makes its running averages in float32.
        self.norm.mean = nnx.BatchStat(jnp.asarray([0.3, -0.2, 0.1]))
        self.norm.var = nnx.BatchStat(jnp.asarray([0.9, 1.3, 1.1]))
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(3, WIDTH, rngs=rngs, **d64)

    def __call__(self, x):
        return self.last(self.dropout(self.norm(self.first(x))))


class LinenNet(nn.Module):
    """A net of Linen says itself that it is in evaluation mode."""

    @nn.compact
    def __call__(self, x):
        d64 = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        h = nn.BatchNorm(use_running_average=True, **d64)(nn.Dense(3, **d64)(x))
        return nn.Dense(WIDTH, **d64)(nn.Dropout(0.5, deterministic=True)(h))


def net_of(graph: Graph) -> Any:
    return {"none": lambda graph: None, "nnx": NNXNet, "linen": lambda graph: LinenNet()}[
        graph.net
    ](graph)


def called(net) -> Callable:
    if isinstance(net, nnx.Module):
        return nnx_module("net", net)
    return flax_module("net", net, input_shape=(1, COLUMNS), mutable=["batch_stats"])


def moved_by(latents, parents):
    return sum((0.3 * jnp.tanh(latents[j]) for j in parents), jnp.zeros(()))


def over(loc, latent, x):
    """A location for each element of a site."""
    loc = jnp.broadcast_to(loc, (len(x),))
    return jnp.broadcast_to(loc[:, None], (len(x), WIDTH)) if latent.event else loc


def number(latent, value):
    """A latent site's value as one number for each data point."""
    return value.sum(-1) if latent.event else value


def run_model(graph, net, x, noise, y=None, mask=None):
    spread = numpyro.param("spread", jnp.asarray(0.8), constraint=dist.constraints.positive)
    w = numpyro.sample("w", dist.Normal(0.0, 2.0)) if graph.shared else 0.0
    with numpyro.plate("data", len(x)), handlers.mask(mask=True if mask is None else mask):
        latents = []
        for i, latent in enumerate(graph.latents):
            a = over(moved_by(latents, latent.parents), latent, x)
            fn = FAMILIES[latent.family](a, jnp.asarray(1.2))
            value = numpyro.sample(f"z{i}", fn.to_event(1) if latent.event else fn)
            latents.append(number(latent, value))
        loc = w + sum(jnp.tanh(value) for value in latents)
        if net is not None and graph.nets == "both":
            h = jnp.broadcast_to(loc[:, None], (len(x), COLUMNS))
            loc = loc + jnp.tanh(called(net)(h))[:, 0]
        for i, family in enumerate(graph.observed):
            data = DATA.get(family, lambda x: x)(x[:, i])
            numpyro.sample(f"x{i}", FAMILIES[family](loc, spread), obs=data)
        if y is not None:
            scale = numpyro.param("label_scale", jnp.asarray(2.0))
            numpyro.sample("y", dist.Normal(latents[0], scale), obs=y)


def posterior(graph, i, h, latents, x, noise):
    """The guide's distribution of a latent site."""
    latent = graph.latents[i]
    slope = numpyro.param("slope", jnp.asarray(0.4))
    loc = slope * x[:, i % COLUMNS] + moved_by(latents, latent.parents)
    loc = over(loc, latent, x)
    if h is not None:
        loc = loc + (h if latent.event else h[:, 0])
    scale = jnp.broadcast_to(jnp.asarray(0.6), loc.shape)
    fn = Tied(loc, scale, noise[:, i] if latent.event else noise[:, i, 0])
    if latent.family in ("Gamma", "LogNormal"):
        fn = dist.TransformedDistribution(fn, [dist.transforms.ExpTransform()])
    return fn.to_event(1) if latent.event else fn


def run_guide(graph, net, x, noise, y=None, mask=None):
    if graph.shared:
        numpyro.sample("w", Tied(jnp.asarray(1.0), jnp.asarray(0.5), jnp.asarray(0.3)))
    h = None if net is None else called(net)(x)
    with numpyro.plate("data", len(x)), handlers.mask(mask=True if mask is None else mask):
        latents = []
        for i, latent in enumerate(graph.latents):
            value = numpyro.sample(f"z{i}", posterior(graph, i, h, latents, x, noise))
            latents.append(number(latent, value))
