"""From a pair of Pyro traces to one record a sample site: the heart of objectives and reports.

Nothing here knows VAEs: it reads any model and guide that Pyro itself can trace.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from pyro.distributions import Unit
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from entropy_core.checks import expected
from entropy_core.records import PARTICLES, LatentTerms, Method, Plate, Role, SiteTerms
from entropy_core.terms import check_guide, is_mean_field
from pyro_entropy.entropies import (
    closed_cross_entropy,
    closed_entropy,
    elementwise,
    sampled_entropy,
)

Site = dict[str, Any]
Estimate = tuple[Tensor | None, Method]

NO_ENTROPY: Estimate = (None, "none")


def site_terms(
    model_trace: Trace,
    guide_trace: Trace,
    *,
    closed_form: bool = True,
    entropies: bool = True,
    entropy_samples: int = 10,
) -> list[SiteTerms]:
    """Reads every sample site of a guide's trace and of the model's trace replayed against it.

    A latent site whose `kl_divergence(q, p)` is registered adds `-KL`, so that its cross-entropy
    term is `-(KL + H[q])`; without one, `log p` is taken at the draw, and `H[q]` in closed form
    where the host has it.

    Args:
        model_trace: The trace of the model, replayed against `guide_trace`.
        guide_trace: The trace of the guide.
        closed_form: `False` takes every term at the draws.
        entropies: `False` leaves out the entropies of the model's sites, which no loss needs.
        entropy_samples: The number of fresh draws for the entropy of a model site that has none in
            closed form. The draw of the trace will not do: it comes from the guide.

    Raises:
        ValueError: If the guide lacks a latent site of the model.
        NotImplementedError: If a site is enumerated.
    """
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
    _check_not_enumerated(model_sites)
    check_guide((n for n, s in model_sites.items() if not s["is_observed"]), guide_sites)
    records = [_guide_record(site, closed_form) for site in guide_sites.values()]
    for name, site in model_sites.items():
        role: Role = "decoder" if site["is_observed"] else "prior"
        cross_entropy, entropy = None, NO_ENTROPY
        if closed_form and role == "prior" and is_mean_field(name, model_sites, guide_sites):
            q = guide_sites[name]["fn"]
            cross_entropy = closed_cross_entropy(q, site["fn"], site["value"])
        if entropies:
            entropy = _model_entropy(site, entropy_samples)
        records.append(_model_record(site, role, cross_entropy, entropy))
    return records


def latent_terms(
    model_trace: Trace, guide_trace: Trace, data_plate: Plate | None
) -> tuple[tuple[LatentTerms, ...], tuple[tuple[str, str], ...]]:
    """Takes the latent sites apart into dimensions, where guide and prior factorise over them.

    Args:
        model_trace: The trace of the model, replayed against `guide_trace`.
        guide_trace: The trace of the guide.
        data_plate: The plate over data points.

    Returns:
        A record for each site that comes apart, with arrays of shape `(B, H)`, and for each other
        latent site a pair of its name and the reason why it does not.
    """
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
    records, untreated = [], []
    for name, site in guide_sites.items():
        if name not in model_sites:
            continue
        if data_plate is None or _plates(site) != (data_plate,):
            untreated.append((name, "not in the data plate alone"))
            continue
        fn = site["fn"]
        if site["mask"] is not None or isinstance(elementwise(fn), MaskedDistribution):
            untreated.append((name, "masked"))
            continue
        if math.prod(fn.batch_shape) != data_plate.size:
            untreated.append((name, "more than one draw for each data point"))
            continue
        q, p = elementwise(fn), elementwise(model_sites[name]["fn"])
        try:
            if q.event_shape or p.event_shape:
                raise NotImplementedError
            parts = q.entropy(), p.entropy(), kl_divergence(q, p), q.mean
        except NotImplementedError:
            untreated.append((name, "no closed form for single dimensions"))
            continue
        rows = [part.expand(q.batch_shape).reshape(data_plate.size, -1) for part in parts]
        records.append(LatentTerms(name, *rows))
    return tuple(records), tuple(untreated)


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, without the host's own bookkeeping.

    Left out are the indices of a subsampling plate, and what `pyro.deterministic` and the
    reparameterisers leave behind: an observed site under the mask `False`.
    """
    nodes: dict[str, Any] = trace.nodes
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample"
        and not _is_subsample(site)
        and not (site["is_observed"] and getattr(site["fn"], "_mask", None) is False)
    }


