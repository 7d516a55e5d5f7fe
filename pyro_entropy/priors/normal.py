"""Priors `p(z)`: modules that return a distribution over the latent variables."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_positive_int
from entropy_core.vaes.mixture import check_moments


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

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        return dist.Normal(self.loc, self.scale).to_event(1)


class NormalPrior(nn.Module):
    """The normal prior `p(z) = N(z; 0, diag alpha^2)` with learned variances.

    Damm et al. 2023, Def. 2 (VAE-2).

    Args:
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where each `log alpha_h^2` starts.
        dtype: The float type of `log alpha^2`; the default is torch's.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> NormalPrior(2, initial_log_variance=-1.0)().variance
        tensor([0.3679, 0.3679], grad_fn=...)
    """

    loc: Tensor

    def __init__(
        self,
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive_int(latent_dim, "latent_dim")
        self.register_buffer("loc", torch.zeros(latent_dim, dtype=dtype), persistent=False)
        initial = torch.full((latent_dim,), float(initial_log_variance), dtype=dtype)
        self.log_variance = nn.Parameter(initial)

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        return dist.Normal(self.loc, torch.exp(0.5 * self.log_variance)).to_event(1)


class FloatingNormalPrior(nn.Module):
    """The floating prior `p(z) = N(z; 0, S^2)`, with the second moments of a data set's latents.

    `S^2 = Sigma + M`, `M = mean_n m_n m_n^T` (Fyffe 2020, Sec. 4.3). It is a standard normal prior
    until `vae.fit_floating_prior` sets `S^2`, which no gradient trains and a weights file holds.

    Args:
        latent_dim: The number of latent variables, `H`.
        full_covariance: Whether `S^2` has all second moments (Eq. 23), or those of each latent
            alone.
        dtype: The float type of `S^2`; the default is torch's.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> FloatingNormalPrior(2)().variance
        tensor([1., 1.])
    """

    loc: Tensor
    variance: Tensor
    covariance: Tensor

    def __init__(
        self,
        latent_dim: int,
        *,
        full_covariance: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive_int(latent_dim, "latent_dim")
        self.full_covariance = full_covariance
        self.register_buffer("loc", torch.zeros(latent_dim, dtype=dtype), persistent=False)
        if full_covariance:
            self.register_buffer("covariance", torch.eye(latent_dim, dtype=dtype))
        else:
            self.register_buffer("variance", torch.ones(latent_dim, dtype=dtype))

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        if self.full_covariance:
            return dist.MultivariateNormal(self.loc, self.covariance)
        return dist.Normal(self.loc, self.variance.sqrt()).to_event(1)

    def moments(self, q: Distribution) -> Tensor:
        """`E_q[z z^T]` of latents, or its diagonal, summed over their batch in float64."""
        mean = q.mean.double()
        if not self.full_covariance:
            return (q.variance + mean**2).sum(0)
        if isinstance(q, dist.MultivariateNormal):
            covariance = q.covariance_matrix
        else:
            covariance = torch.diag_embed(q.variance)
        return covariance.double().sum(0) + mean.mT @ mean

    def set_moments(self, moments: Tensor) -> None:
        """Sets `S^2`.

        Raises:
            ValueError: If `moments` are not positive definite in the prior's float type.
        """
        held = self.covariance if self.full_covariance else self.variance
        check_moments(moments.to(held).cpu().numpy())
        held.copy_(moments)
