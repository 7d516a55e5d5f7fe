"""Encoders `q(z|x)`: callables that return a distribution over the latent variables."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from jaxtyping import Float

from entropy_core.checks import check_positive_int, expected
from numpyro_entropy.nets import AnyArray, apply_net


@dataclass(frozen=True, eq=False)
class NormalEncoder:
    """The encoder `q(z|x) = N(z; m(x), diag tau^2(x))` (Damm et al. 2023, Def. 1).

    Args:
        net: Maps data `(..., D)` to `(..., 2 H)`: the means `m`, then the log-variances.

    Example:
        >>> from numpyro_entropy import MLP
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     NormalEncoder(MLP(4, 2 * 3))(jnp.zeros((8, 4))).event_shape
        (3,)
    """

    net: nn.Module

    def __call__(self, x: Float[AnyArray, "*batch"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has an odd last dimension.
        """
        out = apply_net("encoder.net", self.net, x)
        if out.shape[-1] % 2:
            raise ValueError(expected("an output of shape (..., 2 H)", "net", out.shape))
        loc, log_variance = jnp.split(out, 2, axis=-1)
        return dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)


@dataclass(frozen=True, eq=False)
class LinearNormalEncoder:
    """The encoder of the linear VAE, `q(z|x) = N(z; V x + b, diag tau^2)`.

    Damm et al. 2023, Eq. 19, with `b` for `-V mu_0`, which it is at the optimum. The variances do
    not depend on `x`.

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dim: The number of latent variables, `H`.
        dtype: The float type of the weights; the default is JAX's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     LinearNormalEncoder(4, 3)(jnp.zeros((8, 4))).event_shape
        (3,)
    """

    data_dim: int
    latent_dim: int
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the sizes."""
        check_positive_int(self.data_dim, "data_dim")
        check_positive_int(self.latent_dim, "latent_dim")

    def __call__(self, x: Float[AnyArray, "*batch data_dim"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        loc = apply_net("encoder.net", nn.Dense(self.latent_dim, param_dtype=dtype), x)
        log_variance = numpyro.param("encoder.log_variance", jnp.zeros(self.latent_dim, dtype))
        return dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)
