"""What both sides' tests ask of `guide_error`."""

from collections.abc import Sequence

import numpy as np

from entropy_core.evaluation.simulations.guide_error import GuideError
from tests.support.conjugate_pairs import GaussianPair

# What is exact up to rounding in float64 is within this of it.
ROUNDING = 1e-9

FAST_PAIRS = (
    "right, full",
    "scale 1.05, diagonal",
    "scale 0.90, diagonal",
    "shifted, full",
    "rotated, diagonal",
)


def check_pair(pair: GaussianPair, found: GuideError) -> None:
    """The divergence is within three standard errors, and ranks say what they should."""
    assert abs(found.divergence - pair.divergence) <= 3 * found.std_error + ROUNDING
    # What is neither nothing nor much may be found or not.
    assert found.differs or pair.divergence < 0.02
    assert not found.differs or pair.divergence > ROUNDING
    # Of a part of the divergence in one direction no latent shows more than all of it.
    shown = found.summary()
    assert (shown["divergence"] - 4 * shown["divergence error"] < pair.divergence).all()


def check_right(found: GuideError) -> None:
    """The guide is the posterior."""
    assert abs(found.divergence) < ROUNDING + found.rounding
    assert not found.differs
    assert "do not differ" in str(found)


def check_calibration(pair: GaussianPair, found: Sequence[GuideError]) -> None:
    """Standard errors are those that estimates have."""
    scores = [(f.divergence - pair.divergence) / f.std_error for f in found]
    assert 0.9 < np.std(scores, ddof=1) < 1.1
    assert abs(np.mean(scores)) < 4 / len(scores) ** 0.5


def check_flags(name: str, found: Sequence[GuideError]) -> None:
    """A right guide is hardly ever flagged, and a scale off by a tenth nearly always."""
    share = np.mean([f.differs for f in found])
    assert share <= 0.01 if name.startswith("right") else share >= 0.99
