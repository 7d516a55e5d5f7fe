"""Distributions over the levels of 8-bit data, from the distribution function of a density."""

from abc import abstractmethod
from collections.abc import Callable
from math import log, pi
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.distributions.utils import broadcast_all
from torch.utils.checkpoint import checkpoint

from pyro_entropy.distributions.continuous_bernoulli import log_sinhc

Shape = Size | list[int] | tuple[int, ...]


class UnitGrid(constraints.Constraint):
    """The levels `0, 1 / (n - 1), ..., 1`.

    Args:
        num_levels: The number of levels, `n`.
    """

    is_discrete = True

    def __init__(self, num_levels: int) -> None:
        self.num_levels = num_levels
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is a level, to a thousandth of the distance between two."""
        k = value * (self.num_levels - 1)
        near = (k - k.round()).abs() < 1e-3
        return near & (k > -0.5) & (k < self.num_levels - 0.5)

    def __repr__(self) -> str:
        return f"UnitGrid(num_levels={self.num_levels})"


class Discretized(dist.TorchDistribution):
    """The probability that a density gives to each of the bins around the levels (Yu 2020, Eq. 34).

    `P(x) = F(x + w / 2) - F(x - w / 2)` with `w = 1 / (n - 1)` on the levels `x = 0, w, ..., 1`.
    Other than the paper's, bins have the level in their middle, and the first one is open to minus
    infinity, the last one to infinity, so that the sum is one.

    Args:
        loc: The location of the density.
        scale: The scale of the density.
        num_levels: The number of levels, `n`.
        validate_args: Whether to check arguments, as in all of Pyro's distributions.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        num_levels: int = 256,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self.num_levels = num_levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @abstractmethod
    def _log_bin(self, lower: Tensor, upper: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """`log(F(upper) - F(lower))` for the standard density, with open outer bins."""

    @abstractmethod
    def _density(self) -> Distribution:
        """The density itself."""

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> UnitGrid:
        """The levels."""
        return UnitGrid(self.num_levels)

    def expand(self, batch_shape: Shape, _instance: Any = None) -> "Discretized":
        """This distribution with another batch shape."""
        new = self._get_checked_instance(type(self), _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        new.num_levels = self.num_levels
        super(Discretized, new).__init__(Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of a level."""
        if self._validate_args:
            self._validate_sample(value)
        # From the number of the level, so that a bin begins just where the one before it ends.
        steps = self.num_levels - 1
        k = (value * steps).round()
        return self._log_bin(
            ((k - 0.5) / steps - self.loc) / self.scale,
            ((k + 0.5) / steps - self.loc) / self.scale,
            k == 0,
            k == steps,
        )

    @torch.no_grad()
    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """A draw from the density, at the nearest level."""
        steps = self.num_levels - 1
        return (self._density().sample(Size(sample_shape)) * steps).round().clamp(0, steps) / steps

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All levels, along a new first dimension."""
        levels = torch.linspace(0, 1, self.num_levels, dtype=self.loc.dtype, device=self.loc.device)
        levels = levels.reshape(-1, *(1 for _ in self.batch_shape))
        return levels.expand(-1, *self.batch_shape) if expand else levels

    @property
    def mean(self) -> Tensor:
        """The mean of the levels, exact."""
        return self._sum(lambda level, log_p: log_p.exp() * level)

    @property
    def variance(self) -> Tensor:
        """The variance of the levels, exact."""
        mean = self.mean
        return self._sum(lambda level, log_p: log_p.exp() * (level - mean) ** 2)

    def entropy(self) -> Tensor:
        """The entropy, exact: a sum over all levels, in nats. Reports sample it: that is faster."""
        return self._sum(lambda _, log_p: -log_p.exp() * log_p)

    def _sum(self, term: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        # One level after another, and again in a backward pass: all together would take num_levels
        # times the memory.
        total = torch.zeros_like(self.loc)
        for level in self.enumerate_support(expand=False):
            total = total + checkpoint(self._term, term, level, use_reentrant=False)
        return total

    def _term(self, term: Callable[[Tensor, Tensor], Tensor], level: Tensor) -> Tensor:
        return term(level, self.log_prob(level))


class DiscretizedLogistic(Discretized):
    """The logistic density over bins: `F(t) = sigmoid((t - loc) / scale)` (Yu 2020, Sec. 4.2).

    `log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))`, which
    holds its digits in both tails. For the arguments see `Discretized`.

    Example:
        >>> p = DiscretizedLogistic(torch.tensor(0.4), torch.tensor(0.1))
        >>> p.log_prob(p.enumerate_support()).exp().sum()
        tensor(1.0000)
    """

    def _log_bin(self, lower: Tensor, upper: Tensor, first: Tensor, last: Tensor) -> Tensor:
        log_sigmoid = torch.nn.functional.logsigmoid
        width = torch.log(-torch.expm1(-1 / ((self.num_levels - 1) * self.scale)))
        zero = torch.zeros_like(lower)
        return (
            torch.where(last, zero, log_sigmoid(upper))
            + torch.where(first, zero, log_sigmoid(-lower))
            + torch.where(first | last, zero, width)
        )

    def _density(self) -> Distribution:
        return dist.Logistic(self.loc, self.scale)


class DiscretizedNormal(Discretized):
    """The normal density over bins: `F(t) = Phi((t - loc) / scale)` (Yu 2020, Sec. 4.2).

    For the arguments see `Discretized`.

    Example:
        >>> p = DiscretizedNormal(torch.tensor(0.4), torch.tensor(0.1))
        >>> p.log_prob(p.enumerate_support()).exp().sum()
        tensor(1.)
    """

    def _log_bin(self, lower: Tensor, upper: Tensor, first: Tensor, last: Tensor) -> Tensor:
        # By symmetry in the lower tail, where the distribution function holds its digits.
        flip = lower + upper > 0
        a, b = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
        width = 1 / ((self.num_levels - 1) * self.scale)
        narrow, middle = width < torch.finfo(width.dtype).eps ** 0.25, a > 0
        tail = ~(narrow | middle)
        inner = torch.where(narrow, _log_narrow(0.5 * (a + b), width), _log_middle(a, b, middle))
        inner = torch.where(tail, _log_tail(a, b, width, tail), inner)
        return torch.where(first, _log_cdf(upper), torch.where(last, _log_cdf(-lower), inner))

    def _density(self) -> Distribution:
        return dist.Normal(self.loc, self.scale)


_FAR = -20.0


def _log_narrow(middle: Tensor, width: Tensor) -> Tensor:
    # The density at the middle times the width, and how much it bends.
    log_density = -0.5 * middle**2 - 0.5 * log(2 * pi)
    return log_density + torch.log(width) + log_sinhc(0.5 * middle * width) - width**2 / 24


def _log_middle(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    # About zero, where both parts count.
    a, b = torch.where(where, a, 1.0), torch.where(where, b, -1.0)
    return torch.log(0.5 * (torch.erf(a * 0.5**0.5) - torch.erf(b * 0.5**0.5)))


def _log_tail(a: Tensor, b: Tensor, width: Tensor, where: Tensor) -> Tensor:
    # log F(a) + log(1 - F(b) / F(a)) for b < a < 0. Far out the logarithms are large, and their
    # difference is taken apart.
    far = where & (a < _FAR)
    a_far, b_far = (
        torch.where(far, a, _FAR - 1),
        torch.where(far, b, _FAR - 2),
    )
    ratio_far = 0.5 * width * (a_far + b_far) + _log_series(b_far) - _log_series(a_far)
    near = where & ~far
    a_near, b_near = (
        torch.where(near, a, -1.0),
        torch.where(near, b, -2.0),
    )
    ratio = torch.where(
        far, ratio_far, torch.special.log_ndtr(b_near) - torch.special.log_ndtr(a_near)
    )
    return _log_cdf(a) + torch.log(-torch.expm1(ratio))


def _log_cdf(t: Tensor) -> Tensor:
    # The gradients of the host's own lose their digits far out.
    far = t < _FAR
    t_far, t_near = (
        torch.where(far, t, _FAR),
        torch.where(far, _FAR, t),
    )
    return torch.where(far, -0.5 * t_far**2 + _log_series(t_far), torch.special.log_ndtr(t_near))


def _log_series(t: Tensor) -> Tensor:
    # log(F(t) exp(t^2 / 2)) for t << 0, from the asymptotic series of the error function.
    terms = term = torch.ones_like(t)
    for n in range(1, 9):
        term = -term * (2 * n - 1) / t**2
        terms = terms + term
    return torch.log(terms) - torch.log(-t) - 0.5 * log(2 * pi)
