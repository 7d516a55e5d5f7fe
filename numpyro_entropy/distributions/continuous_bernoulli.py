"""The continuous Bernoulli distribution, accurate for every logit."""

from collections.abc import Callable

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import random
from jaxtyping import Array
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from entropy_core.vaes.langevin import SERIES, SERIES_BELOW
from numpyro_entropy.nets.mlp import AnyArray, as_floats

Function = Callable[[Array], Array]


class ContinuousBernoulli(dist.Distribution):
    """The density `p(x) = exp(x l) l / (exp(l) - 1)` on `[0, 1]`, with the logit `l`.

    Loaiza-Ganem and Cunningham 2019, Eq. 1, in its natural parameter: the host has none, and
    torch's takes probabilities, which it keeps from 0 and 1 by one float's width, so that in
    float32 all logits beyond 16 are one.

    Args:
        logits: The natural parameter, of any shape.
        validate_args: Whether to check arguments, as in all of NumPyro's distributions.

    Example:
        >>> ContinuousBernoulli(jnp.array([-50.0, 0.0])).mean
        Array([0.02, 0.5 ], dtype=...)
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - the host's interface
    support = constraints.unit_interval
    reparametrized_params = ["logits"]  # noqa: RUF012

    def __init__(self, logits: AnyArray | float, *, validate_args: bool | None = None) -> None:
        self.logits = as_floats(logits)
        super().__init__(self.logits.shape, validate_args=validate_args)

    @validate_sample
    def log_prob(self, value: AnyArray | float) -> Array:
        """`x l - A(l)` with `A(l) = l / 2 + log(sinh(l / 2) / (l / 2))`."""
        return (jnp.asarray(value) - 0.5) * self.logits - self._split(_log_sinhc, _log_sinhc_series)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """The inverse of the distribution function at uniform draws."""
        uniform = random.uniform(key, sample_shape + self.batch_shape, self.logits.dtype)
        # For l < 0 by x -> 1 - x, so that no exponential overflows.
        negative = self.logits < 0
        u = jnp.where(negative, 1 - uniform, uniform)
        logits = jnp.abs(self.logits)
        # Near l = 0 the inverse loses its digits, and its gradient more of them.
        near = logits < jnp.finfo(logits.dtype).eps ** (1 / 3)
        far = jnp.where(near, 1, logits)
        y = jnp.log1p((1 - u) * jnp.expm1(-far)) / far
        x = jnp.where(negative, -y, 1 + y)
        series = 0.5 * self.logits + (1 - 2 * uniform) / 6 * self.logits**2
        x = jnp.where(near, uniform + uniform * (1 - uniform) * series, x)
        return jnp.clip(x, 0, 1)

    @property
    def mean(self) -> Array:
        """`A'(l)`."""
        return 0.5 + 0.5 * self._split(_langevin, _langevin_series)

    @property
    def variance(self) -> Array:
        """`A''(l)`."""
        return 0.25 * self._split(_langevin_slope, _langevin_slope_series)

    def entropy(self) -> Array:
        """`A(l) - l A'(l)`, in nats."""
        return self._split(_entropy, lambda u: _log_sinhc_series(u) - u * _langevin_series(u))

    def _split(self, fn: Function, series: Function) -> Array:
        return _near_and_far(0.5 * self.logits, fn, series)


def log_sinhc(u: Array) -> Array:
    """`log(sinh(u) / u)`, of all digits everywhere."""
    return _near_and_far(u, _log_sinhc, _log_sinhc_series)


def _near_and_far(u: Array, fn: Function, series: Function) -> Array:
    # Near zero the closed forms cancel.
    near = jnp.abs(u) < SERIES_BELOW
    return jnp.where(near, series(jnp.where(near, u, 0)), fn(jnp.where(near, 1, u)))


def _log_ratio(u: Array) -> Array:
    # log((1 - exp(-2u)) / 2u) = log(sinh(u) / u) - u
    return jnp.log(-jnp.expm1(-2 * u) / (2 * u))


def _log_sinhc(u: Array) -> Array:
    return jnp.abs(u) + _log_ratio(jnp.abs(u))


def _langevin(u: Array) -> Array:
    return 1 / jnp.tanh(u) - 1 / u


def _langevin_slope(u: Array) -> Array:
    decay = jnp.exp(-2 * jnp.abs(u))
    return 1 / u**2 - 4 * decay / (1 - decay) ** 2


def _entropy(u: Array) -> Array:
    u = jnp.abs(u)
    return 1 + _log_ratio(u) + 2 * u * jnp.exp(-2 * u) / jnp.expm1(-2 * u)


def _log_sinhc_series(u: Array) -> Array:
    return sum(c * u ** (2 * n) for n, c in enumerate(SERIES, 1))


def _langevin_series(u: Array) -> Array:
    return sum(2 * n * c * u ** (2 * n - 1) for n, c in enumerate(SERIES, 1))


def _langevin_slope_series(u: Array) -> Array:
    return sum(2 * n * (2 * n - 1) * c * u ** (2 * n - 2) for n, c in enumerate(SERIES, 1))
