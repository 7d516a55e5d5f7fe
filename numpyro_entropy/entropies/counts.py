"""Exact entropies and base measures of NumPyro's distributions of counts.

The formulas are in `entropy_core.entropies.counts`; here their parameters are read off the host's
classes.
"""

from collections.abc import Callable
from typing import Any

import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array
from numpyro.distributions import Distribution

from entropy_core.entropies.counts import Binomial, Counts, Multinomial, NegativeBinomial, Poisson
from numpyro_entropy.entropies.families import family
from numpyro_entropy.nets.mlp import AnyArray, as_floats
from numpyro_entropy.operations import OPERATIONS


def counts_entropy(fn: Distribution) -> Array | None:
    """The entropy of a Poisson, (negative) binomial or multinomial distribution, else `None`.

    With Stirling's remainder `S(x) = log x! - x log x + x` and the gaps `g_a` of the core's
    integral: Poisson `S(mu) + g_1`; binomial `S(n p) + S(n q) - S(n) + g_1[k] + g_1[n - k]`;
    negative binomial `S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r`.
    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_entropy(dist.Poisson(1.0)).item()
        1.3048...
    """
    counts = _counts_of(fn)
    return None if counts is None else counts.entropy()


def counts_entropy_without_zero(fn: Distribution) -> Array | None:
    """The entropy of a Poisson or (negative) binomial distribution, given that it is not zero.

    `None` for any other. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_entropy_without_zero(dist.Poisson(1.0)).item()
        1.0235...
    """
    counts = _counts_of(fn)
    return (
        None if counts is None or isinstance(counts, Multinomial) else counts.entropy_without_zero()
    )


def counts_log_base_measure(fn: Distribution, value: AnyArray) -> Array | None:
    """`log h(v)` of a distribution of counts with known number of trials, else `None`.

    Poisson `-log v!`; binomial `log C(n, v)`; multinomial `log n! - sum_k log v_k!`; negative
    binomial `log C(v + r - 1, v)`, with `r` no natural parameter. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> import jax.numpy as jnp
        >>> counts_log_base_measure(dist.Poisson(1.0), jnp.array(3)).item()
        -1.7917...
    """
    counts = _counts_of(fn)
    return None if counts is None else counts.log_base_measure(as_floats(value))


def counts_mean_log_base_measure(fn: Distribution) -> Array | None:
    """`E_p[log h(v)]` of a distribution of counts, exact, else `None`.

    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_mean_log_base_measure(dist.Poisson(1.0)).item()
        -0.3048...
    """
    counts = _counts_of(fn)
    return None if counts is None else counts.mean_log_base_measure()


def _counts_of(fn: Distribution) -> Any:
    read = family(fn, _COUNTS)
    return None if read is None else read(fn)


def _binomial_logits(fn: Any) -> Counts:
    # Both from the logits: 1 - p of a p near one has no digits left.
    logits = as_floats(fn.logits)
    return Binomial(OPERATIONS, fn.total_count, nn.sigmoid(logits), nn.sigmoid(-logits))


def _binomial_probs(fn: Any) -> Counts:
    p = as_floats(fn.probs)
    return Binomial(OPERATIONS, fn.total_count, p, 1 - p)


def _multinomial(fn: Any) -> Counts:
    return Multinomial(OPERATIONS, fn.total_count, as_floats(fn.probs))


def _gamma_poisson(fn: Any) -> Counts:
    return NegativeBinomial(OPERATIONS, as_floats(fn.concentration), 1 / as_floats(fn.rate))


_COUNTS: dict[type, Callable[[Any], Counts]] = {
    # Negative binomials among them: the host derives them from it.
    dist.GammaPoisson: _gamma_poisson,
    dist.BinomialLogits: _binomial_logits,
    dist.BinomialProbs: _binomial_probs,
    dist.MultinomialLogits: _multinomial,
    dist.MultinomialProbs: _multinomial,
    dist.Poisson: lambda fn: Poisson(OPERATIONS, as_floats(fn.rate)),
}
