"""What simulations say of a guide in plain words: only what their errors allow."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from entropy_core.evaluation.likelihood import HIGH_K
from entropy_core.evaluation.simulations.ranks import LEVELS
from entropy_core.results.numbers import short, with_error

# The probability that anything is said against the posterior, that of three standard errors: one
# half for the divergence, one for the ranks of all latents together.
FALSE_ALARM = 0.0027
# In nats per data point: parameters in float32 may be off by so much themselves.
NEGLIGIBLE = 1e-6
# Of many latents those are named that are farthest off.
MOST_LATENTS = 10
MOST_NAMED = 5
MEDIAN = "above"
INTERVALS = [f"{100 * level:.0f} %" for level in LEVELS]


def divergence_differs(divergence: float, error: float, num: int, rounding: float) -> bool:
    """Whether a divergence is above zero by more than its error and rounding allow."""
    return bool(np.isinf(divergence) or divergence > _margin(error, num, rounding))


def _margin(error: float, num: int, rounding: float) -> float:
    # By Student's t, with as many degrees as there are simulations less one.
    return float(stdtrit(num - 1, 1 - FALSE_ALARM / 2) * error + max(rounding, NEGLIGIBLE))


def wrong_latents(table: pd.DataFrame) -> pd.DataFrame:
    """The latents whose ranks are not uniform, those first of which more shows in them."""
    wrong = table[table["p_value"] * len(table) < FALSE_ALARM / 2]
    return wrong.sort_values("divergence", ascending=False)


def on_divergence(
    divergence: float,
    error: float,
    num: int,
    num_infinite: int,
    rounding: float,
    *,
    ranks_differ: bool,
) -> list[str]:
    """How far the guide is from the posterior.

    Args:
        divergence: The estimate.
        error: Its standard error.
        num: The number of simulations.
        num_infinite: In how many model or guide has no density.
        rounding: What may be an effect of rounding.
        ranks_differ: Whether ranks show that the guide is not the posterior.
    """
    if num_infinite:
        return [
            f"In {num_infinite:,} of {num:,} simulations the guide has no density at the true "
            "latents, or the model has none at the guide's: the divergence is infinite."
        ]
    if divergence_differs(divergence, error, num, rounding):
        return [
            f"The guide is {with_error(divergence, error)} nats per data point from the "
            "posterior, both divergences together, over data of the model's own."
        ]
    if ranks_differ:
        return [
            "The guide is not the posterior, as ranks show, but the divergence is not told from "
            f"zero in {num:,} simulations ({with_error(divergence, error)} nats)."
        ]
    if error <= max(rounding, NEGLIGIBLE):
        bound = max(divergence, 0.0) + _margin(error, num, rounding)
        return [
            f"In {num:,} simulations guide and posterior do not differ: the divergence is less "
            f"than {short(bound)} nats per data point."
        ]
    return [
        f"In {num:,} simulations no difference of guide and posterior shows: the divergence is "
        f"{with_error(divergence, error)} nats per data point."
    ]


def on_latents(table: pd.DataFrame, num: int, divergence: float) -> list[str]:
    """What is wrong with single latents, where it is no effect of the draws.

    Args:
        table: What `rank_table` returns.
        num: The number of simulations.
        divergence: That of the guide.
    """
    wrong = wrong_latents(table)
    found = [_on_latent(str(name), row, num) for name, row in wrong[:MOST_NAMED].iterrows()]
    if len(wrong) > MOST_NAMED:
        others = len(wrong) - MOST_NAMED
        found.append(f"Ranks of {others} other latent{'s' * (others > 1)} are not uniform, either.")
    if len(wrong) and np.isfinite(divergence):
        worst = wrong.iloc[0]
        value, error = worst["divergence"], worst["divergence error"]
        if 3 * error < value:
            found.append(
                f"Of the divergence at least {with_error(value, error)} nats show in the "
                f"ranks of {wrong.index[0]} alone."
            )
    return found


def _on_latent(name: str, row: pd.Series, num: int) -> str:
    def score(column: str, level: float) -> float:
        return (row[column] - level) / (level * (1 - level) / num) ** 0.5

    scores = {c: score(c, level) for c, level in zip(INTERVALS, LEVELS, strict=True)}
    scores[MEDIAN] = score(MEDIAN, 0.5)
    column = max(scores, key=lambda c: abs(scores[c]))
    share = f"{100 * row[column]:.1f} %"
    if column == MEDIAN:
        side = "low" if scores[column] > 0 else "high"
        return (
            f"{name}: {share} of the true values lie above the guide's median, which is too {side}."
        )
    inside = f"{name}: {share} of the true values lie in the guide's {column} intervals"
    if scores[column] > 0:
        return f"{inside}: these are too wide."
    return f"{inside}: these are too narrow, or beside the posterior's."


def on_untreated(untreated: Sequence[tuple[str, str]]) -> list[str]:
    """Which latents have no ranks."""
    return [f"'{name}' has no ranks ({why})." for name, why in untreated]


def on_gaps(
    gaps: NDArray[np.float64], pareto_k: NDArray[np.float64], divergence: float, error: float
) -> list[str]:
    """How far the guide is from the posterior of real data, and whether farther than of others.

    Args:
        gaps: For each data point the log-likelihood less the ELBO, an estimate of `KL(q || p)`.
        pareto_k: Where it is high, a gap is an underestimate.
        divergence: The divergence over simulations, of which `KL(q || p)` is a part.
        error: Its standard error.
    """
    mean, spread, worst = _mean_error(gaps), gaps.std(), int(gaps.argmax())
    high = int((pareto_k > HIGH_K).sum())
    at_least = "at least about " if high else ""
    found = [
        f"On the data the guide is {at_least}{with_error(*mean)} nats per data point from the "
        f"posterior, KL(q || p) alone, and {short(gaps[worst])} for data point {worst}."
    ]
    if high:
        found.append(
            f"For {high:,} of {len(gaps):,} data points a few draws decide (Pareto k > {HIGH_K}): "
            "there it is likely to be more."
        )
    if spread and mean[0] - 3 * mean[1] > divergence + 3 * error:
        found.append(
            "That is more than both divergences together on data of the model's own "
            f"({with_error(divergence, error)}): such data the guide does better."
        )
    return found


def on_misfit(
    values: NDArray[np.float64],
    pareto_k: NDArray[np.float64],
    elbo: tuple[float, float],
    divergence: float,
    error: float,
) -> list[str]:
    """Whether the data have another log-likelihood than the model's own.

    Args:
        values: The log-likelihood of each data point, estimated from below.
        pareto_k: Where it is high, that is an underestimate.
        elbo: The ELBO of simulated data, and its standard error.
        divergence: By how much their log-likelihood is above it at most.
        error: Its standard error.
    """
    mean, spread = _mean_error(values)
    low, high = elbo[0], elbo[0] + divergence
    margin = 3 * np.hypot(spread, elbo[1] + error)
    # From below says nothing of what is lower, where a few draws decide.
    is_lower = mean + margin < low and not (pareto_k > HIGH_K).any()
    if not is_lower and not mean - margin > high:
        return []
    return [
        "The data are not like the model's own: those have a log-likelihood between "
        f"{low:.2f} and {high:.2f} nats per data point on average, these one of "
        f"{with_error(mean, spread)}."
    ]


def _mean_error(values: NDArray[np.float64]) -> tuple[float, float]:
    num = len(values)
    return float(values.mean()), float(values.std(ddof=1) / num**0.5) if num > 1 else float("nan")


def rank_lines(table: pd.DataFrame, most: int) -> list[str]:
    """The lines of a table of coverage in percent, of those latents that are farthest off.

    Args:
        table: What `rank_table` returns.
        most: How many to show.
    """
    shown = table
    if len(table) > most:
        farthest = table.sort_values(["p_value", "divergence"], ascending=[True, False]).index[
            :most
        ]
        shown = table.loc[table.index.isin(farthest)]
    columns = [*INTERVALS, MEDIAN]
    width = max(4, *(len(str(name)) for name in shown.index))
    lines = ["true latents in the guide's intervals, and above its median"]
    lines.append("  ".join([" " * width, *columns]))
    for name, row in shown.iterrows():
        cells = (f"{100 * row[c]:.3g}".rjust(len(c)) for c in columns)
        lines.append("  ".join([f"{name!s:{width}}", *cells]))
    if len(table) > len(shown):
        lines.append(f"({len(table) - len(shown)} others are nearer to what they should be)")
    return lines
