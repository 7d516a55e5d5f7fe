"""Rules that end a training, on traces whose true slope and residuals are known."""

import numpy as np
import pytest

from entropy_core.theory.claims import SiteClaim
from entropy_core.training.stopping import (
    EarlyStopping,
    Look,
    Looks,
    TheoremStop,
    claims_of,
    rules_of,
    slope_of,
)

EPOCHS = np.arange(1, 201.0)
NOISE, DRAWS = 0.02, 10
RULE = TheoremStop(tol=0.02, patience=3, window=10, num_draws=DRAWS)

# The slope is above `tol` in all of a trace: who stops there gives away at least that in an epoch.
IMPROVING = {
    "linear": lambda x, rate: rate * x,
    "exponential": lambda x, rate: -rate * 400 * np.exp(-x / 400) * np.e**0.5,
    "power law": lambda x, rate: 2 * rate * np.sqrt(x * EPOCHS[-1]),
    "logarithm": lambda x, rate: rate * EPOCHS[-1] * np.log(x),
}


def stops(elbo, residuals, errors):
    """Whether each run stops at some look."""
    noisy = np.full_like(elbo, NOISE)
    return RULE.stops(EPOCHS, elbo, noisy, residuals, errors, np.full(len(EPOCHS), DRAWS)).any(-1)


def drawn(rng, means, runs):
    """Residuals of one site, and their errors, as `DRAWS` draws have them."""
    draws = means[..., None] + 0.01 * rng.standard_normal((runs, len(EPOCHS), DRAWS))
    return draws.mean(-1)[..., None], draws.std(-1, ddof=1)[..., None] / DRAWS**0.5


@pytest.mark.parametrize("family", IMPROVING)
def test_a_trace_that_still_improves_is_hardly_ever_stopped(family):
    # A thousand in all, whose residuals are zero from the start, as on p-PCA 9.7 nats from the end.
    rng = np.random.default_rng(1)
    rates = RULE.tol * rng.uniform(1.5, 10, (250, 1))
    means = IMPROVING[family](EPOCHS, rates)
    assert np.diff(means).min() > RULE.tol
    elbo = means + NOISE * rng.standard_normal(means.shape)
    residuals, errors = drawn(rng, np.zeros_like(means), 250)
    # The best published rule stops 0.6 % of such traces.
    assert stops(elbo, residuals, errors).mean() < 0.006


def plateaus(rng, runs=50):
    """Runs that come to rest, each at a rate of its own."""
    rates = rng.uniform(5, 20, (runs, 1))
    return -10 * np.exp(-EPOCHS / rates) + NOISE * rng.standard_normal((runs, len(EPOCHS)))


def test_a_plateau_with_a_residual_is_never_one():
    rng = np.random.default_rng(2)
    planted = RULE.tol * rng.uniform(1.2, 5, (50, 1)) * rng.choice([-1, 1], (50, 1))
    residuals, errors = drawn(rng, np.broadcast_to(planted, (50, len(EPOCHS))), 50)
    assert not stops(plateaus(rng), residuals, errors).any()


def test_a_plateau_without_one_is_never_missed():
    rng = np.random.default_rng(3)
    small = RULE.tol * rng.uniform(-0.3, 0.3, (50, 1))
    residuals, errors = drawn(rng, np.broadcast_to(small, (50, len(EPOCHS))), 50)
    assert stops(plateaus(rng), residuals, errors).all()


def test_decide_is_stops_at_the_last_look():
    rng = np.random.default_rng(4)
    elbo = plateaus(rng, 1)[0]
    residuals, errors = drawn(rng, np.zeros((1, len(EPOCHS))), 1)
    looks = [
        Look(int(e), f, NOISE, np.nan, {"x": r}, {"x": s}, DRAWS, ("z",))
        for e, f, r, s in zip(EPOCHS, elbo, residuals[0, :, 0], errors[0, :, 0], strict=True)
    ]
    wanted = RULE.stops(
        EPOCHS, elbo, np.full_like(elbo, NOISE), residuals[0], errors[0], np.full(200, DRAWS)
    )
    first = int(np.argmax(wanted))
    assert wanted[first]
    decided = [RULE.decide(looks[: n + 1]) for n in range(first + 1)]
    assert decided[:-1] == [None] * first
    assert decided[-1].rule == "theorem"
    assert decided[-1].epoch == EPOCHS[first]
    assert decided[-1].undecided == ("z",)


