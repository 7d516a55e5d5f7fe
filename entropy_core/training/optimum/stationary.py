"""The stationary point of a smooth function next to where a search starts, in float64."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from entropy_core.checks import expected
from entropy_core.training.optimum.kinks import descend_with_kinks, smooth_part

Array = NDArray[np.float64]
Function = Callable[[Array], tuple[float, Array]]

# Beyond it the second derivatives are not written down: a trust region takes products with them.
MAX_DENSE = 500
# A round is a descent and some steps of Newton's: the one that follows starts where it ended.
MAX_ROUNDS, NEWTON_STEPS = 4, 20
# Of central differences of gradients: the cube root of the distance between numbers.
STEP = np.finfo(float).eps ** (1 / 3)
# Curvatures below it, relative to the largest one, are rounding: some directions change nothing.
FLAT = 1e-9
# By how much a difference may miss the derivative along a line, relative to the gradient.
SLOPE = 1e-3
# By how much values may differ that are the same, relative to their size.
ROUNDING = 1e3 * np.finfo(float).eps
# What a line search is told of a point without a value, so that it turns back.
NO_VALUE = 1e50


class Stationary(NamedTuple):
    """Where a search has ended.

    Args:
        point: The point, `(P,)`.
        value: The function there.
        gradient_norm: The Euclidean norm of its gradient there, without what jumps.
        num_evaluations: How often function and gradient were computed.
        num_kinks: In how many directions the gradient jumps at the point.
    """

    point: Array
    value: float
    gradient_norm: float
    num_evaluations: int
    num_kinks: int = 0


def stationary_point(
    function: Function, start: Array, *, gradient_tolerance: float, max_evaluations: int
) -> Stationary:
    """Goes down to a stationary point: L-BFGS-B, and Newton's method for the last digits.

    A line search cannot tell values apart that differ in the last digits; the gradient still can.
    With more than some hundred parameters SciPy's `trust-krylov` stands in for Newton's method.
    With fewer the search goes on, where both stop short, with a descent that copes with kinks.

    Args:
        function: The value and the gradient at a point.
        start: Where to start, `(P,)`.
        gradient_tolerance: The norm of the gradient at which the search ends.
        max_evaluations: After how many evaluations it gives up, more or less.

    Raises:
        ValueError: If the function or its gradient is not finite at the start.

    Example:
        >>> found = stationary_point(
        ...     lambda x: (float(((x - 1) ** 4 + x**2).sum()), 4 * (x - 1) ** 3 + 2 * x),
        ...     np.zeros(2),
        ...     gradient_tolerance=1e-10,
        ...     max_evaluations=1000,
        ... )
        >>> found.point.round(6), found.gradient_norm < 1e-10
        (array([0.410245, 0.410245]), True)
    """
    search = _Search(function, gradient_tolerance, max_evaluations)
    value, gradient = search(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        what = "a finite ELBO with a finite gradient"
        raise ValueError(expected(what, "params", "NaN or infinite numbers"))
    used = moving(search, start)
    if used.any() and not used.all():
        found = stationary_point(
            lambda part: _of(function, start, used, part),
            start[used],
            gradient_tolerance=gradient_tolerance,
            max_evaluations=max_evaluations,
        )
        return found._replace(point=_filled(start, used, found.point))
    search.best = start, value, gradient
    for _ in range(MAX_ROUNDS):
        before = search.norm
        search.descend()
        if not search.over:
            (search.newton if len(start) <= MAX_DENSE else search.trust_region)()
        if search.over or search.norm > 0.5 * before:
            break
    if search.over or len(start) > MAX_DENSE:
        point, value, _ = search.best
        return Stationary(point, value, search.norm, search.count)
    return search.with_kinks()


def repeats(function: Function, point: Array) -> bool:
    """Whether a function has the same value again: not so where something else is random in it."""
    first, second = function(point)[0], function(point)[0]
    return first == second or not np.isfinite(first)


def moving(function: Function, point: Array) -> NDArray[np.bool_]:
    """Which parameters have a gradient: others are held, as by a `stop_gradient`.

    Args:
        function: The value and the gradient at a point.
        point: The point; one beside it has a look too, where no zero is a chance.

    Example:
        >>> moving(lambda x: (float((x**2).sum()), np.array([2 * x[0], 0.0])), np.zeros(2))
        array([ True, False])
    """
    beside = point + 0.1 * np.random.default_rng(0).standard_normal(len(point))
    return (function(point)[1] != 0) | (function(beside)[1] != 0)


def check_slope(function: Function, point: Array) -> bool:
    """Whether the gradient of a function is that of its values, along a line.

    A draw by rejection, and a branch that looks at draws, make a function jump with its noise held:
    the gradient does not tell of that.

    Args:
        function: The value and the gradient at a point.
        point: The point, `(P,)`.

    Example:
        >>> check_slope(lambda x: (float((x**2).sum()), 2 * x), np.ones(3))
        True
        >>> check_slope(lambda x: (float((x**2).sum()), x), np.ones(3))
        False
    """
    value, gradient = function(point)
    direction = np.random.default_rng(0).choice([-1.0, 1.0], len(point)) * moving(function, point)
    # Some of it along the gradient, so that there is a slope to compare with.
    if np.linalg.norm(gradient) > 0:
        direction += gradient * np.sqrt(len(point)) / np.linalg.norm(gradient)
    step = STEP * max(1.0, float(np.abs(point).max(initial=0.0)))
    up, down = (function(point + sign * step * direction)[0] for sign in (1.0, -1.0))
    rounding = np.finfo(float).eps * (1 + abs(value)) * len(point) ** 0.5 / step
    allowed = SLOPE * np.linalg.norm(gradient) * np.linalg.norm(direction) + 100 * rounding
    return bool(abs((up - down) / (2 * step) - gradient @ direction) <= allowed)


def _filled(start: Array, used: NDArray[np.bool_], part: Array) -> Array:
    point = start.copy()
    point[used] = part
    return point


def _of(
    function: Function, start: Array, used: NDArray[np.bool_], part: Array
) -> tuple[float, Array]:
    """A function of some of its arguments, the others as they were."""
    value, gradient = function(_filled(start, used, part))
    return value, gradient[used]


class _Search:
    """A function that is counted, and the best point that has been found."""

    best: tuple[Array, float, Array]

    def __init__(self, function: Function, tolerance: float, max_evaluations: int) -> None:
        self.function, self.tolerance = function, tolerance
        self.max_evaluations, self.count = max_evaluations, 0

    def __call__(self, point: Array) -> tuple[float, Array]:
        self.count += 1
        return self.function(point)

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.best[2]))

    @property
    def over(self) -> bool:
        return self.norm <= self.tolerance or self.count >= self.max_evaluations

    def descend(self) -> None:
        def finite(point: Array) -> tuple[float, Array]:
            value, gradient = self(point)
            if np.isfinite(value) and np.isfinite(gradient).all():
                return value, gradient
            return NO_VALUE, np.zeros_like(point)

        left = max(1, self.max_evaluations - self.count)
        options = {"maxcor": 30, "ftol": 0.0, "gtol": 0.0, "maxfun": left, "maxiter": left}
        # The norm of the gradient is the Euclidean one, and L-BFGS-B's is not.
        options["gtol"] = self.tolerance / max(1, len(self.best[0])) ** 0.5
        found = minimize(finite, self.best[0], jac=True, method="L-BFGS-B", options=options)
        self._keep(found.x)

    def trust_region(self) -> None:
        left = max(1, self.max_evaluations - self.count)
        found = minimize(
            self,
            self.best[0],
            jac=True,
            hessp=self._curvature,
            method="trust-krylov",
            options={"gtol": self.tolerance, "maxiter": max(1, left // 20)},
        )
        self._keep(found.x)

    def newton(self) -> None:
        for _ in range(NEWTON_STEPS):
            point, _, gradient = self.best
            if self.over or not self._step(point, self._newton_step(point, gradient)):
                return

    def with_kinks(self) -> Stationary:
        """Goes on to a point where the gradient may jump, until the value stays."""
        norm, num_kinks = self.norm, 0
        while self.count < self.max_evaluations:
            before = self.best[1]
            left = self.max_evaluations - self.count
            self._keep(descend_with_kinks(self, self.best[0], max_evaluations=left))
            norm, num_kinks = smooth_part(self, self.best[0])
            if norm <= self.tolerance or self.best[1] >= before - ROUNDING * (1 + abs(before)):
                break
        point, value, _ = self.best
        return Stationary(point, value, norm, self.count, num_kinks)

    def _newton_step(self, point: Array, gradient: Array) -> Array:
        columns = np.stack([self._curvature(point, unit) for unit in np.eye(len(point))])
        curvatures, axes = np.linalg.eigh((columns + columns.T) / 2)
        sizes = np.abs(curvatures)
        used = sizes > FLAT * sizes.max(initial=0.0)
        return -axes[:, used] @ ((axes[:, used].T @ gradient) / sizes[used])

    def _step(self, point: Array, step: Array) -> bool:
        """Takes the step, or half of it, or a quarter, if the gradient is smaller there."""
        for length in 0.5 ** np.arange(8):
            before = self.norm
            self._keep(point + length * step, only_if_smaller=True)
            if self.norm < before:
                return True
        return False

    def _keep(self, point: Array, *, only_if_smaller: bool = False) -> None:
        value, gradient = self(point)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return
        smaller = np.linalg.norm(gradient) < self.norm
        # Close to the end the values of better points differ by rounding alone.
        rounding = ROUNDING * (1 + abs(value))
        if value <= self.best[1] + rounding and (smaller or not only_if_smaller):
            self.best = point, value, gradient

    def _curvature(self, point: Array, direction: Array) -> Array:
        """The product of the second derivatives with a direction, by central differences."""
        length = np.linalg.norm(direction)
        if length == 0:
            return np.zeros_like(direction)
        step = STEP * max(1.0, float(np.abs(point).max(initial=0.0))) / length
        up, down = (self(point + sign * step * direction)[1] for sign in (1.0, -1.0))
        return (up - down) / (2 * step)
