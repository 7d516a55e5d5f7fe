"""Entropies and divergences of Pyro distributions, in closed form or sampled."""

from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask, sum_rightmost
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from entropy_core.traces.records import Method
from pyro_entropy.distributions.discretized import Discretized
from pyro_entropy.entropies.composed import base_entropy, composed_entropy, log_det
from pyro_entropy.entropies.counts import counts_entropy
from pyro_entropy.entropies.wrappers import elementwise

NO_ENTROPY = (dist.Unit, dist.ImproperUniform)

# Their densities take no batch of values.
ONE_AT_A_TIME = (dist.GaussianScaleMixture,)


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
    if isinstance(fn, MaskedDistribution):
        values, error, method = entropy_estimate(fn.base_dist, num_samples)
        mask = fn._mask
        return EntropyEstimate(
            scale_and_mask(values, mask=mask), scale_and_mask(error, mask=mask), method
        )
    if isinstance(fn, dist.Independent):
        num_dims = fn.reinterpreted_batch_ndims
        values, error, method = entropy_estimate(fn.base_dist, num_samples)
        # The draws of the parts are independent.
        error = sum_rightmost(error**2, num_dims).sqrt()
        return EntropyEstimate(sum_rightmost(values, num_dims), error, method)
    closed = closed_entropy(fn)
    if closed is not None:
        return EntropyEstimate(closed, torch.zeros_like(closed), "closed form")
    zeros = torch.zeros(fn.batch_shape)
    if isinstance(fn, NO_ENTROPY):
        return EntropyEstimate(zeros, zeros, "none")
    try:
        base = base_entropy(fn, closed_entropy)
        if base is not None:
            mean, error = _mean_and_error(_sampled_log_det(fn, num_samples))
            return EntropyEstimate(base + mean, error, "change of variables")
        return EntropyEstimate(*sampled_entropy_and_error(fn, num_samples), "sampled")
    except NotImplementedError:
        return EntropyEstimate(zeros, zeros, "none")


def closed_entropy(fn: Distribution) -> Float[Tensor, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where neither the host nor we have one.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> closed_entropy(dist.Normal(0.0, torch.ones(2)).to_event(1)).item()
        2.8378...
    """
    if isinstance(fn, MaskedDistribution):
        entropy = closed_entropy(fn.base_dist)
        return None if entropy is None else scale_and_mask(entropy, mask=fn._mask)
    if isinstance(fn, dist.Independent):
        entropy = closed_entropy(fn.base_dist)
        return None if entropy is None else sum_rightmost(entropy, fn.reinterpreted_batch_ndims)
    if isinstance(fn, Discretized):
        # A sum over hundreds of levels for each variable: fresh draws cost far less.
        return None
    # The host's own sums over all counts for each variable.
    entropy = counts_entropy(fn)
    if entropy is None:
        try:
            entropy = fn.entropy()
        except NotImplementedError:
            entropy = composed_entropy(fn, closed_entropy)
    return None if entropy is None else entropy.expand(fn.batch_shape)


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

    The mask of `p` applies, that of `q` does not. Where the host has a KL divergence but no entropy
    for `q`, `H[q]` is taken at `value`. Shape: the batch shape; units: nats.

    Example:
        >>> q, p = dist.Normal(0.0, 2.0), dist.Normal(0.0, 1.0)
        >>> closed_cross_entropy(q, p, torch.zeros(())).item()  # -(log(2 pi) + 4) / 2
        -2.9189...
    """
    if isinstance(q, MaskedDistribution):
        return closed_cross_entropy(q.base_dist, p, value)
    if isinstance(p, MaskedDistribution):
        term = closed_cross_entropy(q, p.base_dist, value)
        return None if term is None else scale_and_mask(term, mask=p._mask)
    if isinstance(q, dist.Independent) and isinstance(p, dist.Independent):
        num_dims = q.reinterpreted_batch_ndims
        if num_dims == p.reinterpreted_batch_ndims:
            term = closed_cross_entropy(q.base_dist, p.base_dist, value)
            return None if term is None else sum_rightmost(term, num_dims)
    # For a Delta the draw is the exact expectation, and log_density is the guide's, not a KL's.
    if isinstance(elementwise(q), dist.Delta):
        return None
    if isinstance(q, dist.MultivariateNormal) and isinstance(elementwise(p), dist.Normal):
        # The host has no divergence of a full from a diagonal normal distribution, and none is
        # needed: beside the mean only the variances of `q` count.
        return p.log_prob(q.mean) - 0.5 * (q.variance / elementwise(p).variance).sum(-1)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        return None
    entropy = closed_entropy(q)
    return -(kl + (-q.log_prob(value) if entropy is None else entropy))


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
