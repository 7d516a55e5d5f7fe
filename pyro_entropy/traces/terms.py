"""From a pair of Pyro traces to one record a sample site: the heart of objectives and reports.

Nothing here knows VAEs: it reads any model and guide that Pyro itself can trace.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution

from entropy_core.checks import expected
from entropy_core.traces.enumeration import Enumeration
from entropy_core.traces.records import PARTICLES, Method, Role, SiteTerms
from entropy_core.traces.sums import check_guide, is_mean_field
from pyro_entropy.entropies.estimate import closed_cross_entropy, closed_entropy, entropy_estimate
from pyro_entropy.traces.autoguides import folded, is_point, joint_sites, path_entropy
from pyro_entropy.traces.enumerated import enumerated_places, read_enumeration
from pyro_entropy.traces.latents import latent_terms
from pyro_entropy.traces.sites import (
    Site,
    count_elements,
    deterministic_sites,
    is_factor,
    log_prob_of,
    plates_of,
    sample_sites,
    subsamples,
    unmasked,
)

__all__ = ["Site", "all_terms", "latent_terms", "sample_sites", "site_terms", "subsamples"]

Estimate = tuple[Tensor | None, Method]
Untreated = tuple[tuple[str, str], ...]

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
    _check_not_enumerated(model_sites, "model")
    _check_not_enumerated(guide_sites, "guide")
    check_guide((n for n, s in model_sites.items() if not s["is_observed"]), guide_sites)
    records = [_guide_record(site, closed_form) for site in guide_sites.values()]
    for name, site in model_sites.items():
        cross_entropy = _cross_entropy(name, model_sites, guide_sites) if closed_form else None
        entropy = _model_entropy(site, entropy_samples) if entropies else NO_ENTROPY
        records.append(_model_record(site, cross_entropy, entropy))
    return records


def all_terms(
    model_trace: Trace,
    guide_trace: Trace,
    *,
    closed_form: bool = True,
    entropy_samples: int = 10,
) -> tuple[list[SiteTerms], Untreated]:
    """Reads what `site_terms` reads, of any pair, and lists what no record or entropy is made of.

    Auxiliary sites of AutoGuides are put into the site that they stand for, and enumerated sites
    are averaged over: exactly, with the weights that `TraceEnum_ELBO` gives their values. The
    arguments are those of `site_terms`.

    Returns:
        The records, and pairs of a site and the reason why it has no record or no entropy. A site
        without an entropy adds to the ELBO, and nothing to the entropy sum.

    Raises:
        ValueError: If the guide lacks a latent site of the model that is not enumerated.
    """
    model_sites = sample_sites(model_trace)
    guide_sites = folded(sample_sites(guide_trace), model_sites)
    enumeration = read_enumeration(model_sites, guide_sites)
    untreated = dict.fromkeys(deterministic_sites(model_trace), "deterministic")
    untreated |= enumeration.untreated
    latent = (n for n, s in model_sites.items() if not s["is_observed"])
    skipped = {*enumeration.marginalised, *enumeration.untreated}
    check_guide((name for name in latent if name not in skipped), guide_sites)

    # Where a Delta is no part of a joint draw, it is a point, and its entropy 0 by convention.
    points = (
        set() if joint_sites(guide_sites) else {n for n, s in guide_sites.items() if is_point(s)}
    )
    records = []
    for name, site in guide_sites.items():
        if name not in untreated:
            record = _guide_record(site, closed_form, path=True)
            if name in points:
                record = replace(record, entropy_method="none", term_method="none")
            records.append(_averaged(record, site, enumeration))
    for name, site in model_sites.items():
        if name in untreated:
            continue
        cross_entropy = None
        if name in enumeration.marginalised:
            # In the sum over values the host applies no mask to the site itself.
            site = unmasked(site)
            records.append(_responsibilities(site, enumeration))
        elif closed_form and not enumeration.is_marginal(
            log_prob_of(site), enumerated_places(site)
        ):
            cross_entropy = _cross_entropy(name, model_sites, guide_sites)
        try:
            entropy = _model_entropy(site, entropy_samples)
        except NotImplementedError:
            untreated[name] = "no entropy, and no draws to estimate one"
            entropy = torch.zeros_like(log_prob_of(site)), "none"
        record = _model_record(site, cross_entropy, entropy)
        records.append(_averaged(record, site, enumeration))
    return records, tuple(untreated.items())


def _check_not_enumerated(sites: dict[str, Site], where: str) -> None:
    for name, site in sites.items():
        if site["infer"].get("_enumerate_dim") is not None:
            raise NotImplementedError(
                expected("no enumerated sites", where, f"site '{name}', enumerated")
            )


def _averaged(record: SiteTerms, site: Site, enumeration: Enumeration) -> SiteTerms:
    places = enumerated_places(site)
    means: dict[str, Any] = {
        name: enumeration.mean(getattr(record, name), places)
        for name in ("log_prob", "term", "entropy")
    }
    num_elements, num_observed = count_elements(site, means["log_prob"].shape)
    return replace(record, **means, num_elements=num_elements, num_observed=num_observed)


def _responsibilities(site: Site, enumeration: Enumeration) -> SiteTerms:
    # The site's posterior, which the guide leaves out: the weights stand for q, and their entropy
    # is an exact sum.
    entropy = enumeration.entropy(site["name"])
    estimate: Estimate = (entropy, "closed form")
    return _averaged(_record(site, "encoder", -entropy, estimate, estimate), site, enumeration)


def _cross_entropy(
    name: str, model_sites: dict[str, Site], guide_sites: dict[str, Site]
) -> Tensor | None:
    site = model_sites[name]
    if site["is_observed"] or not is_mean_field(name, model_sites, guide_sites):
        return None
    return closed_cross_entropy(guide_sites[name]["fn"], site["fn"], site["value"])


def _guide_record(site: Site, closed_form: bool, *, path: bool = False) -> SiteTerms:
    log_prob = log_prob_of(site)
    if is_factor(site["fn"]) or site["is_observed"]:
        return _factor_record(site, "guide factor", log_prob, -log_prob)
    closed = closed_entropy(site["fn"]) if closed_form else None
    along = path_entropy(site) if path and closed_form and closed is None else None
    entropy = _first_of(site, log_prob.shape, closed, lambda: -log_prob if along is None else along)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(site: Site, cross_entropy: Tensor | None, entropy: Estimate) -> SiteTerms:
    role: Role = "decoder" if site["is_observed"] else "prior"
    log_prob = log_prob_of(site)
    if is_factor(site["fn"]):
        return _factor_record(site, "factor", log_prob, log_prob)
    term = _first_of(site, log_prob.shape, cross_entropy, lambda: log_prob)
    return _record(site, role, log_prob, term, entropy)


def _model_entropy(site: Site, num_samples: int) -> Estimate:
    fn: Distribution = site["fn"]
    if is_factor(fn):
        return NO_ENTROPY
    log_prob = log_prob_of(site)
    values, _, method = entropy_estimate(fn, num_samples)
    if method == "none":
        raise NotImplementedError(expected("an entropy", "model", f"site '{site['name']}', {fn}"))
    return scale_and_mask(values.expand(log_prob.shape), mask=site["mask"]), method


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
    plates = plates_of(site)
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
        num_dims=math.prod(site["fn"].event_shape),
    )


def _first_of(
    site: Site, shape: torch.Size, closed: Tensor | None, sampled: Callable[[], Tensor]
) -> Estimate:
    method: Method
    values, method = (sampled(), "sampled") if closed is None else (closed, "closed form")
    return scale_and_mask(values.expand(shape), mask=site["mask"]), method
