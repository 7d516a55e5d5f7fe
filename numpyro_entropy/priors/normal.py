"""Priors `p(z)`: callables that return a distribution over the latent variables."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from numpy.typing import NDArray

from entropy_core.checks import check_positive_int


@dataclass(frozen=True, eq=False)
class StandardNormalPrior:
    """The standard normal prior `p(z) = N(z; 0, I)` (Damm et al. 2023, Def. 1).

    Args:
        latent_dim: The number of latent variables, `H`.
        dtype: The float type of the parameters; the default is JAX's, and so is that of draws.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> StandardNormalPrior(2)().event_shape
        (2,)
    """

    latent_dim: int
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the size."""
        check_positive_int(self.latent_dim, "latent_dim")

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        shape = (self.latent_dim,)
        return dist.Normal(jnp.zeros(shape, dtype), jnp.ones(shape, dtype)).to_event(1)


@dataclass(frozen=True, eq=False)
class NormalPrior:
    """The normal prior `p(z) = N(z; 0, diag alpha^2)` with learned variances.

    Damm et al. 2023, Def. 2 (VAE-2).

    Args:
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where each `log alpha_h^2` starts.
        dtype: The float type of `log alpha^2`; the default is JAX's.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     NormalPrior(2, initial_log_variance=-1.0)().variance
        Array([0.3678..., 0.3678...], dtype=...)
    """

    latent_dim: int
    _: KW_ONLY
    initial_log_variance: float = 0.0
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the size."""
        check_positive_int(self.latent_dim, "latent_dim")

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        initial = jnp.full(self.latent_dim, self.initial_log_variance, dtype)
        log_variance = numpyro.param("prior.log_variance", initial)
        loc = jnp.zeros(self.latent_dim, dtype)
        return dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)


@dataclass(frozen=True, eq=False)
class FloatingNormalPrior:
    """The floating prior `p(z) = N(z; 0, S^2)`, with the second moments of a data set's latents.

    `S^2 = Sigma + M`, `M = mean_n m_n m_n^T` (Fyffe 2020, Sec. 4.3). It is a standard normal prior
    until `vae.fit_floating_prior` sets `S^2`, which no gradient trains and a weights file holds.
    (An optimiser with weight decay moves what has no gradient too: mask it there.)

    Args:
        latent_dim: The number of latent variables, `H`.
        full_covariance: Whether `S^2` has all second moments (Eq. 23), or those of each latent
            alone.
        dtype: The float type of `S^2`; the default is JAX's.

    Raises:
        ValueError: If `latent_dim` is no positive integer.

    Example:
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     FloatingNormalPrior(2)().variance
        Array([1., 1.], dtype=...)
    """

    latent_dim: int
    _: KW_ONLY
    full_covariance: bool = False
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the size."""
        check_positive_int(self.latent_dim, "latent_dim")

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        loc = jnp.zeros(self.latent_dim, dtype)
        name, initial = self.site, jnp.ones(self.latent_dim, dtype)
        initial = jnp.diag(initial) if self.full_covariance else initial
        moments = lax.stop_gradient(numpyro.param(name, initial))
        if self.full_covariance:
            return dist.MultivariateNormal(loc, moments)
        return dist.Normal(loc, jnp.sqrt(moments)).to_event(1)

    @property
    def site(self) -> str:
        """The name of the site that holds `S^2`."""
        return "prior.covariance" if self.full_covariance else "prior.variance"

    def moments(self, q: dist.Distribution) -> NDArray[np.float64]:
        """`E_q[z z^T]` of latents, or its diagonal, summed over their batch in float64."""
        mean, variance = np.asarray(q.mean, np.float64), np.asarray(q.variance, np.float64)
        if not self.full_covariance:
            return (variance + mean**2).sum(0)
        if isinstance(q, dist.MultivariateNormal):
            covariance = np.asarray(q.covariance_matrix, np.float64)
        else:
            covariance = np.eye(self.latent_dim) * variance[..., None]
        return covariance.sum(0) + mean.T @ mean
