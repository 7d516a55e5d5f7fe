"""A warning where the ELBO falls while the objective rises, and nowhere else."""

import warnings

import numpy as np
import pytest

from entropy_core.training.history import History
from entropy_core.training.parting import ERRORS, WINDOWS, Watch, parted

WINDOW = min(WINDOWS)
LOOKS = np.arange(1, WINDOW + 1)
RISING, FALLING = -0.1 * LOOKS, -3.0 - 0.2 * LOOKS


def test_the_words_are_those_of_the_first_and_the_last_look():
    found = parted(3 * LOOKS, RISING, FALLING)
    assert found.fall == pytest.approx(1.0)
    assert found.words == (
        "the ELBO falls while the objective rises: from epoch 3 to 30 the ELBO went from -3.2 to "
        "-5 nats per data point, and the objective from 0.1 to 1"
    )


def test_a_flight_is_seen():
    elbo = -(10.0 ** np.arange(WINDOW))
    assert parted(LOOKS, RISING, elbo).fall > 1e8


@pytest.mark.parametrize(
    ("losses", "elbo"),
    [
        (-RISING, FALLING),  # both fall
        (RISING, -FALLING),  # both rise
        (RISING, 1e-3 * FALLING),  # the ELBO has hardly fallen
        (RISING, np.where(LOOKS == 5, np.nan, FALLING)),
        (np.where(LOOKS == 5, -np.inf, RISING), FALLING),
        (RISING, FALLING[[0, 1, 2, 3, 4, 9, 8, 7, 6, 5]]),  # it comes back
        (RISING, np.where(LOOKS == 10, -100.0, -3.0)),  # a single bad look
    ],
)
def test_nothing_else_is_taken_for_it(losses, elbo):
    assert parted(LOOKS, losses, elbo) is None


@pytest.mark.parametrize("window", WINDOWS)
def test_noise_is_not_taken_for_it(window):
    # Not even where the objective has a trend.
    looks, rng = np.arange(window), np.random.default_rng(0)
    assert not any(parted(looks, -looks, elbo) for elbo in rng.standard_normal((500, window)))


def test_a_trend_is_seen_through_noise_in_more_looks():
    looks, rng = np.arange(20), np.random.default_rng(0)
    losses, elbo = -looks + 2 * rng.standard_normal((2, 20))
    assert parted(looks, losses, elbo).fall == pytest.approx(10, abs=3)
    assert parted(looks[:10], losses[:10], elbo[:10]) is None


def test_too_few_looks_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not watch(0.01, zip(RISING[:-1], FALLING[:-1], strict=True))


def watch(error, rows):
    history, seen = Rows(), []
    watched = Watch(lambda: seen.append(error) or error)
    for loss, elbo in rows:
        history.rows.append((loss, elbo))
        watched.look(history)
    return len(seen)


class Rows(History):
    """A history of given numbers."""

    def __init__(self):
        self.rows = []

    def newest(self, count, *names):
        assert names == ("loss", "elbo")
        losses, elbo = np.array(self.rows[-count:]).T
        last = len(self.rows)
        return np.arange(last - len(losses), last) + 1, losses, elbo


def test_it_warns_once():
    steps = np.arange(60)
    with pytest.warns(UserWarning, match="from epoch 1 to 10 the ELBO") as caught:
        num_asked = watch(0.01, zip(-steps, -steps, strict=True))
    assert (len(caught), num_asked) == (1, 1)


@pytest.mark.parametrize("error", [1.0, np.nan])
def test_a_fall_within_the_errors_of_the_draws_is_none(error):
    steps = 0.9 * ERRORS / 10 * np.arange(25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        num_asked = watch(error, zip(-steps, -steps, strict=True))
    # The error costs a look with many draws: it is not asked for again at once.
    assert num_asked == 2
