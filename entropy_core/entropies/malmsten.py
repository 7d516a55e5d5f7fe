"""`E[log Gamma(k + a)]` of counts, by one short quadrature.

A sum over the support would grow with the rate. Instead each comes from the probability generating
function `G(u) = E[u^k]`, by Malmsten's formula for `log Gamma` (Whittaker and Watson 1927, Sec.
12.31) with `exp(-t) = 1 - v`:

    E[log Gamma(k + a)] - log Gamma(mu + a)
        = int_0^1 (1 - v)^(a - 1) (G(1 - v) - (1 - v)^mu) / (-v log(1 - v)) dv
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from entropy_core.entropies.remainders import phi
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
        rules: The quadrature of gaps, and that of `mean_log_choose`.
    """

    ops: Operations
    mean: Array
    log_pgf: Function
    bend: Function
    width: Array
    rules: tuple[Rule, Rule]

    def log_gamma(self) -> Array:
        """`E[log Gamma(k + 1)]`."""
        return self.ops.lgamma(self.mean + 1) + self.gap()

    def gap(self) -> Array:
        """`g_1 = E[log Gamma(k + 1)] - log Gamma(mu + 1)`."""
        return self._sum(lambda log_rest: 1.0)

    def gap_difference(self, a: Array) -> Array:
        """`g_1 - g_a` of `a >= 1`: one integral of one sign, where either may be large."""
        return self._sum(lambda log_rest: -self.ops.expm1((a - 1) * log_rest))

    def mean_log_choose(self, a: Array) -> Array:
        """`E[log C(k + a - 1, k)]` of `0 < a <= 1`, all of one sign.

        The formula for `log Gamma(k + a) - log Gamma(a) - log Gamma(k + 1)`, from all of which the
        terms in `k` cancel.
        """
        ops = self.ops

        def integrand(rest: Array, v: Array) -> Array:
            factor = ops.exp(a * rest) * -ops.expm1((1 - a) * rest)
            return factor / -rest * ops.expm1(self.log_pgf(v))

        return ops.weighted_sum(integrand, *self.rules[1], self.mean)

    def _sum(self, weight: Function) -> Array:
        width = self.ops.at_most(self.ops.constant(self.width), 1.0)

        def integrand(rest: Array, v: Array) -> Array:
            return self._integrand(weight, rest, v, width)

        return self.ops.weighted_sum(integrand, *self.rules[0], self.mean)

    def _integrand(self, weight: Function, rest: Array, v: Array, width: Array) -> Array:
        ops, v = self.ops, v * width
        # At full width `v` rounds to one long before `log(1 - v)` is done.
        log_rest = ops.where(width < 1, ops.log1p(-ops.at_most(v, 1 - ops.eps(v))), rest)
        log_power = self.mean * log_rest
        excess = self.mean * phi(ops, v, log_rest) + self.bend(v)
        near = excess < 1
        difference = ops.where(
            near,
            ops.exp(log_power) * ops.expm1(ops.where(near, excess, 0.0)),
            ops.exp(self.log_pgf(v)) - ops.exp(log_power),
        )
        return ops.exp(ops.zeros_like(v) + rest) / -log_rest * weight(log_rest) * difference


def _quadrature(stop: float, num: int) -> Rule:
    # The tanh-sinh rule v = 1 / (1 + exp(-pi sinh t)) (Takahasi and Mori 1974).
    t, step = np.linspace(-3.1, stop, num, retstep=True)
    rest = -np.logaddexp(0, np.pi * np.sinh(t))
    return Rule(np.stack([rest, -np.expm1(rest)], -1), step * np.pi * np.cosh(t))


SHORT = _quadrature(3.1, 64)
# A small r makes a singularity at v = 1, and large odds one close to zero.
FINE, LONG = _quadrature(3.1, 160), _quadrature(12.5, 300)
