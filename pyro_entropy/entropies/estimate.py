"""Entropies and divergences of Pyro distributions, in closed form or sampled."""

from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
import torch.distributions as td
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from entropy_core.entropies.divergences import bernoulli_cross_entropy
from entropy_core.traces.records import Method
from pyro_entropy.distributions.discretized import Discretized
from pyro_entropy.entropies.closed_forms import formula_entropy
from pyro_entropy.entropies.composed import base_entropy, composed_entropy, log_det
from pyro_entropy.entropies.counts import counts_entropy
from pyro_entropy.entropies.divergences import family_divergence
from pyro_entropy.entropies.families import belongs_to, has_own, is_users_own, overrides_density
from pyro_entropy.entropies.wrappers import (
    Layer,
    common_shape,
    elementwise,
    rewrap,
    rewrap_errors,
    spread,
    unwrap,
    unwrapped,
)
from pyro_entropy.operations import OPERATIONS

NO_ENTROPY = (dist.Unit, dist.ImproperUniform)

# Their densities take no batch of values.
ONE_AT_A_TIME = (dist.GaussianScaleMixture,)

# Of these the host's divergences from other families are made of its own entropies.
ENTROPY_IN_KL = (td.Bernoulli, td.Beta, td.ContinuousBernoulli, td.Gamma, td.Geometric)


class EntropyEstimate(NamedTuple):
    """An entropy, how far it may be off, and how it was got.

    Args:
        values: The entropy, of the batch shape of its distribution, in nats; zero where it has
            none.
        error: Its Monte-Carlo standard error, of the same shape; not a number for one draw.
        method: `"closed form"`, `"change of variables"`, `"sampled"` or `"none"`.
    """

    values: Tensor
    error: Tensor
    method: Method


def entropy_estimate(fn: Distribution, num_samples: int) -> EntropyEstimate:
    """The entropy of `fn` as well as it can be had.

    In closed form, by the host or by us; else by a change of variables, `H[f(u)] = H[u] +
    E[log|det f'(u)|]`, with the base's entropy in closed form and the determinant at draws; else
    sampled. A factor or an improper distribution has none.

    Example:
        >>> fn = dist.LogisticNormal(torch.zeros(2), torch.ones(2))
        >>> entropy_estimate(fn, 10).method
        'change of variables'
    """
    closed = closed_entropy(fn)
    if closed is not None:
        return EntropyEstimate(closed, torch.zeros_like(closed), "closed form")
    leaf, layers = unwrap(fn)
    values, error, method = _drawn_entropy(spread(leaf, fn), num_samples)
    return EntropyEstimate(rewrap(values, layers), rewrap_errors(error, layers), method)


