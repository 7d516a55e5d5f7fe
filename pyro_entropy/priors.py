"""Priors `p(z)`: modules that return a distribution over the latent variables."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from entropy_core.checks import check_positive_int


class StandardNormalPrior(nn.Module):
    """The standard normal prior `p(z) = N(z; 0, I)` (Damm et al. 2023, Def. 1).

    Args:
        latent_dim: The number of latent variables, `H`.
        dtype: The float type of the draws; the default is torch's.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> StandardNormalPrior(2)().event_shape
        torch.Size([2])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        check_positive_int(latent_dim, "latent_dim")
        # Buffers follow the module's device and float type; constants are no part of its state.
        self.register_buffer("loc", torch.zeros(latent_dim, dtype=dtype), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim, dtype=dtype), persistent=False)

    def forward(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        return dist.Normal(self.loc, self.scale).to_event(1)
