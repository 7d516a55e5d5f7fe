"""Whole numbers of any distribution as decisions: each halves the range that a number lies in."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from entropy_core.coding.bits.stacks import PRECISION, TOTAL, Stacks

Floats = NDArray[np.float64]
# From numbers i to the probabilities of what is below i, and of what is not.
Edge = Callable[[Int[np.ndarray, "A n"]], tuple[Floats, Floats]]
# From the number in the middle of a range, the probability of what is not below it in parts of
# `TOTAL`, and where ranges have more than one number, to whether the number is not below it.
Decide = Callable[
    [Int[np.ndarray, "A n"], Int[np.ndarray, "A n"], Bool[np.ndarray, "A n"] | None],
    Bool[np.ndarray, "A n"],
]


def search(
    edge: Edge,
    first: Int[np.ndarray, "A n"],
    stop: Int[np.ndarray, "A n"],
    decide: Decide,
    *,
    cut: bool = False,
) -> tuple[Int[np.ndarray, "A n"], Float[np.ndarray, "A n"]]:
    """Finds numbers from `first` to below `stop`, and their probabilities.

    A decision costs at least `2^-24` of its probability, not each number: ranges may be wide. Both
    sides of a code do the same operations on arrays of the same shapes, so that they find the same
    floats.

    Args:
        edge: The distribution.
        first: The lowest numbers.
        stop: The numbers after the highest.
        decide: Pops decisions, or knows them.
        cut: Whether the distribution goes on outside of the range: then probabilities are those
            given that a number is inside.

    Example:
        >>> uniform = lambda i: (i / 8, 1 - i / 8)
        >>> number, probability = search(
        ...     uniform, np.array([[0]]), np.array([[8]]), Recording().known(np.array([[5]]))
        ... )
        >>> number.item(), probability.item()
        (5, 0.125)
    """
    low, high = first, stop
    if cut:
        ends = (*edge(low), *edge(high))
        whole = _mass(*ends)
    else:
        one = np.ones(first.shape)
        ends, whole = (0 * one, one, one, 0 * one), one
    below_low, above_low, below_high, above_high = ends
    while True:
        is_open = high - low > 1
        if not is_open.any():
            break
        middle = (low + high) >> 1
        below, above = edge(middle)
        left = _mass(below_low, above_low, below, above)
        right = _mass(below, above, below_high, above_high)
        total = left + right
        # Far outside, where floats see nothing, anything will do.
        some = total > 0
        share = np.where(some, right / np.where(some, total, 1), 0.5)
        ones = np.maximum(np.minimum(np.rint(share * TOTAL), TOTAL - 1), 1).astype(np.int64)
        every = bool(is_open.all())
        up = decide(middle, ones, None if every else is_open)
        down = ~up if every else ~up & is_open
        low, high = np.where(up, middle, low), np.where(down, middle, high)
        below_low, above_low = np.where(up, below, below_low), np.where(up, above, above_low)
        below_high, above_high = (
            np.where(down, below, below_high),
            np.where(down, above, above_high),
        )
    leaf = _mass(below_low, above_low, below_high, above_high)
    return low, leaf / np.where(whole > 0, whole, 1)


class Popping:
    """Decisions that come from stacks.

    Args:
        stacks: The stacks.
        count: Whether to add up the cost.

    Attributes:
        cost: The bits that all decisions together have, by the coder's own probabilities.
    """

    def __init__(self, stacks: Stacks, *, count: bool = True) -> None:
        self.stacks, self.count, self.cost = stacks, count, 0.0

    def __call__(
        self,
        middle: Int[np.ndarray, "A n"],
        ones: Int[np.ndarray, "A n"],
        is_open: Bool[np.ndarray, "A n"] | None,
    ) -> Bool[np.ndarray, "A n"]:
        """Pops decisions."""
        bits = self.stacks.pop(ones, is_open)
        if self.count:
            self.cost += decision_bits(bits, ones, is_open)
        return bits


class Recording:
    """Decisions that are known, kept for `push`.

    Args:
        count: Whether to add up the cost.

    Attributes:
        cost: As of `Popping`.
    """

    def __init__(self, *, count: bool = True) -> None:
        self.count, self.cost = count, 0.0
        self._bits: list[NDArray[np.bool_]] = []
        self._ones: list[NDArray[np.int64]] = []
        self._open: list[NDArray[np.bool_] | None] = []

    def known(self, numbers: Int[np.ndarray, "A n"]) -> Decide:
        """Decides for these numbers."""

        def decide(
            middle: Int[np.ndarray, "A n"],
            ones: Int[np.ndarray, "A n"],
            is_open: Bool[np.ndarray, "A n"] | None,
        ) -> Bool[np.ndarray, "A n"]:
            bits = numbers >= middle if is_open is None else (numbers >= middle) & is_open
            self._bits.append(bits)
            self._ones.append(ones)
            self._open.append(is_open)
            if self.count:
                self.cost += decision_bits(bits, ones, is_open)
            return bits

        return decide

    def push(self, stacks: Stacks) -> None:
        """Pushes all decisions, so that they are popped in the order in which they were made."""
        if not self._bits:
            return
        is_open = None
        if any(o is not None for o in self._open):
            pairs = zip(self._bits, self._open, strict=True)
            is_open = np.hstack([np.ones(b.shape, bool) if o is None else o for b, o in pairs])
        stacks.push(np.hstack(self._bits), np.hstack(self._ones), is_open)


def decision_bits(
    bits: Bool[np.ndarray, "A n"],
    ones: Int[np.ndarray, "A n"],
    is_open: Bool[np.ndarray, "A n"] | None,
) -> float:
    """What decisions cost the coder, in bits, all together."""
    parts = np.where(bits, ones, TOTAL - ones)
    costs = PRECISION - np.log2(parts)
    return float(costs.sum() if is_open is None else costs[is_open].sum())


def _mass(below_low: Floats, above_low: Floats, below_high: Floats, above_high: Floats) -> Floats:
    # From the side on which floats have digits.
    lower = below_low < 0.5
    return np.maximum(np.where(lower, below_high - below_low, above_low - above_high), 0)
