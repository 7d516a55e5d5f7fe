"""Decoders `p(x|z)`: modules that return a distribution over the observed variables."""

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn


class NormalDecoder(nn.Module):
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with one learned variance.

    Damm et al. 2023, Def. 1.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        initial_log_variance: Where `log sigma^2` starts. From the optimum for the data's mean,
            `log(optimal_decoder_variance(x, x.mean(0)))`, it converges soonest.
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
        super().__init__()
        self.net = net
        self.log_variance = nn.Parameter(torch.tensor(float(initial_log_variance), dtype=dtype))

    def forward(self, z: Float[Tensor, "*batch latent_dim"]) -> dist.Distribution:
        """`p(x|z)`, of event shape `(D,)`."""
        return dist.Normal(self.net(z), torch.exp(0.5 * self.log_variance)).to_event(1)
