"""Entropies and divergences of Pyro distributions, in closed form or sampled."""

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask, sum_rightmost
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from pyro_entropy.discretized import Discretized


def closed_entropy(fn: Distribution) -> Float[Tensor, "*batch"] | None:
    """The entropy of `fn` in closed form, or `None` where the host has none.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> import torch
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
    try:
        return fn.entropy()
    except NotImplementedError:
        return None


def sampled_entropy(fn: Distribution, num_samples: int) -> Float[Tensor, "*batch"]:
    """The mean of `-log p` over fresh draws: `H[p] = -E_p[log p(v)]`.

    Shape: the batch shape of `fn`; units: nats.
    """
    draw = fn.rsample if fn.has_rsample else fn.sample
    return -fn.log_prob(draw((num_samples,))).mean(0)


def closed_cross_entropy(
    q: Distribution, p: Distribution, value: Tensor
) -> Float[Tensor, "*batch"] | None:
    """`E_q[log p] = -(KL(q || p) + H[q])`, or `None` where no KL divergence is registered.

    The mask of `p` applies, that of `q` does not. Where the host has a KL divergence but no entropy
    for `q`, `H[q]` is taken at `value`. Shape: the batch shape; units: nats.

    Example:
        >>> import torch
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


def elementwise(fn: Distribution) -> Distribution:
    """Takes off `to_event`: what a factorised distribution is made of."""
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    return fn
