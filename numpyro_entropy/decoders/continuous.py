"""Decoders of continuous data that are not normal: in the unit interval, positive, heavy-tailed."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

from numpyro_entropy.decoders.base import Decoder
from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli


@dataclass(frozen=True, eq=False)
class ContinuousBernoulliDecoder(Decoder):
    """The decoder `p(x|z) = prod_d CB(x_d; l_d(z))` of values between zero and one.

    Loaiza-Ganem and Cunningham 2019; see `ContinuousBernoulli`.

    Args:
        net: Maps latents `(..., H)` to the logits `(..., D)`.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     ContinuousBernoulliDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    support = constraints.unit_interval

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`ContinuousBernoulli(logits)`."""
        (logits,) = heads
        return ContinuousBernoulli(logits)


@dataclass(frozen=True, eq=False)
class GammaDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Gamma(x_d; a, a / mu_d(z))` with one learned shape `a`.

    `mu` is the mean, from a net with a logarithmic link, as in Gamma regression.

    Args:
        net: Maps latents `(..., H)` to the log-means `(..., D)`.
        initial_log_concentration: Where `log a` starts.
        dtype: The float type of `log a`; the default is JAX's.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     GammaDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    support = constraints.positive

    _: KW_ONLY
    initial_log_concentration: float = 0.0
    dtype: Any = None

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`Gamma(a, a / mu)`."""
        (log_mean,) = heads
        initial = self.initial_log_concentration
        log_concentration = self.param("log_concentration", initial, self.dtype)
        return dist.Gamma(jnp.exp(log_concentration), jnp.exp(log_concentration - log_mean))


@dataclass(frozen=True, eq=False)
class LaplaceDecoder(Decoder):
    """The decoder `p(x|z) = prod_d Laplace(x_d; mu_d(z), b)` with one learned scale.

    Args:
        net: Maps latents `(..., H)` to the medians `(..., D)`.
        initial_log_scale: Where `log b` starts.
        dtype: The float type of `log b`; the default is JAX's.

    Example:
        >>> from numpyro.handlers import seed
        >>> from numpyro_entropy import MLP
        >>> with seed(rng_seed=0):
        ...     LaplaceDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    _: KW_ONLY
    initial_log_scale: float = 0.0
    dtype: Any = None

    def distribution(self, *heads: Array) -> dist.Distribution:
        """`Laplace(mu, b)`."""
        (loc,) = heads
        log_scale = self.param("log_scale", self.initial_log_scale, self.dtype)
        return dist.Laplace(loc, jnp.exp(log_scale))
