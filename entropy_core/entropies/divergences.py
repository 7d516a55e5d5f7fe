"""Divergences `KL(q || p)` within a family, as sums of parts that are no larger than they are.

What is left of the textbook's differences are remainders, and `e(x) = -x - log(1 - x)`, which goes
as the square of how far the two are apart (`log_excess` of `remainders.py`). Units: nats.
"""

from typing import Any

from entropy_core.entropies.remainders import digamma_rest, log_excess, log_gamma_rest
from entropy_core.operations import Operations

Array = Any


def gamma_divergence(
    ops: Operations, a: Array, rate: Array, other: Array, other_rate: Array
) -> Array:
    """`KL(Gamma(a, b) || Gamma(c, d))`, with `y = c / a - 1` and `z = d / b - 1`.

    c e((y - z) / (1 + y)) + e(-y) / 2 + (c - a) D(a) + R(c) - R(a)
    """
    y, z = (other - a) / a, (other_rate - rate) / rate
    return other * log_excess(ops, (y - z) / (1 + y)) + _bregman_rest(ops, a, other)


def dirichlet_divergence(ops: Operations, a: Array, other: Array) -> Array:
    """The divergence of Dirichlet distributions with parameters of shape `(..., K)`.

    With `y_k = c_k / a_k - 1`, the sums `A` and `C`, `Y = C / A - 1` and the last terms of
    `gamma_divergence` as `B(c, a)`

        sum_k (c_k e((y_k - Y) / (1 + y_k)) + B(c_k, a_k)) - B(C, A)
    """
    total, other_total = a.sum(-1), other.sum(-1)
    y, whole = (other - a) / a, (other - a).sum(-1) / total
    parts = other * log_excess(ops, (y - whole[..., None]) / (1 + y)) + _bregman_rest(ops, a, other)
    return parts.sum(-1) - _bregman_rest(ops, total, other_total)


def poisson_divergence(ops: Operations, rate: Array, other: Array) -> Array:
    """`a e(1 - c / a)`, from `a log(a / c) - a + c`."""
    return rate * log_excess(ops, (rate - other) / rate)


def _bregman_rest(ops: Operations, a: Array, other: Array) -> Array:
    # log Gamma(c) - log Gamma(a) - (c - a) psi(a), without its part c e(y / (1 + y)).
    rest = log_gamma_rest(ops, other) - log_gamma_rest(ops, a)
    rest = rest + (other - a) * digamma_rest(ops, a)
    return 0.5 * log_excess(ops, (a - other) / a) + rest
