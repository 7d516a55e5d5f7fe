"""Whether an objective and the ELBO part in a training: the one rises, and the other falls."""

from collections.abc import Callable
from typing import NamedTuple
from warnings import warn

import numpy as np
from numpy.typing import ArrayLike

from entropy_core.training.history import History

# In so many looks in a row, so many pairs may be in the other order: of series without a trend one
# in 67,000 has as few, and of the longer ones fewer.
WINDOWS = {10: 2, 20: 18}
# How far the ELBO must fall: in nats per data point, and in standard errors of a look.
SMALLEST, ERRORS = 0.1, 5


class Parted(NamedTuple):
    """How an objective and the ELBO have parted.

    Args:
        fall: By how much the ELBO has fallen, between the means of the two halves of the looks.
        words: The same in words.
    """

    fall: float
    words: str


def parted(epochs: ArrayLike, losses: ArrayLike, elbo: ArrayLike) -> Parted | None:
    """Whether the objective has risen while the ELBO has fallen, look by look.

    Args:
        epochs: Where the looks are, in order; as many as one of `WINDOWS`.
        losses: The negative objective, in nats per data point.
        elbo: The ELBO, in the same unit.

    Returns:
        `None` where either is not in order, or the ELBO has not fallen far.

    Example:
        >>> looks = np.arange(10)
        >>> parted(looks, -0.1 * looks, -5 - looks).fall
        5.0
        >>> parted(looks, -0.1 * looks, -5 + looks) is None
        True
    """
    first, last = np.asarray(epochs)[[0, -1]]
    loss, elbo = np.asarray(losses, float), np.asarray(elbo, float)
    if not (_falls(loss) and _falls(elbo)):
        return None
    half = len(elbo) // 2
    fall = float(elbo[:half].mean() - elbo[half:].mean())
    if not fall > SMALLEST:
        return None
    words = (
        f"the ELBO falls while the objective rises: from epoch {first} to {last} the ELBO went "
        f"from {elbo[0]:.4g} to {elbo[-1]:.4g} nats per data point, and the objective from "
        f"{-loss[0]:.4g} to {-loss[-1]:.4g}"
    )
    return Parted(fall, words)


def _falls(values: np.ndarray) -> bool:
    """Whether nearly each of these is below all before it."""
    if not np.isfinite(values).all():
        return False
    earlier, later = np.triu_indices(len(values), 1)
    return bool((values[later] >= values[earlier]).sum() <= WINDOWS[len(values)])


class Watch:
    """Warns, once, where an objective and the ELBO part.

    The order of the looks says that both have a trend. How far a look may be off by its draws alone
    is asked only then.

    Args:
        error: The Monte-Carlo standard error of a look's ELBO at the present weights.
    """

    def __init__(self, error: Callable[[], float]) -> None:
        self._error = error
        # After how many looks the next one is of interest.
        self._waits = 0

    def look(self, history: History) -> None:
        """Warns if the newest rows of a history say so."""
        if self._waits:
            self._waits -= 1
            return
        rows = (history.newest(window, "loss", "elbo") for window in WINDOWS)
        whole = [row for row, window in zip(rows, WINDOWS, strict=True) if len(row[0]) == window]
        found = [each for each in (parted(*row) for row in whole) if each]
        if not found:
            return
        self._waits = min(WINDOWS)
        furthest = max(found, key=lambda each: each.fall)
        if furthest.fall > ERRORS * self._error():
            self._waits = 2**62
            warn(furthest.words, UserWarning, stacklevel=2)
