"""Divergences within a family of Pyro's, where the host's own lose digits.

The formulas are in `entropy_core.entropies.divergences`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from entropy_core.entropies.divergences import (
    binomial_divergence,
    dirichlet_divergence,
    gamma_divergence,
    poisson_divergence,
)
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.operations import OPERATIONS


def family_divergence(q: Distribution, p: Distribution) -> Tensor | None:
    """`KL(q || p)` of two gamma, beta, Dirichlet, Poisson or binomial distributions, or `None`.

    Of transformed ones too, where both have the same transforms. Shape: the batch shape; units:
    nats.

    Example:
        >>> q = td.Gamma(torch.tensor(1e6), torch.tensor(1e6))
        >>> round(family_divergence(q, td.Gamma(1e6, torch.tensor(1.001e6))).item(), 4)
        0.4997
    """
    for cls, divergence in _DIVERGENCES.items():
        if belongs_to(q, cls) and belongs_to(p, cls):
            return divergence(q, p)
    return None


def _transformed(q: Any, p: Any) -> Tensor | None:
    same = q.transforms == p.transforms and q.event_shape == p.event_shape
    return family_divergence(q.base_dist, p.base_dist) if same else None


def _gamma(q: Any, p: Any) -> Tensor:
    return gamma_divergence(OPERATIONS, q.concentration, q.rate, p.concentration, p.rate)


def _beta(q: Any, p: Any) -> Tensor:
    pairs = (OPERATIONS.stack((fn.concentration1, fn.concentration0)) for fn in (q, p))
    return dirichlet_divergence(OPERATIONS, *pairs)


def _dirichlet(q: Any, p: Any) -> Tensor:
    return dirichlet_divergence(OPERATIONS, q.concentration, p.concentration)


def _poisson(q: Any, p: Any) -> Tensor:
    return poisson_divergence(OPERATIONS, q.rate, p.rate)


def _binomial(q: Any, p: Any) -> Tensor | None:
    # Of other numbers of trials the host has infinity, or none.
    if not torch.equal(*torch.broadcast_tensors(q.total_count, p.total_count)):
        return None
    return binomial_divergence(OPERATIONS, q.total_count, q.logits, p.logits)


_DIVERGENCES: dict[type, Callable[[Any, Any], Tensor | None]] = {
    td.Binomial: _binomial,
    td.Beta: _beta,
    td.Dirichlet: _dirichlet,
    td.Gamma: _gamma,
    td.Poisson: _poisson,
    td.TransformedDistribution: _transformed,
}
