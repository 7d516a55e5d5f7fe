"""The sample sites of a Pyro trace: which there are, and what is read off one of them."""

import math
from typing import Any, cast

import torch
from pyro.distributions import Independent, Unit
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Size, Tensor
from torch.distributions import Distribution

from entropy_core.traces.records import PARTICLES, Plate

Site = dict[str, Any]


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, without the host's own bookkeeping.

    Left out are the indices of a subsampling plate, and what `pyro.deterministic` and the
    reparameterisers leave behind: an observed site under the mask `False`.
    """
    nodes: dict[str, Any] = trace.nodes
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not _is_subsample(site) and not _is_deterministic(site)
    }


def deterministic_sites(trace: Trace) -> list[str]:
    """The names of what is computed and not drawn."""
    nodes: dict[str, Any] = trace.nodes
    return [
        name
        for name, site in nodes.items()
        if site["type"] == "sample" and not _is_subsample(site) and _is_deterministic(site)
    ]


def subsamples(trace: Trace) -> Trace:
    """The indices that subsampling plates have drawn, for another run over the same rows."""
    found, nodes = Trace(), cast(Any, trace.nodes)
    for name, site in nodes.items():
        if _is_subsample(site):
            found.add_node(name, **site)
    return found


def log_prob_of(site: Site) -> Tensor:
    """The unscaled log-probability at the draw, zero where a mask hides it."""
    # Pyro's own objectives have computed it already; a user's bare trace may not.
    log_prob = site.get("unscaled_log_prob")
    if log_prob is None:
        log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(log_prob, mask=site["mask"])


def unmasked(site: Site) -> Site:
    """The site without the masks of handlers around it."""
    return {**site, "mask": None}


def plates_of(site: Site) -> tuple[Plate, ...]:
    """The plates around a site."""
    return tuple(_plate_of(frame, site["fn"]) for frame in site["cond_indep_stack"])


def is_factor(fn: Distribution) -> bool:
    """Whether `fn` is what `pyro.factor` leaves in a trace, which is no distribution."""
    return isinstance(fn.base_dist if isinstance(fn, MaskedDistribution) else fn, Unit)


def count_elements(site: Site, shape: Size) -> tuple[int, Tensor | None]:
    """The number of elements of a site, and how many of them no mask hides.

    Args:
        site: The site.
        shape: That of its log-probabilities.

    Returns:
        Counts of plate elements, or of the entries of each where a mask tells them apart; `None`
        for the second where there is no mask.
    """
    fn, masks, depth = site["fn"], [(site["mask"], 0)], 0
    inside: tuple[int, ...] = ()
    while isinstance(fn, Independent | MaskedDistribution):
        if isinstance(fn, MaskedDistribution):
            masks.append((fn._mask, depth))
            inside = tuple(fn.batch_shape[len(fn.batch_shape) - depth :])
        else:
            depth += fn.reinterpreted_batch_ndims
        fn = fn.base_dist
    masks = [(mask, depth) for mask, depth in masks if mask is not None]
    if not masks:
        return math.prod(shape), None
    shown = torch.ones((*shape, *inside), dtype=torch.bool)
    for mask, depth in masks:
        mask = torch.as_tensor(mask, dtype=torch.bool).cpu()
        shown = shown & mask.reshape(mask.shape + (1,) * (len(inside) - depth))
    return shown.numel(), shown.sum()


def _is_subsample(site: Site) -> bool:
    return type(site.get("fn")).__name__ == "_Subsample"


def _is_deterministic(site: Site) -> bool:
    return site["is_observed"] and getattr(site["fn"], "_mask", None) is False


def _plate_of(frame: Any, fn: Distribution) -> Plate:
    size = frame.size
    if size < 0:
        # A plate may be made without a size, as an EasyGuide's is: it has that of its sites.
        size = fn.batch_shape[frame.dim]
    full_size = frame.full_size if frame.full_size and frame.full_size > 0 else size
    # A plate of full size 1 averages over its elements, as is done with particles.
    return Plate(frame.name, frame.dim, size, 1 if frame.name == PARTICLES else full_size)
