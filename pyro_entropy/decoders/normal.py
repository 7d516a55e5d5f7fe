"""Normal decoders, which differ in where the variance comes from."""

from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_number, check_shape
from pyro_entropy.decoders.base import Decoder


class FixedNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with a constant variance (VAE-0).

    Damm et al. 2023, Def. 1, but that nothing trains `sigma^2`: so the theorem makes no claim for
    this site.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        variance: The variance `sigma^2`.
        dtype: The float type of `sigma^2`; the default is torch's.

    Raises:
        ValueError: If `variance` is not positive.

    Example:
        >>> from pyro_entropy import MLP
        >>> FixedNormalDecoder(MLP(3, 4), 0.25)(torch.zeros(8, 3)).variance[0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    scale: Tensor

    def __init__(
        self, net: nn.Module, variance: float = 1.0, *, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(net)
        scale = check_number(variance, "variance") ** 0.5
        dtype = dtype or torch.get_default_dtype()
        self.register_buffer("scale", torch.tensor(scale, dtype=dtype), persistent=False)

    def distribution(self, *heads: Tensor) -> Distribution:
        """`N(mu, sigma^2)`."""
        (mean,) = heads
        return dist.Normal(mean, self.scale)


class NormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with one learned variance (VAE-1).

    Damm et al. 2023, Def. 1.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        initial_log_variance: Where `log sigma^2` starts. It converges soonest from the optimum for
            the data's mean, `log(optimal_decoder_variance(x, x.mean(0)))`.
        dtype: The float type of `log sigma^2`; the default is torch's.

    Example:
        >>> from pyro_entropy import MLP
        >>> NormalDecoder(MLP(3, 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        initial_log_variance: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net)
        self.log_variance = nn.Parameter(torch.tensor(float(initial_log_variance), dtype=dtype))

    def distribution(self, *heads: Tensor) -> Distribution:
        """`N(mu, sigma^2)`."""
        (mean,) = heads
        return dist.Normal(mean, torch.exp(0.5 * self.log_variance))


class DiagonalNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), diag sigma_d^2)` with a learned variance for each variable.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        initial_log_variance: Where each `log sigma_d^2` starts.
        dtype: The float type of `log sigma_d^2`; the default is torch's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> from pyro_entropy import MLP
        >>> DiagonalNormalDecoder(MLP(3, 4), 4).log_variance.shape
        torch.Size([4])
    """

    def __init__(
        self,
        net: nn.Module,
        data_dim: int | Sequence[int],
        *,
        initial_log_variance: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net)
        initial = torch.full(
            check_shape(data_dim, "data_dim"), float(initial_log_variance), dtype=dtype
        )
        self.log_variance = nn.Parameter(initial)

    def distribution(self, *heads: Tensor) -> Distribution:
        """`N(mu, sigma_d^2)`."""
        (mean,) = heads
        return dist.Normal(mean, torch.exp(0.5 * self.log_variance))


class HeteroscedasticNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), diag sigma_d^2(z))` (VAE-3).

    Damm et al. 2023, Def. 3. The variances come through `exp`, along whose bias the theorem's proof
    moves; through another function, such as softplus, it makes no claim.

    Args:
        net: Maps latents `(..., H)` to `(..., 2 D)`: the means, then the log-variances; for images
            `(..., 2 C, height, width)`.
        initial_log_variance: What is added to the log-variances of the net.

    Example:
        >>> from pyro_entropy import MLP
        >>> HeteroscedasticNormalDecoder(MLP(3, 2 * 4))(torch.zeros(8, 3)).event_shape
        torch.Size([4])
    """

    heads: ClassVar[int] = 2

    def __init__(self, net: nn.Module, *, initial_log_variance: float = 0.0) -> None:
        super().__init__(net)
        self.initial_log_variance = float(initial_log_variance)

    def distribution(self, *heads: Tensor) -> Distribution:
        """`N(mu, sigma_d^2)`."""
        mean, log_variance = heads
        return dist.Normal(mean, torch.exp(0.5 * (log_variance + self.initial_log_variance)))