def subsamples(trace: Trace) -> Trace:
    """The indices that subsampling plates have drawn, for another run over the same rows."""
    found, nodes = Trace(), cast(Any, trace.nodes)
    for name, site in nodes.items():
        if _is_subsample(site):
            found.add_node(name, **site)
    return found


def _is_subsample(site: Site) -> bool:
    return type(site.get("fn")).__name__ == "_Subsample"


def _check_not_enumerated(sites: dict[str, Site]) -> None:
    for name, site in sites.items():
        if site["infer"].get("_enumerate_dim") is not None:
            raise NotImplementedError(
                expected("no enumerated sites", "model", f"site '{name}', enumerated")
            )


def _guide_record(site: Site, closed_form: bool) -> SiteTerms:
    log_prob = _log_prob(site)
    if _is_factor(site["fn"]):
        return _factor_record(site, "guide factor", log_prob, -log_prob)
    closed = closed_entropy(site["fn"]) if closed_form else None
    entropy = _first_of(site, log_prob.shape, closed, lambda: -log_prob)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(
    site: Site, role: Role, cross_entropy: Tensor | None, entropy: Estimate
) -> SiteTerms:
    log_prob = _log_prob(site)
    if _is_factor(site["fn"]):
        return _factor_record(site, "factor", log_prob, log_prob)
    return _record(
        site,
        role,
        log_prob,
        _first_of(site, log_prob.shape, cross_entropy, lambda: log_prob),
        entropy,
    )


def _model_entropy(site: Site, num_samples: int) -> Estimate:
    fn = site["fn"]
    if _is_factor(fn):
        return NO_ENTROPY
    shape = _log_prob(site).shape
    return _first_of(site, shape, closed_entropy(fn), lambda: sampled_entropy(fn, num_samples))


def _is_factor(fn: Distribution) -> bool:
    return isinstance(fn.base_dist if isinstance(fn, MaskedDistribution) else fn, Unit)


def _factor_record(site: Site, role: Role, log_prob: Tensor, term: Tensor) -> SiteTerms:
    # A factor is no distribution: it adds itself to the ELBO, and nothing to the entropy sum.
    return _record(site, role, log_prob, (term, "closed form"), (torch.zeros_like(term), "none"))


def _record(
    site: Site,
    role: Role,
    log_prob: Tensor,
    term: Estimate,
    entropy: Estimate,
) -> SiteTerms:
    plates = _plates(site)
    subsampling = math.prod(p.full_size / p.size for p in plates if p.name != PARTICLES)
    return SiteTerms(
        name=site["name"],
        role=role,
        log_prob=log_prob,
        term=term[0],
        entropy=entropy[0],
        term_method=term[1],
        entropy_method=entropy[1],
        plates=plates,
        handler_scale=site["scale"] / subsampling,
    )


def _first_of(
    site: Site, shape: torch.Size, closed: Tensor | None, sampled: Callable[[], Tensor]
) -> Estimate:
    method: Method
    values, method = (sampled(), "sampled") if closed is None else (closed, "closed form")
    return scale_and_mask(values.expand(shape), mask=site["mask"]), method


def _log_prob(site: Site) -> Tensor:
    # Pyro's own objectives have computed it already; a user's bare trace may not.
    log_prob = site.get("unscaled_log_prob")
    if log_prob is None:
        log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(log_prob, mask=site["mask"])


def _plates(site: Site) -> tuple[Plate, ...]:
    return tuple(
        Plate(
            name=frame.name,
            dim=frame.dim,
            size=frame.size,
            # A plate of full size 1 averages over its elements, as is done with particles.
            full_size=1 if frame.name == PARTICLES else frame.full_size or frame.size,
        )
        for frame in site["cond_indep_stack"]
    )
