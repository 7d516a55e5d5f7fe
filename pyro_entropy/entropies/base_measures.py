"""Base measures that are not constant, and what the theorem leaves of their sites."""

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from pyro_entropy.entropies.counts import counts_log_base_measure, counts_mean_log_base_measure
from pyro_entropy.entropies.wrappers import common_shape, rewrap, unwrap


def log_base_measure(fn: Distribution, value: Tensor) -> Float[Tensor, "*batch"] | None:
    """`log h(v)` of an exponential family whose base measure is not constant, else `None`.

    `p(v) = h(v) exp(eta . T(v) - A)`: Poisson, binomial and multinomial distributions, and the
    negative binomial with `r` no natural parameter. What the theorem leaves of such a site is
    `E_q[log h(v)] - E_q E_p[log h]`. Masked elements count zero. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> import pyro.distributions as dist
        >>> import torch
        >>> log_base_measure(dist.Poisson(torch.ones(2)).to_event(1), torch.tensor([2.0, 3.0]))
        tensor(-2.4849)
    """
    leaf, layers = unwrap(fn)
    measure = counts_log_base_measure(leaf, value)
    return None if measure is None else rewrap(measure, layers)


def mean_log_base_measure(
    fn: Distribution, value: Tensor | None = None
) -> Float[Tensor, "*batch"] | None:
    """`E_p[log h(v)]`, exact, of a distribution that has a `log_base_measure`, else `None`.

    Masked elements count zero. Shape: the batch shape of `fn`; units: nats.

    Args:
        fn: A distribution.
        value: An observation, whose rows have the numbers of trials of a multinomial distribution.

    Example:
        >>> import pyro.distributions as dist
        >>> import torch
        >>> mean_log_base_measure(dist.Poisson(torch.ones(2)).to_event(1)).item()
        -0.6096...
    """
    leaf, layers = unwrap(fn)
    measure = counts_mean_log_base_measure(leaf, value)
    if measure is None:
        return None
    shape = common_shape(measure.shape, leaf.batch_shape)
    return rewrap(measure.expand(shape), layers)
