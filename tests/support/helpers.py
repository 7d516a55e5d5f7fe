"""Tolerances, each with its reason, and what both sides' tests share."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

# Sums of some thousand float64 terms, in another order.
IDENTITY = 1e-10
# The same formula in two libraries, float64: their kernels differ in the last digits.
PARITY = 1e-9
# The host adds up -KL, and we -(KL + H) + H, in float64.
DROP_IN = 1e-6
# Units in the last digit of a closed form: some ten parts, each of which a library's function has
# to one or two, and logarithms of up to 20 nats that the result is the difference of.
LAST_DIGITS = 16.0
# Monte-Carlo estimates: one test in some ten thousand fails by chance, and the seeds are fixed.
STANDARD_ERRORS = 4.0

# One set of shapes for all tests, so that each function is compiled once.
B, D, H, HIDDEN = 8, 6, 3, (16,)


def mostly(cells: Iterable[Any], kept: Iterable[Any]) -> list[Any]:
    """Parameters of a test, of which those that are not `kept` run with the slow tests only.

    A cell is one parameter, or a tuple of several.

    For tables whose lines take long, as those on the JAX side, where each one compiles and the
    other side has the whole table.
    """
    fast = set(kept)

    def slow(cell: Any) -> Any:
        return pytest.param(*(cell if isinstance(cell, tuple) else (cell,)), marks=pytest.mark.slow)

    return [cell if cell in fast else slow(cell) for cell in cells]


def data(num: int = B, dim: int = D, seed: int = 0) -> np.ndarray:
    """Standard normal data in float64."""
    return np.random.default_rng(seed).standard_normal((num, dim))


def random_weights(weights: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Other weights of the same shapes, far from any optimum."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for key, w in sorted(weights.items()):
        drawn[key] = np.asarray(0.5 * rng.standard_normal(w.shape))
        if key.endswith(".variance"):
            drawn[key] = np.exp(drawn[key])
        if key.endswith(".covariance"):
            drawn[key] = drawn[key] @ drawn[key].T + np.eye(w.shape[0])
    return drawn


def normal_entropy(variance, axis=None) -> np.ndarray:
    """The entropy of normal distributions, summed over an axis of independent ones."""
    entropy = 0.5 * np.log(2 * np.pi * np.e * np.asarray(variance, float))
    return entropy if axis is None else entropy.sum(axis)


def assert_within_errors(estimates: np.ndarray, value: float) -> None:
    """The mean of independent estimates is within its standard errors of `value`."""
    estimates = np.asarray(estimates, float)
    error = estimates.std(ddof=1) / len(estimates) ** 0.5
    assert error > 0
    assert abs(estimates.mean() - value) <= STANDARD_ERRORS * error


def last_digits(found: Any, exact: Any) -> np.ndarray:
    """How far numbers are off, in units of the last digit of their float type.

    Of one, where they are smaller: a closed form is a sum of parts of the size of one, each of
    which is rounded.
    """
    found, eps = np.asarray(found), np.finfo(np.asarray(found).dtype).eps
    exact = np.asarray([[float(a) for a in np.atleast_1d(exact)]]).reshape(found.shape)
    errors = np.abs(found.astype(float) - exact)
    errors = np.where(found == exact, 0.0, errors)
    return errors / (eps * np.maximum(1, np.abs(exact)))


def assert_last_digits(found: Any, exact: Any, most: float = LAST_DIGITS) -> None:
    """Closed forms are right up to so many units in the last digit, and finite."""
    units = last_digits(found, exact)
    assert np.isfinite(found).all()
    assert (units <= most).all(), (found, exact, units)
