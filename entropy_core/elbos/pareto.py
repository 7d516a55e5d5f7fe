"""Pareto's k: how heavy the tail of importance weights is, for many data points at once.

The numbers are those of `arviz_stats`, which fits one data point after another.
"""

from math import sqrt

import numpy as np
from jaxtyping import Float

# Log-weights that differ by less differ by rounding, as those of the exact posterior do.
EQUAL = 1e-9
# The prior of the fit: where its candidates lie, and what `k` is drawn to, by how many draws.
SPREAD, CENTRE, STRENGTH = 3, 0.5, 10
# All candidates of so many data points stay in the cache.
BLOCK = 16


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
    found = np.full(largest.shape[1], np.nan)
    if tail_length(num_particles) < 5:  # too few for a fit
        return found
    ordered = np.sort(largest.T, axis=1)
    # Zero weights make infinities on the way.
    with np.errstate(all="ignore"):
        (fitted,) = np.nonzero(ordered[:, -1] - ordered[:, 1] > EQUAL)
        for rows in np.array_split(fitted, range(BLOCK, len(fitted), BLOCK)):
            weights = np.exp(ordered[rows] - ordered[rows, -1:])
            found[rows] = _shape(weights[:, 1:] - weights[:, :1])
    return found


def _shape(excess: Float[np.ndarray, "b t"]) -> Float[np.ndarray, " b"]:
    """The shape of generalised Pareto distributions, from ordered excesses over a threshold.

    The profile posterior mean of Zhang & Stephens 2009, drawn to 1/2 as much as by ten more draws
    (Vehtari et al. 2024, Appendix G).
    """
    num = excess.shape[1]
    num_candidates = 30 + int(sqrt(num))
    places = 1 - np.sqrt(num_candidates / (np.arange(1, num_candidates + 1) - 0.5))
    quartile = excess[:, int(num / 4 + 0.5) - 1 : int(num / 4 + 0.5)]
    candidates = places / (SPREAD * quartile) + 1 / excess[:, -1:]
    # For these arguments `log1p` is no more exact than `log`, and slower by far.
    k = np.log(1 - candidates[:, :, None] * excess[:, None, :]).mean(2)
    log_posterior = num * (np.log(-candidates / k) - k - 1)
    weights = np.exp(log_posterior - log_posterior.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    # What is negligible, or no number, does not count.
    counts = weights >= 10 * np.finfo(float).eps
    weights, candidates = np.where(counts, weights, 0), np.where(counts, candidates, 0)
    total = weights.sum(1)
    mean = (weights * candidates).sum(1) / np.where(total > 0, total, 1)
    k = np.log1p(-mean[:, None] * excess).mean(1)
    return (num * k + STRENGTH * CENTRE) / (num + STRENGTH)
