"""Distributions over the levels of 8-bit data, from the distribution function of a density."""

from abc import abstractmethod
from collections.abc import Callable
from math import log, pi

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import lax, nn
from jax.scipy.special import erf, log_ndtr
from jaxtyping import Array
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes, validate_sample

from numpyro_entropy.distributions.continuous_bernoulli import log_sinhc
from numpyro_entropy.nets.mlp import AnyArray, as_floats


class UnitGrid(constraints.Constraint):
    """The levels `0, 1 / (n - 1), ..., 1`.

    Args:
        num_levels: The number of levels, `n`.
    """

    is_discrete = True

    def __init__(self, num_levels: int) -> None:
        self.num_levels = num_levels

    def __call__(self, x: AnyArray | float) -> AnyArray:
        """Whether each value is a level, to a thousandth of the distance between two."""
        # NumPy's arrays stay NumPy's: under a transformation JAX's would have no values to look at.
        k = (x if isinstance(x, jax.Array) else np.asarray(x)) * (self.num_levels - 1)
        near = abs(k - k.round()) < 1e-3
        return near & (k > -0.5) & (k < self.num_levels - 0.5)

    def __repr__(self) -> str:
        return f"UnitGrid(num_levels={self.num_levels})"

    def feasible_like(self, prototype: Array) -> Array:
        """The lowest level, in the shape of `prototype`."""
        return jnp.zeros_like(prototype)

    def tree_flatten(self) -> tuple:
        """For JAX: no array, and the number of levels."""
        return (), ((), {"num_levels": self.num_levels})

    def eq(self, other: object, static: bool = False) -> bool:
        """Whether `other` has the same levels."""
        return isinstance(other, UnitGrid) and self.num_levels == other.num_levels


