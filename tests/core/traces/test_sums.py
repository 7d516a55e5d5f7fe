"""Sums over records against sums over the whole data set, written out element by element."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import PARTICLES, LatentTerms, Plate, map_arrays, summed
from entropy_core.traces.sums import average, check_guide, elbo, elbo_terms, is_mean_field
from tests.core.records import in_plates, over_all_data, site, trace

# Sums of at most a few hundred numbers near 1, in float64: cancellation costs some digits.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-9}

DATA = Plate("data", -1, 3, 12)
OUTER = Plate("outer", -2, 2, 4)
DRAWS = Plate(PARTICLES, -3, 5, 1)
SEQUENTIAL = Plate("data", None, 3, 3)


SITES = st.tuples(
    st.sampled_from(["encoder", "prior", "decoder", "factor"]),
    st.sets(st.integers(0, 2)),
    st.sampled_from([1.0, 0.25, 3.0]),
)
GRAPHS = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=3, max_size=3),
        "specs": st.lists(SITES, max_size=6),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def records(sizes, specs, seed):
    """Builds the records outside the strategy: the checks of types draw random numbers too."""
    (data, data_copies), (outer, outer_copies), (particles, _) = sizes
    plates = [
        Plate("data", -1, data, data * data_copies),
        Plate("outer", -2, outer, outer * outer_copies),
        Plate(PARTICLES, -3, particles, 1),
    ]
    rng = np.random.default_rng(seed)
    return [
        in_plates(
            f"s{i}",
            role,
            # The data plate is around all data.
            *[plates[j] for j in sorted(around | {0} if role == "decoder" else around)],
            rng=rng,
            handler_scale=scale,
        )
        for i, (role, around, scale) in enumerate([("decoder", {0}, 1.0), *specs])
    ]


@given(GRAPHS)
@settings(deadline=None, max_examples=50)
def test_elbo_minus_entropy_sum_is_the_sum_of_residuals(graph):
    sites = records(**graph)
    terms = elbo_terms(sites, "data")
    assert_allclose(terms.gap, sum(terms.residuals.values()), **TOLERANCE)
    assert terms.gap == terms.elbo - terms.entropy_sum
    assert terms.residuals.keys() == {s.name for s in sites if s.role != "encoder"}


@given(GRAPHS)
@settings(deadline=None, max_examples=50)
def test_terms_are_sums_over_all_data_for_each_data_point(graph):
    sites = records(**graph)

    def per_datum(values, *roles):
        num_data = next(plate for plate in sites[0].plates if plate.name == "data").full_size
        return (
            sum(over_all_data(s, getattr(s, values)) for s in sites if s.role in roles) / num_data
        )

    terms = elbo_terms(sites, "data")
    wanted = {
        "prior_term": per_datum("term", "prior"),
        "reconstruction_term": per_datum("term", "decoder", "factor"),
        "encoder_entropy": per_datum("entropy", "encoder"),
        "prior_entropy": per_datum("entropy", "prior"),
        "decoder_entropy": per_datum("entropy", "decoder"),
        "elbo": per_datum("term", "prior", "decoder", "factor", "encoder"),
        "entropy_sum": per_datum("entropy", "encoder") - per_datum("entropy", "prior", "decoder"),
    }
    assert_allclose([getattr(terms, name) for name in wanted], [*wanted.values()], **TOLERANCE)


@given(GRAPHS)
@settings(deadline=None, max_examples=50)
def test_the_elbo_of_the_host_has_the_scales_of_its_handlers_and_terms_have_not(graph):
    sites = records(**graph)
    by_hand = sum(s.handler_scale * over_all_data(s, s.term) for s in sites)
    assert_allclose(elbo(sites), by_hand, **TOLERANCE)
    plain = [replace(s, handler_scale=1.0) for s in sites]
    assert elbo_terms(sites, "data") == elbo_terms(plain, "data")


def test_a_handler_may_scale_each_element():
    x = site("x", "decoder", np.array([1.0, 2, 3]), np.zeros(3), [DATA], np.array([0.5, 0, 2]))
    assert elbo([x]) == 12 / 3 * (0.5 + 6)


def test_vectorised_particles_are_averaged():
    rng = np.random.default_rng(0)
    plates = {
        ("z", "encoder"): [DATA],
        ("z", "prior"): [DATA],
        ("w", "prior"): [],
        ("x", "decoder"): [OUTER, DATA],
    }
    together = [in_plates(*key, DRAWS, *p, rng=rng) for key, p in plates.items()]

    def particle(i):
        return [
            replace(s, term=s.term[i], entropy=s.entropy[i], plates=s.plates[1:]) for s in together
        ]

    one_by_one = average([elbo_terms(particle(i), "data") for i in range(DRAWS.size)])
    at_once = elbo_terms(together, "data")
    assert_allclose(at_once[:-1], one_by_one[:-1], **TOLERANCE)
    assert at_once.residuals == pytest.approx(one_by_one.residuals)


def test_a_factor_of_the_guide_may_have_the_name_of_one_of_the_model():
    one, three, zero = np.array(1.0), np.array(3.0), np.array(0.0)
    terms = elbo_terms([site("f", "guide factor", -three, zero), site("f", "factor", one, zero)])
    assert terms.gap == sum(terms.residuals.values()) == -2


DATA_PLATES = {
    "one": (DATA, [("z", "prior", DATA), ("x", "decoder", DATA)]),
    "outermost": (OUTER, [("z", "prior", OUTER), ("x", "decoder", OUTER, DATA)]),
    "innermost first": (OUTER, [("z", "prior", OUTER), ("x", "decoder", DATA, OUTER)]),
    "around all data": (OUTER, [("x", "decoder", OUTER, DATA), ("y", "decoder", OUTER)]),
    "latents may be outside": (DATA, [("w", "prior"), ("x", "decoder", DATA)]),
    "factors may be outside": (DATA, [("f", "factor"), ("x", "decoder", DATA)]),
    "particles are no data": (DATA, [("x", "decoder", DRAWS, DATA)]),
    "only particles": (None, [("x", "decoder", DRAWS)]),
    "in parts": (None, [("x", "decoder", DATA), ("y", "decoder", OUTER)]),
    "not around all data": (None, [("x", "decoder", DATA), ("y", "decoder")]),
    "only around latents": (None, [("z", "prior", DATA), ("x", "decoder")]),
    "nested": (DATA, [("w", "prior", DATA), ("x", "decoder", OUTER, DATA)]),
    "nested, entered first": (DATA, [("z", "prior", DATA, OUTER), ("x", "decoder", DATA, OUTER)]),
    "sequential": (None, [("x", "decoder", SEQUENTIAL)]),
    "inside a sequential one": (None, [("x", "decoder", SEQUENTIAL, DATA)]),
    "around a sequential one": (DATA, [("x", "decoder", DATA, SEQUENTIAL)]),
    "no data": (None, [("z", "prior", DATA)]),
}


@pytest.mark.parametrize(("plate", "sites"), DATA_PLATES.values(), ids=DATA_PLATES.keys())
def test_the_data_plate_is_the_outermost_around_all_data(plate, sites):
    sites = [in_plates(*s) for s in sites]
    assert find_data_plate(sites) == plate
    num_data = plate.full_size if plate else 1
    total = sum(over_all_data(s, s.term) for s in sites)
    assert_allclose(elbo_terms(sites).elbo, total / num_data, **TOLERANCE)


CROSSED = [
    in_plates("v", "prior", OUTER),
    in_plates("w", "prior", DATA),
    in_plates("x", "decoder", OUTER, DATA),
]


def test_crossed_plates_need_a_name():
    with pytest.raises(ValueError, match=r"one of the crossed plates \['data', 'outer'\]"):
        find_data_plate(CROSSED)
    for plate in (DATA, OUTER):
        assert find_data_plate(CROSSED, plate.name) == plate
        total = sum(over_all_data(s, s.term) for s in CROSSED)
        assert_allclose(elbo_terms(CROSSED, plate.name).elbo, total / plate.full_size, **TOLERANCE)


@pytest.mark.parametrize("name", ["rows", PARTICLES, "z_plate"])
def test_a_name_must_be_that_of_a_plate_around_all_data(name):
    z = in_plates("z", "prior", DATA, Plate("z_plate", -2, 3, 3))
    with pytest.raises(ValueError, match=rf"all data \['data'\] for `data_plate`; got '{name}'"):
        find_data_plate([z, in_plates("x", "decoder", DRAWS, DATA)], name)


MEAN_FIELD = {
    "alone": (True, "z", ["z", "x"], ["z"]),
    "in the model's order": (True, "z1", ["z2", "z1", "x"], ["z2", "z1"]),
    "against it, last in the model": (False, "z1", ["z2", "z1", "x"], ["z1", "z2"]),
    "against it, first in the model": (True, "z2", ["z2", "z1", "x"], ["z1", "z2"]),
    "a later one in between": (True, "z1", ["z1", "z2", "x"], ["z2", "z1"]),
    "the guide's own": (True, "z", ["z", "x"], ["z", "auxiliary"]),
    "data first": (True, "z", ["x", "z"], ["z"]),
}


@pytest.mark.parametrize(("answer", "name", "model", "guide"), MEAN_FIELD.values(), ids=MEAN_FIELD)
def test_mean_field_is_read_off_the_order_of_sites(answer, name, model, guide):
    assert is_mean_field(name, iter(model), iter(guide)) is answer


def test_a_guide_may_have_more_sites_and_no_fewer():
    drawn, enumerated = (SimpleNamespace(wants_enumeration=wants) for wants in (False, True))
    check_guide({"z": drawn}, {"z": 1, "auxiliary": 2})
    with pytest.raises(ValueError, match=r"'w' for `guide`; .* \['a', 'z'\]$"):
        check_guide({"z": drawn, "w": drawn}, iter(["z", "a"]))
    check_guide({"c": enumerated}, ["c"])
    with pytest.raises(ValueError, match=r"'c', or a mixture .* for `guide`; got .* sum out$"):
        check_guide({"z": drawn, "c": enumerated}, ["z"])


def test_average_is_that_of_each_term():
    rng = np.random.default_rng(0)
    terms = [elbo_terms([in_plates("x", "decoder", DATA, rng=rng)]) for _ in range(3)]
    mean = average(terms)
    assert_allclose(mean[:-1], np.mean([t[:-1] for t in terms], axis=0), **TOLERANCE)
    assert mean.residuals == {"x": pytest.approx(np.mean([t.residuals["x"] for t in terms]))}


@pytest.mark.parametrize("plate", [DATA, None])
def test_summed_is_over_all_data(plate):
    x = in_plates("x", "decoder", DATA, handler_scale=0.5)
    record = summed(x, plate)
    values = {"term": x.term, "entropy": x.entropy, "scaled_term": 0.5 * x.term}
    for name, value in values.items():
        by_hand = over_all_data(x, value) / (12 if plate else 1)
        assert_allclose(getattr(record, name), by_hand, **TOLERANCE)
    # What no sum needs is left out.
    assert record.log_prob is None
    unchanged = {name: getattr(x, name) for name in ("log_prob", *values)}
    assert replace(record, **unchanged) == x


def test_map_arrays_reaches_every_array_and_nothing_else():
    latent = LatentTerms("z", *np.arange(8.0).reshape(4, 1, 2))
    sites = [in_plates("z", "encoder", DATA), in_plates("x", "decoder", DATA, handler_scale=2.0)]
    sites[1] = replace(sites[1], num_observed=np.array(2))
    terms = trace(sites, [latent], [("w", "why")])
    mapped = map_arrays(lambda a: a + 1, terms)
    for new, old in zip(mapped.sites, terms.sites, strict=True):
        names = ["term", "entropy", "handler_scale", "scaled_term"]
        names += ["num_observed"] if old.num_observed is not None else []
        assert new == replace(old, **{name: getattr(old, name) + 1 for name in names})
    for name in ("entropy", "prior_entropy", "kl", "mean"):
        assert_allclose(getattr(mapped.latents[0], name), getattr(latent, name) + 1)
    assert (mapped.latents[0].site, mapped.untreated) == ("z", (("w", "why"),))
    assert mapped.data_plate == DATA
