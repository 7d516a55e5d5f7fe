"""Discrete variables on stacks: what comes back, and what they cost."""

import numpy as np
import pytest
from scipy import stats

from entropy_core.coding.bits.search import Recording, search
from entropy_core.coding.bits.stacks import TOTAL, Stacks, Starved, seed_words
from entropy_core.coding.levels import Likelihood
from entropy_core.coding.symbols import cuts, pop_data, push_data

B, D, LEVELS, CLASSES = 3, 40, 256, 7
RNG = np.random.default_rng(0)
LOC = RNG.uniform(-0.2, 1.2, (B, D))
SCALE = 10 ** RNG.uniform(-3, 0, (B, D))
LOGITS = 4 * RNG.standard_normal((B, D, CLASSES))
RATE = 10 ** RNG.uniform(-3, 3, (B, D))

LIKELIHOODS = {
    "bernoulli": Likelihood("bernoulli", (LOGITS[..., 0],), 2),
    "categorical": Likelihood("categorical", (LOGITS,), CLASSES),
    "poisson": Likelihood("poisson", (RATE,), 0),
    "logistic": Likelihood("logistic", (LOC, SCALE), LEVELS),
    "normal": Likelihood("normal", (LOC, SCALE), LEVELS),
}


def bins(cdf, sf):
    """Probabilities of levels by SciPy's distribution functions."""
    edges = (np.arange(1, LEVELS) - 0.5) / (LEVELS - 1)
    below = np.concatenate([[0], cdf(edges), [1]])
    above = np.concatenate([[1], sf(edges), [0]])
    return np.where(below[:-1] < 0.5, np.diff(below), -np.diff(above))


def oracle(family, b, d):
    """All probabilities of one variable."""
    if family == "bernoulli":
        p = 1 / (1 + np.exp(-LOGITS[b, d, 0]))
        return np.array([1 - p, p])
    if family == "categorical":
        return np.exp(LOGITS[b, d]) / np.exp(LOGITS[b, d]).sum()
    if family == "poisson":
        return stats.poisson(RATE[b, d]).pmf(np.arange(2000))
    density = {"logistic": stats.logistic, "normal": stats.norm}[family](LOC[b, d], SCALE[b, d])
    return bins(density.cdf, density.sf)


def seeded(num=B):
    return Stacks([seed_words(c, 100) for c in range(num)])


@pytest.mark.parametrize("family", LIKELIHOODS)
def test_log_prob_is_that_of_scipy(family):
    likelihood = LIKELIHOODS[family]
    for b, d in [(0, 0), (1, 7), (2, 39)]:
        p = oracle(family, b, d)
        one = Likelihood(
            family, tuple(a[b : b + 1, d : d + 1] for a in likelihood.arrays), likelihood.num_levels
        )
        found = np.array([one.log_prob(np.array([[k]]))[0, 0] for k in range(len(p))])
        assert np.exp(found).sum() == pytest.approx(1, abs=1e-12)
        seen = p > 1e-200
        np.testing.assert_allclose(found[seen], np.log(p[seen]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", LIKELIHOODS)
def test_probable_data_cost_what_their_probabilities_say(family):
    likelihood, rng = LIKELIHOODS[family], np.random.default_rng(1)
    numbers = np.array(
        [
            [rng.choice(len(p), p=p / p.sum()) for p in (oracle(family, b, d) for d in range(D))]
            for b in range(B)
        ]
    )
    stacks = seeded()
    before = stacks.num_bits()
    coded = push_data(numbers, likelihood, stacks)
    exact = -likelihood.log_prob(numbers).sum() / np.log(2)
    assert coded == pytest.approx(exact, abs=0.01)
    # Each of the stacks has a whole number of bits.
    assert stacks.num_bits() - before == pytest.approx(exact, abs=B)
    np.testing.assert_array_equal(pop_data(likelihood, stacks), numbers)
    assert [list(w) for w in stacks.words()] == [list(seed_words(c, 100)) for c in range(B)]


@pytest.mark.parametrize("family", LIKELIHOODS)
def test_improbable_data_come_back_too(family):
    likelihood = LIKELIHOODS[family]
    largest = 2**31 if family == "poisson" else likelihood.num_levels - 1
    for numbers in (np.zeros((B, D), int), np.full((B, D), largest)):
        stacks = seeded()
        push_data(numbers, likelihood, stacks)
        np.testing.assert_array_equal(pop_data(likelihood, stacks), numbers)


def test_some_chains_leave_the_others_alone():
    likelihood = LIKELIHOODS["poisson"].rows(2)
    numbers = np.arange(2 * D).reshape(2, D)
    stacks = seeded()
    push_data(numbers, likelihood, stacks)
    np.testing.assert_array_equal(stacks.words()[2], seed_words(2, 100))
    np.testing.assert_array_equal(pop_data(likelihood, stacks), numbers)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 1.0, 30.0, 1e4, 2.0**30])
