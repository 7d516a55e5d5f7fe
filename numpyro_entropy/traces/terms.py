"""From a pair of NumPyro traces to one record a sample site: the heart of objectives and reports.

Nothing here knows VAEs: it reads any model and guide that NumPyro itself can trace.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array

from entropy_core.checks import expected
from entropy_core.traces.enumeration import Enumeration
from entropy_core.traces.records import LatentTerms, Method, Role, SiteTerms, TraceTerms
from entropy_core.traces.sums import check_guide, is_mean_field
from numpyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_estimate,
)
from numpyro_entropy.traces.autoguides import is_point, joint_sites, path_entropy
from numpyro_entropy.traces.enumerated import enumerated_places, read_enumeration
from numpyro_entropy.traces.latents import latent_terms
from numpyro_entropy.traces.sites import (
    Site,
    Trace,
    count_elements,
    deterministic_sites,
    is_factor,
    log_prob_of,
    plates_of,
    sample_sites,
    subsamples,
    unmasked,
)

__all__ = ["Site", "Trace", "all_terms", "latent_terms", "sample_sites", "site_terms", "subsamples"]

Estimate = tuple[Array | None, Method]
Untreated = tuple[tuple[str, str], ...]

NO_ENTROPY: Estimate = (None, "none")

# Records pass through jit; what is not an array is static there.
jax.tree_util.register_dataclass(
    SiteTerms,
    data_fields=["log_prob", "term", "entropy", "handler_scale", "num_observed"],
    meta_fields=[
        "name",
        "role",
        "term_method",
        "entropy_method",
        "plates",
        "num_elements",
        "num_dims",
    ],
)
jax.tree_util.register_dataclass(
    LatentTerms,
    data_fields=["entropy", "prior_entropy", "kl", "mean"],
    meta_fields=["site"],
)
jax.tree_util.register_dataclass(
    TraceTerms,
    data_fields=["sites", "latents"],
    meta_fields=["untreated", "data_plate"],
)


def site_terms(
    model_trace: Trace,
    guide_trace: Trace,
    *,
    closed_form: bool = True,
    entropies: bool = True,
    entropy_samples: int = 10,
    rng_key: Array | None = None,
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
        rng_key: The key for those draws, folded with the site's name.

    Raises:
        ValueError: If the guide lacks a latent site of the model, or if an entropy has to be
            sampled and there is no `rng_key`.
    """
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
    check_guide((n for n, s in model_sites.items() if not s["is_observed"]), guide_sites)
    records = [_guide_record(site, closed_form) for site in guide_sites.values()]
    for name, site in model_sites.items():
        cross_entropy = _cross_entropy(name, model_sites, guide_sites) if closed_form else None
        entropy = _model_entropy(site, entropy_samples, rng_key) if entropies else NO_ENTROPY
        records.append(_model_record(site, cross_entropy, entropy))
    return records


def all_terms(
    model_trace: Trace,
    guide_trace: Trace,
    *,
    closed_form: bool = True,
    entropy_samples: int = 10,
    rng_key: Array | None = None,
) -> tuple[list[SiteTerms], Untreated]:
    """Reads what `site_terms` reads, of any pair, and lists what no record or entropy is made of.

    Enumerated sites are averaged over: exactly, with the weights that `TraceEnum_ELBO` gives their
    values. The arguments are those of `site_terms`.

    Returns:
        The records, and pairs of a site and the reason why it has no record or no entropy. A site
        without an entropy adds to the ELBO, and nothing to the entropy sum.

    Raises:
        ValueError: If the guide lacks a latent site of the model that is not enumerated, or if an
            entropy has to be sampled and there is no `rng_key`.
    """
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
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
            entropy = _model_entropy(site, entropy_samples, rng_key)
        except NotImplementedError:
            untreated[name] = "no entropy, and no draws to estimate one"
            entropy = jnp.zeros_like(log_prob_of(site)), "none"
        record = _model_record(site, cross_entropy, entropy)
        records.append(_averaged(record, site, enumeration))
    return records, tuple(untreated.items())


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
) -> Array | None:
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
    entropy = _first_of(log_prob.shape, closed, lambda: -log_prob if along is None else along)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(site: Site, cross_entropy: Array | None, entropy: Estimate) -> SiteTerms:
    role: Role = "decoder" if site["is_observed"] else "prior"
    log_prob = log_prob_of(site)
    if is_factor(site["fn"]):
        return _factor_record(site, "factor", log_prob, log_prob)
    term = _first_of(log_prob.shape, cross_entropy, lambda: log_prob)
    return _record(site, role, log_prob, term, entropy)


def _model_entropy(site: Site, num_samples: int, rng_key: Array | None) -> Estimate:
    fn = site["fn"]
    if is_factor(fn):
        return NO_ENTROPY

    shape = log_prob_of(site).shape
    closed = closed_entropy(fn)
    if closed is not None:
        return jnp.broadcast_to(closed, shape), "closed form"
    if rng_key is None:
        raise ValueError(expected(f"a key to sample H['{site['name']}']", "rng_key", None))
    key = random.fold_in(rng_key, zlib.crc32(site["name"].encode()))
    values, _, method = entropy_estimate(key, fn, num_samples)
    if method == "none":
        got = f"site '{site['name']}', {type(fn).__name__}"
        raise NotImplementedError(expected("an entropy", "model", got))
    return jnp.broadcast_to(values, shape), method


def _factor_record(site: Site, role: Role, log_prob: Array, term: Array) -> SiteTerms:
    # A factor is no distribution: it adds itself to the ELBO, and nothing to the entropy sum.
    return _record(site, role, log_prob, (term, "closed form"), (jnp.zeros_like(term), "none"))


def _record(
    site: Site,
    role: Role,
    log_prob: Array,
    term: Estimate,
    entropy: Estimate,
) -> SiteTerms:
    plates = plates_of(site)
    subsampling = math.prod(plate.full_size / plate.size for plate in plates)
    scale = 1.0 if site["scale"] is None else site["scale"]
    return SiteTerms(
        name=site["name"],
        role=role,
        log_prob=log_prob,
        term=term[0],
        entropy=entropy[0],
        term_method=term[1],
        entropy_method=entropy[1],
        plates=plates,
        handler_scale=scale / subsampling,
        num_dims=math.prod(site["fn"].event_shape),
    )


def _first_of(
    shape: tuple[int, ...], closed: Array | None, sampled: Callable[[], Array]
) -> Estimate:
    method: Method
    values, method = (sampled(), "sampled") if closed is None else (closed, "closed form")
    return jnp.broadcast_to(values, shape), method
