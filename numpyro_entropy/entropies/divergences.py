"""Divergences within a family of NumPyro's, where the host's own lose digits.

The formulas are in `entropy_core.entropies.divergences`.
"""

from collections.abc import Callable
from typing import Any

import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import Distribution

from entropy_core.entropies.divergences import dirichlet_divergence, gamma_divergence
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.nets.mlp import as_floats
from numpyro_entropy.operations import OPERATIONS


def family_divergence(q: Distribution, p: Distribution) -> Array | None:
    """`KL(q || p)` of two gamma, beta or Dirichlet distributions, or `None`.

    Shape: the batch shape; units: nats.

    Example:
        >>> q = dist.Gamma(1e6, 1e6)
        >>> round(family_divergence(q, dist.Gamma(1e6, 1.001e6)).item(), 4)
        0.4997
    """
    for cls, divergence in _DIVERGENCES.items():
        if belongs_to(q, cls) and belongs_to(p, cls):
            return divergence(q, p)
    return None


def _gamma(q: Any, p: Any) -> Array:
    parameters = (q.concentration, q.rate, p.concentration, p.rate)
    return gamma_divergence(OPERATIONS, *map(as_floats, parameters))


def _beta(q: Any, p: Any) -> Array:
    pairs = ((as_floats(fn.concentration1), as_floats(fn.concentration0)) for fn in (q, p))
    return dirichlet_divergence(OPERATIONS, *map(OPERATIONS.stack, pairs))


def _dirichlet(q: Any, p: Any) -> Array:
    return dirichlet_divergence(OPERATIONS, as_floats(q.concentration), as_floats(p.concentration))


_DIVERGENCES: dict[type, Callable[[Any, Any], Array]] = {
    dist.Beta: _beta,
    dist.Dirichlet: _dirichlet,
    dist.Gamma: _gamma,
}
