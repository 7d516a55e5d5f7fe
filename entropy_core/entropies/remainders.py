"""Remainders of asymptotic formulas, and differences that go as a square.

A closed form in terms of `log Gamma` and `psi` subtracts numbers as large as `a log a`, of which a
float keeps so many digits and no more. With

    log Gamma(a) = (a - 1/2) log a - a + log(2 pi) / 2 + R(a)
    psi(a)       = log a - 1 / (2 a) - D(a)

the large terms cancel on paper, and what is left is small (NIST Handbook, Eqs. 5.11.1 and 5.11.2).
Every function is elementwise and has a gradient everywhere.
"""

import math
from typing import Any

from entropy_core.operations import Operations

Array = Any

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
EULER_GAMMA = 0.5772156649015329

# B_2n / (2n (2n - 1)) and B_2n / (2n), the last one first.
_LOG_GAMMA = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)


def log_gamma_rest(ops: Operations, a: Array) -> Array:
    """`R(a) = log Gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2`, about `1 / (12 a)`."""
    far, steps, large = _shifted(ops, a)
    near = ops.zeros_like(a)
    for x in steps:
        near = near + ((x + 0.5) * ops.log1p(1 / x) - 1)
    return _series(ops, _LOG_GAMMA, large) / large + ops.where(far, 0.0, near)


def digamma_rest(ops: Operations, a: Array) -> Array:
    """`D(a) = log a - 1 / (2 a) - psi(a)`, about `1 / (12 a^2)`."""
    far, steps, large = _shifted(ops, a)
    near = ops.zeros_like(a)
    for x in steps:
        near = near + (0.5 / x + 0.5 / (x + 1) - ops.log1p(1 / x))
    return _series(ops, _DIGAMMA, large) / large / large + ops.where(far, 0.0, near)


def stirling(ops: Operations, x: Array) -> Array:
    """`log x! - x log x + x`, zero at zero and about `log(2 pi x) / 2` far from it."""
    far, small, large = _split(ops, x)
    series = 0.5 * ops.log(2 * math.pi * large) + _series(ops, _LOG_GAMMA, large) / large
    return ops.where(far, series, ops.lgamma(small + 1) - ops.xlogy(small, small) + small)


def harmonic(ops: Operations, x: Array) -> Array:
    """The harmonic number `psi(x + 1) + gamma` of any `x >= -1/2`, about `pi^2 x / 6` near zero."""
    # The recurrence of psi up to `top`, where D takes over: each part is zero at zero by itself.
    top = 12.0
    total = ops.log1p(x / top) + x / (2 * top * (x + top))
    for n in range(int(top) - 1, 0, -1):
        total = total + x / n / (x + n)
    # D(top) - D(x + top), with the difference of the squares taken out of each power.
    here, there = 1 / top**2, (1 / (x + top)) ** 2
    value = difference = ops.zeros_like(x)
    for coefficient in (*_DIGAMMA, 0.0):
        value, difference = value * there + coefficient, difference * here + value
    return total + difference * x * (2 * top + x) * here * there


def digamma_gamma(ops: Operations, x: Array) -> Array:
    """`psi(x) + gamma`, which is zero at one, with all its digits there."""
    near = x > 0.5
    small, large = ops.where(near, 0.5, x), ops.where(near, x, 1.0)
    return ops.where(near, harmonic(ops, large - 1), harmonic(ops, small) - 1 / small)


def harmonic_rest(ops: Operations, x: Array) -> Array:
    """`psi(x + 1) + gamma - log x`, about `gamma + 1 / (2 x)` far from zero."""
    far, small, large = _split(ops, x)
    series = EULER_GAMMA + 0.5 / large - _series(ops, _DIGAMMA, large) / large / large
    return ops.where(far, series, harmonic(ops, small) - ops.log(small))


def log_rising(ops: Operations, a: Array, x: Array) -> Array:
    """`log Gamma(a + x) - log Gamma(a)` of `a > 0` and `x >= 0`, also for `x` far below `a`."""
    ratio = x / a
    rest = (x - 0.5) * ops.log1p(ratio) - a * log_excess(ops, -ratio)
    return x * ops.log(a) + rest + log_gamma_rest(ops, a + x) - log_gamma_rest(ops, a)


def log_excess(ops: Operations, x: Array) -> Array:
    """`-x - log(1 - x)` of `x < 1`, which goes as `x^2 / 2` for small `x`."""
    return phi(ops, x, ops.log1p(-ops.at_most(x, 1 - ops.eps(x))))


def phi(ops: Operations, x: Array, log_rest: Array) -> Array:
    """`-x - log(1 - x)` with `log(1 - x)` at hand."""
    # Which loses digits to x below 0.03, where ten terms have them all.
    near = abs(x) < 0.03
    small = ops.where(near, x, 0.0)
    series = ops.zeros_like(x)
    for n in range(10, 1, -1):
        series = series * small + 1 / n
    return ops.where(near, series * small**2, -x - log_rest)


def _split(ops: Operations, x: Array) -> tuple[Array, Array, Array]:
    # Whether the series has all digits, and an argument for either formula that is safe elsewhere.
    start = _start(ops, x)
    far = x > start
    return far, ops.where(far, 1.0, x), ops.where(far, x, start)


def _start(ops: Operations, x: Array) -> float:
    return 3.0 if ops.eps(x) > 1e-10 else 10.0


def _shifted(ops: Operations, a: Array) -> tuple[Array, list[Array], Array]:
    # By the recurrences up to where the series has all digits, since what is left of the functions
    # themselves has only those of their largest terms.
    far, small, large = _split(ops, a)
    steps = [small + k for k in range(int(_start(ops, a)))]
    return far, steps, ops.where(far, large, steps[-1] + 1)


def _series(ops: Operations, coefficients: tuple[float, ...], x: Array) -> Array:
    series, square = ops.zeros_like(x), (1 / x) ** 2
    for coefficient in coefficients:
        series = series * square + coefficient
    return series
