"""Entropies of distributions that are made of others: transformed, inflated, mixed."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jax.scipy.special import xlogy
from jaxtyping import Array
from numpyro.distributions import Distribution, transforms
from numpyro.distributions.util import sum_rightmost

from numpyro_entropy.entropies.closed_forms import formula_entropy
from numpyro_entropy.entropies.families import belongs_to

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
    """The entropy of `fn` in closed form from that of what it is made of, or by a formula of ours.

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
    entropy = formula_entropy(fn)
    if entropy is None and all(map(_has_constant_jacobian, getattr(fn, "transforms", ()))):
        base = base_entropy(fn, entropy_of)
        if base is not None:
            entropy = base + log_det(fn, jnp.zeros(fn.base_dist.shape(), base.dtype))
    return entropy


def _zero_inflated_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    # Of the base's terms, that of zero is taken out and put in with its new probability.
    entropy = entropy_of(fn.base_dist)
    if entropy is None:
        return None
    log_zero, log_keep = fn.base_dist.log_prob(0), _log_keep(fn)
    others, keep = -jnp.expm1(log_zero), jnp.exp(log_keep)
    rest = keep * (entropy + _x_exp_x(log_zero)) - others * _x_exp_x(log_keep)
    # The probability of zero is one less than a part that may be far below it.
    return rest - _x_exp_x(jnp.log1p(-others * keep))


def _log_keep(fn: Any) -> Array:
    # Where a gate is close to one, its logits alone have digits left.
    if "gate_logits" in vars(fn):
        return -nn.softplus(jnp.asarray(fn.gate_logits))
    return jnp.log1p(-jnp.asarray(fn.gate))


def _x_exp_x(x: Array) -> Array:
    # p log p of a logarithm, which is zero where p is.
    finite = x > -jnp.inf
    x = jnp.where(finite, x, 0.0)
    return jnp.where(finite, jnp.exp(x) * x, 0.0)


def _hurdle_entropy(fn: Any, entropy_of: Entropy) -> Array | None:
    # The gate's entropy and that of the base, without its zero if it has one.
    entropy = entropy_of(fn.base_dist)
    if entropy is None:
        return None
    if fn._is_discrete:
        log_zero = fn.base_dist.log_prob(0)
        zero, rest = jnp.exp(log_zero), -jnp.expm1(log_zero)
        entropy = (entropy + zero * log_zero) / rest + jnp.log(rest)
    keep = 1 - fn.gate
    return -xlogy(fn.gate, fn.gate) - xlogy(keep, keep) + keep * entropy


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
