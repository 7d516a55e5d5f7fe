"""Entropies and divergences of NumPyro distributions, in closed form or sampled."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array, Float
from numpyro.distributions import ExpandedDistribution, MaskedDistribution
from numpyro.distributions.kl import kl_divergence
from numpyro.distributions.util import scale_and_mask, sum_rightmost

from entropy_core.traces.records import Method
from numpyro_entropy.distributions.discretized import Discretized
from numpyro_entropy.entropies.composed import base_entropy, composed_entropy, log_det
from numpyro_entropy.entropies.counts import counts_entropy
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.nets.mlp import AnyArray

# By name: not every version of the host has all of them. The density of a censored distribution is
# that of an observation, and not of its draws.
NO_ENTROPY = (
    "ImproperUniform",
    "IntervalCensoredDistribution",
    "LeftCensoredDistribution",
    "RightCensoredDistribution",
    "Unit",
)

Mask = AnyArray | bool | None


class EntropyEstimate(NamedTuple):
    """An entropy, how far it may be off, and how it was got.

    Args:
        values: The entropy, of the batch shape of its distribution, in nats; zero where it has
            none.
        error: Its Monte-Carlo standard error, of the same shape; not a number for one draw.
        method: `"closed form"`, `"change of variables"`, `"sampled"` or `"none"`.
    """

    values: Array
    error: Array
    method: Method


def entropy_estimate(rng_key: Array, fn: dist.Distribution, num_samples: int) -> EntropyEstimate:
    """The entropy of `fn` as well as it can be had.

    In closed form, by the host or by us; else by a change of variables, `H[f(u)] = H[u] +
    E[log|det f'(u)|]`, with the base's entropy in closed form and the determinant at draws; else
    sampled. A factor or an improper distribution has none.

    Example:
        >>> from jax import random
        >>> softplus = dist.transforms.SoftplusTransform()
        >>> fn = dist.TransformedDistribution(dist.Normal(0.0, 1.0), softplus)
        >>> entropy_estimate(random.key(0), fn, 10).method
        'change of variables'
    """
    if isinstance(fn, MaskedDistribution):
        values, error, method = entropy_estimate(rng_key, fn.base_dist, num_samples)
        return EntropyEstimate(_masked(values, fn._mask), _masked(error, fn._mask), method)
    if isinstance(fn, dist.Independent):
        num_dims = fn.reinterpreted_batch_ndims
        values, error, method = entropy_estimate(rng_key, fn.base_dist, num_samples)
        # The draws of the parts are independent.
        error = jnp.sqrt(sum_rightmost(error**2, num_dims))
        return EntropyEstimate(sum_rightmost(values, num_dims), error, method)
    closed = closed_entropy(fn)
    if closed is not None:
        return EntropyEstimate(closed, jnp.zeros_like(closed), "closed form")
    zeros = jnp.zeros(fn.batch_shape)
    if _has_no_entropy(fn):
        return EntropyEstimate(zeros, zeros, "none")
    try:
        fn = _expanded_inside(fn)
        base = base_entropy(fn, closed_entropy)
        if base is not None:
            mean, error = _mean_and_error(_sampled_log_det(rng_key, fn, num_samples))
            return EntropyEstimate(base + mean, error, "change of variables")
        return EntropyEstimate(*sampled_entropy_and_error(rng_key, fn, num_samples), "sampled")
    except NotImplementedError:
        return EntropyEstimate(zeros, zeros, "none")


def closed_entropy(fn: dist.Distribution) -> Float[Array, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where neither the host nor we have one.

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
    entropy = counts_entropy(fn)
    if entropy is None:
        try:
            entropy = fn.entropy()
        except NotImplementedError:
            entropy = composed_entropy(fn, closed_entropy)
    return None if entropy is None else jnp.broadcast_to(entropy, fn.batch_shape)


def sampled_entropy(
    rng_key: Array, fn: dist.Distribution, num_samples: int
) -> Float[Array, "*batch"]:
    """The mean of `-log p` over fresh draws: `H[p] = -E_p[log p(v)]`.

    Shape: the batch shape of `fn`; units: nats.
    """
    return sampled_entropy_and_error(rng_key, fn, num_samples)[0]


def sampled_entropy_and_error(
    rng_key: Array, fn: dist.Distribution, num_samples: int
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The mean of `-log p` over fresh draws and its standard error, not a number for one draw.

    Shape: the batch shape of `fn`; units: nats.

    Raises:
        NotImplementedError: If the host cannot sample `fn` or has no density for it.
    """
    if isinstance(fn, MaskedDistribution):
        # Its log_prob would forget the way that the draw has taken.
        mean, error = sampled_entropy_and_error(rng_key, fn.base_dist, num_samples)
        return _masked(mean, fn._mask), _masked(error, fn._mask)
    value, intermediates = fn.sample_with_intermediates(rng_key, (num_samples,))
    # A folded distribution hands intermediates out and does not take them.
    if intermediates and not isinstance(elementwise(fn), dist.FoldedDistribution):
        return _mean_and_error(-fn.log_prob(value, intermediates))
    return _mean_and_error(-fn.log_prob(value))


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


def _unexpanded(fn: dist.Distribution) -> dist.Distribution:
    return fn.base_dist if isinstance(fn, ExpandedDistribution) else fn


def _masked(values: Array, mask: Mask) -> Array:
    if mask is None or mask is True:
        return values
    return jnp.zeros_like(values) if mask is False else scale_and_mask(values, mask=mask)


def _expanded_inside(fn: Any) -> Any:
    # A plate expands from outside, where each element would not have a draw of its own.
    if not isinstance(fn, ExpandedDistribution):
        return fn
    base = fn.base_dist
    if type(base) is not dist.TransformedDistribution:
        return fn
    shape = (*fn.batch_shape, *base.base_dist.batch_shape[len(base.batch_shape) :])
    return dist.TransformedDistribution(base.base_dist.expand(shape), base.transforms)


def _sampled_log_det(rng_key: Array, fn: Any, num_samples: int) -> Array:
    return log_det(fn, fn.base_dist.sample(rng_key, (num_samples,)))


def _has_no_entropy(fn: dist.Distribution) -> bool:
    if isinstance(fn, ExpandedDistribution):
        return _has_no_entropy(fn.base_dist)
    return any(base.__name__ in NO_ENTROPY for base in type(fn).__mro__)


def _mean_and_error(values: Array) -> tuple[Array, Array]:
    mean, num = values.mean(0), len(values)
    return mean, jnp.sqrt(((values - mean) ** 2).sum(0) / (num - 1) / num)
