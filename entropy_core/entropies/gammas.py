"""Entropies of distributions whose densities are products of powers and of gamma functions.

Each is the textbook's with `log Gamma` and `psi` by their asymptotic formulas, of which the large
terms cancel on paper (`remainders.py` has `R` and `D`). Units: nats.
"""

from typing import Any

from entropy_core.entropies.remainders import (
    HALF_LOG_2PI,
    digamma_gamma,
    digamma_rest,
    harmonic,
    harmonic_rest,
    log_gamma_rest,
)
from entropy_core.operations import Operations

Array = Any


def gamma_entropy(ops: Operations, a: Array, rate: Array) -> Array:
    """`(1 + log(2 pi a)) / 2 - log b - 1 / (2 a) + R(a) - (1 - a) D(a)` of shape `a` and rate `b`.

    From `a - log b + log Gamma(a) + (1 - a) psi(a)`.
    """
    rest = log_gamma_rest(ops, a) - (1 - a) * digamma_rest(ops, a)
    return 0.5 * ops.log(a) - ops.log(rate) + (HALF_LOG_2PI + 0.5) - 0.5 / a + rest


def inverse_gamma_entropy(ops: Operations, a: Array, rate: Array) -> Array:
    """`(1 + log 2 pi - 3 log a) / 2 + log b + 1 / (2 a) + R(a) + (1 + a) D(a)`.

    From `a + log b + log Gamma(a) - (1 + a) psi(a)`.
    """
    rest = log_gamma_rest(ops, a) + (1 + a) * digamma_rest(ops, a)
    return ops.log(rate) - 1.5 * ops.log(a) + (HALF_LOG_2PI + 0.5) + 0.5 / a + rest


def dirichlet_entropy(ops: Operations, a: Array) -> Array:
    """The entropy of a Dirichlet distribution over `K` parts, of `a` of shape `(..., K)`.

    `log B(a) + (A - K) psi(A) - sum_k (a_k - 1) psi(a_k)` with `A = sum_k a_k`, which is

        (K - 1) (1 + log 2 pi - log A) / 2 + sum_k log(a_k / A) / 2 + K / (2 A)
            + sum_k (R(a_k) - 1 / (2 a_k) + (a_k - 1) D(a_k)) - R(A) - (A - K) D(A)
    """
    size, total = a.shape[-1], a.sum(-1)
    parts = 0.5 * ops.log(a / total[..., None]) - 0.5 / a
    parts = parts + log_gamma_rest(ops, a) + (a - 1) * digamma_rest(ops, a)
    whole = log_gamma_rest(ops, total) + (total - size) * digamma_rest(ops, total)
    free = (size - 1) * (HALF_LOG_2PI + 0.5 - 0.5 * ops.log(total))
    return free + parts.sum(-1) + 0.5 * size / total - whole


def fisher_snedecor_entropy(ops: Operations, df1: Array, df2: Array) -> Array:
    """The entropy of the ratio of two mean squares, with `a = df1 / 2` and `b = df2 / 2`.

        (1 + log 2 pi) / 2 + log(1 / a + 1 / b) / 2 - 1 / (2 a) + 1 / (2 b)
            + R(a) + R(b) - R(a + b) - (1 - a) D(a) + (1 + b) D(b) - (a + b) D(a + b)

    From that of a beta prime distribution, times `b / a`.
    """
    a, b = 0.5 * df1, 0.5 * df2
    rest = log_gamma_rest(ops, a) + log_gamma_rest(ops, b) - log_gamma_rest(ops, a + b)
    rest = rest - (1 - a) * digamma_rest(ops, a) + (1 + b) * digamma_rest(ops, b)
    rest = rest - (a + b) * digamma_rest(ops, a + b)
    return HALF_LOG_2PI + 0.5 + 0.5 * ops.log(1 / a + 1 / b) - 0.5 / a + 0.5 / b + rest


def student_t_entropy(ops: Operations, df: Array, dim: int = 1) -> Array:
    """The entropy of a Student's t distribution of `dim` numbers and unit scale.

    Guerrero-Cusumano 1996, Eq. 2, with `a = df / 2` and `b = (df + dim) / 2`:

        dim (1 + log 2 pi) / 2 + log(b / a) / 2 + dim / (4 a) + R(a) - R(b) + b (D(a) - D(b))
    """
    a, b = 0.5 * df, 0.5 * (df + dim)
    rest = log_gamma_rest(ops, a) - log_gamma_rest(ops, b)
    rest = rest + b * (digamma_rest(ops, a) - digamma_rest(ops, b))
    return dim * (HALF_LOG_2PI + 0.5) + 0.5 * ops.log1p(dim / df) + 0.5 * dim / df + rest


def kumaraswamy_entropy(ops: Operations, a: Array, b: Array) -> Array:
    """`1 - 1 / b + (1 - 1 / a) h(b) - log(a b)`, with the harmonic number `h(b)`.

    Mitnik 2013, Sec. 4: `1 - x^a` is a power of a uniform variable.
    """
    return 1 - 1 / b + harmonic_rest(ops, b) - harmonic(ops, b) / a - ops.log(a)


def dagum_entropy(ops: Operations, p: Array, a: Array) -> Array:
    """`1 - log a + h(p) - log p + (psi(p) + gamma) / a` of unit scale.

    `x^a` is a beta prime variable of shapes `p` and 1.
    """
    return 1 - ops.log(a) + harmonic_rest(ops, p) + digamma_gamma(ops, p) / a


def skew_logistic_entropy(ops: Operations, a: Array) -> Array:
    """`1 + h(a) - log a` of unit scale: its logistic function is a beta variable, `(a, 1)`."""
    return 1 + harmonic_rest(ops, a)


def gompertz_entropy(ops: Operations, c: Array, exp_integral: Array) -> Array:
    """`1 - log c - exp(c) E1(c)` of unit rate, with `exp(c) E1(c)` at hand for `c` up to 50."""
    # Beyond that by the asymptotic series (NIST Handbook, Eq. 6.12.1).
    far = c > 50
    large, series = ops.where(far, c, 50.0), ops.zeros_like(c) + 1
    for n in range(12, 0, -1):
        series = 1 - n / large * series
    return 1 - ops.log(c) - ops.where(far, series / large, exp_integral)
