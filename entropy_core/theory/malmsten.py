"""`E[log Gamma(k + a)]` of counts, by one short quadrature.

A sum over the support would grow with the rate. Instead each comes from the probability generating
function `G(u) = E[u^k]`, by Malmsten's formula for `log Gamma` (Whittaker and Watson 1927, Sec.
12.31) with `exp(-t) = 1 - v`:

    E[log Gamma(k + a)] - log Gamma(mu + a)
        = int_0^1 (1 - v)^(a - 1) (G(1 - v) - (1 - v)^mu) / (-v log(1 - v)) dv
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from entropy_core.operations import FloatArray, Operations

Array = Any
Function = Callable[[Array], Array]

# Where exp(-x) has no digits left for the sum.
FAR = 45.0


class Rule(NamedTuple):
    """A rule of quadrature over `0 < v < 1`.

    Args:
        nodes: `log(1 - v)` and `v` of each, `(N, 2)`.
        weights: `dv / (v (1 - v))` of each, `(N,)`.
    """

    nodes: FloatArray
    weights: FloatArray


class Count(NamedTuple):
    """A distribution over counts: what the integral asks for.

    Args:
        ops: The operations of the arrays.
        mean: The mean, `mu`.
        log_pgf: `log G(1 - v)`.
        bend: `log G(1 - v) + mu v`, which goes as `v^2` for small `v`.
        width: The largest `v` for which `G(1 - v)` counts.
        rules: The quadrature for `a = 1`, and that for smaller ones.
    """

    ops: Operations
    mean: Array
    log_pgf: Function
    bend: Function
    width: Array
    rules: tuple[Rule, Rule]

    def log_gamma(self, a: Array | None = None) -> Array:
        """`E[log Gamma(k + a)]`, by default for `a = 1`."""
        return self.ops.lgamma(self.mean + (1.0 if a is None else a)) + self.gap(a)

    def gap(self, a: Array | None = None) -> Array:
        """`E[log Gamma(k + a)] - log Gamma(mu + a)`, by default for `a = 1`."""
        width = self.ops.at_most(self.ops.constant(self.width), 1.0)
        power = 0.0 if a is None else a - 1

        def integrand(rest: Array, v: Array) -> Array:
            return self._integrand(power, rest, v, width)

        return self.ops.weighted_sum(integrand, *self.rules[a is not None], self.mean)

    def _integrand(self, power: Array | float, rest: Array, v: Array, width: Array) -> Array:
        ops, v = self.ops, v * width
        # At full width `v` rounds to one long before `log(1 - v)` is done.
        log_rest = ops.where(width < 1, ops.log1p(-ops.at_most(v, 1 - ops.eps(v))), rest)
        log_power = self.mean * log_rest
        excess = self.mean * _phi(ops, v, log_rest) + self.bend(v)
        near = excess < 1
        difference = ops.where(
            near,
            ops.exp(log_power) * ops.expm1(ops.where(near, excess, 0.0)),
            ops.exp(self.log_pgf(v)) - ops.exp(log_power),
        )
        return ops.exp(rest + power * log_rest) / -log_rest * difference


def _phi(ops: Operations, x: Array, log_rest: Array) -> Array:
    # With log(1 - x) at hand, which loses digits to x below 0.03, where ten terms have them all.
    near = abs(x) < 0.03
    small = ops.where(near, x, 0.0)
    series = ops.zeros_like(x)
    for n in range(10, 1, -1):
        series = series * small + 1 / n
    return ops.where(near, series * small**2, -x - log_rest)


def log_excess(ops: Operations, x: Array) -> Array:
    """`-x - log(1 - x)`, which goes as `x^2 / 2` for small `x`."""
    return _phi(ops, x, ops.log1p(-ops.at_most(x, 1 - ops.eps(x))))


def stirling(ops: Operations, x: Array) -> Array:
    """`log x! - x log x + x`, the remainder of Stirling's formula."""
    # From ten on the six terms have all digits of float64.
    far = x > 10
    small, large = ops.where(far, 1.0, x), ops.where(far, x, 10.0)
    series = ops.zeros_like(x)
    for coefficient in _STIRLING:
        series = series / large**2 + coefficient
    series = 0.5 * ops.log(2 * math.pi * large) + series / large
    return ops.where(far, series, ops.lgamma(small + 1) - ops.xlogy(small, small) + small)


# B_2n / (2n (2n - 1)), the last one first.
_STIRLING = (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


def _quadrature(stop: float, num: int) -> Rule:
    # The tanh-sinh rule v = 1 / (1 + exp(-pi sinh t)) (Takahasi and Mori 1974).
    t, step = np.linspace(-3.1, stop, num, retstep=True)
    rest = -np.logaddexp(0, np.pi * np.sinh(t))
    return Rule(np.stack([rest, -np.expm1(rest)], -1), step * np.pi * np.cosh(t))


SHORT = _quadrature(3.1, 64)
# A small r makes a singularity at v = 1, and large odds one close to zero.
FINE, LONG = _quadrature(3.1, 108), _quadrature(12.5, 270)
