"""From the draws of a residual to a verdict on it, at a stated level of error."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from entropy_core.theory.directions import Array, Direction

Verdict = Literal["holds", "not converged", "no claim", "not decided"]

# What counts as zero, in nats per data point.
TOLERANCE = 1e-3
# The probability that any verdict of a report is an error of its draws: that of three standard
# errors. It is shared out over the claims, and over looks: more draws are taken once.
LEVEL, LOOKS = 0.0027, 2
# A bound binds where the natural parameters can be scaled by less than a tenth towards the optimum.
STEEPEST = 10.0
# Of fewer draws the spread is too rough for a forecast.
FORECAST_FROM = 5
MEDIAN_FROM = 10
# More draws are taken than the forecast says, and where it says up to so many times the most.
RESERVE, HOPE = 1.2, 4

ZERO = "the residual is zero, and the gradient along the direction"
BY_CHANCE = "the residual is zero, though no direction says that it must be"
GRADIENT = "the ELBO has a gradient along the site's direction"
BOUND = "a bound binds: its parameters can hardly be scaled towards the optimum"
NEARLY = "the direction that scales its parameters holds at some draws only"
UNCLEAR = "the draws do not tell whether the direction carries it"
NOISE = "the draws do not tell"
TOO_FEW = "too few data points to tell whether a direction of the parameters scales it"


class Judgement(NamedTuple):
    """A verdict, the reason for it, and about how many draws would decide; NaN if unknown."""

    verdict: Verdict
    reason: str
    needed_draws: float = np.nan


class Interval(NamedTuple):
    """What draws say of their true mean: from where to where it is.

    Args:
        mean: The mean of the draws.
        mcse: Its standard error; NaN from a single draw.
        margin: How far the true mean is from it at most.
        least: How far the true mean is from zero at least.
    """

    mean: float
    mcse: float
    margin: float
    least: float

    def is_within(self, tolerance: float) -> bool:
        """Whether the true mean surely is closer to zero than the tolerance."""
        return abs(self.mean) + self.margin < tolerance

    def is_beyond(self, tolerance: float) -> bool:
        """Whether it surely is further away."""
        return self.least > tolerance


def interval(draws: Array, level: float) -> Interval:
    """The mean over draws at a level of error, by Student's t for `n - 1` degrees of freedom.

    Args:
        draws: Independent draws of one number; those of a closed form are all the same.
        level: The probability that the true mean is further away than the margin.

    Example:
        >>> round(interval(np.array([0.0, 2.0]), level=0.0027).margin)
        236
    """
    num, mean = len(draws), float(draws.mean())
    if num < 2:
        return Interval(mean, np.nan, np.inf, 0.0)
    error, margin = _student(draws, level)
    least = abs(mean) - margin
    if num >= MEDIAN_FROM:
        # A long tail away from zero blows up the error, and leaves the mean on that side all the
        # more. Cut off at the median, the mean is closer to zero than the true one.
        away = np.sign(mean) * draws
        cut = np.minimum(away, np.median(away))
        least = max(least, float(cut.mean()) - _student(cut, level)[1])
    return Interval(mean, error, margin, max(least, 0.0))


def _student(draws: Array, level: float) -> tuple[float, float]:
    error = float(draws.std(ddof=1) / np.sqrt(len(draws)))
    return error, float(stdtrit(len(draws) - 1, 1 - level / 2) * error)


def judge(
    direction: Direction | None,
    residuals: Array,
    parts: Array,
    measures: Array,
    *,
    tolerance: float,
    level: float,
    reason: str = "",
) -> Judgement:
    """The verdict on the residual of a site, or of sites that share parameters.

    Args:
        direction: The best direction that was found and counts as one; `None` where there is none.
        residuals: The residual at each draw.
        parts: The gradient along the direction at each draw.
        measures: What a base measure that is not constant adds at each draw.
        tolerance: What counts as zero.
        level: The probability of an error of this verdict.
        reason: Why there is no direction.
    """
    whole = interval(residuals, level)
    if whole.is_within(tolerance):
        return Judgement("holds", BY_CHANCE if direction is None else ZERO)
    if direction is None:
        return Judgement("not decided" if reason == TOO_FEW else "no claim", reason)
    explained, measure = interval(residuals - measures, level), interval(measures, level)
    rest = interval(residuals - measures - parts, level)
    if explained.is_beyond(tolerance):
        # The natural parameters of a site with a positive residual are to grow.
        if np.sign(explained.mean) * direction.curvature < -STEEPEST:
            return Judgement("no claim", BOUND)
        if rest.is_within(max(tolerance, abs(explained.mean) / 2)):
            return Judgement("not converged", GRADIENT)
    if rest.is_beyond(tolerance):
        return Judgement("no claim", NEARLY)
    if explained.is_within(tolerance) and measure.is_beyond(tolerance):
        why = f"its base measure is not constant and adds {measure.mean:+.2g} nats"
        return Judgement("no claim", why)
    if explained.is_beyond(tolerance):
        return Judgement("not decided", UNCLEAR, _needed(rest, tolerance, len(residuals), level))
    open_ = measure if explained.is_within(tolerance) else explained
    return Judgement("not decided", NOISE, _needed(open_, tolerance, len(residuals), level))


def draws_to_take(judgements: Sequence[Judgement], num_draws: int, most: int) -> int:
    """How many more draws are to be taken, so that what they can decide is decided.

    Args:
        judgements: The verdicts so far.
        num_draws: The number of draws so far.
        most: How many there may be in all.

    Example:
        >>> draws_to_take([Judgement("not decided", NOISE, 25.0)], 10, 50)
        20
        >>> draws_to_take([Judgement("not decided", NOISE, 5000.0)], 10, 50)
        0
    """
    open_ = [j for j in judgements if j.verdict == "not decided" and j.reason in (NOISE, UNCLEAR)]
    wanted = [np.nan_to_num(RESERVE * j.needed_draws, nan=most) for j in open_]
    # Forecasts are rough.
    within = [num for num in wanted if num <= HOPE * most]
    return max(0, min(most, int(np.ceil(max(within)))) - num_draws) if within else 0


def _needed(open_: Interval, tolerance: float, num_draws: int, level: float) -> float:
    """The number of draws from which the margin is below the distance from the tolerance."""
    distance = abs(abs(open_.mean) - tolerance)
    if num_draws < FORECAST_FROM or distance <= open_.mcse:
        return np.nan
    spread = open_.mcse * np.sqrt(num_draws)
    needed = (ndtri(1 - level / 2) * spread / distance) ** 2
    # Of so many draws Student's factor is not far from its limit.
    factor = stdtrit(max(needed, num_draws) - 1, 1 - level / 2)
    return float(np.ceil((factor * spread / distance) ** 2))
