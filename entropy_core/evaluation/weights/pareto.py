"""Pareto's k: the shape of the upper tail of importance weights."""

from math import sqrt

import numpy as np
from jaxtyping import Float

# Log-weights that differ by less differ by rounding, as those of the exact posterior do.
EQUAL = 1e-9


def tail_length(num_particles: int) -> int:
    """How many of the largest of `K` weights are their tail: `min(K/5, 3 sqrt(K))`, rounded down.

    Vehtari et al. 2024, Appendix H, with independent draws.
    """
    return int(3 * sqrt(num_particles)) if num_particles > 225 else num_particles // 5


def pareto_k(largest: Float[np.ndarray, "m b"], num_particles: int) -> Float[np.ndarray, " b"]:
    """Pareto's k of each data point from its largest log-weights alone, as from all of them.

    Args:
        largest: The `tail_length(num_particles) + 1` largest log-weights, in any order.
        num_particles: The number of all log-weights.
    """
    # SciPy comes with it, which takes a second to import.
    from arviz_stats.base import array_stats

    tail, found = tail_length(num_particles), np.full(largest.shape[1], np.nan)
    if tail < 5:  # psislw refuses
        return found
    ordered = np.sort(largest, axis=0)
    for n, column in enumerate(ordered.T):
        # Below the tail, only the largest weight has an influence, and all are made equal to it.
        padded = np.full(num_particles, column[0])
        padded[-len(column) :] = column
        # Zero weights and ties make infinities on the way, and psislw goes on with the others.
        with np.errstate(all="ignore"):
            if column[-1] - column[1] > EQUAL:
                # psislw takes log-likelihoods left out, the negative of log-weights.
                found[n] = array_stats.psislw(-padded)[1]
    return found
