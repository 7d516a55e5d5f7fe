"""Encoders `q(z|x)`: modules that return a distribution over the latent variables."""

import pyro.distributions as dist
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_positive, check_positive_int, expected
from pyro_entropy.nets.mlp import apply_net


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

    def forward(self, x: Float[Tensor, "*batch"]) -> Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has an odd last dimension.
        """
        out = apply_net(self.net, x)
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

    def forward(self, x: Float[Tensor, "*batch data_dim"]) -> Distribution:
        """`q(z|x)`, of event shape `(H,)`."""
        return dist.Normal(apply_net(self.net, x), torch.exp(0.5 * self.log_variance)).to_event(1)


class FullNormalEncoder(nn.Module):
    """The encoder `q(z|x) = N(z; m(x), L(x) L(x)^T)` with a full covariance (Yu 2020, Sec. 3.3).

    The Cholesky factor is `L = diag(tau) U` with a unit lower triangular `U`, so that the entropy
    depends on `tau` alone, `1/2 sum_h log(2 pi e tau_h^2)`, and `log tau_h` scales row `h`.

    Args:
        net: Maps data `(..., D)` to `(..., H (H + 3) / 2)`: the means `m`, then `log tau^2`, then
            the rows of `U` below its diagonal.
        latent_dim: The number of latent variables, `H`.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> from pyro_entropy import MLP
        >>> FullNormalEncoder(MLP(4, 3 * 6 // 2), 3)(torch.zeros(8, 4)).scale_tril.shape
        torch.Size([8, 3, 3])
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, net: nn.Module, latent_dim: int) -> None:
        super().__init__()
        check_positive_int(latent_dim, "latent_dim")
        self.net = net
        self.latent_dim = latent_dim
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Float[Tensor, "*batch"]) -> Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has another last dimension than `H (H + 3) / 2`.
        """
        out, h = apply_net(self.net, x), self.latent_dim
        if out.shape[-1] != h * (h + 3) // 2:
            what = f"an output of shape (..., {h * (h + 3) // 2})"
            raise ValueError(expected(what, "net", tuple(out.shape)))
        loc, log_variance, below = out.split([h, h, h * (h - 1) // 2], dim=-1)
        unit = torch.eye(h, dtype=out.dtype, device=out.device).repeat(*below.shape[:-1], 1, 1)
        unit[..., self.rows, self.columns] = below
        scale_tril = torch.exp(0.5 * log_variance)[..., None] * unit
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)


class ConstantNormalEncoder(nn.Module):
    """The encoder `q(z|x) = N(z; m(x), Sigma)` with a constant diagonal `Sigma`.

    Fyffe 2020, Sec. 4.3.

    Args:
        net: Maps data `(..., D)` to the means `(..., H)`.
        variance: The diagonal of `Sigma`: one number, or one for each latent. Nothing trains it.
        dtype: The float type of `Sigma`; the default is torch's.

    Raises:
        ValueError: If a variance is not positive.

    Example:
        >>> from pyro_entropy import MLP
        >>> ConstantNormalEncoder(MLP(4, 3), 0.01)(torch.zeros(8, 4)).variance[0]
        tensor([0.0100, 0.0100, 0.0100])
    """

    scale: Tensor

    def __init__(
        self, net: nn.Module, variance: float | ArrayLike = 1.0, *, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.net = net
        scale = check_positive(variance, "variance") ** 0.5
        dtype = dtype or torch.get_default_dtype()
        self.register_buffer("scale", torch.tensor(scale, dtype=dtype), persistent=False)

    def forward(self, x: Float[Tensor, "*batch"]) -> Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If there are variances, but not one for each of the net's outputs.
        """
        loc = apply_net(self.net, x)
        if self.scale.shape not in ((), loc.shape[-1:]):
            what = f"one variance or {loc.shape[-1]}"
            raise ValueError(expected(what, "variance", tuple(self.scale.shape)))
        return dist.Normal(loc, self.scale).to_event(1)
