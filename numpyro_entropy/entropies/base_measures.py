"""Base measures that are not constant, and what the theorem leaves of their sites."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from numpyro_entropy.entropies.counts import counts_log_base_measure, counts_mean_log_base_measure
from numpyro_entropy.entropies.wrappers import rewrap, unwrap
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
    leaf, layers = unwrap(fn)
    measure = counts_log_base_measure(leaf, value)
    return None if measure is None else rewrap(measure, layers)


def mean_log_base_measure(fn: dist.Distribution) -> Float[Array, "*batch"] | None:
    """`E_p[log h(v)]`, exact, of a distribution that has a `log_base_measure`, else `None`.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> mean_log_base_measure(dist.Poisson(jnp.ones(2)).to_event(1)).item()
        -0.6096...
    """
    leaf, layers = unwrap(fn)
    measure = counts_mean_log_base_measure(leaf)
    return None if measure is None else rewrap(jnp.broadcast_to(measure, leaf.batch_shape), layers)