class Discretized(dist.Distribution):
    """The probability that a density gives to each of the bins around the levels (Yu 2020, Eq. 34).

    `P(x) = F(x + w / 2) - F(x - w / 2)` with `w = 1 / (n - 1)` on the levels `x = 0, w, ..., 1`.
    Other than the paper's, bins have the level in their middle, and the first one is open to minus
    infinity, the last one to infinity, so that the sum is one.

    Args:
        loc: The location of the density.
        scale: The scale of the density.
        num_levels: The number of levels, `n`.
        validate_args: Whether to check arguments, as in all of NumPyro's distributions.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    has_enumerate_support = True
    pytree_aux_fields = ("num_levels",)

    def __init__(
        self,
        loc: AnyArray | float,
        scale: AnyArray | float,
        num_levels: int = 256,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = promote_shapes(as_floats(loc), as_floats(scale))
        self.num_levels = num_levels
        shape = lax.broadcast_shapes(self.loc.shape, self.scale.shape)
        super().__init__(shape, validate_args=validate_args)

    @abstractmethod
    def _log_bin(self, lower: Array, upper: Array, first: Array, last: Array) -> Array:
        """`log(F(upper) - F(lower))` for the standard density, with open outer bins."""

    @abstractmethod
    def _density(self) -> dist.Distribution:
        """The density itself."""

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> UnitGrid:
        """The levels."""
        return UnitGrid(self.num_levels)

    @validate_sample
    def log_prob(self, value: AnyArray | float) -> Array:
        """The logarithm of the probability of a level."""
        # From the number of the level, so that a bin begins just where the one before it ends.
        steps = self.num_levels - 1
        k = jnp.round(value * steps)
        return self._log_bin(
            ((k - 0.5) / steps - self.loc) / self.scale,
            ((k + 0.5) / steps - self.loc) / self.scale,
            k == 0,
            k == steps,
        )

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """A draw from the density, at the nearest level."""
        steps = self.num_levels - 1
        draw = lax.stop_gradient(self._density().sample(key, sample_shape))
        return jnp.clip(jnp.round(draw * steps), 0, steps) / steps

    def enumerate_support(self, expand: bool = True) -> Array:
        """All levels, along a new first dimension."""
        levels = jnp.linspace(0, 1, self.num_levels, dtype=jnp.result_type(self.loc))
        levels = levels.reshape(-1, *(1 for _ in self.batch_shape))
        return jnp.broadcast_to(levels, (len(levels), *self.batch_shape)) if expand else levels

    @property
    def mean(self) -> Array:
        """The mean of the levels, exact."""
        return self._sum(lambda level, log_p: jnp.exp(log_p) * level)

    @property
    def variance(self) -> Array:
        """The variance of the levels, exact."""
        mean = self.mean
        return self._sum(lambda level, log_p: jnp.exp(log_p) * (level - mean) ** 2)

    def entropy(self) -> Array:
        """The entropy, exact: a sum over all levels, in nats. Reports sample it: that is faster."""
        return self._sum(lambda _, log_p: -jnp.exp(log_p) * log_p)

    def _sum(self, term: Callable[[Array, Array], Array]) -> Array:
        # One level after another, and again in a backward pass: all together would take num_levels
        # times the memory.
        levels = self.enumerate_support(expand=False)
        zero = jnp.zeros(self.batch_shape, jnp.result_type(self.loc, self.scale))

        @jax.checkpoint
        def step(total: Array, level: Array) -> tuple[Array, None]:
            return total + term(level, self.log_prob(level)), None

        return lax.scan(step, zero, levels)[0]


class DiscretizedLogistic(Discretized):
    """The logistic density over bins: `F(t) = sigmoid((t - loc) / scale)` (Yu 2020, Sec. 4.2).

    `log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))`, which
    holds its digits in both tails. For the arguments see `Discretized`.

    Example:
        >>> p = DiscretizedLogistic(0.4, 0.1)
        >>> jnp.exp(p.log_prob(p.enumerate_support())).sum().round(5)
        Array(1., dtype=...)
    """

    def _log_bin(self, lower: Array, upper: Array, first: Array, last: Array) -> Array:
        width = jnp.log(-jnp.expm1(-1 / ((self.num_levels - 1) * self.scale)))
        return (
            jnp.where(last, 0, nn.log_sigmoid(upper))
            + jnp.where(first, 0, nn.log_sigmoid(-lower))
            + jnp.where(first | last, 0, width)
        )

    def _density(self) -> dist.Distribution:
        return dist.Logistic(self.loc, self.scale)


class DiscretizedNormal(Discretized):
    """The normal density over bins: `F(t) = Phi((t - loc) / scale)` (Yu 2020, Sec. 4.2).

    For the arguments see `Discretized`.

    Example:
        >>> p = DiscretizedNormal(0.4, 0.1)
        >>> jnp.exp(p.log_prob(p.enumerate_support())).sum().round(5)
        Array(1., dtype=...)
    """

    def _log_bin(self, lower: Array, upper: Array, first: Array, last: Array) -> Array:
        # By symmetry in the lower tail, where the distribution function holds its digits.
        flip = lower + upper > 0
        a, b = jnp.where(flip, -lower, upper), jnp.where(flip, -upper, lower)
        width = 1 / ((self.num_levels - 1) * self.scale)
        narrow, middle = width < jnp.finfo(width.dtype).eps ** 0.25, a > 0
        tail = ~(narrow | middle)
        inner = jnp.where(narrow, _log_narrow(0.5 * (a + b), width), _log_middle(a, b, middle))
        inner = jnp.where(tail, _log_tail(a, b, width, tail), inner)
        return jnp.where(first, _log_cdf(upper), jnp.where(last, _log_cdf(-lower), inner))

    def _density(self) -> dist.Distribution:
        return dist.Normal(self.loc, self.scale)


_FAR = -20.0


def _log_narrow(middle: Array, width: Array) -> Array:
    # The density at the middle times the width, and how much it bends.
    log_density = -0.5 * middle**2 - 0.5 * log(2 * pi)
    return log_density + jnp.log(width) + log_sinhc(0.5 * middle * width) - width**2 / 24


def _log_middle(a: Array, b: Array, where: Array) -> Array:
    # About zero, where both parts count.
    a, b = jnp.where(where, a, 1), jnp.where(where, b, -1)
    return jnp.log(0.5 * (erf(a * 0.5**0.5) - erf(b * 0.5**0.5)))


def _log_tail(a: Array, b: Array, width: Array, where: Array) -> Array:
    # log F(a) + log(1 - F(b) / F(a)) for b < a < 0. Far out the logarithms are large, and their
    # difference is taken apart.
    far = where & (a < _FAR)
    a_far, b_far = jnp.where(far, a, _FAR - 1), jnp.where(far, b, _FAR - 2)
    ratio_far = 0.5 * width * (a_far + b_far) + _log_series(b_far) - _log_series(a_far)
    near = where & ~far
    a_near, b_near = jnp.where(near, a, -1), jnp.where(near, b, -2)
    ratio = jnp.where(far, ratio_far, log_ndtr(b_near) - log_ndtr(a_near))
    return _log_cdf(a) + jnp.log(-jnp.expm1(ratio))


def _log_cdf(t: Array) -> Array:
    # The gradients of the host's own lose their digits far out.
    far = t < _FAR
    t_far, t_near = jnp.where(far, t, _FAR), jnp.where(far, _FAR, t)
    return jnp.where(far, -0.5 * t_far**2 + _log_series(t_far), log_ndtr(t_near))


def _log_series(t: Array) -> Array:
    # log(F(t) exp(t^2 / 2)) for t << 0, from the asymptotic series of the error function.
    terms = term = jnp.ones_like(t)
    for n in range(1, 9):
        term = -term * (2 * n - 1) / t**2
        terms = terms + term
    return jnp.log(terms) - jnp.log(-t) - 0.5 * log(2 * pi)
