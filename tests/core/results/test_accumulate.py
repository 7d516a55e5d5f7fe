"""Any cut of the data into batches and passes against all of it at once, by NumPy."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from entropy_core.results.accumulate import Accumulator
from entropy_core.results.moments import LatentMoments, Moments, moments_of
from entropy_core.traces.records import LatentTerms, Plate
from tests.core.records import (
    DECODER,
    ENCODER,
    PRIOR,
    Draws,
    accumulated,
    draw,
    site,
    trace,
    traces,
)

# Sums of a few hundred numbers in another order.
TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}
UNEVEN = [slice(0, 1), slice(1, 8), slice(8, 20)]


def by_numpy(draws: Draws) -> dict[tuple[str, ...], np.ndarray]:
    """Each quantity, with the shape `(particle, data point)`."""
    terms, entropies = draws.terms.swapaxes(0, 1), draws.entropies.swapaxes(0, 1)
    elbo = terms.sum(0)
    entropy_sum = entropies[ENCODER] - entropies[PRIOR] - entropies[DECODER]
    residuals = terms + entropies
    return {
        ("elbo",): elbo,
        # No handler scales a site.
        ("scaled_elbo",): elbo,
        ("prior_term",): terms[PRIOR],
        ("reconstruction_term",): terms[DECODER],
        ("encoder_entropy",): entropies[ENCODER],
        ("prior_entropy",): entropies[PRIOR],
        ("decoder_entropy",): entropies[DECODER],
        ("entropy_sum",): entropy_sum,
        ("gap",): elbo - entropy_sum,
        ("term", "encoder", "z"): terms[ENCODER],
        ("term", "prior", "z"): terms[PRIOR],
        ("term", "decoder", "x"): terms[DECODER],
        ("entropy", "encoder", "z"): entropies[ENCODER],
        ("entropy", "prior", "z"): entropies[PRIOR],
        ("entropy", "decoder", "x"): entropies[DECODER],
        ("residual", "prior", "z"): residuals[PRIOR],
        ("residual", "decoder", "x"): residuals[DECODER],
    }


def in_batches(draws: Draws, *batches: slice, kl_epsilon: float = 0.01) -> Accumulator:
    return accumulated(*[traces(draws, rows) for rows in batches], kl_epsilon=kl_epsilon)


def assert_same(sums: Accumulator, other: Accumulator) -> None:
    assert sums.moments.keys() == other.moments.keys()
    for key in sums.moments:
        assert_allclose(sums.estimate(key), other.estimate(key), **TOLERANCE)
    assert sums.latents.keys() == other.latents.keys()
    for name, latent in sums.latents.items():
        for part, values in vars(latent).items():
            assert_allclose(values, getattr(other.latents[name], part), err_msg=part, rtol=1e-9)
    for name in ("num_data", "num_particles", "untreated", "data_plate"):
        assert getattr(sums, name) == getattr(other, name)
    assert sums.sites == other.sites


@pytest.mark.parametrize("batches", [[slice(0, 20)], UNEVEN], ids=["one", "uneven"])
def test_means_are_over_all_data_and_particles(batches):
    draws = draw()
    sums = in_batches(draws, *batches)
    wanted = by_numpy(draws)
    assert sums.moments.keys() == wanted.keys()
    for key, values in wanted.items():
        assert_allclose(sums.estimate(key)[0], values.mean(), **TOLERANCE)
    assert (sums.num_data, sums.num_particles, sums.data_plate) == (20, 4, "data")


@pytest.mark.parametrize("batches", [[slice(0, 20)], UNEVEN], ids=["one", "uneven"])
def test_standard_errors_of_the_batches_add_up(batches):
    draws = draw()
    sums = in_batches(draws, *batches)
    for key, values in by_numpy(draws).items():
        of_batches = [values[:, rows].sum(1).var(ddof=1) / 4 for rows in batches]
        assert_allclose(sums.estimate(key)[1], np.sqrt(sum(of_batches)) / 20, **TOLERANCE)


@pytest.mark.parametrize("batches", [[slice(0, 20)], UNEVEN], ids=["one", "uneven"])
def test_latents_are_those_of_all_data(batches):
    draws = draw()
    entropy, prior_entropy, kl, mean = draws.latents.mean(0)
    epsilon = kl[3, 1]
    sums = in_batches(draws, *batches, kl_epsilon=float(epsilon)).latents["z"]
    assert sums.num_data == 20
    assert_allclose(sums.entropy / 20, entropy.mean(0))
    assert_allclose(sums.prior_entropy / 20, prior_entropy.mean(0))
    assert_allclose(sums.kl / 20, kl.mean(0))
    assert_allclose(sums.below, (kl < epsilon).sum(0))
    assert_allclose(sums.mean, mean.mean(0))
    # The values differ by less than 1 around 1e4.
    assert_allclose(sums.squares / 20, np.var(mean, 0), rtol=1e-9)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.data())
@settings(deadline=None, max_examples=25)
def test_merging_is_one_pass_in_any_split(sizes, data):
    edges = np.cumsum([0, *sizes])
    batches = [slice(*edge) for edge in pairwise(edges)]
    cut = data.draw(st.integers(1, len(batches) - 1))
    draws = draw(num_particles=2, num_data=edges[-1])
    whole = in_batches(draws, *batches)
    first, rest = in_batches(draws, *batches[:cut]), in_batches(draws, *batches[cut:])
    swapped = deepcopy(rest)
    swapped.merge(first)
    first.merge(rest)
    assert_same(first, whole)
    assert_same(swapped, whole)


@pytest.mark.parametrize("empty_first", [True, False])
def test_merging_with_an_empty_pass_changes_nothing(empty_first):
    whole = in_batches(draw(), *UNEVEN)
    sums, other = Accumulator(), deepcopy(whole)
    if not empty_first:
        sums, other = other, sums
    sums.merge(other)
    assert_same(sums, whole)


def test_merging_leaves_the_other_pass_as_it_was():
    draws, total = draw(), Accumulator()
    parts = [in_batches(draws, rows) for rows in UNEVEN]
    before = deepcopy(parts)
    for part in parts:
        total.merge(part)
    for part, old in zip(parts, before, strict=True):
        assert_same(part, old)


def test_merging_with_a_whole_data_set_is_refused_before_anything_changes():
    sums, other = in_batches(draw(), *UNEVEN), Accumulator()
    other.add([trace([site("y", "decoder", np.ones(3), np.ones(3))])])
    before = deepcopy(sums)
    with pytest.raises(ValueError, match="a plate that holds all data for `other`; got none"):
        sums.merge(other)
    assert_same(sums, before)
    with pytest.raises(ValueError, match=r"one batch of all the data, .* for `batches`"):
        other.add(traces(draw()))


def test_latents_without_a_mean_have_no_variance_of_it():
    numbers = [np.full((3, 2), value) for value in (1.0, 1.4, 0.3)]
    terms = LatentTerms("z", *numbers, np.tile([np.inf, 0.5], (3, 1)))
    moments, other = (LatentMoments.of(terms, 0.01) for _ in range(2))
    moments.merge(other)
    assert np.isnan(moments.squares[0])
    assert moments.squares[1] == 0
    assert moments.num_data == 6


def test_merging_passes_over_whole_data_sets_is_refused():
    whole = accumulated([trace([site("y", "decoder", np.ones(3), np.ones(3))])])
    with pytest.raises(ValueError, match="a plate that holds all data for `other`; got none"):
        whole.merge(whole)


def test_merging_passes_with_other_thresholds_is_refused():
    sums = in_batches(draw(), *UNEVEN)
    with pytest.raises(ValueError, match=r"expected kl_epsilon 0\.01 for `other`; got 0\.5"):
        sums.merge(in_batches(draw(), *UNEVEN, kl_epsilon=0.5))


def test_one_particle_has_no_standard_error():
    draws = draw(num_particles=1)
    sums = in_batches(draws, *UNEVEN)
    for key in sums.moments:
        mean, error = sums.estimate(key)
        assert_allclose(mean, by_numpy(draws)[key].mean(), **TOLERANCE)
        assert np.isnan(error)


def test_the_standard_error_covers_the_true_mean():
    """What the particles share and how much the data points differ must not matter."""
    rng = np.random.default_rng(0)
    num_particles, sizes, repeats = 20, [30, 30, 7, 50], 2000
    truth = rng.normal(scale=10, size=sum(sizes))
    covered = 0
    for _ in range(repeats):
        moments = Moments()
        for of_batch in np.split(truth, np.cumsum(sizes)[:-1]):
            shared, own = rng.normal(size=num_particles), rng.normal(size=num_particles)
            # The mean of independent noise over a batch shrinks, that of shared noise does not.
            noise = shared + own / len(of_batch) ** 0.5
            values = np.outer(of_batch.mean() + noise, [1.0, 0.0])
            moments.merge(*moments_of(values[:, None], len(of_batch)))
        mean, error = moments.estimate(sum(sizes), sum(sizes))
        covered += abs(mean - truth.mean()) < 2 * error
    # Normal: 0.954; t with the 19 degrees of freedom of a single batch: 0.940. The standard error
    # of the fraction itself is 0.005.
    assert 0.925 < covered / repeats < 0.97


@pytest.mark.parametrize("full_size", [None, 20], ids=["whole batches", "subsamples"])
def test_a_site_outside_the_data_plate_counts_once(full_size):
    """However the data are cut: the batches make up one data set, and the site is one."""
    log_lik, w = np.arange(20.0), np.array(-7.0)

    def batch(rows):
        plate = Plate("data", -1, log_lik[rows].size, full_size or log_lik[rows].size)
        x = site("x", "decoder", log_lik[rows], np.ones(plate.size), [plate])
        return [trace([site("w", "prior", w, np.zeros(())), x])]

    for batches in ([slice(0, 20)], UNEVEN):
        sums = accumulated(*map(batch, batches))
        assert_allclose(sums.estimate(("prior_term",))[0], -7 / 20)
        assert_allclose(sums.estimate(("elbo",))[0], (190 - 7) / 20)


def test_what_is_outside_the_data_plate_has_totals_of_its_own():
    rng = np.random.default_rng(0)
    terms, log_lik = rng.normal(size=(5, 2)), rng.normal(size=(5, 20))

    def batch(rows):
        plate = Plate("data", -1, log_lik[0, rows].size, log_lik[0, rows].size)
        return [
            trace(
                [
                    site("w", "prior", np.array(term), np.array(entropy)),
                    site("x", "decoder", values[rows], np.ones(plate.size), [plate]),
                ]
            )
            for (term, entropy), values in zip(terms, log_lik, strict=True)
        ]

    sums = accumulated(*map(batch, UNEVEN[1:]))
    w, x = sums.sites.values()
    assert (sums.is_global(w), sums.is_global(x)) == (True, False)
    mean = terms.mean(0)
    assert_allclose(sums.estimate_total(("term", "prior", "w"))[0], mean[0], **TOLERANCE)
    assert_allclose(sums.estimate_total(("entropy", "prior", "w"))[0], mean[1], **TOLERANCE)
    assert_allclose(sums.estimate_total(("residual", "prior", "w"))[0], mean.sum(), **TOLERANCE)
    assert_allclose(sums.estimate_total(("elbo",))[0], mean[0], **TOLERANCE)
    assert_allclose(sums.estimate_total(("term", "decoder", "x")), 0.0, atol=1e-12)
    # The batches have seen draws that are numbered alike, and not the same ones.
    sizes = np.array([7, 12])
    error = terms[:, 0].std(ddof=1) / 5**0.5 * np.sqrt((sizes**2).sum()) / sizes.sum()
    assert_allclose(sums.estimate_total(("term", "prior", "w"))[1], error, **TOLERANCE)


def test_without_a_data_plate_nothing_is_global():
    sums = accumulated(traces(draw(), in_plate=False))
    assert not any(sums.is_global(site) for site in sums.sites.values())


def test_observed_elements_add_up_over_batches_and_passes():
    def batch(shown):
        x = site("x", "decoder", np.ones(4), np.ones(4), [Plate("data", -1, 4, 4)])
        z = replace(x, name="z", role="prior", num_elements=4)
        masked = [replace(x, num_elements=8, num_observed=np.array(n)) for n in shown]
        return [trace([z, m]) for m in masked]

    sums = accumulated(batch([3, 3]), batch([5, 7]))
    sums.merge(accumulated(batch([2])))
    x = sums.sites["decoder", "x"]
    assert (x.shown, x.elements) == (3 + 6 + 2, 24)
    assert sums.sites["prior", "z"].observed == 1
    # A batch without a mask shows all that it has.
    bare = site("x", "decoder", np.ones(4), np.ones(4), [Plate("data", -1, 4, 4)])
    sums.add([trace([replace(bare, num_elements=8)])])
    assert sums.sites["decoder", "x"].observed == (11 + 8) / 32


def test_one_subsample_stands_for_all_data():
    plate = Plate("data", -1, 8, 20)
    x = site("x", "decoder", np.full(8, 2.0), np.ones(8), [plate])
    sums, merged = (
        accumulated([trace([site("w", "prior", np.array(-7.0), np.zeros(())), x])]),
        Accumulator(),
    )
    merged.merge(sums)
    for each in (sums, merged):
        assert_allclose(each.estimate(("elbo",))[0], 2 - 7 / 20)


def test_a_draw_that_all_data_share_moves_both_parts_together():
    # The global site's term is minus what its draw adds to the data: the sum has no error at all.
    noise, moments = np.random.default_rng(0).normal(size=50), Moments()
    moments.merge(*moments_of(np.stack([3.0 + noise, 5.0 - 20 * noise], 1)[:, None], 20))
    mean, error = moments.estimate(20, 20)
    assert_allclose(mean, 3.25, **TOLERANCE)
    assert error < 1e-8


def test_without_a_data_plate_there_is_one_batch():
    draws = draw()
    sums = accumulated(traces(draws, in_plate=False))
    elbo = by_numpy(draws)["elbo",].sum(1)
    assert_allclose(sums.estimate(("elbo",))[0], elbo.mean(), **TOLERANCE)
    assert (sums.data_plate, sums.latents) == (None, {})
    with pytest.raises(ValueError, match=r"one batch of all the data, .* for `batches`"):
        sums.add(traces(draws, in_plate=False))


def test_every_latent_site_and_every_reason_is_kept():
    def batch(values, name):
        latents = [LatentTerms(s, *values) for s in "ab"]
        x = site("x", "decoder", np.ones(3), np.ones(3), [Plate("data", -1, 3, 3)])
        return [trace([x], latents, [(name, f"why {name}")])]

    values = np.random.default_rng(0).random((4, 6, 2))
    sums = accumulated(batch(values[:, :3], "u"), batch(values[:, 3:], "v"))
    assert sums.untreated == {"u": "why u", "v": "why v"}
    assert sums.latents.keys() == {"a", "b"}
    for latent in sums.latents.values():
        assert_allclose(latent.mean, values[3].mean(0))
