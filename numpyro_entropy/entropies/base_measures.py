"""Base measures that are not constant, and what the theorem leaves of their sites."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import ExpandedDistribution, MaskedDistribution
from numpyro.distributions.util import sum_rightmost

from numpyro_entropy.entropies.counts import counts_log_base_measure, counts_mean_log_base_measure
from numpyro_entropy.nets.mlp import AnyArray


def log_base_measure(fn: dist.Distribution, value: AnyArray) -> Float[Array, "*batch"] | None:
    """`log h(v)` of an exponential family whose base measure is not constant, else `None`.

    `p(v) = h(v) exp(eta . T(v) - A)`: Poisson, binomial and multinomial distributions, and the
    negative binomial with `r` no natural parameter. What the theorem leaves of such a site is
    `E_q[log h(v)] - E_q E_p[log h]`. Masked elements count zero. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> log_base_measure(dist.Poisson(jnp.ones(2)).to_event(1), jnp.array([2, 3]))
        Array(-2.484..., dtype=...)
    """
    if isinstance(fn, MaskedDistribution):
        measure = log_base_measure(fn.base_dist, value)
        return None if measure is None else jnp.where(fn._mask, measure, 0)
    if isinstance(fn, dist.Independent):
        measure = log_base_measure(fn.base_dist, value)
        return None if measure is None else sum_rightmost(measure, fn.reinterpreted_batch_ndims)
    if isinstance(fn, ExpandedDistribution):
        measure = log_base_measure(fn.base_dist, value)
        return (
            None
            if measure is None
            else jnp.broadcast_to(measure, jnp.broadcast_shapes(measure.shape, fn.batch_shape))
        )
    return counts_log_base_measure(fn, value)


def mean_log_base_measure(fn: dist.Distribution) -> Float[Array, "*batch"] | None:
    """`E_p[log h(v)]`, exact, of a distribution that has a `log_base_measure`, else `None`.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> mean_log_base_measure(dist.Poisson(jnp.ones(2)).to_event(1)).item()
        -0.6096...
    """
    if isinstance(fn, MaskedDistribution):
        measure = mean_log_base_measure(fn.base_dist)
        return None if measure is None else jnp.where(fn._mask, measure, 0)
    if isinstance(fn, dist.Independent):
        measure = mean_log_base_measure(fn.base_dist)
        return None if measure is None else sum_rightmost(measure, fn.reinterpreted_batch_ndims)
    if isinstance(fn, ExpandedDistribution):
        measure = mean_log_base_measure(fn.base_dist)
    else:
        measure = counts_mean_log_base_measure(fn)
    return None if measure is None else jnp.broadcast_to(measure, fn.batch_shape)