def test_the_tail_beyond_the_cut_is_below_the_coders_precision(rate):
    cut = cuts(np.array([[rate]])).item()
    assert stats.poisson(rate).sf(cut - 1) < 1 / TOTAL


@pytest.mark.parametrize("rate", [0.0, 1e-3, 1.0, 1e4, 2.0**30])
def test_counts_about_the_cut_come_back(rate):
    likelihood = Likelihood("poisson", (np.full((1, 7), rate),), 0)
    cut = cuts(np.array([[rate]])).item()
    numbers = np.array([[0, cut - 1, cut, cut + 1, cut + 2, 2**31 - 1, 2**31]])
    stacks = seeded(1)
    push_data(numbers, likelihood, stacks)
    np.testing.assert_array_equal(pop_data(likelihood, stacks), numbers)


def test_a_wide_range_costs_no_more_than_its_decisions():
    """A table of all numbers would give each at least a part in 2^24: half of all for 2^23."""
    size, recording = 1 << 23, Recording()
    middle = np.array([[size // 2]])

    def edge(i):
        # All in two bins.
        return np.clip((i - middle + 1) / 2, 0, 1.0), np.clip((middle + 1 - i) / 2, 0, 1.0)

    search(edge, 0 * middle, 0 * middle + size, recording.known(middle))
    assert recording.cost == pytest.approx(1, abs=1e-5)


def test_a_stack_that_comes_to_its_end_is_seen():
    stacks = Stacks([seed_words(0, 3)])
    stacks.pop_uniform(1, 2, 14)
    stacks.look()
    stacks.pop_uniform(1, 4, 14)
    with pytest.raises(Starved):
        stacks.look()


@pytest.mark.parametrize(
    ("family", "x", "where"),
    [
        ("bernoulli", 0.5, "0 and 1"),
        ("bernoulli", 2.0, "0 and 1"),
        ("poisson", 0.5, "whole numbers"),
        ("poisson", -1.0, "whole numbers"),
        ("poisson", 2.0**40, "whole numbers"),
        ("logistic", 0.5, "k / 255"),
        ("normal", 256 / 255, "k / 255"),
        # One unit in the last digit beside a level.
        ("normal", np.nextafter(1 / 255, 1), "k / 255"),
    ],
)
def test_data_that_are_no_levels_are_refused(family, x, where):
    data = np.zeros((2, D))
    data[1, 3] = x
    with pytest.raises(
        ValueError, match=rf"{where}.* for `data`; got 1 outside, first at \(1, 3\)"
    ):
        LIKELIHOODS[family].to_levels(data)


@pytest.mark.parametrize("family", ["poisson", "normal"])
def test_data_that_are_no_numbers_are_refused(family):
    with pytest.raises(ValueError, match="finite values for `data`"):
        LIKELIHOODS[family].to_levels(np.full((2, D), np.nan))


def test_data_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"decoder's 40 variables for `data`; got shape \(2, 41\)"):
        LIKELIHOODS["normal"].to_levels(np.zeros((2, D + 1)))


def test_half_of_a_one_hot_vector_is_refused():
    data = np.eye(CLASSES)[np.zeros((2, D), int)]
    data[1, 0, 2] = 1
    with pytest.raises(ValueError, match="one-hot vectors of 7 classes"):
        LIKELIHOODS["categorical"].to_levels(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**31])
def test_rates_that_no_count_has_are_refused(bad):
    with pytest.raises(ValueError, match="for `decoder`"):
        Likelihood("poisson", (np.full((1, 1), bad),), 0).check()


@pytest.mark.parametrize("family", ["logistic", "normal"])
def test_scales_that_are_zero_are_refused(family):
    scale = np.array([[1.0, 0.0]])
    with pytest.raises(ValueError, match="values in positive scales for `decoder`; got 1 outside"):
        Likelihood(family, (0 * scale, scale), 256).check()
