"""Wrappers of NumPyro's distributions: taken off, put on again, and read."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import random
from numpy.testing import assert_allclose
from numpyro.distributions import ExpandedDistribution

from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_estimate,
)
from numpyro_entropy.entropies.wrappers import (
    Masks,
    elementwise,
    is_masked,
    masks_of,
    rewrap,
    rewrap_errors,
    spread,
    unwrap,
    unwrapped,
    without_masks,
)
from tests.support.helpers import IDENTITY

INNER = jnp.array([[True, True, False], [True, False, False]])
OUTER = jnp.array([True, False])
LOC = jnp.arange(24.0).reshape(4, 2, 3) / 10
ROW = LOC[0, 0]


def normal():
    return dist.Normal(LOC, 0.5)


def expanded():
    """The same numbers in each row, by `expand` from outside."""
    return dist.Normal(ROW, 0.5).expand((4, 2, 3))


def nested(fn):
    """Masks at two depths, between which an event dimension stands."""
    return fn.mask(INNER).to_event(1).mask(OUTER).to_event(1)


def by_hand(values):
    return ((values * INNER).sum(-1) * OUTER).sum(-1)


WRAPPED = {
    "bare": (lambda fn: fn, lambda x: x),
    "event": (lambda fn: fn.to_event(2), lambda x: x.sum((-1, -2))),
    "mask": (lambda fn: fn.mask(INNER), lambda x: x * INNER),
    "hidden": (lambda fn: fn.mask(False).to_event(1), lambda x: 0 * x.sum(-1)),
    "nested": (nested, by_hand),
    "one by one": (lambda fn: fn.to_event(1).to_event(1), lambda x: x.sum((-1, -2))),
}
wrappers = pytest.mark.parametrize(("wrap", "exact"), WRAPPED.values(), ids=WRAPPED)


@wrappers
def test_unwrap_and_rewrap(wrap, exact):
    leaf, layers = unwrap(wrap(normal()))
    assert isinstance(leaf, dist.Normal)
    assert unwrapped(wrap(normal())).batch_shape == leaf.batch_shape == LOC.shape
    assert_allclose(rewrap(LOC, layers), exact(LOC), IDENTITY)
    assert_allclose(rewrap_errors(LOC, layers) ** 2, exact(LOC**2), IDENTITY)
    leaf, layers = unwrap(wrap(expanded()))
    assert leaf.batch_shape == ROW.shape
    assert spread(leaf, wrap(expanded())).batch_shape == LOC.shape
    assert_allclose(rewrap(ROW, layers), exact(jnp.broadcast_to(ROW, LOC.shape)), IDENTITY)
    assert_allclose(rewrap(LOC, layers), exact(LOC), IDENTITY)


@wrappers
def test_entropies_and_base_measures(wrap, exact):
    for fn in (normal(), expanded()):
        each = jnp.broadcast_to(dist.Normal(ROW, 0.5).entropy(), LOC.shape)
        assert_allclose(closed_entropy(wrap(fn)), exact(each), IDENTITY)
    value = jnp.full_like(LOC, 3.0)
    for fn in (dist.Poisson(LOC + 1), dist.Poisson(ROW + 1).expand(LOC.shape)):
        each = -jnp.log(jnp.full_like(LOC, 6.0))
        assert_allclose(log_base_measure(wrap(fn), value), exact(each), IDENTITY)
        mean = mean_log_base_measure(fn)
        assert_allclose(mean_log_base_measure(wrap(fn)), exact(mean), IDENTITY)


@wrappers
def test_cross_entropies(wrap, exact):
    p = normal()
    for q in (dist.Normal(jnp.full(LOC.shape, 0.3), 2.0), dist.Normal(0.3, 2.0).expand(LOC.shape)):
        each = closed_cross_entropy(q, p, LOC)
        assert_allclose(closed_cross_entropy(wrap(q), wrap(p), LOC), exact(each), IDENTITY)
        each = closed_cross_entropy(p, q, LOC)
        assert_allclose(closed_cross_entropy(wrap(p), wrap(q), LOC), exact(each), IDENTITY)


def test_the_mask_of_q_does_not_apply_to_a_cross_entropy():
    q, p = dist.Normal(0.3, 2.0).expand(LOC.shape), normal()
    each = closed_cross_entropy(q, p, LOC)
    found = closed_cross_entropy(nested(q), p.to_event(2), LOC)
    assert_allclose(found, each.sum((-1, -2)), IDENTITY)
    # Wrapped in other ways, of the same event.
    one_by_one = closed_cross_entropy(q.to_event(1).to_event(1), nested(p), LOC)
    assert_allclose(one_by_one, by_hand(each), IDENTITY)


def test_cross_entropy_of_a_joint_and_a_factorised_normal():
    q = dist.MultivariateNormal(LOC, jnp.eye(3) + 0.3)
    p = dist.Normal(0.0, 1.0).expand(LOC.shape).to_event(1)
    each = closed_cross_entropy(q, p, LOC)
    exact = -0.5 * (3 * np.log(2 * np.pi) + (LOC**2).sum(-1) + 3 * 1.3)
    assert_allclose(each, exact, IDENTITY)
    masked = closed_cross_entropy(q.mask(False), p.mask(OUTER), LOC)
    assert_allclose(masked, each * OUTER, IDENTITY)
    summed = closed_cross_entropy(q.to_event(1), p.to_event(1), LOC)
    assert_allclose(summed, each.sum(-1), IDENTITY)
    other_way = closed_cross_entropy(normal().to_event(1), q, LOC)
    precision = jnp.diagonal(q.precision_matrix, axis1=-2, axis2=-1)
    assert_allclose(other_way, q.log_prob(LOC) - 0.125 * precision.sum(-1), IDENTITY)


def test_errors_of_sampled_entropies_add_up_in_quadrature():
    fn = dist.MixtureSameFamily(
        dist.CategoricalLogits(jnp.zeros((4, 2, 3, 2))), dist.Normal(jnp.zeros((4, 2, 3, 2)), 1.0)
    )
    methods = []

    @jax.jit
    def estimates(key):
        found = [entropy_estimate(key, each, 100) for each in (fn, nested(fn))]
        methods.extend(each.method for each in found)
        return [each[:2] for each in found]

    parts, (values, error) = estimates(random.key(0))
    assert methods == ["sampled"] * 2
    assert_allclose(values, by_hand(parts[0]), IDENTITY)
    assert_allclose(error, by_hand(parts[1] ** 2) ** 0.5, IDENTITY)


def test_each_element_of_a_plate_has_draws_of_its_own():
    """Also where a mask stands between the plate and the distribution."""
    single = dist.MixtureSameFamily(dist.CategoricalLogits(jnp.zeros(2)), dist.Normal(0.0, ROW[1:]))
    fn = ExpandedDistribution(single.mask(jnp.array(True)), (5,))
    values = jax.jit(lambda key: entropy_estimate(key, fn, 10).values)(random.key(0))
    assert len(set(values.tolist())) == 5


def test_unwrap_some():
    fn = normal().to_event(2).mask(jnp.ones(4, bool))
    for num_dims, leaf_shape, event_dims in ((0, (4,), 0), (1, (4, 2), 1), (2, LOC.shape, 2)):
        leaf, layers = unwrap(fn, num_dims)
        assert leaf.batch_shape == leaf_shape
        assert leaf.shape() == LOC.shape
        assert sum(layer.event_dims for layer in layers) == event_dims
        assert layers[-1].mask is not None
        assert_allclose(rewrap(leaf.log_prob(LOC), layers), fn.log_prob(LOC), IDENTITY)


def test_masks_of():
    masks, event_shape = masks_of(nested(normal()))
    assert [depth for _, depth in masks] == [1, 2]
    assert event_shape == (2, 3)
    assert_allclose(masks[0][0], jnp.broadcast_to(OUTER, (4, 2)))
    assert_allclose(masks[1][0], jnp.broadcast_to(INNER, (4, 2, 3)))
    assert masks_of(expanded().to_event(2)) == Masks((), ())
    assert masks_of(normal().to_event(1).mask(False)) == Masks(((False, 0),), ())
    outside = ExpandedDistribution(dist.Normal(ROW, 1.0).mask(INNER[0]).to_event(1), (4,))
    (((mask, depth),), event_shape) = masks_of(outside)
    assert (mask.shape, depth, event_shape) == ((3,), 1, (3,))


def test_readers_of_masks():
    assert is_masked(nested(normal()))
    assert not is_masked(expanded().to_event(1))
    assert is_masked(elementwise(nested(normal())))
    assert type(without_masks(normal().mask(INNER).mask(False))) is dist.Normal
    # Masks inside of an event are the distribution's own.
    inside = normal().mask(INNER).to_event(1)
    assert without_masks(inside.mask(OUTER)) is inside
    plate = without_masks(ExpandedDistribution(dist.Normal(ROW, 1.0).mask(INNER), (4, 2, 3)))
    assert plate.batch_shape == (4, 2, 3)
    assert not is_masked(plate)


def test_under_jit_and_gradients():
    def entropy(loc, mask):
        fn = dist.Poisson(loc + 1).mask(mask).to_event(1).expand((4, 2))
        return closed_entropy(fn).sum() + mean_log_base_measure(fn).sum()

    value, grad = jax.jit(jax.value_and_grad(entropy))(ROW, INNER[0])
    assert jnp.isfinite(value)
    assert (grad != 0).tolist() == INNER[0].tolist()
