"""Weights of enumerated sites, against sums over all their values together."""

import numpy as np
import pytest
from scipy.special import logsumexp

from entropy_core.traces.enumeration import Part, enumeration_of
from tests.support.numpy_operations import NUMPY

RNG = np.random.default_rng(0)
# The plate of size 4 is dimension -1; `a`, `b`, `c`, `d` have the values in -2, -3, -4, -5.
SIZES = {-1: 4, -2: 2, -3: 3, -4: 2, -5: 2}
PLACES = {-2: "a", -3: "b", -4: "c", -5: "d"}
PLATE = frozenset({-1})


def table(*dims, own=None):
    """A random log-probability over dimensions, normalised over the site's own."""
    shape = [SIZES[dim] if dim in dims else 1 for dim in range(min(dims), 0)]
    values = RNG.standard_normal(shape)
    return values if own is None else values - logsumexp(values, own, keepdims=True)


def part(*dims, own=None, plates=PLATE):
    return Part(table(*dims, own=own), PLACES, plates, PLACES.get(own))


def chain():
    """`a` is drawn by the guide, `b` depends on it, `c` on `b`, `d` on `c`; each is observed."""
    guide = {"a": part(-1, -2, own=-2)}
    model = {
        "a": part(-2, own=-2),
        "b": part(-1, -2, -3, own=-3),
        "x": part(-1, -2, -3),
        "c": part(-3, -4, own=-4),
        "d": part(-4, -5, own=-5),
        "y": part(-1, -5),
    }
    return guide, model


def brute_force(guide, model, hidden):
    """The logarithms of all weights at once, with all dimensions."""
    joint = sum(p.log_prob for p in model.values() if set(hidden) & dims_of(p))
    weights = joint - logsumexp(joint, hidden, keepdims=True)
    return weights + sum(p.log_prob for p in guide.values())


def dims_of(p):
    return {dim for dim in range(-p.log_prob.ndim, 0) if p.log_prob.shape[dim] > 1}


def expectation(values, log_weights):
    return (np.exp(log_weights) * values).sum((0, 1, 2, 3))


def test_means_over_a_chain():
    guide, model = chain()
    found = enumeration_of(guide, model, NUMPY)
    assert found.marginalised == {"b": "b", "c": "c", "d": "d"}
    assert not found.untreated
    weights = brute_force(guide, model, (-3, -4, -5))
    for p in model.values():
        mean = np.broadcast_to(found.mean(p.log_prob, PLACES), (1, 1, 1, 1, 4))
        np.testing.assert_allclose(mean.ravel(), expectation(p.log_prob, weights), atol=1e-12)


def test_the_entropies_given_neighbours_add_up():
    guide, model = chain()
    found = enumeration_of(guide, model, NUMPY)
    total = sum(found.entropy(name).ravel() for name in "bcd")
    weights = brute_force(guide, model, (-3, -4, -5))
    posterior = weights - sum(p.log_prob for p in guide.values())
    np.testing.assert_allclose(total, expectation(-posterior, weights), atol=1e-12)


def test_what_cannot_happen_adds_nothing():
    model = {"a": part(-2, own=-2), "x": part(-1, -2)}
    impossible, possible = model["x"].log_prob
    impossible[:] = -np.inf
    found = enumeration_of({}, model, NUMPY)
    np.testing.assert_allclose(found.mean(model["x"].log_prob, PLACES)[0], possible)
    np.testing.assert_allclose(found.entropy("a"), 0, atol=1e-12)


def test_a_site_inside_more_plates_is_a_product_over_them():
    # A word's topic `b` has a plate of its own, -1; the document's `a` has none.
    model = {
        "a": part(-2, own=-2, plates=frozenset()),
        "b": part(-1, -2, -3, own=-3),
        "x": part(-1, -3),
    }
    found = enumeration_of({}, model, NUMPY)
    by_word = logsumexp(model["b"].log_prob + model["x"].log_prob, -3).sum(-1)
    posterior = model["a"].log_prob.ravel() + by_word.ravel()
    posterior = posterior - logsumexp(posterior)
    mean = (np.exp(posterior) * model["a"].log_prob.ravel()).sum()
    np.testing.assert_allclose(found.mean(model["a"].log_prob, PLACES).ravel(), mean)


def test_crossed_plates_are_listed():
    model = {
        "a": Part(table(-1, -3, own=-3), {-3: "a"}, frozenset({-1}), "a"),
        "b": Part(table(-2, -4, own=-4), {-4: "b"}, frozenset({-2}), "b"),
        "x": Part(table(-1, -2, -3, -4), {-3: "a", -4: "b"}, frozenset({-1, -2}), None),
        "c": Part(table(-1, -5, own=-5), {-5: "c"}, frozenset({-1}), "c"),
    }
    found = enumeration_of({}, model, NUMPY)
    assert found.untreated.keys() == {"a", "b", "x"}
    assert found.marginalised == {"c": "c"}


@pytest.mark.parametrize("size", [1, 2])
def test_a_site_with_one_value_has_no_entropy(size):
    log_prob = np.full((size, 1), -np.log(size))
    found = enumeration_of({}, {"a": Part(log_prob, {-2: "a"}, PLATE, "a")}, NUMPY)
    np.testing.assert_allclose(found.entropy("a"), np.log(size))
    np.testing.assert_allclose(found.mean(log_prob, {-2: "a"}), -np.log(size))
