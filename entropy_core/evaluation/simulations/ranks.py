"""Ranks of true latents in a guide: how its intervals cover them, and what they say in nats.

Where the guide is the posterior, each rank is uniform (Talts et al. 2018, Thm. 1).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc

# A rank is one of so many, of which all intervals have whole numbers. Where a distribution function
# is not known, it is the rank among draws, at random within one fortieth.
NUM_RANKS, NUM_DRAWS = 200, 39
LEVELS = (0.5, 0.8, 0.9, 0.95)
# Ranks are put together for their divergence, of which empty ones would be all bias.
NUM_BINS = 20

Counts = Int[np.ndarray, "h r"]


def ranks_of(parts: NDArray[np.floating]) -> NDArray[np.intp]:
    """The ranks of values of a distribution function: its part `u` in `[0, 1]` is `floor(200 u)`.

    Example:
        >>> ranks_of(np.array([0.0, 0.5, 1.0]))
        array([  0, 100, 199])
    """
    return np.minimum((NUM_RANKS * parts).astype(np.intp), NUM_RANKS - 1)


def count_ranks(ranks: Int[np.ndarray, "b h"]) -> Counts:
    """How often each latent has each rank."""
    num_latents = ranks.shape[1]
    places = ranks.astype(np.intp) + NUM_RANKS * np.arange(num_latents)
    counts = np.bincount(places.ravel(), minlength=NUM_RANKS * num_latents)
    return counts.reshape(num_latents, NUM_RANKS)


def inside(counts: Counts, level: float) -> Int[np.ndarray, " h"]:
    """How many true values lie in the central interval of a level.

    Example:
        >>> inside(np.ones((1, NUM_RANKS), int), 0.9)
        array([180])
    """
    out = round(NUM_RANKS * (1 - level) / 2)
    return counts[:, out : NUM_RANKS - out].sum(1)


def above_median(counts: Counts) -> Int[np.ndarray, " h"]:
    """How many true values lie above the guide's median."""
    return counts[:, NUM_RANKS // 2 :].sum(1)


def divergence_of(counts: Counts) -> Float[np.ndarray, "h 2"]:
    """The divergence of each latent's ranks from uniform ones, and its standard error, in nats.

        sum_b f_b log(20 f_b) - (m - 1) / (2 N)

    over 20 bins with the shares `f`, of which `m` are not empty (the bias: Miller 1955). Ranks are
    a function of latents and data, so that this is no more than the mean divergence
    `KL(p(z|x) || q(z|x))`, and neither is the sum over the latents of a guide that draws each of
    them independently of the others, given those before it.
    """
    bins = counts.reshape(len(counts), NUM_BINS, NUM_RANKS // NUM_BINS).sum(-1)
    num = np.maximum(bins.sum(1, keepdims=True), 1)
    shares = bins / num
    with np.errstate(divide="ignore"):
        logs = np.where(bins > 0, np.log(NUM_BINS * shares), 0.0)
    value = (shares * logs).sum(1)
    num = num[:, 0]
    # That of the shares' logarithms is noise alone where the ranks are uniform, of twice the
    # variance that the sum has there.
    freedom = (bins > 0).sum(1) - 1
    variance = (shares * logs**2).sum(1) - value**2 - freedom / num
    variance = np.maximum(variance, 0.0) + freedom / (2 * num)
    bias = freedom / (2 * num)
    return np.stack([value - bias, np.sqrt(variance / num)], -1)


def probability(counts: Int[np.ndarray, " h"], num: int, level: float) -> Float[np.ndarray, " h"]:
    """How likely a count that far from what it should be is, to either side: a binomial test."""
    below, above = bdtr(counts, num, level), bdtrc(counts - 1.0, num, level)
    return np.minimum(2 * np.minimum(below, np.where(counts > 0, above, 1.0)), 1.0)


def rank_table(latents: Sequence[str], counts: Counts) -> pd.DataFrame:
    """What ranks say of each latent.

    Args:
        latents: Their names.
        counts: How often each has each rank.

    Returns:
        A line for each latent: the share of true values in the central intervals, `50 %` to `95 %`,
        and `above` the median, each with its binomial standard error; `divergence` and its error,
        see `divergence_of`; and `p_value`, the least probability of a deviation that large in one
        of the five counts, times their number.
    """
    num = int(counts[0].sum()) if len(counts) else 0
    table = pd.DataFrame(index=pd.Index(latents, name="latent"))
    tests = [(f"{100 * level:.0f} %", inside(counts, level), level) for level in LEVELS]
    tests.append(("above", above_median(counts), 0.5))
    p_value = np.ones(len(counts))
    for name, found, level in tests:
        table[name] = found / max(num, 1)
        # With half a count to either side no share is without an error.
        share = (found + 0.5) / (num + 1)
        table[f"{name} error"] = np.sqrt(share * (1 - share) / max(num, 1))
        p_value = np.minimum(p_value, probability(found, num, level))
    divergence = divergence_of(counts)
    table["divergence"], table["divergence error"] = divergence[:, 0], divergence[:, 1]
    table["p_value"] = np.minimum(len(tests) * p_value, 1.0)
    return table


def spread_evenly(counts: Int[np.ndarray, " r"]) -> Float[np.ndarray, " n"]:
    """As many numbers in `[0, 1]` as there are ranks: those of one rank evenly over its part.

    Example:
        >>> spread_evenly(np.array([1, 3]))
        array([0.25      , 0.58333333, 0.75      , 0.91666667])
    """
    starts = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    within = (np.arange(counts.sum()) - first + 0.5) / np.repeat(counts, counts)
    return (starts + within) / len(counts)
