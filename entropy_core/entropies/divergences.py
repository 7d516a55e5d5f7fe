"""Divergences `KL(q || p)` within a family, as sums of parts that are no larger than they are.

What is left of the textbook's differences are remainders, and `e(x) = -x - log(1 - x)`, which goes
as the square of how far the two are apart (`log_excess` of `remainders.py`). Units: nats.
"""

from typing import Any

from entropy_core.entropies.remainders import (
    digamma_rest,
    log_excess,
    log_gamma_rest,
    phi,
)
from entropy_core.operations import Operations

Array = Any


def gamma_divergence(
    ops: Operations, a: Array, rate: Array, other: Array, other_rate: Array
) -> Array:
    """`KL(Gamma(a, b) || Gamma(c, d))`, with `y = c / a - 1` and `z = d / b - 1`.

    c e((y - z) / (1 + y)) + e(-y) / 2 + (c - a) D(a) + R(c) - R(a)
    """
    step, ratio = (other_rate - rate) / rate, other_rate / rate
    return other * _excess(ops, a, other, step, ratio) + _bregman_rest(ops, a, other)


def dirichlet_divergence(ops: Operations, a: Array, other: Array) -> Array:
    """The divergence of Dirichlet distributions with parameters of shape `(..., K)`.

    With `y_k = c_k / a_k - 1`, the sums `A` and `C`, `Y = C / A - 1` and the last terms of
    `gamma_divergence` as `B(c, a)`

        sum_k (c_k e((y_k - Y) / (1 + y_k)) + B(c_k, a_k)) - B(C, A)
    """
    total, other_total = a.sum(-1), other.sum(-1)
    step, ratio = (other - a).sum(-1) / total, other_total / total
    parts = other * _excess(ops, a, other, step[..., None], ratio[..., None])
    parts = parts + _bregman_rest(ops, a, other)
    return parts.sum(-1) - _bregman_rest(ops, total, other_total)


def poisson_divergence(ops: Operations, rate: Array, other: Array) -> Array:
    """`a e(1 - c / a)`, from `a log(a / c) - a + c`."""
    return rate * phi(ops, (rate - other) / rate, ops.log(other / rate))


def binomial_divergence(ops: Operations, n: Array, logits: Array, other: Array) -> Array:
    """`n (p e(x) + (1 - p) e(y))` of logits `l` and `m`, as far as the two are close.

    `x = 1 - p' / p = -(1 - p') (exp(m - l) - 1)`, and `y` is that of the failures.
    """
    log_p, log_q = _log_probs(ops, logits)
    log_p2, log_q2 = _log_probs(ops, other)
    p, q = ops.exp(log_p), ops.exp(log_q)
    far = p * (log_p - log_p2) + q * (log_q - log_q2)
    near = abs(other - logits) < 0.5
    step = ops.where(near, other - logits, 0.0)
    x, y = -ops.exp(log_q2) * ops.expm1(step), -ops.exp(log_p2) * ops.expm1(-step)
    close = p * log_excess(ops, x) + q * log_excess(ops, y)
    return n * ops.where(near, close, far)


def bernoulli_cross_entropy(ops: Operations, logits: Array, other: Array) -> Array:
    """`E_q[log p] = p log p' + (1 - p) log(1 - p')` of logits, finite where those are."""
    (log_p, log_q), (log_p2, log_q2) = _log_probs(ops, logits), _log_probs(ops, other)
    return ops.exp(log_p) * log_p2 + ops.exp(log_q) * log_q2


def _log_probs(ops: Operations, logits: Array) -> tuple[Array, Array]:
    rest = ops.log1p(ops.exp(-abs(logits)))
    return ops.at_most(logits, 0.0) - rest, ops.at_most(-logits, 0.0) - rest


def _excess(ops: Operations, a: Array, other: Array, step: Array, ratio: Array) -> Array:
    # e(1 - u) of u = (a / c) (1 + z), with z and 1 + z at hand: where a and c are close the
    # difference 1 - u has more digits than u.
    near = abs(other - a) < 0.5 * a
    close = ops.where(near, other, a)
    x = ops.where(near, ((close - a) / a - step) * (a / close), 1 - a / other * ratio)
    return phi(ops, x, ops.log(ratio) - ops.log(other / a))


def _bregman_rest(ops: Operations, a: Array, other: Array) -> Array:
    # log Gamma(c) - log Gamma(a) - (c - a) psi(a), without its part c e(y / (1 + y)).
    rest = log_gamma_rest(ops, other) - log_gamma_rest(ops, a)
    rest = rest + (other - a) * digamma_rest(ops, a)
    return 0.5 * phi(ops, (a - other) / a, ops.log(other / a)) + rest
