"""Entropies and divergences of NumPyro distributions, in closed form or sampled."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions.kl import kl_divergence

from entropy_core.traces.records import Method
from numpyro_entropy.distributions.discretized import Discretized
from numpyro_entropy.entropies.closed_forms import formula_entropy
from numpyro_entropy.entropies.composed import base_entropy, composed_entropy, log_det
from numpyro_entropy.entropies.counts import counts_entropy
from numpyro_entropy.entropies.divergences import family_divergence
from numpyro_entropy.entropies.families import belongs_to, has_own, is_users_own, overrides_density
from numpyro_entropy.entropies.wrappers import (
    Layer,
    elementwise,
    rewrap,
    rewrap_errors,
    spread,
    unwrap,
    unwrapped,
)

# Not every version of the host has all of them. The density of a censored distribution is that of
# an observation, and not of its draws.
NO_ENTROPY = tuple(
    getattr(dist, name)
    for name in (
        "ImproperUniform",
        "IntervalCensoredDistribution",
        "LeftCensoredDistribution",
        "RightCensoredDistribution",
        "Unit",
    )
    if hasattr(dist, name)
)


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
    closed = closed_entropy(fn)
    if closed is not None:
        return EntropyEstimate(closed, jnp.zeros_like(closed), "closed form")
    leaf, layers = unwrap(fn)
    values, error, method = _drawn_entropy(rng_key, spread(leaf, fn), num_samples)
    return EntropyEstimate(rewrap(values, layers), rewrap_errors(error, layers), method)


def closed_entropy(fn: dist.Distribution) -> Float[Array, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where neither the host nor we have one.

    A subclass that overrides `log_prob` does not have the entropy that it inherits. Masked elements
    count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> closed_entropy(dist.Normal(0.0, jnp.ones(2)).to_event(1)).item()
        2.8378...
    """
    leaf, layers = unwrap(fn)
    entropy = _closed_entropy(leaf)
    if entropy is None:
        return None
    return rewrap(jnp.broadcast_to(entropy, leaf.batch_shape), layers)


def entropy_check(
    rng_key: Array, fn: dist.Distribution, num_samples: int
) -> Float[Array, "*batch"] | None:
    """By how much fresh draws differ from the entropy in closed form of a class of a user's own.

    Such a class may have an `entropy` that is not that of its density, or parameters of which its
    base knows nothing. `None` for the host's classes and ours, and where there is no closed form.
    Shape: the batch shape of `fn`; units: nats.
    """
    leaf, layers = unwrap(fn)
    closed = closed_entropy(fn) if is_users_own(leaf) else None
    if closed is None:
        return None
    return rewrap(sampled_entropy(rng_key, spread(leaf, fn), num_samples), layers) - closed


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
    # A mask's log_prob would forget the way that the draw has taken.
    part, layers = unwrap(fn, 0)
    mean, error = _mean_and_error(-_log_prob_of_draws(rng_key, spread(part, fn), num_samples))
    return rewrap(mean, layers), rewrap_errors(error, layers)


def closed_cross_entropy(
    q: dist.Distribution, p: dist.Distribution, value: Array
) -> Float[Array, "*batch"] | None:
    """`E_q[log p] = -(KL(q || p) + H[q])`, or `None` where no KL divergence is registered.

    `None` too where one of the two overrides `log_prob`, since the divergence is that of its base.
    The mask of `p` applies, that of `q` does not. Where the host has a KL divergence but no entropy
    for `q`, `H[q]` is taken at `value`. Shape: the batch shape; units: nats.

    Example:
        >>> q, p = dist.Normal(0.0, 2.0), dist.Normal(0.0, 1.0)
        >>> closed_cross_entropy(q, p, jnp.zeros(())).item()  # -(log(2 pi) + 4) / 2
        -2.9189...
    """
    (q_part, q_layers), (p_part, layers) = unwrap(q), unwrap(p)
    num_dims = _event_dims(q_layers), _event_dims(layers)
    if num_dims[0] != num_dims[1]:
        # As of a full from a diagonal normal distribution: the divergence is one of events.
        (q_part, _), (p_part, layers) = unwrap(q, min(num_dims)), unwrap(p, min(num_dims))
    term = _cross_entropy(q_part, p_part, value)
    if term is None:
        return None
    term = rewrap(term, layers)
    return jnp.broadcast_to(term, jnp.broadcast_shapes(term.shape, q.batch_shape, p.batch_shape))


