"""The entropy of a truncated normal distribution, as far in a tail as the bounds may be."""

import math
from typing import Any

import numpy as np

from entropy_core.operations import Operations

Array = Any

# Where exp(-x) has no digits left for the sum.
FAR = 45.0
_X, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _HALVES = 0.5 * (_X[:, None] + 1), 0.5 * _WEIGHTS


def truncated_normal_entropy(ops: Operations, low: Array, high: Array, width: Array) -> Array:
    """The entropy of a standard normal distribution within bounds, in nats.

    The density at the distance `t` from the largest one within the bounds, at `m`, is proportional
    to `exp(-|m| t - t^2 / 2)`, on one side of `m` or on both. With the integrals `I_0` of that and
    `I_1` of it times `|m| t + t^2 / 2`

        H = log I_0 + I_1 / I_0

    is a sum of positive terms, which a Gauss-Legendre rule has up to the last digit. (The
    textbook's, `log Z + log(2 pi e) / 2 + (a phi(a) - b phi(b)) / (2 Z)`, cancels where `Z` does.)

    Args:
        ops: The operations of the arrays.
        low: The lower bound, which may be minus infinity; all of one shape.
        high: The upper bound, which may be infinity.
        width: `high - low`, with the digits that the bounds do not have beside a far mean.
    """
    above, below = ops.at_least(low, 0.0), ops.at_least(-high, 0.0)
    mode = above + below
    right = ops.where(low > 0, width, ops.at_least(high, 0.0))
    left = ops.where(high < 0, width, ops.at_least(-low, 0.0))
    right, left = ops.where(high < 0, 0.0, right), ops.where(low > 0, 0.0, left)
    masses, moments = zip(_side(ops, mode, right), _side(ops, mode, left), strict=True)
    mass = masses[0] + masses[1]
    return ops.log(mass) + (moments[0] + moments[1]) / mass


def normal_entropy(ops: Operations, scale: Array) -> Array:
    """`log(scale) + log(2 pi e) / 2`, also where the variance is not among the numbers."""
    return ops.log(scale) + 0.5 * math.log(2 * math.pi * math.e)


def _side(ops: Operations, mode: Array, width: Array) -> tuple[Array, Array]:
    # Where the exponent is FAR.
    reach = ops.constant(2 * FAR / (mode + (mode**2 + 2 * FAR) ** 0.5))
    width = ops.where(width < reach, width, reach)

    def exponent(x: Array) -> Array:
        t = width * x
        return t * (mode + 0.5 * t)

    def mass(x: Array) -> Array:
        return ops.exp(-exponent(x))

    def moment(x: Array) -> Array:
        return exponent(x) * ops.exp(-exponent(x))

    sums = (ops.weighted_sum(f, _NODES, _HALVES, mode) for f in (mass, moment))
    return tuple(width * s for s in sums)
