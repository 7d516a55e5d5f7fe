"""Priors `p(z)`: callables that return a distribution over the latent variables."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

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