def _cross_entropy(q: Any, p: Any, value: Array) -> Array | None:
    # For a Delta the draw is the exact expectation, and log_density is the guide's, not a KL's.
    if isinstance(elementwise(q), dist.Delta) or overrides_density(q) or overrides_density(p):
        return None
    if isinstance(q, dist.Normal) and isinstance(p, dist.Normal):
        # In one sum: a logarithm in the divergence would cancel that of the entropy.
        return p.log_prob(q.loc) - 0.5 * jnp.square(q.scale / p.scale)
    if isinstance(q, dist.MultivariateNormal) and isinstance(elementwise(p), dist.Normal):
        # The host has no divergence between full and diagonal normal distributions, and none is
        # needed: of one of them only the variances count.
        return p.log_prob(q.mean) - 0.5 * (q.variance / elementwise(p).variance).sum(-1)
    if isinstance(elementwise(q), dist.Normal) and isinstance(p, dist.MultivariateNormal):
        precision = jnp.diagonal(p.precision_matrix, axis1=-2, axis2=-1)
        return p.log_prob(q.mean) - 0.5 * (q.variance * precision).sum(-1)
    if belongs_to(q, dist.Kumaraswamy):
        # The host's divergence from a beta distribution stops its series after ten terms.
        return None
    kl = family_divergence(q, p)
    if kl is None:
        try:
            kl = kl_divergence(q, p)
        except NotImplementedError:
            return None
    entropy = closed_entropy(q)
    return -(kl + (-q.log_prob(value) if entropy is None else entropy))


def _event_dims(layers: tuple[Layer, ...]) -> int:
    return sum(layer.event_dims for layer in layers)


def _closed_entropy(fn: Any) -> Array | None:
    if isinstance(fn, Discretized):
        # A sum over hundreds of levels for each variable: fresh draws cost far less.
        return None
    # The host's own come last: some sum over all counts, and some lose digits.
    for entropy_of in (counts_entropy, formula_entropy, _hosts_entropy):
        entropy = entropy_of(fn)
        if entropy is not None:
            return entropy
    return composed_entropy(fn, closed_entropy)


def _hosts_entropy(fn: Any) -> Array | None:
    if not has_own(fn, "entropy"):
        return None
    try:
        return fn.entropy()
    except NotImplementedError:
        return None


def _drawn_entropy(rng_key: Array, fn: dist.Distribution, num_samples: int) -> EntropyEstimate:
    zeros = jnp.zeros(fn.batch_shape)
    if belongs_to(unwrapped(fn), *NO_ENTROPY):
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


def _expanded_inside(fn: Any) -> Any:
    # A plate expands from outside, where each element would not have a draw of its own.
    base: Any = elementwise(fn)
    if base is fn or type(base) is not dist.TransformedDistribution:
        return fn
    shape = (*fn.batch_shape, *base.base_dist.batch_shape[len(base.batch_shape) :])
    return dist.TransformedDistribution(base.base_dist.expand(shape), base.transforms)


def _sampled_log_det(rng_key: Array, fn: Any, num_samples: int) -> Array:
    return log_det(fn, fn.base_dist.sample(rng_key, (num_samples,)))


def _log_prob_of_draws(rng_key: Array, fn: Any, num_samples: int) -> Array:
    if type(fn).sample_with_intermediates is dist.Distribution.sample_with_intermediates:
        # The host would pass the shape by name, and a user's class may have another one for it.
        return fn.log_prob(fn.sample(rng_key, (num_samples,)))
    value, intermediates = fn.sample_with_intermediates(rng_key, (num_samples,))
    # A folded distribution hands intermediates out and does not take them.
    if intermediates and not isinstance(elementwise(fn), dist.FoldedDistribution):
        return fn.log_prob(value, intermediates)
    return fn.log_prob(value)


def _mean_and_error(values: Array) -> tuple[Array, Array]:
    mean, num = values.mean(0), len(values)
    return mean, jnp.sqrt(((values - mean) ** 2).sum(0) / (num - 1) / num)
