"""Decoders of discrete data: binary, categorical, counts, and the levels of 8-bit data."""

from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_levels
from pyro_entropy.decoders.base import Decoder
from pyro_entropy.distributions.discretized import (
    Discretized,
    DiscretizedLogistic,
    DiscretizedNormal,
    UnitGrid,
)


class BernoulliDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Bernoulli(x_d; sigmoid(l_d(z)))` of zeros and ones.

    Args:
        net: Maps latents `(..., H)` to the logits `(..., D)`.

    Example:
        >>> from pyro_entropy import MLP
        >>> BernoulliDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    support = constraints.boolean

    def distribution(self, *heads: Tensor) -> Distribution:
        """`Bernoulli(logits)`."""
        (logits,) = heads
        return dist.Bernoulli(logits=logits)


class CategoricalDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Categorical(x_d; softmax(l_d(z)))` of one-hot vectors.

    Args:
        net: Maps latents `(..., H)` to the logits, `(..., K)` for one variable of `K` classes or
            `(..., D, K)` for several. Data have that shape too.

    Example:
        >>> from pyro_entropy import MLP
        >>> CategoricalDecoder(MLP(3, (4, 10)))(torch.zeros(8, 3)).event_shape
        torch.Size([4, 10])
    """

    support = constraints.one_hot

    def distribution(self, *heads: Tensor) -> Distribution:
        """`OneHotCategorical(logits)`."""
        (logits,) = heads
        return dist.OneHotCategorical(logits=logits)


class PoissonDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Poisson(x_d; exp(l_d(z)))` of counts.

    Its entropy has no closed form: the library samples it.

    Args:
        net: Maps latents `(..., H)` to the log-rates `(..., D)`.

    Example:
        >>> from pyro_entropy import MLP
        >>> PoissonDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    support = constraints.nonnegative_integer

    def distribution(self, *heads: Tensor) -> Distribution:
        """`Poisson(rate)`."""
        (log_rate,) = heads
        return dist.Poisson(torch.exp(log_rate))


class _DiscretizedDecoder(Decoder):
    """A density over bins around the levels, with one learned scale."""

    density: ClassVar[type[Discretized]]

    def __init__(
        self,
        net: nn.Module,
        *,
        num_levels: int = 256,
        initial_log_scale: float = -2.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net)
        check_levels(num_levels)
        self.num_levels = num_levels
        self.support = UnitGrid(num_levels)
        self.log_scale = nn.Parameter(torch.tensor(float(initial_log_scale), dtype=dtype))

    def distribution(self, *heads: Tensor) -> Distribution:
        """The probabilities of the levels."""
        (loc,) = heads
        return self.density(loc, torch.exp(self.log_scale), self.num_levels)


class DiscretizedLogisticDecoder(_DiscretizedDecoder):
    """The logistic distribution over the levels of 8-bit data, with one learned scale.

    Yu 2020, Sec. 4.2, see `DiscretizedLogistic`. Data are levels divided by the highest, `k / 255`.
    The theorem makes no claim for this site, whose distribution is no exponential family.

    Args:
        net: Maps latents `(..., H)` to the locations `(..., D)`.
        num_levels: The number of levels.
        initial_log_scale: Where the logarithm of the scale starts.
        dtype: The float type of the scale; the default is torch's.

    Raises:
        ValueError: If `num_levels` is no integer from 2.

    Example:
        >>> from pyro_entropy import MLP
        >>> p = DiscretizedLogisticDecoder(MLP(3, 4))(torch.zeros(8, 3))
        >>> (p.sample() * 255 % 1).abs().max() < 1e-3
        tensor(True)
    """

    density = DiscretizedLogistic


class DiscretizedNormalDecoder(_DiscretizedDecoder):
    """The normal distribution over the levels of 8-bit data, with one learned scale.

    Yu 2020, Sec. 4.2, see `DiscretizedNormal`. Data are levels divided by the highest, `k / 255`.
    The theorem makes no claim for this site, whose distribution is no exponential family.

    Args:
        net: Maps latents `(..., H)` to the locations `(..., D)`.
        num_levels: The number of levels.
        initial_log_scale: Where the logarithm of the scale starts.
        dtype: The float type of the scale; the default is torch's.

    Raises:
        ValueError: If `num_levels` is no integer from 2.

    Example:
        >>> from pyro_entropy import MLP
        >>> DiscretizedNormalDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    density = DiscretizedNormal
