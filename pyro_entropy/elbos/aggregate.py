"""The aggregate posterior `q(z) = mean_n q(z|x_n)`, estimated from a batch."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal

from entropy_core.across import ALONE, Across
from entropy_core.elbos.edvae import (
    AggregateEntropy,
    check_aggregate,
    mixture_entropy,
    moment_entropy,
)
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.operations import OPERATIONS


def aggregate_entropy(
    q: Distribution,
    z: Tensor,
    num_data: int,
    estimator: AggregateEntropy = "minibatch",
    *,
    across: Across = ALONE,
) -> Tensor:
    """The entropy `H[q(z)]` of the aggregate posterior of a data set, estimated from a batch.

    `"moment"` is the entropy of a Gaussian with the mean and covariance of the batch's aggregate,
    an upper bound for that aggregate. The others are `-mean_i log sum_j W_ij q(z_i|x_j)`:

    - `"minibatch"`: `W_ij = 1/B`. A draw's own component weighs too much, so that it is low.
    - `"weighted"`: `W_ij = 1/(N B)`, minibatch weighted sampling (Chen et al. 2018, Eq. 5): the
      first plus `log N`. It is high, by `log B` to `log N`: good for differences only.
    - `"stratified"`: `W_ii = 1/N`, `W_ij = (N - 1)/(N (B - 1))`, unbiased for `q(z)`, so that the
      entropy is high (Jensen). It is exact, up to the draws, at `B = N`, as the first is.

    Args:
        q: `q(z|x)` of the batch, of batch shape `(B,)`, `B >= 2`.
        z: A draw for each data point, of the shape of `q`.
        num_data: The size of the data set, `N`.
        estimator: One of the above.
        across: The processes that have the other data points of the batch.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: If `estimator` is not known, or `q` is not of batch shape `(B,)`, or `num_data`
            is below `B`.

    Example:
        >>> q = Normal(torch.tensor([-9.0, 9.0]), torch.ones(2))
        >>> aggregate_entropy(q, q.loc, 2).exp().item()  # two components: 2 sqrt(2 pi)
        5.0132...
    """
    check_aggregate(tuple(map(across.count, q.batch_shape)), num_data, estimator)
    if estimator == "moment":
        loc = q.mean.reshape(len(q.mean), -1)
        return moment_entropy(_mean_covariance(q, loc), loc, OPERATIONS, across)
    log_prob = pairwise_log_prob(q, across.rows(z))
    return mixture_entropy(log_prob, num_data, estimator, OPERATIONS, across)


def pairwise_log_prob(q: Distribution, z: Tensor) -> Tensor:
    """`log q(z_i | x_j)` of all pairs in a batch, of shape `(B, B)`; of other draws too, `(M, B)`.

    For a diagonal normal distribution it is a matrix product, about the mean of the batch; for any
    other the log-probabilities are broadcast.

    Args:
        q: `q(z|x)`, of batch shape `(B,)`.
        z: Draws, of the shape of `q` but for their number.

    Example:
        >>> q = Normal(torch.zeros(2), torch.ones(2))
        >>> pairwise_log_prob(q, torch.tensor([0.0, 1.0]))
        tensor([[-0.9189, -0.9189],
                [-1.4189, -1.4189]])
    """
    normal: Any = elementwise(q)
    if not belongs_to(normal, Normal):
        return q.log_prob(z.unsqueeze(1))
    shape, z = q.batch_shape + q.event_shape, z.reshape(len(z), -1)
    loc, scale = (t.expand(shape).reshape(shape[0], -1) for t in (normal.loc, normal.scale))
    # The product loses the digits that all latents share.
    centre = loc.mean(0).detach()
    loc, z, precision = loc - centre, z - centre, scale**-2
    constants = -(0.5 * loc**2 * precision + scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
    # One product, since each pass over all pairs takes as long.
    draws, components = (z**2, z), (-0.5 * precision, loc * precision)
    return torch.addmm(constants, torch.cat(draws, -1), torch.cat(components, -1).T)


def _mean_covariance(q: Any, loc: Tensor) -> Tensor:
    if belongs_to(q, MultivariateNormal):
        return q.covariance_matrix.mean(0)
    return torch.diag(q.variance.reshape(loc.shape).mean(0))
