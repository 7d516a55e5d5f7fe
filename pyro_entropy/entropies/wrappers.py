"""What stands around a Pyro distribution: `to_event`, masks and plates."""

from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask, sum_rightmost
from torch import Tensor
from torch.distributions import Distribution

Mask = Tensor | bool


class Layer(NamedTuple):
    """One wrapper around a distribution, which does one of three things.

    Args:
        event_dims: The number of batch dimensions that `to_event` makes part of the event.
        mask: The mask that hides elements, of the batch shape or one number for all.
        batch_shape: The batch shape that `expand` gives.
    """

    event_dims: int = 0
    mask: Mask | None = None
    batch_shape: tuple[int, ...] = ()


class Masks(NamedTuple):
    """The masks around a distribution.

    Args:
        masks: Each with the number of event dimensions of `to_event` that stand outside of it,
            which are the last ones of its shape; the outermost mask first.
        event_shape: The sizes of those outside of the innermost mask.
    """

    masks: tuple[tuple[Mask, int], ...]
    event_shape: tuple[int, ...]


def unwrap(
    fn: Distribution, event_dims: int | None = None
) -> tuple[Distribution, tuple[Layer, ...]]:
    """A distribution without what stands around it, and its wrappers from the inside out.

    Args:
        fn: A distribution.
        event_dims: How many dimensions of `to_event` to take off at most, the outer ones first;
            all of them by default. Masks and plates inside of one that stays on stay on too.

    Example:
        >>> fn = dist.Normal(torch.zeros(3), 1.0).to_event(1)
        >>> leaf, layers = unwrap(fn)
        >>> type(leaf).__name__, [layer.event_dims for layer in layers]
        ('Normal', [1])
    """
    layers = []
    while True:
        if isinstance(fn, MaskedDistribution):
            layers.append(Layer(mask=fn._mask))
        elif isinstance(fn, dist.ExpandedDistribution):
            layers.append(Layer(batch_shape=tuple(fn.batch_shape)))
        elif isinstance(fn, dist.Independent):
            dims = fn.reinterpreted_batch_ndims
            taken = dims if event_dims is None else min(dims, event_dims)
            if event_dims is not None:
                event_dims -= taken
            if taken:
                layers.append(Layer(event_dims=taken))
            if taken < dims:
                leaf = dist.Independent(fn.base_dist, dims - taken) if taken else fn
                return leaf, tuple(reversed(layers))
        else:
            return fn, tuple(reversed(layers))
        fn = fn.base_dist


def rewrap(values: Tensor, layers: tuple[Layer, ...]) -> Tensor:
    """Values of each element of a leaf as those of the distribution that it was unwrapped from.

    Event dimensions are added up, and masked elements count zero. Shape: from the batch shape of
    the leaf, or a larger one, to that of the whole.

    Example:
        >>> _, layers = unwrap(dist.Normal(torch.zeros(3), 1.0).to_event(1))
        >>> rewrap(torch.tensor([1.0, 2.0, 3.0]), layers).item()
        6.0
    """
    return _through(values, layers, sum_rightmost)


def rewrap_errors(errors: Tensor, layers: tuple[Layer, ...]) -> Tensor:
    """As `rewrap`, for the standard errors of independent estimates: they add up in quadrature.

    Example:
        >>> _, layers = unwrap(dist.Normal(torch.zeros(3), 1.0).to_event(1))
        >>> rewrap_errors(torch.tensor([1.0, 2.0, 2.0]), layers).item()
        3.0
    """
    return _through(errors, layers, _sum_in_quadrature)


def spread(leaf: Distribution, fn: Distribution) -> Distribution:
    """A leaf with a batch element for each one of `fn`, from which it was unwrapped.

    A plate outside of it repeats one element, where draws should be each element's own.
    """
    shape = (*fn.batch_shape, *fn.event_shape)
    shape = shape[: len(shape) - len(leaf.event_shape)]
    return leaf if tuple(leaf.batch_shape) == shape else leaf.expand(shape)


def elementwise(fn: Distribution) -> Distribution:
    """Takes off `to_event` and `expand`: what a factorised distribution is made of."""
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        fn = fn.base_dist
    return fn


def common_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that shapes broadcast to, which torch's own function is slow to find."""
    first = shapes[0]
    return first if all(shape == first for shape in shapes) else torch.broadcast_shapes(*shapes)


def unwrapped(fn: Distribution) -> Distribution:
    """Takes off `to_event`, `expand` and masks."""
    return unwrap(fn)[0]


def without_masks(fn: Distribution) -> Distribution:
    """Takes off the masks outside of `to_event`, as handlers put them there.

    Example:
        >>> type(without_masks(dist.Normal(0.0, torch.ones(2)).mask(False))).__name__
        'Normal'
    """
    if isinstance(fn, MaskedDistribution):
        return without_masks(fn.base_dist)
    if isinstance(fn, dist.ExpandedDistribution):
        base = without_masks(fn.base_dist)
        # The host's `expand` of what is expanded changes it in place.
        return fn if base is fn.base_dist else dist.ExpandedDistribution(base, fn.batch_shape)
    return fn


def is_masked(fn: Distribution) -> bool:
    """Whether a mask stands anywhere around what a distribution is made of.

    Example:
        >>> is_masked(dist.Normal(0.0, torch.ones(2)).mask(False).to_event(1))
        True
    """
    return isinstance(elementwise(fn), MaskedDistribution)


def masks_of(fn: Distribution) -> Masks:
    """The masks around a distribution, and where they stand.

    Example:
        >>> masks_of(dist.Normal(0.0, torch.ones(2)).mask(False).to_event(1))
        Masks(masks=((False, 1),), event_shape=(2,))
    """
    masks, depth = [], 0
    for layer in reversed(unwrap(fn)[1]):
        if layer.mask is not None:
            masks.append((layer.mask, depth))
        depth += layer.event_dims
    # Of the event's dimensions those that stand outermost come first.
    innermost = masks[-1][1] if masks else 0
    return Masks(tuple(masks), tuple(fn.event_shape[:innermost]))


def is_hidden(fn: Distribution) -> bool:
    """Whether the mask `False` hides all of it, as `pyro.deterministic` leaves its values.

    Example:
        >>> is_hidden(dist.Delta(torch.zeros(2)).mask(False))
        True
    """
    return isinstance(fn, MaskedDistribution) and fn._mask is False


def _through(values: Tensor, layers: tuple[Layer, ...], add: Any) -> Tensor:
    for layer in layers:
        # Of the three a layer does one, and a step of training passes here often.
        if layer.event_dims:
            values = add(values, layer.event_dims)
        elif layer.mask is not None:
            values = scale_and_mask(values, mask=layer.mask)
        elif layer.batch_shape:
            values = values.expand(common_shape(values.shape, layer.batch_shape))
    return values


def _sum_in_quadrature(errors: Tensor, num_dims: int) -> Tensor:
    return sum_rightmost(errors**2, num_dims).sqrt()
