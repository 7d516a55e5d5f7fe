"""Wrappers of Pyro's distributions: taken off, put on again, and read."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.entropies.estimate import closed_cross_entropy, closed_entropy, entropy_estimate
from pyro_entropy.entropies.wrappers import (
    Masks,
    elementwise,
    is_hidden,
    is_masked,
    masks_of,
    rewrap,
    rewrap_errors,
    spread,
    unwrap,
    unwrapped,
    without_masks,
)

INNER = torch.tensor([[True, True, False], [True, False, False]])
OUTER = torch.tensor([True, False])
LOC = torch.arange(24.0).reshape(4, 2, 3).double() / 10


def normal(loc=LOC):
    return dist.Normal(loc, 0.5)


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
    torch.testing.assert_close(rewrap(LOC, layers), exact(LOC))
    torch.testing.assert_close(rewrap_errors(LOC, layers) ** 2, exact(LOC**2))


@wrappers
def test_entropies_and_base_measures(wrap, exact):
    torch.testing.assert_close(closed_entropy(wrap(normal())), exact(normal().entropy()))
    fn, value = dist.Poisson(LOC + 1), torch.full_like(LOC, 3.0)
    torch.testing.assert_close(log_base_measure(wrap(fn), value), exact(-(value + 1).lgamma()))
    mean = mean_log_base_measure(fn)
    torch.testing.assert_close(mean_log_base_measure(wrap(fn)), exact(mean))


@wrappers
def test_cross_entropies(wrap, exact):
    q, p = dist.Normal(0.3, 2.0).expand(LOC.shape), normal()
    each = closed_cross_entropy(q, p, LOC)
    torch.testing.assert_close(closed_cross_entropy(wrap(q), wrap(p), LOC), exact(each))


def test_the_mask_of_q_does_not_apply_to_a_cross_entropy():
    q, p = dist.Normal(0.3, 2.0).expand(LOC.shape), normal()
    each = closed_cross_entropy(q, p, LOC)
    found = closed_cross_entropy(nested(q), p.to_event(2), LOC)
    torch.testing.assert_close(found, each.sum((-1, -2)))
    # Wrapped in other ways, of the same event.
    one_by_one = closed_cross_entropy(q.to_event(1).to_event(1), nested(p), LOC)
    torch.testing.assert_close(one_by_one, by_hand(each))


def test_cross_entropy_of_a_joint_and_a_factorised_normal():
    q = dist.MultivariateNormal(LOC, torch.eye(3).double() + 0.3)
    p = dist.Normal(0.0, 1.0).expand(LOC.shape).to_event(1)
    each = closed_cross_entropy(q, p, LOC)
    exact = -0.5 * (3 * torch.log(torch.tensor(2 * torch.pi)) + (LOC**2).sum(-1) + 3 * 1.3)
    torch.testing.assert_close(each, exact.double())
    masked = closed_cross_entropy(q.mask(False), p.mask(OUTER), LOC)
    torch.testing.assert_close(masked, each * OUTER)
    summed = closed_cross_entropy(q.to_event(1), p.to_event(1), LOC)
    torch.testing.assert_close(summed, each.sum(-1))


def test_errors_of_sampled_entropies_add_up_in_quadrature():
    fn = dist.MixtureSameFamily(
        dist.Categorical(logits=torch.zeros(4, 2, 3, 2)), dist.Normal(torch.zeros(4, 2, 3, 2), 1.0)
    )
    torch.manual_seed(0)
    parts = entropy_estimate(fn, 100)
    torch.manual_seed(0)
    values, error, method = entropy_estimate(nested(fn), 100)
    assert method == parts.method == "sampled"
    torch.testing.assert_close(values, by_hand(parts.values))
    torch.testing.assert_close(error, by_hand(parts.error**2).sqrt())


def test_unwrap_some():
    fn = normal().to_event(2).mask(torch.ones(4, dtype=torch.bool))
    for num_dims, leaf_shape, event_dims in ((0, (4,), 0), (1, (4, 2), 1), (2, LOC.shape, 2)):
        leaf, layers = unwrap(fn, num_dims)
        assert leaf.batch_shape == leaf_shape
        assert leaf.shape() == LOC.shape
        assert sum(layer.event_dims for layer in layers) == event_dims
        assert layers[-1].mask is not None
        torch.testing.assert_close(rewrap(leaf.log_prob(LOC), layers), fn.log_prob(LOC))


def test_masks_of():
    masks, event_shape = masks_of(nested(normal()))
    assert [depth for _, depth in masks] == [1, 2]
    assert event_shape == (2, 3)
    torch.testing.assert_close(masks[0][0], OUTER.expand(4, 2))
    torch.testing.assert_close(masks[1][0], INNER.expand(4, 2, 3))
    assert masks_of(normal().to_event(2)) == Masks((), ())
    assert masks_of(normal().to_event(1).mask(False)) == Masks(((False, 0),), ())


def test_readers_of_masks():
    assert is_masked(nested(normal()))
    assert not is_masked(normal().to_event(1))
    assert is_masked(elementwise(nested(normal())))
    assert type(without_masks(normal().mask(INNER).mask(True))) is dist.Normal
    # Masks inside of an event are the distribution's own.
    inside = normal().mask(INNER).to_event(1)
    assert without_masks(inside.mask(OUTER)) is inside


def test_what_deterministic_leaves_is_hidden():
    trace = pyro.poutine.trace(lambda: pyro.deterministic("d", torch.ones(2))).get_trace()
    assert is_hidden(trace.nodes["d"]["fn"])
    assert not is_hidden(normal())
    assert not is_hidden(normal().mask(INNER))


class Shifted(dist.TorchDistribution):
    """A user's distribution without `expand`, which the host expands from outside."""

    arg_constraints = {}  # noqa: RUF012 - the host's interface
    support = dist.constraints.real

    def __init__(self, loc):
        self.loc = loc
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value):
        return dist.Normal(self.loc, 1.0).log_prob(value)

    def sample(self, sample_shape=()):
        return dist.Normal(self.loc, 1.0).sample(sample_shape)

    def entropy(self):
        return dist.Normal(self.loc, 1.0).entropy()


def test_expanded_from_outside():
    fn = Shifted(torch.zeros(3)).expand([2, 3])
    assert isinstance(fn, dist.ExpandedDistribution)
    leaf, layers = unwrap(fn.mask(INNER).to_event(1))
    assert isinstance(leaf, Shifted)
    assert spread(leaf, fn).batch_shape == (2, 3)
    exact = (leaf.entropy() * INNER).sum(-1)
    torch.testing.assert_close(rewrap(leaf.entropy(), layers), exact)
    torch.testing.assert_close(closed_entropy(fn.mask(INNER).to_event(1)), exact)
    masked = dist.ExpandedDistribution(leaf.mask(False), torch.Size([2, 3]))
    assert without_masks(masked).batch_shape == (2, 3)
    assert not is_masked(without_masks(masked))
