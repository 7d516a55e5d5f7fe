"""The continuous Bernoulli distribution, accurate for every logit."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Size, Tensor
from torch.distributions.utils import broadcast_all

from entropy_core.vaes.langevin import SERIES, SERIES_BELOW

Shape = Size | list[int] | tuple[int, ...]
Function = Callable[[Tensor], Tensor]


class ContinuousBernoulli(dist.TorchDistribution):
    """The density `p(x) = exp(x l) l / (exp(l) - 1)` on `[0, 1]`, with the logit `l`.

    Loaiza-Ganem and Cunningham 2019, Eq. 1, in its natural parameter: the host's own class takes
    probabilities, which it keeps from 0 and 1 by one float's width, so that in float32 all logits
    beyond 16 are one.

    Args:
        logits: The natural parameter, of any shape.
        validate_args: Whether to check arguments, as in all of Pyro's distributions.

    Example:
        >>> ContinuousBernoulli(torch.tensor([-50.0, 0.0])).mean
        tensor([0.0200, 0.5000])
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - the host's interface
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor | float, *, validate_args: bool | None = None) -> None:
        (self.logits,) = broadcast_all(logits)
        super().__init__(self.logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: Any = None) -> "ContinuousBernoulli":
        """This distribution with another batch shape."""
        new = self._get_checked_instance(ContinuousBernoulli, _instance)
        new.logits = self.logits.expand(batch_shape)
        super(ContinuousBernoulli, new).__init__(Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """`x l - A(l)` with `A(l) = l / 2 + log(sinh(l / 2) / (l / 2))`."""
        if self._validate_args:
            self._validate_sample(value)
        return (value - 0.5) * self.logits - self._split(_log_sinhc, _log_sinhc_series)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """The inverse of the distribution function at uniform draws."""
        shape = self._extended_shape(Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        # For l < 0 by x -> 1 - x, so that no exponential overflows.
        negative = self.logits < 0
        u = torch.where(negative, 1 - uniform, uniform)
        logits = self.logits.abs()
        # Near l = 0 the inverse loses its digits, and its gradient more of them.
        near = logits < torch.finfo(logits.dtype).eps ** (1 / 3)
        far = torch.where(near, torch.ones_like(logits), logits)
        y = torch.log1p((1 - u) * torch.expm1(-far)) / far
        x = torch.where(negative, -y, 1 + y)
        series = 0.5 * self.logits + (1 - 2 * uniform) / 6 * self.logits**2
        x = torch.where(near, uniform + uniform * (1 - uniform) * series, x)
        return x.clamp(0, 1)

    @property
    def mean(self) -> Tensor:
        """`A'(l)`."""
        return 0.5 + 0.5 * self._split(_langevin, _langevin_series)

    @property
    def variance(self) -> Tensor:
        """`A''(l)`."""
        return 0.25 * self._split(_langevin_slope, _langevin_slope_series)

    def entropy(self) -> Tensor:
        """`A(l) - l A'(l)`, in nats."""
        return self._split(_entropy, lambda u: _log_sinhc_series(u) - u * _langevin_series(u))

    def _split(self, fn: Function, series: Function) -> Tensor:
        return _near_and_far(0.5 * self.logits, fn, series)


def log_sinhc(u: Tensor) -> Tensor:
    """`log(sinh(u) / u)`, of all digits everywhere."""
    return _near_and_far(u, _log_sinhc, _log_sinhc_series)


def _near_and_far(u: Tensor, fn: Function, series: Function) -> Tensor:
    # Near zero the closed forms cancel.
    near = u.abs() < SERIES_BELOW
    zero, one = torch.zeros_like(u), torch.ones_like(u)
    return torch.where(near, series(torch.where(near, u, zero)), fn(torch.where(near, one, u)))


def _log_ratio(u: Tensor) -> Tensor:
    # log((1 - exp(-2u)) / 2u) = log(sinh(u) / u) - u
    return torch.log(-torch.expm1(-2 * u) / (2 * u))


def _log_sinhc(u: Tensor) -> Tensor:
    return u.abs() + _log_ratio(u.abs())


def _langevin(u: Tensor) -> Tensor:
    return 1 / torch.tanh(u) - 1 / u


def _langevin_slope(u: Tensor) -> Tensor:
    decay = torch.exp(-2 * u.abs())
    return 1 / u**2 - 4 * decay / (1 - decay) ** 2


def _entropy(u: Tensor) -> Tensor:
    u = u.abs()
    return 1 + _log_ratio(u) + 2 * u * torch.exp(-2 * u) / torch.expm1(-2 * u)


def _log_sinhc_series(u: Tensor) -> Tensor:
    return sum(c * u ** (2 * n) for n, c in enumerate(SERIES, 1))


def _langevin_series(u: Tensor) -> Tensor:
    return sum(2 * n * c * u ** (2 * n - 1) for n, c in enumerate(SERIES, 1))


def _langevin_slope_series(u: Tensor) -> Tensor:
    return sum(2 * n * (2 * n - 1) * c * u ** (2 * n - 2) for n, c in enumerate(SERIES, 1))
