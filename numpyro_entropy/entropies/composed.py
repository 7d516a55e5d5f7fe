"""Entropies of distributions that are made of others: transformed, inflated, mixed."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array
from numpyro.distributions import Distribution, transforms
from numpyro.distributions.util import sum_rightmost

from entropy_core.entropies import discrete
from numpyro_entropy.entropies.counts import counts_entropy_without_zero
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.nets.mlp import as_floats
from numpyro_entropy.operations import OPERATIONS

Entropy = Callable[[Distribution], Array | None]

# By name: not every version of the host has all of them.
CONSTANT_JACOBIAN = tuple(
    getattr(transforms, name)
    for name in (
        "AffineTransform",
        "DiscreteCosineTransform",
        "HaarTransform",
        "IdentityTransform",
        "LowerCholeskyAffine",
        "PermuteTransform",
        "RecursiveLinearTransform",
        "ReshapeTransform",
    )
    if hasattr(transforms, name)
)


def composed_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    """The entropy of `fn` in closed form from that of what it is made of.

    Zero-inflated `-P(0) log P(0) + sum of the rest`; a transformed distribution whose transforms
    have a constant Jacobian, `H[u] + log|det f'|`. Shape: the batch shape of `fn`, or one that
    broadcasts to it; units: nats.

    Args:
        fn: A distribution, not wrapped by `to_event`, a mask or a plate.
        entropy_of: The entropy in closed form of a part, or `None`.
    """
    if belongs_to(fn, dist.ZeroInflatedProbs):
        return _zero_inflated_entropy(fn, entropy_of)
    if belongs_to(fn, getattr(dist, "HurdleProbs", type(None))):
        return _hurdle_entropy(fn, entropy_of)
    if belongs_to(fn, dist.GaussianCopula):
        return _copula_entropy(fn, entropy_of)
    if all(map(_has_constant_jacobian, getattr(fn, "transforms", ()))):
        base = base_entropy(fn, entropy_of)
        if base is not None:
            return base + log_det(fn, jnp.zeros(fn.base_dist.shape(), base.dtype))
    return None


def _zero_inflated_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    entropy = entropy_of(fn.base_dist)
    if entropy is None:
        return None
    parts = entropy, _log_zero(fn.base_dist), _log_keep(fn)
    return discrete.zero_inflated_entropy(OPERATIONS, *parts)


def _log_zero(base: Any) -> Array:
    # The host's density of a certain success has no zero.
    leaf = elementwise(base)
    certain = belongs_to(leaf, dist.GeometricProbs)
    return jnp.log(as_floats(leaf.probs)) if certain else base.log_prob(0)


def _log_keep(fn: Any) -> Array:
    # Where a gate is close to one, its logits alone have digits left.
    if "gate_logits" in vars(fn):
        return -nn.softplus(jnp.asarray(fn.gate_logits))
    return jnp.log1p(-jnp.asarray(fn.gate))


def _hurdle_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    # The gate's entropy and that of the base, without its zero if it has one.
    without_zero = _entropy_without_zero if fn._is_discrete else lambda base, of: of(base)
    entropy = without_zero(fn.base_dist, entropy_of)
    if entropy is None:
        return None
    if "gate_logits" in vars(fn):
        gate = discrete.bernoulli_entropy(OPERATIONS, as_floats(fn.gate_logits))
    else:
        gate = discrete.bernoulli_entropy_of_probs(OPERATIONS, as_floats(fn.gate))
    return gate + jnp.exp(_log_keep(fn)) * entropy


def _entropy_without_zero(base: Any, entropy_of: Entropy) -> Array | None:
    base = elementwise(base)
    if belongs_to(base, dist.ZeroInflatedProbs):
        return _entropy_without_zero(base.base_dist, entropy_of)
    if belongs_to(base, dist.GeometricProbs, dist.GeometricLogits):
        return entropy_of(base)
    if belongs_to(base, dist.CategoricalProbs, dist.CategoricalLogits):
        # Its logits are the logarithms of its probabilities where it was given those.
        return discrete.categorical_entropy(OPERATIONS, as_floats(base.logits)[..., 1:])
    if belongs_to(base, dist.BernoulliProbs, dist.BernoulliLogits):
        return jnp.zeros(base.batch_shape)
    entropy = counts_entropy_without_zero(base)
    if entropy is None and (entropy := entropy_of(base)) is not None:
        entropy = discrete.entropy_without_zero(OPERATIONS, entropy, base.log_prob(0))
    return entropy


def _copula_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    # H[copula] + sum of H[marginal]
    marginals = entropy_of(fn.marginal_dist)
    if marginals is None:
        return None
    diagonal = jnp.diagonal(fn.base_dist.scale_tril, axis1=-2, axis2=-1)
    width = jnp.broadcast_shapes(marginals.shape, fn.event_shape)
    return jnp.broadcast_to(marginals, width).sum(-1) + jnp.log(diagonal).sum(-1)


def base_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    """The entropy of the base of a transformed distribution, `None` for any other.

    Shape: the batch shape of `fn`; units: nats.
    """
    if not belongs_to(fn, dist.TransformedDistribution):
        return None
    # A folded distribution has another density than its transforms say.
    if type(fn).log_prob is not dist.TransformedDistribution.log_prob:
        return None
    entropy = entropy_of(fn.base_dist)
    return None if entropy is None else sum_rightmost(entropy, entropy.ndim - len(fn.batch_shape))


def log_det(fn: Any, value: Array) -> Array:
    """`log|det f'(u)|` of a transformed distribution at a value `u` of its base, in nats."""
    # As in the host's log_prob, from the other end.
    steps = []
    for transform in fn.transforms:
        y, intermediates = transform.call_with_intermediates(value)
        steps.append((transform, value, y, intermediates))
        value = y
    total, event_dim = jnp.zeros((), value.dtype), len(fn.event_shape)
    for transform, x, y, intermediates in reversed(steps):
        rest = event_dim - transform.codomain.event_dim
        log_det = transform.log_abs_det_jacobian(x, y, intermediates)
        total = total + sum_rightmost(log_det, rest)
        event_dim = transform.domain.event_dim + rest
    return total


def _has_constant_jacobian(transform: Any) -> bool:
    if isinstance(transform, transforms.ComposeTransform):
        return all(map(_has_constant_jacobian, transform.parts))
    if isinstance(transform, transforms.IndependentTransform):
        return _has_constant_jacobian(transform.base_transform)
    return isinstance(transform, CONSTANT_JACOBIAN) or isinstance(transform.inv, CONSTANT_JACOBIAN)