def closed_entropy(fn: Distribution, value: Tensor | None = None) -> Float[Tensor, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where neither the host nor we have one.

    A subclass that overrides `log_prob` does not have the entropy that it inherits. Masked elements
    count zero. Shape: the batch shape of `fn`; units: nats.

    Args:
        fn: A distribution.
        value: An observation, of whose rows each may be from another number of trials: the density
            of a multinomial distribution takes it from there, and `total_count` is the largest.

    Example:
        >>> closed_entropy(dist.Normal(0.0, torch.ones(2)).to_event(1)).item()
        2.8378...
    """
    leaf, layers = unwrap(fn)
    entropy = None if value is None else counts_entropy(leaf, value)
    if entropy is None:
        entropy = _closed_entropy(leaf)
    if entropy is None:
        return None
    shape = common_shape(entropy.shape, leaf.batch_shape)
    return rewrap(entropy.expand(shape), layers)


def entropy_check(fn: Distribution, num_samples: int) -> Float[Tensor, "*batch"] | None:
    """By how much fresh draws differ from the entropy in closed form of a class of a user's own.

    Such a class may have an `entropy` that is not that of its density, or parameters of which its
    base knows nothing. `None` for the host's classes and ours, and where there is no closed form.
    Shape: the batch shape of `fn`; units: nats.
    """
    leaf, layers = unwrap(fn)
    closed = closed_entropy(fn) if is_users_own(leaf) else None
    if closed is None:
        return None
    return rewrap(sampled_entropy(spread(leaf, fn), num_samples), layers) - closed


def sampled_entropy(fn: Distribution, num_samples: int) -> Float[Tensor, "*batch"]:
    """The mean of `-log p` over fresh draws: `H[p] = -E_p[log p(v)]`.

    Shape: the batch shape of `fn`; units: nats.
    """
    return sampled_entropy_and_error(fn, num_samples)[0]


def sampled_entropy_and_error(
    fn: Distribution, num_samples: int
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """The mean of `-log p` over fresh draws and its standard error, not a number for one draw.

    Shape: the batch shape of `fn`; units: nats.

    Raises:
        NotImplementedError: If the host cannot sample `fn` or has no density for it.
    """
    draws = _draws(fn, num_samples)
    if isinstance(fn, ONE_AT_A_TIME):
        return _mean_and_error(-torch.stack([fn.log_prob(value) for value in draws]))
    return _mean_and_error(-fn.log_prob(draws))


def closed_cross_entropy(
    q: Distribution, p: Distribution, value: Tensor
) -> Float[Tensor, "*batch"] | None:
    """`E_q[log p] = -(KL(q || p) + H[q])`, or `None` where no KL divergence is registered.

    `None` too where one of the two overrides `log_prob`, since the divergence is that of its base.
    The mask of `p` applies, that of `q` does not. Where the host has a KL divergence but no entropy
    for `q`, `H[q]` is taken at `value`. Shape: the batch shape; units: nats.

    Example:
        >>> q, p = dist.Normal(0.0, 2.0), dist.Normal(0.0, 1.0)
        >>> closed_cross_entropy(q, p, torch.zeros(())).item()  # -(log(2 pi) + 4) / 2
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
    shape = common_shape(term.shape, q.batch_shape, p.batch_shape)
    return term if term.shape == shape else term.expand(shape)


def _cross_entropy(q: Any, p: Any, value: Tensor) -> Tensor | None:
    # For a Delta the draw is the exact expectation, and log_density is the guide's, not a KL's.
    if isinstance(elementwise(q), dist.Delta) or overrides_density(q) or overrides_density(p):
        return None
    if isinstance(q, td.Normal) and isinstance(p, td.Normal):
        # In one sum: a logarithm in the divergence would cancel that of the entropy.
        return p.log_prob(q.loc) - 0.5 * (q.scale / p.scale).square()
    if isinstance(q, dist.MultivariateNormal) and isinstance(elementwise(p), dist.Normal):
        # The host has no divergence of a full from a diagonal normal distribution, and none is
        # needed: beside the mean only the variances of `q` count.
        return p.log_prob(q.mean) - 0.5 * (q.variance / elementwise(p).variance).sum(-1)
    if belongs_to(q, td.Beta, td.Gamma) and belongs_to(p, td.Normal):
        return p.log_prob(q.mean) - 0.5 * q.variance / p.variance
    if belongs_to(q, td.Bernoulli) and belongs_to(p, td.Bernoulli):
        return bernoulli_cross_entropy(OPERATIONS, q.logits, p.logits)
    if belongs_to(q, td.Gamma) and belongs_to(p, td.Gumbel):
        # The host's divergence has the parts of the entropy in it, but not in one sum.
        return None
    kl, entropy = family_divergence(q, p), closed_entropy(q)
    if kl is None:
        try:
            kl = kl_divergence(q, p)
        except NotImplementedError:
            return None
        if belongs_to(q, *ENTROPY_IN_KL):
            # The host's own entropy is in it: the digits that it lost cancel.
            entropy = _hosts_entropy(q)
    return -(kl + (-q.log_prob(value) if entropy is None else entropy))


def _event_dims(layers: tuple[Layer, ...]) -> int:
    return sum(layer.event_dims for layer in layers)


def _closed_entropy(fn: Distribution) -> Tensor | None:
    if isinstance(fn, Discretized):
        # A sum over hundreds of levels for each variable: fresh draws cost far less.
        return None
    # The host's own come last: some sum over all counts, and some lose digits.
    for entropy_of in (counts_entropy, formula_entropy, _hosts_entropy):
        entropy = entropy_of(fn)
        if entropy is not None:
            return entropy
    return composed_entropy(fn, closed_entropy)


def _hosts_entropy(fn: Any) -> Tensor | None:
    if not has_own(fn, "entropy"):
        return None
    try:
        return fn.entropy()
    except NotImplementedError:
        return None


def _drawn_entropy(fn: Distribution, num_samples: int) -> EntropyEstimate:
    zeros = torch.zeros(fn.batch_shape)
    if belongs_to(unwrapped(fn), *NO_ENTROPY):
        return EntropyEstimate(zeros, zeros, "none")
    try:
        base = base_entropy(fn, closed_entropy)
        if base is not None:
            mean, error = _mean_and_error(_sampled_log_det(fn, num_samples))
            return EntropyEstimate(base + mean, error, "change of variables")
        return EntropyEstimate(*sampled_entropy_and_error(fn, num_samples), "sampled")
    except NotImplementedError:
        return EntropyEstimate(zeros, zeros, "none")


def _sampled_log_det(fn: Any, num_samples: int) -> Tensor:
    return log_det(fn, _draws(fn.base_dist, num_samples))


def _draws(fn: Distribution, num_samples: int) -> Tensor:
    draw = fn.rsample if fn.has_rsample else fn.sample
    try:
        return draw((num_samples,))
    except NotImplementedError:
        # Some draw one value at a time; what has no sampler fails here once more.
        return torch.stack([draw() for _ in range(num_samples)])


def _mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    mean, num = values.mean(0), len(values)
    return mean, (((values - mean) ** 2).sum(0) / (num - 1) / num).sqrt()