def test_the_slope_and_its_errors_are_those_of_independent_draws():
    rng = np.random.default_rng(5)
    x = np.array([0.0, 1, 2, 4, 5, 8, 9, 10])
    y = 3 - 0.5 * x + 0.1 * rng.standard_normal((20_000, 8))
    slope, scatter, sampled = slope_of(x, y, np.full_like(y, 0.1))
    assert slope.mean() == pytest.approx(-0.5, abs=4e-4)
    assert slope.std() == pytest.approx(sampled[0], rel=0.02)
    assert np.sqrt((scatter**2).mean()) == pytest.approx(sampled[0], rel=0.02)
    assert np.allclose(slope, np.polyfit(x, y.T, 1)[0])


@pytest.mark.parametrize(
    "changed",
    [{"error": np.nan, "residual": np.nan}, {"residual": 0.03}, {"num_draws": 1}],
    ids=["NaN", "large", "one draw"],
)
def test_what_is_not_known_to_be_zero_is_not(changed):
    values = {"residual": 0.0, "error": 1e-4, "num_draws": 10} | changed
    looks = [
        Look(i, -1.0, 0.01, np.nan, {"x": values["residual"]}, {"x": values["error"]},
             values["num_draws"])
        for i in range(12)
    ]  # fmt: skip
    assert RULE.decide(looks) is None
    # Without the site the rest has come to an end.
    assert RULE.decide([look._replace(residuals={}, errors={}) for look in looks])


def test_what_the_rule_waits_for_is_said():
    look = Look(1, -1.0, 0.01, np.nan, {"x": 0.001, "y": 0.5}, {"x": 1e-4, "y": 1e-4}, 10)
    looks = [look._replace(epoch=i, elbo=0.1 * i) for i in range(12)]
    assert RULE.decide(looks) is None
    assert RULE.waiting(looks[:5]) == "12 looks; there were 5"
    said = RULE.waiting(looks)
    assert "the slope, 0.1 ± " in said
    assert "the residual of y, 0.5 ± 0.00023" in said
    assert "of x" not in said


def validated(*values):
    return [Look(i, 0.0, validation=v) for i, v in enumerate(values, 1)]


def test_early_stopping_waits_and_knows_the_best():
    rule = EarlyStopping(patience=2, min_delta=0.5)
    looks = Looks([rule])
    found = [looks.add(look) for look in validated(-3.0, -2.0, -1.8, -1.9)]
    assert [best for best, _ in found] == [True, True, False, False]
    ends = [end for _, end in found]
    assert ends[:3] == [None] * 3
    assert (ends[3].rule, ends[3].epoch, looks.best) == ("early stopping", 4, 1)
    assert Looks([EarlyStopping(restore_best=False)], looks.seen).best is None


def test_claims_count_where_there_is_a_direction():
    def claim(name, verdict, misfit):
        return SiteClaim((name,), 0.1, 0.01, 0.0, 0.0, 0.0, misfit, verdict, "")

    found = claims_of(
        [
            claim("a", "holds", 1e-6),
            claim("b", "not converged", 1e-4),
            claim("c", "no claim", 1e-6),
            claim("d", "holds", np.nan),
            claim("e", "holds", 0.7),
            claim("f", "not converged", 0.0),
        ],
        10,
        {"f"},
    )
    assert found["residuals"] == {"a": 0.1, "b": 0.1}
    assert found["errors"] == {"a": 0.01, "b": 0.01}
    assert found["undecided"] == ("c", "d", "e", "f")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: TheoremStop(tol=0.0), ValueError, "positive numbers for `tol`"),
        (lambda: TheoremStop(window=2), ValueError, "at least 3 for `window`; got 2"),
        (lambda: TheoremStop(num_draws=1), ValueError, "at least 2 for `num_draws`; got 1"),
        (lambda: EarlyStopping(patience=0), ValueError, "positive integer for `patience`"),
        (lambda: EarlyStopping(min_delta=-1.0), ValueError, "`min_delta`"),
        (lambda: rules_of(EarlyStopping(), validation=False), ValueError, "for `validation`"),
        (lambda: rules_of("theorem", validation=True), TypeError, "for `stop`; got 'theorem'"),
    ],
)
def test_bad_rules_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()
