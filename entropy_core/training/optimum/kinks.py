"""Descent where a function has kinks, as the absolute deviations of Laplace distributions do."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], tuple[float, Array]]

# Armijo's and Wolfe's conditions (Lewis and Overton 2013, Sec. 4.1), and halvings of a step.
DECREASE, SLOPE, MAX_HALVINGS = 1e-4, 0.9, 60
# How far around a point gradients are compared, and what differs by more than it has a kink.
RADIUS, JUMP = 1e-9, 1e-6
OFF_KINKS = 1e-4


def descend_with_kinks(function: Function, start: Array, *, max_evaluations: int) -> Array:
    """BFGS with a line search that does not ask for smaller gradients (Lewis and Overton 2013).

    At a minimum with kinks the gradient does not vanish, and jumps: a step is accepted where the
    value falls and the slope rises, which is so at the far side of a kink too.

    Args:
        function: The value and the gradient at a point.
        start: Where to start, `(P,)`.
        max_evaluations: After how many evaluations it gives up, more or less.

    Example:
        >>> def function(x):
        ...     return float(abs(x[0]) + 0.5 * (x[1] - 1) ** 2), np.array([np.sign(x[0]), x[1] - 1])
        >>> descend_with_kinks(function, np.ones(2) * 3, max_evaluations=500).round(6) + 0.0
        array([0., 1.])
    """
    count = 0

    def counted(point: Array) -> tuple[float, Array]:
        nonlocal count
        count += 1
        return function(point)

    # On a kink the steepest way down from one side leads up: a point next to it is off the kink.
    point = start + OFF_KINKS * np.random.default_rng(0).standard_normal(len(start))
    value, gradient = counted(point)
    inverse, fresh = np.eye(len(start)), True
    while count < max_evaluations:
        step = -inverse @ gradient
        found = _line_search(counted, point, value, gradient, step)
        if found is None:
            if fresh:
                break
            # What has been learned of the curvature is of no use here.
            inverse, fresh = np.eye(len(start)), True
            continue
        moved, new_value, new_gradient = found
        inverse = _updated(inverse, moved - point, new_gradient - gradient, first=fresh)
        point, value, gradient, fresh = moved, new_value, new_gradient, False
    return point


def smooth_part(function: Function, point: Array) -> tuple[float, int]:
    """The norm of a gradient along the directions in which there is no kink at a point.

    Gradients around the point span the directions in which they jump; what is orthogonal to these
    vanishes at a minimum.

    Args:
        function: The value and the gradient at a point.
        point: The point, `(P,)`.

    Returns:
        The norm, and the number of directions with a kink.

    Example:
        >>> def function(x):
        ...     return float(abs(x[0]) + 0.5 * (x[1] - 1) ** 2), np.array([np.sign(x[0]), x[1] - 1])
        >>> smooth_part(function, np.array([0.0, 1.0]))
        (0.0, 1)
    """
    gradient = function(point)[1]
    _, jumps, directions = np.linalg.svd(_changes(function, point, RADIUS), full_matrices=False)
    # Where a gradient is but steep, it changes ten times less at a tenth of the distance.
    nearer = np.linalg.norm(_changes(function, point, RADIUS / 10) @ directions.T, axis=0)
    kinks = directions[(jumps > JUMP) & (nearer > jumps / 3)]
    return float(np.linalg.norm(gradient - kinks.T @ (kinks @ gradient))), len(kinks)


def _changes(function: Function, point: Array, radius: float) -> Array:
    """By how much gradients around a point differ from that at the point."""
    rng, gradient = np.random.default_rng(0), function(point)[1]
    steps = radius * rng.uniform(-1, 1, (2 * len(point) + 10, len(point)))
    return np.stack([function(point + step)[1] for step in steps]) - gradient


def _line_search(
    function: Function, point: Array, value: float, gradient: Array, step: Array
) -> tuple[Array, float, Array] | None:
    """The first length, by doubling and halving, with a lower value and a slope that has risen."""
    slope, shortest, longest, length = gradient @ step, 0.0, np.inf, 1.0
    found = None
    if not slope < 0:
        return None
    for _ in range(MAX_HALVINGS):
        moved = point + length * step
        new_value, new_gradient = function(moved)
        finite = np.isfinite(new_value) and np.isfinite(new_gradient).all()
        if not (finite and new_value <= value + DECREASE * length * slope):
            longest = length
        else:
            found = moved, new_value, new_gradient
            if new_gradient @ step >= SLOPE * slope:
                return found
            shortest = length
        length = 2 * length if np.isinf(longest) else (shortest + longest) / 2
    return found if found is not None and found[1] < value else None


def _updated(inverse: Array, step: Array, change: Array, *, first: bool) -> Array:
    """The approximate inverse of the second derivatives after a step (BFGS)."""
    product = step @ change
    if not product > 0:
        return inverse
    if first:
        inverse = inverse * product / (change @ change)
    left = np.outer(step, inverse @ change)
    curved = (change @ inverse @ change / product + 1) * np.outer(step, step)
    return inverse - (left + left.T - curved) / product
