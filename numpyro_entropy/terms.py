"""From a pair of NumPyro traces to one record a sample site: the heart of objectives and reports.

Nothing here knows VAEs: it reads any model and guide that NumPyro itself can trace.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array
from numpyro.distributions import Distribution, ExpandedDistribution, MaskedDistribution, Unit
from numpyro.distributions.kl import kl_divergence

from entropy_core.checks import expected
from entropy_core.records import LatentTerms, Method, Plate, Role, SiteTerms, TraceTerms
from entropy_core.terms import check_guide, is_mean_field
from numpyro_entropy.entropies import (
    closed_cross_entropy,
    closed_entropy,
    elementwise,
    sampled_entropy,
)

Site = dict[str, Any]
Trace = dict[str, Site]
Estimate = tuple[Array | None, Method]

NO_ENTROPY: Estimate = (None, "none")

# Records pass through jit; what is not an array is static there.
jax.tree_util.register_dataclass(
    SiteTerms,
    data_fields=["log_prob", "term", "entropy", "handler_scale"],
    meta_fields=["name", "role", "term_method", "entropy_method", "plates"],
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
        role: Role = "decoder" if site["is_observed"] else "prior"
        cross_entropy, entropy = None, NO_ENTROPY
        if closed_form and role == "prior" and is_mean_field(name, model_sites, guide_sites):
            q = guide_sites[name]["fn"]
            cross_entropy = closed_cross_entropy(q, site["fn"], site["value"])
        if entropies:
            entropy = _model_entropy(site, entropy_samples, rng_key)
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
        if data_plate is None or site["plates"] != (data_plate,):
            untreated.append((name, "not in the data plate alone"))
            continue
        fn = site["fn"]
        if isinstance(elementwise(fn), MaskedDistribution):
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
        rows = [
            jnp.broadcast_to(part, fn.batch_shape + fn.event_shape).reshape(data_plate.size, -1)
            for part in parts
        ]
        records.append(LatentTerms(name, *rows))
    return tuple(records), tuple(untreated)


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


def subsamples(trace: Trace) -> dict[str, Array]:
    """The indices that plates have drawn, for another run over the same rows."""
    return {name: site["value"] for name, site in trace.items() if site["type"] == "plate"}


def _guide_record(site: Site, closed_form: bool) -> SiteTerms:
    log_prob = _log_prob(site)
    if _is_factor(site["fn"]):
        return _factor_record(site, "guide factor", log_prob, -log_prob)
    closed = closed_entropy(site["fn"]) if closed_form else None
    entropy = _first_of(log_prob.shape, closed, lambda: -log_prob)
    return _record(site, "encoder", log_prob, entropy, entropy)


def _model_record(
    site: Site, role: Role, cross_entropy: Array | None, entropy: Estimate
) -> SiteTerms:
    log_prob = _log_prob(site)
    if _is_factor(site["fn"]):
        return _factor_record(site, "factor", log_prob, log_prob)
    return _record(
        site, role, log_prob, _first_of(log_prob.shape, cross_entropy, lambda: log_prob), entropy
    )


def _model_entropy(site: Site, num_samples: int, rng_key: Array | None) -> Estimate:
    fn = site["fn"]
    if _is_factor(fn):
        return NO_ENTROPY

    def sampled() -> Array:
        if rng_key is None:
            raise ValueError(expected(f"a key to sample H['{site['name']}']", "rng_key", None))
        key = random.fold_in(rng_key, zlib.crc32(site["name"].encode()))
        return sampled_entropy(key, fn, num_samples)

    return _first_of(_log_prob(site).shape, closed_entropy(fn), sampled)


def _is_factor(fn: Distribution) -> bool:
    # A plate expands it, and a mask wraps it.
    while isinstance(fn, ExpandedDistribution | MaskedDistribution):
        fn = fn.base_dist
    return isinstance(fn, Unit)


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
    subsampling = math.prod(plate.full_size / plate.size for plate in site["plates"])
    scale = 1.0 if site["scale"] is None else site["scale"]
    return SiteTerms(
        name=site["name"],
        role=role,
        log_prob=log_prob,
        term=term[0],
        entropy=entropy[0],
        term_method=term[1],
        entropy_method=entropy[1],
        plates=site["plates"],
        handler_scale=scale / subsampling,
    )


def _first_of(
    shape: tuple[int, ...], closed: Array | None, sampled: Callable[[], Array]
) -> Estimate:
    method: Method
    values, method = (sampled(), "sampled") if closed is None else (closed, "closed form")
    return jnp.broadcast_to(values, shape), method


def _log_prob(site: Site) -> Array:
    # A flow's log-determinant is exact only along the path that the draw has taken.
    if site["intermediates"]:
        return site["fn"].log_prob(site["value"], site["intermediates"])
    return site["fn"].log_prob(site["value"])
