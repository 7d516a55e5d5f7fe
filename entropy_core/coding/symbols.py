"""Discrete variables on stacks: each family by its distribution function."""

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from scipy import special

from entropy_core.coding.bits.search import Decide, Edge, Popping, Recording, search
from entropy_core.coding.bits.stacks import Stacks
from entropy_core.coding.levels import Likelihood

# The tail beyond a cut is below 2^-24 = exp(-TAIL).
TAIL = 24 * np.log(2)
LENGTHS = 32


def push_data(
    numbers: Int[np.ndarray, "A D"], likelihood: Likelihood, stacks: Stacks, *, count: bool = True
) -> float:
    """Pushes the numbers of data, and returns what they cost in bits by the coder's tables."""
    recording = Recording(count=count)
    if likelihood.family != "poisson":
        _find(likelihood, recording.known(numbers))
    else:
        cut = cuts(likelihood.arrays[0])
        _find(likelihood, recording.known(np.minimum(numbers, cut)), cut)
        # Elias' code of what is left: its length, and its digits after the first.
        rest = np.maximum(numbers - cut, 0) + 1
        length = np.frexp(rest)[1].astype(np.int64) - 1
        _uniform(np.where(numbers >= cut, LENGTHS, 1), recording.known(length))
        _uniform(1 << length, recording.known(rest - (1 << length)))
    recording.push(stacks)
    return recording.cost


def pop_data(likelihood: Likelihood, stacks: Stacks) -> Int[np.ndarray, "A D"]:
    """Pops the numbers of data."""
    popping = Popping(stacks, count=False)
    if likelihood.family != "poisson":
        return _find(likelihood, popping)
    cut = cuts(likelihood.arrays[0])
    numbers = _find(likelihood, popping, cut)
    length = _uniform(np.where(numbers >= cut, LENGTHS, 1), popping)
    return numbers + _uniform(1 << length, popping) + (1 << length) - 1


def cuts(rate: NDArray[np.float64]) -> Int[np.ndarray, "A D"]:
    """The lowest counts that are not coded by themselves but as ones beyond the cut.

    By Bernstein's inequality, `P(n >= rate + t) <= exp(-t^2 / (2 (rate + t / 3)))`.
    """
    third = TAIL / 3
    return np.ceil(rate + third + np.sqrt(third**2 + 2 * TAIL * rate)).astype(np.int64)


def _find(
    likelihood: Likelihood, decide: Decide, cut: Int[np.ndarray, "A D"] | None = None
) -> Int[np.ndarray, "A D"]:
    zeros = np.zeros(likelihood.shape, np.int64)
    stop = zeros + likelihood.num_levels if cut is None else cut + 1
    return search(_edge(likelihood), zeros, stop, decide)[0]


def _uniform(size: Int[np.ndarray, "A D"], decide: Decide) -> Int[np.ndarray, "A D"]:
    return search(lambda i: (i / size, 1 - i / size), 0 * size, size, decide)[0]


def _edge(likelihood: Likelihood) -> Edge:
    if likelihood.family == "bernoulli":
        (logits,) = likelihood.arrays
        sides = special.expit(-logits), special.expit(logits)
        return lambda i: sides
    if likelihood.family == "categorical":
        return _categorical(special.softmax(likelihood.arrays[0], axis=-1))
    if likelihood.family == "poisson":
        (rate,) = likelihood.arrays
        return lambda i: (special.pdtr(i - 1.0, rate), special.pdtrc(i - 1.0, rate))
    (loc, scale), steps = likelihood.arrays, likelihood.num_levels - 1
    tail = special.expit if likelihood.family == "logistic" else special.ndtr

    def edge(i: Int[np.ndarray, "A D"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return both_sides(((i - 0.5) / steps - loc) / scale, tail)

    return edge


def both_sides(
    t: NDArray[np.float64], cdf: np.ufunc
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a density that is even about zero has below `t`, and what it has above."""
    tail = cdf(-np.abs(t))
    below = t < 0
    return np.where(below, tail, 1 - tail), np.where(below, 1 - tail, tail)


def _categorical(p: NDArray[np.float64]) -> Edge:
    zero = np.zeros((*p.shape[:-1], 1))
    below = np.concatenate([zero, np.cumsum(p, -1)], -1)
    above = np.concatenate([np.cumsum(p[..., ::-1], -1)[..., ::-1], zero], -1)

    def edge(i: Int[np.ndarray, "A D"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        at = i[..., None]
        return np.take_along_axis(below, at, -1)[..., 0], np.take_along_axis(above, at, -1)[..., 0]

    return edge
