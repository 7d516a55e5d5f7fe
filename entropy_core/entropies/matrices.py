"""Entropies of distributions over matrices: of correlations (LKJ) and of covariances (Wishart).

Both are made of independent gamma or beta variables, one a row, so that their entropies are sums of
what `gammas.py` is made of. `R` and `D` are in `remainders.py`. Units: nats.
"""

import math
from typing import Any

from entropy_core.entropies.remainders import HALF_LOG_2PI, digamma_rest, log_gamma_rest
from entropy_core.operations import Operations

Array = Any


def lkj_cholesky_entropy(ops: Operations, eta: Array, dim: int) -> Array:
    """The entropy of the Cholesky factor of correlations, of density `prop. to prod_i L_ii^(...)`.

    In the onion construction (Lewandowski, Kurowicka and Joe 2009, Sec. 3.2) row `i`, from 1 to
    `dim - 1`, is a point of a ball of `i` dimensions with density proportional to
    `(1 - r^2)^(a - 1)`, `a = eta + (dim - 1 - i) / 2`. With `b = a + i / 2` its entropy is

        i (1 + log pi - log b) / 2 - log(b / a) / 2 + i (a - 1) / (4 a b)
            + R(a) - R(b) + (a - 1) (D(a) - D(b))
    """
    total = ops.zeros_like(eta)
    b = eta + 0.5 * (dim - 1)
    for i in range(1, dim):
        a = eta + 0.5 * (dim - 1 - i)
        rest = log_gamma_rest(ops, a) - log_gamma_rest(ops, b)
        rest = rest + (a - 1) * (digamma_rest(ops, a) - digamma_rest(ops, b) + 0.25 * i / a / b)
        ball = 0.5 * i * (1 + math.log(math.pi) - ops.log(b))
        total = total + ball - 0.5 * ops.log1p(0.5 * i / a) + rest
    return total


def lkj_entropy(ops: Operations, eta: Array, dim: int) -> Array:
    """That of the correlations: the factor's with `sum_i (dim - 1 - i) E[log L_ii]`.

    `E[log L_ii] = (psi(a) - psi(b)) / 2`, and the exponents are those of the Jacobian.
    """
    total = lkj_cholesky_entropy(ops, eta, dim)
    b = eta + 0.5 * (dim - 1)
    for i in range(1, dim):
        a = eta + 0.5 * (dim - 1 - i)
        rest = digamma_rest(ops, a) - digamma_rest(ops, b) + 0.25 * i / a / b
        total = total - 0.5 * (dim - 1 - i) * (ops.log1p(0.5 * i / a) + rest)
    return total


def wishart_entropy(ops: Operations, df: Array, log_diagonal: Array) -> Array:
    """The entropy of `W = T A A' T'`, of Bartlett's decomposition `A_ii^2 ~ chi^2(df - i)`.

    With `x_i = (df - i) / 2` and `m = (df - p - 1) / 2`

        (p + 1) sum_i log T_ii + p (p + 1) log(2) / 2 + p (p - 1) log(pi) / 4
            + sum_i ((p - i) log(x_i) / 2 + (i + log 2 pi) / 2 + m / (2 x_i) + R(x_i) + m D(x_i))

    From the textbook's with the multivariate gamma function (Bishop 2006, Eq. B.82).

    Args:
        ops: The operations of the arrays.
        df: The degrees of freedom, of the batch shape.
        log_diagonal: `log T_ii` of the scale's Cholesky factor, of shape `(..., p)`.
    """
    dim = log_diagonal.shape[-1]
    total = (dim + 1) * log_diagonal.sum(-1) + 0.5 * dim * (dim + 1) * math.log(2)
    for i in range(dim):
        rest = _row(ops, df, i, 0.5 * (df - dim - 1))
        total = total + rest + 0.5 * (dim - i) * ops.log(0.5 * (df - i))
    return total + 0.25 * dim * (dim - 1) * math.log(math.pi)


def wishart_cholesky_entropy(ops: Operations, df: Array, log_diagonal: Array) -> Array:
    """That of the factor `T A`: with the Jacobian `2^p prod_i L_ii^(p - i)` the logarithms cancel.

    The arguments are those of `wishart_entropy`.
    """
    dim = log_diagonal.shape[-1]
    total = _weighted(log_diagonal, 1, 1) + (0.25 * dim * (dim + 1) - dim) * math.log(2)
    for i in range(dim):
        total = total + _row(ops, df, i, 0.5 * (df - i) - 0.5)
    return total + 0.25 * dim * (dim - 1) * math.log(math.pi)


def inverse_wishart_entropy(ops: Operations, df: Array, log_diagonal: Array) -> Array:
    """The entropy of `(T A^-1)(T A^-1)'`: as of `wishart_entropy`, with other powers.

        (p + 1) sum_i log T_ii - p (p + 1) log(2) / 2 + p (p - 1) log(pi) / 4
            + sum_i (-(p + 2 + i) log(x_i) / 2 + (i + log 2 pi) / 2
                     + m / (2 x_i) + R(x_i) + m D(x_i))

    with `m = (df + p + 1) / 2`.
    """
    dim = log_diagonal.shape[-1]
    total = (dim + 1) * log_diagonal.sum(-1) - 0.5 * dim * (dim + 1) * math.log(2)
    for i in range(dim):
        rest = _row(ops, df, i, 0.5 * (df + dim + 1))
        total = total + rest - 0.5 * (dim + 2 + i) * ops.log(0.5 * (df - i))
    return total + 0.25 * dim * (dim - 1) * math.log(math.pi)


def inverse_wishart_cholesky_entropy(ops: Operations, df: Array, log_diagonal: Array) -> Array:
    """That of the factor, with the Jacobian of `wishart_cholesky_entropy`."""
    dim = log_diagonal.shape[-1]
    total = _weighted(log_diagonal, 1, 1) - (0.25 * dim * (dim + 1) + dim) * math.log(2)
    for i in range(dim):
        rest = _row(ops, df, i, 0.5 * (df - i) + 0.5 * dim)
        total = total + rest - 0.5 * (dim + 1) * ops.log(0.5 * (df - i))
    return total + 0.25 * dim * (dim - 1) * math.log(math.pi)


def _row(ops: Operations, df: Array, i: int, power: Array) -> Array:
    x = 0.5 * (df - i)
    rest = log_gamma_rest(ops, x) + power * (0.5 / x + digamma_rest(ops, x))
    return HALF_LOG_2PI + 0.5 * i + rest


def _weighted(log_diagonal: Array, first: int, step: int) -> Array:
    # sum_i (1 + i) log T_ii, without an array of numbers of either host.
    total = 0
    for i in range(log_diagonal.shape[-1]):
        total = total + (first + step * i) * log_diagonal[..., i]
    return total
