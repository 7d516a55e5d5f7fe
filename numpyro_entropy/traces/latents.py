"""Latent sites taken apart into dimensions, for the criteria of posterior collapse."""

import math

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import CategoricalLogits, CategoricalProbs
from numpyro.distributions.kl import kl_divergence

from entropy_core.traces.reading import joint_sites
from entropy_core.traces.records import LatentTerms, Plate
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.traces.sites import Site


def latent_terms(
    pair: Pair, data_plate: Plate | None
) -> tuple[tuple[LatentTerms, ...], tuple[tuple[str, str], ...]]:
    """Takes the latent sites apart into dimensions, where guide and prior factorise over them.

    Args:
        pair: The pair.
        data_plate: The plate over data points.

    Returns:
        A record for each site that comes apart, with arrays of shape `(B, H)`, and for each other
        latent site a pair of its name and the reason why it does not.
    """
    model_sites, guide_sites = pair.model, pair.guide
    joint = joint_sites(guide_sites)
    records = []
    untreated = [
        (name, "enumerated in the model alone: it has no dimensions")
        for name, site in model_sites.items()
        if not (site.is_observed or name in guide_sites)
    ]
    for name, site in guide_sites.items():
        if name not in model_sites or site.is_observed:
            continue
        why, rows = _why_not(site, model_sites[name], joint, data_plate), None
        if why is None and data_plate is not None:
            rows = _rows(site, model_sites[name], data_plate.size)
        if rows is None:
            untreated.append((name, why or "no closed form for single dimensions"))
        else:
            records.append(LatentTerms(name, *rows))
    return tuple(records), tuple(untreated)


def _why_not(
    site: Site, model_site: Site, joint: list[str], data_plate: Plate | None
) -> str | None:
    if site.is_point:
        if joint:
            return f"the guide draws it together with other sites, as {', '.join(joint)}"
        return "a point: the guide has no density there, and its entropy is 0 by convention"
    if data_plate is None or site.plates != (data_plate,):
        return "not in the data plate alone"
    fn = site.fn
    if site.is_masked:
        return "masked"
    if site.enumerate_dim is not None:
        return "enumerated: it has no dimensions"
    if math.prod(fn.batch_shape) != data_plate.size:
        return "more than one draw for each data point"
    if math.prod(model_site.fn.batch_shape) > data_plate.size:
        return "another prior for each value of an enumerated site"
    if isinstance(elementwise(fn), CategoricalLogits | CategoricalProbs):
        return "categorical: its numbers are names, without a mean"
    return None


def _rows(site: Site, model_site: Site, size: int) -> list[Array] | None:
    q, p = elementwise(site.fn), elementwise(model_site.fn)
    if q.event_shape or p.event_shape:
        return None
    try:
        parts = q.entropy(), p.entropy(), kl_divergence(q, p), q.mean
    except NotImplementedError:
        return None
    shape = site.fn.batch_shape + site.fn.event_shape
    return [jnp.broadcast_to(part, shape).reshape(size, -1) for part in parts]
