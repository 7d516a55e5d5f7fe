"""Decoders of continuous data that are not normal: in the unit interval, positive, heavy-tailed."""

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_entropy.decoders.base import Decoder
from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli


class ContinuousBernoulliDecoder(Decoder):
    """The decoder `p(x|z) = prod_d CB(x_d; l_d(z))` of values between zero and one.

    Loaiza-Ganem and Cunningham 2019; see `ContinuousBernoulli`.

    Args:
        net: Maps latents `(..., H)` to the logits `(..., D)`.

    Example:
        >>> from pyro_entropy import MLP
        >>> ContinuousBernoulliDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    support = constraints.unit_interval

    def distribution(self, *heads: Tensor) -> Distribution:
        """`ContinuousBernoulli(logits)`."""
        (logits,) = heads
        return ContinuousBernoulli(logits)


class GammaDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Gamma(x_d; a, a / mu_d(z))` with one learned shape `a`.

    `mu` is the mean, from a net with a logarithmic link, as in Gamma regression.

    Args:
        net: Maps latents `(..., H)` to the log-means `(..., D)`.
        initial_log_concentration: Where `log a` starts.
        dtype: The float type of `log a`; the default is torch's.

    Example:
        >>> from pyro_entropy import MLP
        >>> GammaDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    support = constraints.positive

    def __init__(
        self,
        net: nn.Module,
        *,
        initial_log_concentration: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net)
        initial = torch.tensor(float(initial_log_concentration), dtype=dtype)
        self.log_concentration = nn.Parameter(initial)

    def distribution(self, *heads: Tensor) -> Distribution:
        """`Gamma(a, a / mu)`."""
        (log_mean,) = heads
        return dist.Gamma(
            torch.exp(self.log_concentration), torch.exp(self.log_concentration - log_mean)
        )


class LaplaceDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Laplace(x_d; mu_d(z), b)` with one learned scale.

    Args:
        net: Maps latents `(..., H)` to the medians `(..., D)`.
        initial_log_scale: Where `log b` starts.
        dtype: The float type of `log b`; the default is torch's.

    Example:
        >>> from pyro_entropy import MLP
        >>> LaplaceDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        initial_log_scale: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net)
        self.log_scale = nn.Parameter(torch.tensor(float(initial_log_scale), dtype=dtype))

    def distribution(self, *heads: Tensor) -> Distribution:
        """`Laplace(mu, b)`."""
        (loc,) = heads
        return dist.Laplace(loc, torch.exp(self.log_scale))
