"""Decoders of discrete data: binary, categorical, counts, and the levels of 8-bit data."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

from entropy_core.checks import check_levels
from numpyro_entropy.decoders.base import Decoder
from numpyro_entropy.distributions.discretized import (
    Discretized,
    DiscretizedLogistic,
    DiscretizedNormal,
    UnitGrid,
)
from numpyro_entropy.distributions.one_hot import OneHotCategorical, one_hot


@dataclass(frozen=True, eq=False)
class BernoulliDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Bernoulli(x_d; sigmoid(l_d(z)))` of zeros and ones.

    Args:
        net: Maps latents `(..., H)` to the logits `(..., D)`.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     BernoulliDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    support = constraints.boolean

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`Bernoulli(logits)`."""
        (logits,) = heads
        return dist.Bernoulli(logits=logits)


@dataclass(frozen=True, eq=False)
class CategoricalDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Categorical(x_d; softmax(l_d(z)))` of one-hot vectors.

    Args:
        net: Maps latents `(..., H)` to the logits, `(..., K)` for one variable of `K` classes or
            `(..., D, K)` for several. Data have that shape too.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     CategoricalDecoder(MLP(3, (4, 10)))(jnp.zeros((8, 3))).event_shape
        (4, 10)
    """

    support = one_hot

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`OneHotCategorical(logits)`."""
        (logits,) = heads
        return OneHotCategorical(logits=logits)


@dataclass(frozen=True, eq=False)
class PoissonDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Poisson(x_d; exp(l_d(z)))` of counts.

    Its entropy has no closed form: the library samples it.

    Args:
        net: Maps latents `(..., H)` to the log-rates `(..., D)`.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     PoissonDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    support = constraints.nonnegative_integer

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`Poisson(rate)`."""
        (log_rate,) = heads
        return dist.Poisson(jnp.exp(log_rate))


@dataclass(frozen=True, eq=False)
class _DiscretizedDecoder(Decoder):
    """A density over bins around the levels, with one learned scale."""

    density: ClassVar[type[Discretized]]

    _: KW_ONLY
    num_levels: int = 256
    initial_log_scale: float = -2.0
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the number of levels."""
        check_levels(self.num_levels)

    @property
    def support(self) -> UnitGrid:
        """The levels."""
        return UnitGrid(self.num_levels)

    def distribution(self, *heads: Array) -> dist.Distribution:
        """The probabilities of the levels."""
        (loc,) = heads
        log_scale = self.param("log_scale", self.initial_log_scale, self.dtype)
        return self.density(loc, jnp.exp(log_scale), self.num_levels)


@dataclass(frozen=True, eq=False)
class DiscretizedLogisticDecoder(_DiscretizedDecoder):
    """The logistic distribution over the levels of 8-bit data, with one learned scale.

    Yu 2020, Sec. 4.2, see `DiscretizedLogistic`. Data are levels divided by the highest, `k / 255`.
    The theorem makes no claim for this site, whose distribution is no exponential family.

    Args:
        net: Maps latents `(..., H)` to the locations `(..., D)`.
        num_levels: The number of levels.
        initial_log_scale: Where the logarithm of the scale starts.
        dtype: The float type of the scale; the default is JAX's.

    Raises:
        ValueError: If `num_levels` is no integer from 2.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     DiscretizedLogisticDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    density = DiscretizedLogistic


@dataclass(frozen=True, eq=False)
class DiscretizedNormalDecoder(_DiscretizedDecoder):
    """The normal distribution over the levels of 8-bit data, with one learned scale.

    Yu 2020, Sec. 4.2, see `DiscretizedNormal`. Data are levels divided by the highest, `k / 255`.
    The theorem makes no claim for this site, whose distribution is no exponential family.

    Args:
        net: Maps latents `(..., H)` to the locations `(..., D)`.
        num_levels: The number of levels.
        initial_log_scale: Where the logarithm of the scale starts.
        dtype: The float type of the scale; the default is JAX's.

    Raises:
        ValueError: If `num_levels` is no integer from 2.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     DiscretizedNormalDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    density = DiscretizedNormal
