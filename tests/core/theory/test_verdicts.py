"""What draws decide: no false verdict, and verdicts wherever there is enough to go by."""

import numpy as np
import pytest

from entropy_core.theory import verdicts
from entropy_core.theory.directions import Direction
from entropy_core.theory.verdicts import (
    LEVEL,
    LOOKS,
    NOISE,
    TOO_FEW,
    UNCLEAR,
    Judgement,
    draws_to_take,
    interval,
    judge,
)

TOLERANCE = 1e-3
ZERO = np.zeros(1)


def verdict(residuals, parts=None, measures=0.0, *, curvature=0.0, has_direction=True, reason=""):
    residuals = np.asarray(residuals, float)
    direction = Direction(("x",), ZERO, beta=ZERO, misfit=0.0, curvature=curvature)
    return judge(
        direction if has_direction else None,
        residuals,
        residuals if parts is None else np.broadcast_to(parts, residuals.shape),
        np.broadcast_to(measures, residuals.shape),
        tolerance=TOLERANCE,
        level=LEVEL,
        reason=reason,
    )


def test_a_residual_that_is_not_small_never_holds():
    """With a gradient of a million and its error, all is within its noise."""
    rng = np.random.default_rng(0)
    for num in (2, 4, 100):
        parts = 1e6 * rng.standard_normal(num)
        assert verdict(np.full(num, -24.0), parts).verdict in ("not decided", "no claim")


def test_without_a_direction_there_is_no_claim_but_a_residual_may_be_zero():
    options = {"has_direction": False, "reason": "why"}
    assert verdict([0.5, 0.4], **options)[:2] == ("no claim", "why")
    assert verdict([1e-5] * 3, **options).verdict == "holds"
    assert "no direction says" in verdict([1e-5] * 3, **options).reason
    assert verdict([0.5] * 3, has_direction=False, reason=TOO_FEW).verdict == "not decided"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bound_that_binds_is_no_claim(sign):
    """The direction saturates where the natural parameters are to go, not the other way."""
    assert verdict([sign * 0.7] * 2, curvature=-1e7 * sign).reason == verdicts.BOUND
    assert verdict([sign * 0.7] * 2, curvature=1e7 * sign).verdict == "not converged"
    # The logarithm of a scale bends, too, and can be moved as far as one likes.
    assert verdict([sign * 0.7] * 2, curvature=-2.0 * sign).verdict == "not converged"


def test_a_direction_that_holds_at_some_draws_only():
    assert verdict([0.5] * 3, 0.1).reason == verdicts.NEARLY
    noisy = 0.5 + 5 * np.array([1.0, -1.0, 0.5])
    assert verdict([0.5] * 3, noisy)[:2] == ("not decided", UNCLEAR)


def test_a_long_tail_away_from_zero_is_no_doubt():
    draws = -np.exp(3 * np.random.default_rng(0).standard_normal(50))
    assert interval(draws, LEVEL).margin > -draws.mean()
    assert verdict(draws).verdict == "not converged"
    # One towards zero and beyond it is.
    assert verdict(0.1 + draws + np.exp(3.0)).verdict == "not decided"


@pytest.mark.parametrize("num_draws", [2, 3, 10, 100])
def test_verdicts_at_the_edge_of_the_tolerance_are_rarely_wrong(num_draws):
    rng = np.random.default_rng(0)
    errors = [0.0, 0.0]
    for _ in range(1000):
        noise = rng.standard_normal(num_draws) * TOLERANCE * rng.choice([0.1, 1.0, 100.0])
        errors[0] += verdict(1.0001 * TOLERANCE + noise).verdict == "holds"
        errors[1] += verdict(0.9999 * TOLERANCE + noise).verdict == "not converged"
    # About LEVEL / 2 is expected; seven of a thousand are far beyond chance.
    assert max(errors) < 7


def test_power():
    """With errors below a third of the tolerance, and as many draws again as a look may take."""
    rng, level = np.random.default_rng(1), LEVEL / LOOKS / 4
    decided = {0.0: 0, 3.0: 0}
    for _ in range(300):
        for size in decided:
            draws = size * TOLERANCE + TOLERANCE / 3 * 10 * rng.standard_normal(500)
            options = {"tolerance": TOLERANCE, "level": level}
            direction = Direction(("x",), ZERO, misfit=0.0)
            for some in (draws[:100], draws):
                found = judge(direction, some, some, np.zeros(len(some)), **options)
                if found.verdict != "not decided":
                    break
                assert draws_to_take([found], 100, 500) > 0
            decided[size] += found.verdict == ("not converged" if size else "holds")
    assert min(decided.values()) >= 0.95 * 300


def test_how_many_draws_would_tell():
    rng = np.random.default_rng(2)
    forecasts = []
    for _ in range(50):
        found = verdict(0.1 * rng.standard_normal(20))
        assert found.verdict == "not decided"
        # Student's factor 3.0 times 0.1 / sqrt(n) is 1e-3 at 90,000, from a mean of zero.
        forecasts.append(found.needed_draws)
    # Where the mean is as far from the tolerance as its error is, nothing can be said.
    known = np.array(forecasts)[~np.isnan(forecasts)]
    assert 10 <= len(known) < 50
    assert (known > 20).all()
    assert np.isnan(verdict([0.1, -0.1]).needed_draws)
    many = verdict(np.tile([0.005, -0.005], 50))
    assert 200 < many.needed_draws < 300
    assert verdict(np.tile([0.005, -0.005], 150)).verdict == "holds"


def test_how_many_are_taken():
    def open_(needed, reason=NOISE):
        return Judgement("not decided", reason, needed)

    assert draws_to_take([Judgement("holds", "")], 10, 50) == 0
    assert draws_to_take([open_(20.0), open_(30.0)], 10, 50) == 26
    assert draws_to_take([open_(45.0)], 10, 50) == 40
    # Too many are not worth a pass, unless another site is.
    assert draws_to_take([open_(1e6)], 10, 50) == 0
    assert draws_to_take([open_(1e6), open_(15.0)], 10, 50) == 8
    # Of two draws there is no forecast.
    assert draws_to_take([open_(np.nan)], 2, 10) == 8
    assert draws_to_take([open_(np.nan, TOO_FEW)], 2, 10) == 0
