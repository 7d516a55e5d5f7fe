"""Sums, ranks and words of simulations, on draws of NumPy whose law is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from entropy_core.arguments import Arguments
from entropy_core.evaluation.likelihood import LogLikelihood
from entropy_core.evaluation.simulations.carriers import (
    carried_as_is,
    find_carriers,
    with_values,
)
from entropy_core.evaluation.simulations.guide_error import Estimate, GuideError
from entropy_core.evaluation.simulations.ranks import (
    LEVELS,
    NUM_RANKS,
    count_ranks,
    divergence_of,
    inside,
    rank_table,
    ranks_of,
    spread_evenly,
)
from entropy_core.evaluation.simulations.scores import Scores
from entropy_core.evaluation.simulations.sums import GuideErrorSums
from entropy_core.evaluation.simulations.words import FALSE_ALARM
from tests.support.helpers import STANDARD_ERRORS

NUM = 10_000


def simulated(rng, num, scale=1.0, shift=0.0):
    """Simulations of a posterior `N(0, 1)` and a guide `N(shift, scale^2)`."""
    truth, drawn = rng.standard_normal(num), shift + scale * rng.standard_normal(num)
    log_w = [norm.logpdf(z) - norm.logpdf(z, shift, scale) for z in (truth, drawn)]
    below = norm.cdf(truth, shift, scale)[:, None]
    return Scores({"z": log_w[0] - log_w[1]}, log_w[1], np.full(num, 1e-16), {"z": below})


def error_of(rng, num=NUM, batch=NUM, **guide):
    sums = GuideErrorSums(num)
    while not sums.is_complete:
        sums.add(simulated(rng, batch, **guide), {})
    return sums.guide_error()


def divergence(scale=1.0, shift=0.0):
    return 0.5 * (scale**2 + scale**-2) - 1 + 0.5 * shift**2 * (1 + scale**-2)


def test_errors_are_calibrated():
    rng, guide = np.random.default_rng(0), {"scale": 1.2, "shift": 0.1}
    found = [error_of(rng, 1000, 300, **guide) for _ in range(200)]
    scores = [(f.divergence - divergence(**guide)) / f.std_error for f in found]
    assert 0.9 < np.std(scores, ddof=1) < 1.1
    assert abs(np.mean(scores)) < STANDARD_ERRORS / 200**0.5


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_a_scale_off_by_a_tenth_is_found(scale):
    rng = np.random.default_rng(1)
    assert all(error_of(rng, scale=scale).differs for _ in range(20))


def test_uniform_ranks_are_hardly_ever_flagged():
    # Each latent as if it were alone: half of the level is left to its ranks.
    num, level = 4000, FALSE_ALARM / 2
    counts = np.random.default_rng(2).multinomial(NUM, np.full(NUM_RANKS, 1 / NUM_RANKS), num)
    table = rank_table([f"z[{i}]" for i in range(num)], counts)
    share = (table["p_value"] < level).mean()
    assert share < level + STANDARD_ERRORS * (level / num) ** 0.5
    for level in LEVELS:
        scores = (table[f"{100 * level:.0f} %"] - level) / table[f"{100 * level:.0f} % error"]
        assert 0.95 < scores.std() < 1.05
    found = table["divergence"]
    assert abs(found.mean()) < STANDARD_ERRORS * found.std() / num**0.5
    assert 0.8 < found.std() / table["divergence error"].mean() < 1.1


@pytest.mark.parametrize("guide", [{"scale": 0.8}, {"scale": 1.5}, {"shift": 0.3}])
def test_coverage_and_what_ranks_show_of_the_divergence(guide):
    scale, shift = guide.get("scale", 1.0), guide.get("shift", 0.0)
    row = error_of(np.random.default_rng(3), **guide).summary().loc["z[0]"]
    for level in LEVELS:
        edges = shift + scale * norm.ppf([(1 - level) / 2, (1 + level) / 2])
        name = f"{100 * level:.0f} %"
        exact = np.diff(norm.cdf(edges))[0]
        assert abs(row[name] - exact) < STANDARD_ERRORS * row[f"{name} error"]
    # Of twenty parts of the guide's distribution each is as probable.
    edges = norm.cdf(shift + scale * norm.ppf(np.linspace(0, 1, 21)))
    shares = np.diff(edges)
    exact = (shares * np.log(20 * shares)).sum()
    assert abs(row["divergence"] - exact) < STANDARD_ERRORS * row["divergence error"]
    one_way = 0.5 * ((1 + shift**2) / scale**2 - 1) + np.log(scale)
    assert exact < one_way < divergence(scale, shift)


def test_batches_and_a_last_one_that_is_cut_change_nothing():
    whole = simulated(np.random.default_rng(4), 1050, scale=1.3)
    sums = GuideErrorSums(1000)
    for rows in (slice(0, 500), slice(500, 700), slice(700, 1050)):
        parts = [{"z": part["z"][rows]} for part in (whole.sites, whole.parts)]
        sums.add(Scores(parts[0], whole.elbo[rows], whole.rounding[rows], parts[1]), {})
    found, values = sums.guide_error(), whole.sites["z"][:1000]
    assert sums.is_complete
    assert_allclose(found.divergence, values.mean(), rtol=1e-12)
    assert_allclose(found.std_error, values.std(ddof=1) / 1000**0.5, rtol=1e-12)
    assert_allclose(found.elbo.mean, whole.elbo[:1000].mean(), rtol=1e-12)
    assert (found.rank_counts == count_ranks(ranks_of(whole.parts["z"][:1000]))).all()


def test_numbers_that_are_none_and_other_sites_are_refused():
    sums, one = GuideErrorSums(10), np.ones(2)
    with pytest.raises(ValueError, match=r"NaN at \['x'\]"):
        sums.add(Scores({"x": one * np.nan}, one, one, {}), {})
    sums.add(Scores({"x": one}, one, one, {}), {})
    with pytest.raises(ValueError, match=r"the sites \['x'\] in every batch"):
        sums.add(Scores({"y": one}, one, one, {}), {})
    with pytest.raises(ValueError, match="at least one batch"):
        list(sums.until_complete(list))


def test_a_place_without_density_leaves_the_other_sites_as_they_are():
    sums = GuideErrorSums(4)
    parts = {"z": np.array([np.inf, 1.0]), "x": np.array([1.0, 3.0])}
    for _ in range(2):
        sums.add(Scores(parts, np.zeros(2), np.zeros(2), {}), {})
    found = sums.guide_error()
    assert found.divergence == np.inf
    assert np.isnan(found.std_error)
    assert found.sites["x"].mean == 2
    assert found.findings()[0].startswith("In 2 of 4 simulations")
    assert found.differs


def test_the_tree_has_the_ranks_as_the_plots_read_them():
    found = error_of(np.random.default_rng(5), num=999)
    tree = found.to_datatree()
    values = tree["prior_sbc"]["z"]
    assert values.dims == ("chain", "draw", "z_dim_0")
    assert values.shape == (1, 999, 1)
    assert_allclose(count_ranks(ranks_of(values.values[0])), found.rank_counts)
    assert tree["prior_sbc"].attrs["divergence"] == found.divergence


def test_the_plots_show_what_is_wrong():
    pytest.importorskip("arviz_plots")
    found = error_of(np.random.default_rng(6), num=400, scale=0.7)
    for coverage in (False, True):
        collection = found.plot(coverage=coverage, stats={"ecdf_pit": {"n_simulations": 20}})
        line = collection.get_viz("ecdf_lines", var_name="z")
        assert abs(line.get_ydata()).max() > 0.05


def words(rank_counts, divergence=1.0, names=None):
    names = names or tuple(f"z[{h}]" for h in range(len(rank_counts)))
    none = Estimate(0.0, 0.0)
    return GuideError(divergence, 0.01, none, {"z": none}, names, rank_counts, NUM).findings()


def shares(edges):
    """Counts of which the parts between edges have so many, each of ranks of its own."""
    counts = np.zeros((1, NUM_RANKS), int)
    for low, high, num in edges:
        counts[0, low:high] = num // (high - low)
    return counts


def test_words_say_what_is_wrong_with_a_latent():
    narrow = shares([(0, 10, 1450), (10, 190, 7100), (190, 200, 1450)])
    assert inside(narrow, 0.9)[0] / narrow.sum() == pytest.approx(0.71, abs=0.01)
    text = " ".join(words(narrow))
    assert "The guide is 1.000 ± 0.010 nats per data point from the posterior" in text
    assert "true values lie in the guide's 90 % intervals: these are too narrow" in text
    assert "nats show in the ranks of z[0] alone" in text
    wide = shares([(0, 50, 1000), (50, 150, 8000), (150, 200, 1000)])
    assert "80.0 % of the true values lie in the guide's 50 % intervals: these are too wide" in (
        " ".join(words(wide))
    )
    low = shares([(0, 100, 4000), (100, 200, 6000)])
    assert "60.0 % of the true values lie above the guide's median, which is too low" in (
        " ".join(words(low))
    )
    right = shares([(0, 200, NUM)])
    assert len(words(right)) == 1
    assert words(right, 0.0) == [
        "In 10,000 simulations no difference of guide and posterior shows: the divergence is "
        "0.000 ± 0.010 nats per data point."
    ]
    assert "as ranks show" in words(low, 0.0)[0]


def test_of_many_latents_the_worst_are_named():
    steps = [50 * h for h in range(20)]
    counts = [shares([(0, 100, 5000 - n), (100, 200, 5000 + n)]) for n in steps]
    names, none = tuple(f"z[{h}]" for h in range(20)), Estimate(0.0, 0.0)
    found = GuideError(1.0, 0.01, none, {"z": none}, names, np.concatenate(counts), NUM)
    text = str(found)
    assert text.count("\nz[") == 10
    assert "(10 others are nearer to what they should be)" in text
    assert "other latents are not uniform, either." in text
    assert "- z[19]" in text
    assert "- z[0]" not in text


def likelihood_of(values, gaps, k=0.1):
    one = np.ones(len(values))
    return LogLikelihood(values, one, k * one, 100, values - gaps, one)


def test_words_on_real_data():
    rng, none = np.random.default_rng(0), Estimate(0.0, 0.0)
    own = Estimate(-10.0, 0.01)
    counts = shares([(0, 200, NUM)])
    found = GuideError(1.0, 0.01, own, {"z": none}, ("z[0]",), counts, NUM)
    noise = 0.1 * rng.standard_normal(400)
    # Like the model's own, with a guide that is as good there.
    (alike,) = found.on_data(likelihood_of(-9.5 + noise, 0.4 + 0.1 * noise))
    assert alike.startswith("On the data the guide is 0.39963 ± 0.00050 nats per data point")
    # What is estimated from below is low for sure where no few draws decide.
    cases = (-8.0, 0.1, True), (-8.0, 0.9, True), (-12.0, 0.1, True), (-12.0, 0.9, False)
    for mean, k, is_said in cases:
        text = " ".join(found.on_data(likelihood_of(mean + noise, 3.0 + noise, k)))
        assert "more than both divergences together on data of the model's own (1.000" in text
        assert ("The data are not like the model's own" in text) == is_said
        assert ("400 of 400 data points a few draws decide" in text) == (k > 0.7)
    with pytest.raises(ValueError, match="elbos"):
        found.on_data(LogLikelihood(noise, noise, noise, 10))


def test_bins_without_a_rank_and_no_simulation_at_all():
    counts = np.zeros((1, NUM_RANKS), int)
    counts[0, 0] = 100
    assert_allclose(divergence_of(counts)[0, 0], np.log(20))
    assert len(rank_table([], np.zeros((0, NUM_RANKS), int))) == 0
    assert spread_evenly(np.array([0, 2])).tolist() == [0.625, 0.875]


def test_values_go_where_they_came_from():
    x, y = np.arange(6.0).reshape(2, 3), np.array([3, 4])
    call = Arguments(({"images": x.astype(np.float32), "other": y}, 5), {"flag": None})
    observed = {"x": x.ravel()}
    carriers = find_carriers(observed, call, np.asarray, carried_as_is(observed, call))
    new = with_values(
        {"x": -x.ravel()}, carriers, call, lambda v, leaf: v.reshape(leaf.shape).astype(leaf.dtype)
    )
    assert_allclose(new.args[0]["images"], -x)
    assert new.args[0]["images"].dtype == np.float32
    assert new.args[0]["other"] is y
    assert (new.args[1], new.kwargs) == (5, {"flag": None})
    # As JAX hands it back: dictionaries in order of their keys.
    call = Arguments(({"other": y, "images": x}, 5), {"flag": None})
    new = with_values({"x": -x.ravel()}, carriers, call, lambda v, leaf: v.reshape(leaf.shape))
    assert_allclose(new.args[0]["images"], -x)
    assert new.args[0]["other"] is y


def test_an_array_that_is_the_very_same_comes_before_an_equal_one():
    y = np.zeros(3)
    call, observed = Arguments((y.copy(), y)), {"y": y}
    as_is = carried_as_is(observed, call)
    assert find_carriers(observed, call, np.asarray, as_is) == {"y": ((0, 1),)}
    with pytest.raises(ValueError, match="2 that are equal; `arguments` can say how"):
        find_carriers(observed, call, np.asarray, {})
    twice = Arguments((y, y))
    assert find_carriers(observed, twice, np.asarray, {}) == {"y": ((0, 0), (0, 1))}
