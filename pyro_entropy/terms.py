"""From a pair of Pyro traces to one record a sample site: the heart of every objective and report.

Nothing here knows VAEs: it reads any model and guide that Pyro itself can trace.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import Unit
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import kl_divergence

from entropy_core.checks import expected
from entropy_core.terms import PARTICLES, LatentTerms, Method, Plate, Role, SiteTerms
from pyro_entropy.entropies import (
    closed_cross_entropy,
    closed_entropy,
    elementwise,
    sampled_entropy,
)

Site = dict[str, Any]


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
    _check_sites(model_sites, guide_sites)
    records = []
    for site in guide_sites.values():
        closed = closed_entropy(site["fn"]) if closed_form else None
        records.append(_guide_record(site, closed))
    for name, site in model_sites.items():
        role: Role = "prior" if name in guide_sites else "decoder"
        cross_entropy = None
        if closed_form and _is_mean_field(name, model_sites, guide_sites):
            q = guide_sites[name]["fn"]
            cross_entropy = closed_cross_entropy(q, site["fn"], site["value"])
        records.append(
            _model_record(site, role, cross_entropy, entropy_samples if entropies else None)
        )
    return records


def latent_terms(
    model_trace: Trace, guide_trace: Trace, data_plate: Plate | None
) -> tuple[list[LatentTerms], dict[str, str]]:
    """Takes the latent sites apart into dimensions, where guide and prior factorise over them.

    Args:
        model_trace: The trace of the model, replayed against `guide_trace`.
        guide_trace: The trace of the guide.
        data_plate: The plate over data points.

    Returns:
        A record for each site that comes apart, with arrays of shape `(B, H)`, and for each other
        latent site the reason why it does not.
    """
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
    records, untreated = [], {}
    for name, site in guide_sites.items():
        if name not in model_sites:
            continue
        if data_plate is None or _plates(site) != (data_plate,):
            untreated[name] = "not in the data plate alone"
            continue
        q, p = elementwise(site["fn"]), elementwise(model_sites[name]["fn"])
        try:
            entropy, prior_entropy, kl = q.entropy(), p.entropy(), kl_divergence(q, p)
        except NotImplementedError:
            untreated[name] = "no entropy or divergence of single dimensions in closed form"
            continue
        rows = [
            t.expand(q.batch_shape).reshape(data_plate.size, -1)
            for t in (entropy, prior_entropy, kl, q.mean)
        ]
        records.append(LatentTerms(name, *rows))
    return records, untreated


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, without the host's own bookkeeping.

    Left out are the indices of a subsampling plate, and what `pyro.deterministic` and the
    reparameterisers leave behind: an observed site under the mask `False`.
    """
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and type(site["fn"]).__name__ != "_Subsample"
        and not (site["is_observed"] and getattr(site["fn"], "_mask", None) is False)
    }


def _check_sites(model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> None:
    for name, site in model_sites.items():
        if site["infer"].get("_enumerate_dim") is not None:
            raise NotImplementedError(
                expected("no enumerated sites", "model", f"site '{name}', enumerated")
            )
        if not site["is_observed"] and name not in guide_sites:
            raise ValueError(
                expected(f"a sample site '{name}'", "guide", f"the sites {sorted(guide_sites)}")
            )


def _is_mean_field(name: str, model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> bool:
    """Whether no site that may be a parent of `name` in the model may descend from it in the guide.

    Both are read off the order of the sites. Elsewhere the KL divergence between the two
    distributions at the draws of the trace is not the expectation that the ELBO asks for.
    """
    if name not in guide_sites:
        return False
    model_order, guide_order = list(model_sites), list(guide_sites)
    before = set(model_order[: model_order.index(name)])
    return before.isdisjoint(guide_order[guide_order.index(name) :])


def _guide_record(site: Site, closed: Tensor | None) -> SiteTerms:
    log_prob = _log_prob(site)
    if isinstance(site["fn"], Unit):
        return _factor_record(site, log_prob, -log_prob)
    entropy = _first_of(site, closed, lambda: -log_prob)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(
    site: Site, role: Role, cross_entropy: Tensor | None, entropy_samples: int | None
) -> SiteTerms:
    log_prob = _log_prob(site)
    if isinstance(site["fn"], Unit):
        return _factor_record(site, log_prob, log_prob)
    term = _first_of(site, cross_entropy, lambda: log_prob)
    entropy: tuple[Tensor | None, Method] = (None, "none")
    if entropy_samples is not None:
        fn = site["fn"]
        entropy = _first_of(site, closed_entropy(fn), lambda: sampled_entropy(fn, entropy_samples))
    return _record(site, role, log_prob, term, entropy)


def _factor_record(site: Site, log_prob: Tensor, term: Tensor) -> SiteTerms:
    # A factor is no distribution: it adds itself to the ELBO, and nothing to the entropy sum.
    nothing: tuple[Tensor, Method] = (torch.zeros_like(term), "none")
    return _record(site, "factor", log_prob, (term, "closed form"), nothing)


def _record(
    site: Site,
    role: Role,
    log_prob: Tensor,
    term: tuple[Tensor, Method],
    entropy: tuple[Tensor | None, Method],
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
    site: Site, closed: Tensor | None, sampled: Callable[[], Tensor]
) -> tuple[Tensor, Method]:
    values, method = (sampled(), "sampled") if closed is None else (closed, "closed form")
    return scale_and_mask(values.expand(site["fn"].batch_shape), mask=site["mask"]), method


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
