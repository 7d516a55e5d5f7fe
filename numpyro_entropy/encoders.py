"""Encoders `q(z|x)`: callables that return a distribution over the latent variables."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from jaxtyping import Float
from numpy.typing import ArrayLike

from entropy_core.checks import check_positive, check_positive_int, expected
from numpyro_entropy.nets.mlp import AnyArray, apply_net
from numpyro_entropy.operations import scale_of


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

    net: Any

    def __call__(self, x: Float[AnyArray, "*batch"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has an odd last dimension.
        """
        out = apply_net("encoder.net", self.net, x, batch_ndim=1)
        if out.shape[-1] % 2:
            raise ValueError(expected("an output of shape (..., 2 H)", "net", out.shape))
        loc, log_variance = jnp.split(out, 2, axis=-1)
        return dist.Normal(loc, scale_of(log_variance)).to_event(1)


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
        net = nn.Dense(self.latent_dim, param_dtype=dtype)
        loc = apply_net("encoder.net", net, x, batch_ndim=1)
        log_variance = numpyro.param("encoder.log_variance", jnp.zeros(self.latent_dim, dtype))
        return dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)


@dataclass(frozen=True, eq=False)
class FullNormalEncoder:
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
        >>> from numpyro_entropy import MLP
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     FullNormalEncoder(MLP(4, 3 * 6 // 2), 3)(jnp.zeros((8, 4))).scale_tril.shape
        (8, 3, 3)
    """

    net: Any
    latent_dim: int

    def __post_init__(self) -> None:
        """Checks the size."""
        check_positive_int(self.latent_dim, "latent_dim")

    def __call__(self, x: Float[AnyArray, "*batch"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If the net's output has another last dimension than `H (H + 3) / 2`.
        """
        out, h = apply_net("encoder.net", self.net, x, batch_ndim=1), self.latent_dim
        if out.shape[-1] != h * (h + 3) // 2:
            what = f"an output of shape (..., {h * (h + 3) // 2})"
            raise ValueError(expected(what, "net", out.shape))
        loc, log_variance, below = jnp.split(out, [h, 2 * h], axis=-1)
        unit = jnp.broadcast_to(jnp.eye(h, dtype=out.dtype), (*out.shape[:-1], h, h))
        unit = unit.at[(..., *jnp.tril_indices(h, -1))].set(below)
        scale_tril = jnp.exp(0.5 * log_variance)[..., None] * unit
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)


@dataclass(frozen=True, eq=False)
class ConstantNormalEncoder:
    """The encoder `q(z|x) = N(z; m(x), Sigma)` with a constant diagonal `Sigma`.

    Fyffe 2020, Sec. 4.3.

    Args:
        net: Maps data `(..., D)` to the means `(..., H)`.
        variance: The diagonal of `Sigma`: one number, or one for each latent. Nothing trains it.
        dtype: The float type of `Sigma`; the default is JAX's.

    Raises:
        ValueError: If a variance is not positive.

    Example:
        >>> from numpyro_entropy import MLP
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     ConstantNormalEncoder(MLP(4, 3), 0.25)(jnp.zeros((8, 4))).variance[0]
        Array([0.25, 0.25, 0.25], dtype=...)
    """

    net: Any
    variance: float | ArrayLike = 1.0
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the variances."""
        check_positive(self.variance, "variance")

    def __call__(self, x: Float[AnyArray, "*batch"]) -> dist.Distribution:
        """`q(z|x)`, of event shape `(H,)`.

        Raises:
            ValueError: If there are variances, but not one for each of the net's outputs.
        """
        dtype = self.dtype or jnp.result_type(float)
        scale = jnp.asarray(check_positive(self.variance, "variance") ** 0.5, dtype)
        loc = apply_net("encoder.net", self.net, x, batch_ndim=1)
        if scale.shape not in ((), loc.shape[-1:]):
            raise ValueError(expected(f"one variance or {loc.shape[-1]}", "variance", scale.shape))
        return dist.Normal(loc, scale).to_event(1)
