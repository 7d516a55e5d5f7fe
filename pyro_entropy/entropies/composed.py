"""Entropies of distributions that are made of others: transformed, inflated, mixed."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
import torch.distributions as td
from pyro.distributions import transforms
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import Distribution

from entropy_core.entropies.discrete import zero_inflated_entropy
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.operations import OPERATIONS

Entropy = Callable[[Distribution], Tensor | None]

CONSTANT_JACOBIAN = (
    td.AffineTransform,
    td.ReshapeTransform,
    transforms.DiscreteCosineTransform,
    transforms.HaarTransform,
    transforms.Householder,
    transforms.LowerCholeskyAffine,
    transforms.Permute,
)


def composed_entropy(fn: Any, entropy_of: Entropy) -> Tensor | None:
    """The entropy of `fn` in closed form from that of what it is made of.

    Zero-inflated `-P(0) log P(0) + sum of the rest`; a transformed distribution whose transforms
    have a constant Jacobian, `H[u] + log|det f'|`. Shape: the batch shape of `fn`, or one that
    broadcasts to it; units: nats.

    Args:
        fn: A distribution, not wrapped by `to_event`, a mask or a plate.
        entropy_of: The entropy in closed form of a part, or `None`.
    """
    if belongs_to(fn, dist.MaskedMixture):
        return _masked_mixture_entropy(fn, entropy_of)
    if belongs_to(fn, dist.ZeroInflatedDistribution):
        return _zero_inflated_entropy(fn, entropy_of)
    if all(map(_has_constant_jacobian, getattr(fn, "transforms", ()))):
        base = base_entropy(fn, entropy_of)
        if base is not None:
            return base + log_det(fn, base.new_zeros(fn.base_dist.shape()))
    return None


def _masked_mixture_entropy(fn: Any, entropy_of: Entropy) -> Tensor | None:
    first, second = entropy_of(fn.component0), entropy_of(fn.component1)
    return None if first is None or second is None else torch.where(fn.mask, second, first)


def _zero_inflated_entropy(fn: Any, entropy_of: Entropy) -> Tensor | None:
    entropy = entropy_of(fn.base_dist)
    if entropy is None:
        return None
    zero = torch.zeros_like(entropy)
    log_zero, log_keep = fn.base_dist.log_prob(zero), _log_keep(fn)
    return zero_inflated_entropy(OPERATIONS, entropy, log_zero, log_keep)


def _log_keep(fn: Any) -> Tensor:
    # The host keeps whichever of the two it is asked for, and then cannot expand: only one is read.
    if "gate_logits" in vars(fn):
        return -torch.nn.functional.softplus(fn.gate_logits)
    return torch.log1p(-fn.gate)


def base_entropy(fn: Any, entropy_of: Entropy) -> Tensor | None:
    """The entropy of the base of a transformed distribution, `None` for any other.

    Shape: the batch shape of `fn`; units: nats.
    """
    if not belongs_to(fn, td.TransformedDistribution):
        return None
    # A straight-through or folded distribution has another density than its transforms say.
    if type(fn).log_prob is not td.TransformedDistribution.log_prob:
        return None
    entropy = entropy_of(fn.base_dist)
    return None if entropy is None else sum_rightmost(entropy, entropy.dim() - len(fn.batch_shape))


def log_det(fn: Any, value: Tensor) -> Tensor:
    """`log|det f'(u)|` of a transformed distribution at a value `u` of its base, in nats."""
    # As in the host's log_prob, from the other end.
    steps = []
    for transform in fn.transforms:
        steps.append((transform, value, transform(value)))
        value = steps[-1][-1]
    total, event_dim = torch.zeros((), dtype=value.dtype), len(fn.event_shape)
    for transform, x, y in reversed(steps):
        event_dim += transform.domain.event_dim - transform.codomain.event_dim
        log_det = transform.log_abs_det_jacobian(x, y)
        total = total + sum_rightmost(log_det, event_dim - transform.domain.event_dim)
    return total


def _has_constant_jacobian(transform: Any) -> bool:
    if isinstance(transform, td.ComposeTransform):
        return all(map(_has_constant_jacobian, transform.parts))
    if isinstance(transform, td.IndependentTransform):
        return _has_constant_jacobian(transform.base_transform)
    return isinstance(transform, CONSTANT_JACOBIAN) or isinstance(transform.inv, CONSTANT_JACOBIAN)
