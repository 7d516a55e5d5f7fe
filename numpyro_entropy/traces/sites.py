"""The sample sites of a NumPyro trace: which there are, and what is read off one of them."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import (
    Distribution,
    ExpandedDistribution,
    FoldedDistribution,
    Independent,
    MaskedDistribution,
    Unit,
)

from entropy_core.traces.records import Plate
from numpyro_entropy.entropies.wrappers import elementwise

Site = dict[str, Any]
Trace = dict[str, Site]


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, each with the plates around it under the key `"plates"`."""
    full_sizes = {name: site["args"][0] for name, site in trace.items() if site["type"] == "plate"}
    return {
        name: {
            **site,
            "plates": tuple(
                Plate(frame.name, frame.dim, frame.size, full_sizes.get(frame.name, frame.size))
                for frame in site["cond_indep_stack"]
            ),
        }
        for name, site in trace.items()
        if site["type"] == "sample"
    }


def deterministic_sites(trace: Trace) -> list[str]:
    """The names of what is computed and not drawn."""
    return [name for name, site in trace.items() if site["type"] == "deterministic"]


def subsamples(trace: Trace) -> dict[str, Array]:
    """The indices that plates have drawn, for another run over the same rows."""
    return {name: site["value"] for name, site in trace.items() if site["type"] == "plate"}


def log_prob_of(site: Site) -> Array:
    """The unscaled log-probability at the draw, zero where a mask hides it."""
    # A flow's log-determinant is exact only along the path that the draw has taken. A folded
    # distribution hands intermediates out and does not take them.
    if site["intermediates"] and not isinstance(elementwise(site["fn"]), FoldedDistribution):
        return site["fn"].log_prob(site["value"], site["intermediates"])
    return site["fn"].log_prob(site["value"])


def unmasked(site: Site) -> Site:
    """The site without the masks of handlers around it."""
    return {**site, "fn": _unmasked(site["fn"])}


def plates_of(site: Site) -> tuple[Plate, ...]:
    """The plates around a site."""
    return site["plates"]


def is_factor(fn: Distribution) -> bool:
    """Whether `fn` is what `numpyro.factor` leaves in a trace, which is no distribution."""
    # A plate expands it, and a mask wraps it.
    while isinstance(fn, ExpandedDistribution | MaskedDistribution):
        fn = fn.base_dist
    return isinstance(fn, Unit)


def count_elements(site: Site, shape: tuple[int, ...]) -> tuple[int, Array | None]:
    """The number of elements of a site, and how many of them no mask hides.

    Args:
        site: The site.
        shape: That of its log-probabilities.

    Returns:
        Counts of plate elements, or of the entries of each where a mask tells them apart; `None`
        for the second where there is no mask.
    """
    fn, masks, depth = site["fn"], [], 0
    inside: tuple[int, ...] = ()
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        if isinstance(fn, MaskedDistribution):
            masks.append((jnp.asarray(fn._mask, bool), depth))
            inside = tuple(fn.batch_shape[len(fn.batch_shape) - depth :])
        elif isinstance(fn, Independent):
            depth += fn.reinterpreted_batch_ndims
        fn = fn.base_dist
    if not masks:
        return math.prod(shape), None
    shown = jnp.ones((*shape, *inside), bool)
    for mask, depth in masks:
        shown = shown & mask.reshape(mask.shape + (1,) * (len(inside) - depth))
    return shown.size, shown.sum()


def _unmasked(fn: Distribution) -> Distribution:
    if isinstance(fn, MaskedDistribution):
        return _unmasked(fn.base_dist)
    if isinstance(fn, ExpandedDistribution):
        return _unmasked(fn.base_dist).expand(fn.batch_shape)
    return fn
