"""Normal decoders, which differ in where the variance comes from."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from entropy_core.checks import check_number, check_shape
from numpyro_entropy.decoders.base import Decoder
from numpyro_entropy.operations import scale_of


@dataclass(frozen=True, eq=False)
class FixedNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with a constant variance (VAE-0).

    Damm et al. 2023, Def. 1, but that nothing trains `sigma^2`: so the theorem makes no claim for
    this site.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        variance: The variance `sigma^2`.
        dtype: The float type of `sigma^2`; the default is JAX's.

    Raises:
        ValueError: If `variance` is not positive.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     FixedNormalDecoder(MLP(3, 4), 0.25)(jnp.zeros((8, 3))).variance[0]
        Array([0.25, 0.25, 0.25, 0.25], dtype=...)
    """

    variance: float = 1.0
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the variance."""
        check_number(self.variance, "variance")

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`N(mu, sigma^2)`."""
        (mean,) = heads
        dtype = self.dtype or jnp.result_type(float)
        scale = jnp.asarray(check_number(self.variance, "variance") ** 0.5, dtype)
        return dist.Normal(mean, scale)


@dataclass(frozen=True, eq=False)
class NormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with one learned variance (VAE-1).

    Damm et al. 2023, Def. 1.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        initial_log_variance: Where `log sigma^2` starts. It converges soonest from the optimum for
            the data's mean, `log(optimal_decoder_variance(x, x.mean(0)))`.
        dtype: The float type of `log sigma^2`; the default is JAX's.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     NormalDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    _: KW_ONLY
    initial_log_variance: float = 0.0
    dtype: Any = None

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`N(mu, sigma^2)`."""
        (mean,) = heads
        log_variance = self.param("log_variance", self.initial_log_variance, self.dtype)
        return dist.Normal(mean, jnp.exp(0.5 * log_variance))


@dataclass(frozen=True, eq=False)
class DiagonalNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), diag sigma_d^2)` with a learned variance for each variable.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        initial_log_variance: Where each `log sigma_d^2` starts.
        dtype: The float type of `log sigma_d^2`; the default is JAX's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     DiagonalNormalDecoder(MLP(3, 4), 4)(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    data_dim: int | Sequence[int]
    _: KW_ONLY
    initial_log_variance: float = 0.0
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the sizes."""
        check_shape(self.data_dim, "data_dim")

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`N(mu, sigma_d^2)`."""
        (mean,) = heads
        shape = check_shape(self.data_dim, "data_dim")
        log_variance = self.param("log_variance", self.initial_log_variance, self.dtype, shape)
        return dist.Normal(mean, jnp.exp(0.5 * log_variance))


@dataclass(frozen=True, eq=False)
class HeteroscedasticNormalDecoder(Decoder):
    """The decoder `p(x|z) = N(x; mu(z), diag sigma_d^2(z))` (VAE-3).

    Damm et al. 2023, Def. 3. The variances come through `exp`, along whose bias the theorem's proof
    moves; through another function, such as softplus, it makes no claim.

    Args:
        net: Maps latents `(..., H)` to `(..., 2 D)`: the means, then the log-variances; for images
            `(..., 2 C, height, width)`.
        initial_log_variance: What is added to the log-variances of the net.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     HeteroscedasticNormalDecoder(MLP(3, 2 * 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    heads: ClassVar[int] = 2

    _: KW_ONLY
    initial_log_variance: float = 0.0

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`N(mu, sigma_d^2)`."""
        mean, log_variance = heads
        return dist.Normal(mean, scale_of(log_variance + self.initial_log_variance))
