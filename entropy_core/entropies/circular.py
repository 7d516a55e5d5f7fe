"""The entropy of a von Mises distribution, for every concentration."""

import math
from typing import Any

from entropy_core.operations import Operations

Array = Any


def von_mises_entropy(ops: Operations, k: Array) -> Array:
    """`log(2 pi I0(k)) - k I1(k) / I0(k)` of concentration `k >= 0`, in nats.

    Far out by Hankel's expansions of both Bessel functions (NIST Handbook, Eq. 10.40.1), of which
    the ones cancel: `I_n(k) exp(-k) (2 pi k)^(1/2) = 1 - ...`.
    """
    start = 16.0 if ops.eps(k) > 1e-10 else 20.0
    far = k > start
    small, large = ops.where(far, 1.0, k), ops.where(far, k, start)
    i0, i1 = ops.i0e(small), ops.i1e(small)
    near = ops.log(2 * math.pi * i0) + small * ((i0 - i1) / i0)
    # Of I0 less one, and of k (I0 - I1).
    first, gap = ops.zeros_like(k), ops.zeros_like(k)
    for zero, difference in reversed(_HANKEL):
        first, gap = (first + zero) / large, gap / large + difference
    asymptotic = 0.5 * ops.log(2 * math.pi / large) + ops.log1p(first) + gap / (1 + first)
    return ops.where(far, asymptotic, near)


def _hankel(order: int, num: int) -> list[float]:
    # a_m(n) of sum_m (-1)^m a_m(n) / k^m, from m = 1, with their signs.
    terms, term = [], 1.0
    for m in range(1, num + 1):
        term *= -(4 * order**2 - (2 * m - 1) ** 2) / (8 * m)
        terms.append(term)
    return terms


_HANKEL = [(a, a - b) for a, b in zip(_hankel(0, 30), _hankel(1, 30), strict=True)]
