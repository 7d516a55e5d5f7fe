"""What a VAE's three parts return, as arrays that a code can be made from."""

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array

from entropy_core.checks import expected
from entropy_core.coding.bins import NORMALS, Mixture, Normals
from entropy_core.coding.levels import CODED, Likelihood
from numpyro_entropy.distributions.discretized import DiscretizedLogistic, DiscretizedNormal
from numpyro_entropy.distributions.one_hot import OneHotCategorical
from numpyro_entropy.entropies.families import belongs_to


def read_prior(fn: Any) -> Mixture:
    """The prior.

    Raises:
        TypeError: If it is neither a normal distribution nor a mixture of normal ones.
    """
    if belongs_to(fn, dist.MixtureSameFamily):
        weights = fn.mixing_distribution.logits
        components = read_normals(fn.component_distribution, "prior")
        return Mixture(nn.log_softmax(weights), components)
    normal = read_normals(fn, "prior")
    return Mixture(jnp.zeros(1), Normals(normal.loc[None], normal.scale[None]))


def read_normals(fn: Any, name: str) -> Normals:
    """A normal distribution of a vector.

    Raises:
        TypeError: If it is another one.
    """
    base = _base(fn)
    if len(fn.event_shape) == 1 and belongs_to(base, dist.MultivariateNormal):
        shape = (*fn.batch_shape, *fn.event_shape)
        scale = jnp.broadcast_to(base.scale_tril, (*shape, shape[-1]))
        return Normals(jnp.broadcast_to(base.loc, shape), scale)
    if len(fn.event_shape) == 1 and belongs_to(base, dist.Normal):
        return Normals(*(jnp.broadcast_to(a, base.batch_shape) for a in (base.loc, base.scale)))
    raise TypeError(expected(NORMALS, name, type(base).__name__))


def read_likelihood(fn: Any) -> Likelihood:
    """The likelihood of a batch of data points.

    Raises:
        TypeError: If it is of a family that has no code.
    """
    base = _base(fn)
    shape, batch = base.batch_shape, len(fn.batch_shape)
    if belongs_to(base, dist.BernoulliLogits, dist.BernoulliProbs):
        return Likelihood("bernoulli", (_flat(base.logits, shape, batch),), 2)
    if belongs_to(base, OneHotCategorical):
        logits = _flat(base.logits, (*shape, *base.event_shape), batch, keep=1)
        return Likelihood("categorical", (logits,), logits.shape[-1])
    if belongs_to(base, dist.Poisson):
        return Likelihood("poisson", (_flat(base.rate, shape, batch),), 0)
    for cls, family in ((DiscretizedLogistic, "logistic"), (DiscretizedNormal, "normal")):
        if belongs_to(base, cls):
            arrays = _flat(base.loc, shape, batch), _flat(base.scale, shape, batch)
            return Likelihood(family, arrays, base.num_levels)
    raise TypeError(expected(CODED, "decoder", type(base).__name__))


def _base(fn: Any) -> Any:
    # A mask hides elements, which would be lost: it is no part of what a code knows.
    while belongs_to(fn, dist.Independent):
        fn = fn.base_dist
    return fn


def _flat(array: Array, shape: tuple[int, ...], batch: int, keep: int = 0) -> Array:
    array = jnp.broadcast_to(array, shape)
    return array.reshape(*shape[:batch], -1, *shape[len(shape) - keep :])
