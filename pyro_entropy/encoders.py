"""Encoders `q(z|x)`: modules that return a distribution over the latent variables."""

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from entropy_core.checks import check_positive_int, expected


class NormalEncoder(nn.Module):
    """The encoder `q(z|x) = N(z; m(x), diag tau^2(x))` (Damm et al. 2023, Def. 1).

    Args:
        net: Maps data `(..., D)` to `(..., 2 H)`: the means `m`, then the log-variances.

    Example:
        >>> from pyro_entropy import MLP
        >>> NormalEncoder(MLP(4, 2 * 3))(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "*batch"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has an odd last dimension.
        """
        out = self.net(x)
        if out.shape[-1] % 2:
            raise ValueError(expected("an output of shape (..., 2 H)", "net", tuple(out.shape)))
        loc, log_variance = out.chunk(2, dim=-1)
        return dist.Normal(loc, torch.exp(0.5 * log_variance)).to_event(1)


class LinearNormalEncoder(nn.Module):
    """The encoder of the linear VAE, `q(z|x) = N(z; V x + b, diag tau^2)`.

    Damm et al. 2023, Eq. 19, with `b` for `-V mu_0`, which it is at the optimum. The variances do
    not depend on `x`.

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dim: The number of latent variables, `H`.
        dtype: The float type of the weights; the default is torch's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> LinearNormalEncoder(4, 3)(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def __init__(self, data_dim: int, latent_dim: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        check_positive_int(data_dim, "data_dim")
        check_positive_int(latent_dim, "latent_dim")
        self.net = nn.Linear(data_dim, latent_dim, dtype=dtype)
        self.log_variance = nn.Parameter(torch.zeros(latent_dim, dtype=dtype))

    def forward(self, x: Float[Tensor, "*batch data_dim"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`."""
        return dist.Normal(self.net(x), torch.exp(0.5 * self.log_variance)).to_event(1)
