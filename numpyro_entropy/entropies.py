"""Entropies and divergences of NumPyro distributions, in closed form or sampled."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array, Float
from numpyro.distributions import ExpandedDistribution, MaskedDistribution
from numpyro.distributions.kl import kl_divergence
from numpyro.distributions.util import scale_and_mask, sum_rightmost

from numpyro_entropy.discretized import Discretized

Mask = Array | bool | None


def closed_entropy(fn: dist.Distribution) -> Float[Array, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where the host has none.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> closed_entropy(dist.Normal(0.0, jnp.ones(2)).to_event(1)).item()
        2.8378...
    """
    if isinstance(fn, MaskedDistribution):
        entropy = closed_entropy(fn.base_dist)
        return None if entropy is None else _masked(entropy, fn._mask)
    if isinstance(fn, dist.Independent):
        entropy = closed_entropy(fn.base_dist)
        return None if entropy is None else sum_rightmost(entropy, fn.reinterpreted_batch_ndims)
    if isinstance(fn, ExpandedDistribution):
        entropy = closed_entropy(fn.base_dist)
        return None if entropy is None else jnp.broadcast_to(entropy, fn.batch_shape)
    if isinstance(fn, dist.BernoulliLogits):
        # The host's own is NaN in float32 for logits from -84 down.
        entropy = nn.softplus(fn.logits) - fn.logits * nn.sigmoid(fn.logits)
        return jnp.broadcast_to(entropy, fn.batch_shape)
    if isinstance(fn, Discretized):
        # A sum over hundreds of levels for each variable: fresh draws cost far less.
        return None
    try:
        return jnp.broadcast_to(fn.entropy(), fn.batch_shape)
    except NotImplementedError:
        return None


def sampled_entropy(
    rng_key: Array, fn: dist.Distribution, num_samples: int
) -> Float[Array, "*batch"]:
    """The mean of `-log p` over fresh draws: `H[p] = -E_p[log p(v)]`.

    Shape: the batch shape of `fn`; units: nats.
    """
    return -fn.log_prob(fn.sample(rng_key, (num_samples,))).mean(0)


def closed_cross_entropy(
    q: dist.Distribution, p: dist.Distribution, value: Array
) -> Float[Array, "*batch"] | None:
    """`E_q[log p] = -(KL(q || p) + H[q])`, or `None` where no KL divergence is registered.

    The mask of `p` applies, that of `q` does not. Where the host has a KL divergence but no entropy
    for `q`, `H[q]` is taken at `value`. Shape: the batch shape; units: nats.

    Example:
        >>> q, p = dist.Normal(0.0, 2.0), dist.Normal(0.0, 1.0)
        >>> closed_cross_entropy(q, p, jnp.zeros(())).item()  # -(log(2 pi) + 4) / 2
        -2.9189...
    """
    if isinstance(q, MaskedDistribution):
        return closed_cross_entropy(q.base_dist, p, value)
    if isinstance(p, MaskedDistribution):
        term = closed_cross_entropy(q, p.base_dist, value)
        return None if term is None else _masked(term, p._mask)
    if isinstance(q, ExpandedDistribution) or isinstance(p, ExpandedDistribution):
        term = closed_cross_entropy(_unexpanded(q), _unexpanded(p), value)
        shape = jnp.broadcast_shapes(q.batch_shape, p.batch_shape)
        return None if term is None else jnp.broadcast_to(term, shape)
    if isinstance(q, dist.Independent) and isinstance(p, dist.Independent):
        num_dims = q.reinterpreted_batch_ndims
        if num_dims == p.reinterpreted_batch_ndims:
            term = closed_cross_entropy(q.base_dist, p.base_dist, value)
            return None if term is None else sum_rightmost(term, num_dims)
    # For a Delta the draw is the exact expectation, and log_density is the guide's, not a KL's.
    if isinstance(elementwise(q), dist.Delta):
        return None
    if isinstance(q, dist.MultivariateNormal) and isinstance(elementwise(p), dist.Normal):
        # The host has no divergence between full and diagonal normal distributions, and none is
        # needed: of one of them only the variances count.
        return p.log_prob(q.mean) - 0.5 * (q.variance / elementwise(p).variance).sum(-1)
    if isinstance(elementwise(q), dist.Normal) and isinstance(p, dist.MultivariateNormal):
        precision = jnp.diagonal(p.precision_matrix, axis1=-2, axis2=-1)
        return p.log_prob(q.mean) - 0.5 * (q.variance * precision).sum(-1)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        return None
    entropy = closed_entropy(q)
    return -(kl + (-q.log_prob(value) if entropy is None else entropy))


def elementwise(fn: dist.Distribution) -> dist.Distribution:
    """Takes off `to_event` and `expand`: what a factorised distribution is made of."""
    while isinstance(fn, dist.Independent | ExpandedDistribution):
        fn = fn.base_dist
    return fn


def _unexpanded(fn: dist.Distribution) -> dist.Distribution:
    return fn.base_dist if isinstance(fn, ExpandedDistribution) else fn


def _masked(values: Array, mask: Mask) -> Array:
    if mask is None or mask is True:
        return values
    return jnp.zeros_like(values) if mask is False else scale_and_mask(values, mask=mask)
