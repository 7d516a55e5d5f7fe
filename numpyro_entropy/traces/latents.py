"""Latent sites taken apart into dimensions, for the criteria of posterior collapse."""

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import CategoricalLogits, CategoricalProbs, Normal
from numpyro.distributions.kl import kl_divergence

from entropy_core.traces.latents import Latents, read_latents
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.divergences import family_divergence
from numpyro_entropy.entropies.estimate import closed_entropy
from numpyro_entropy.entropies.families import belongs_to, overrides_density
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.traces.sites import Site


def latent_terms(pair: Pair, data_plate: Plate | None) -> Latents:
    """Takes the latent sites apart into dimensions, where guide and prior factorise over them.

    Args:
        pair: The pair.
        data_plate: The plate over data points.

    Returns:
        A record for each site that comes apart, with arrays of shape `(B, H)`, and for each other
        latent site a pair of its name and the reason why it does not.
    """
    return read_latents(
        pair.model,
        pair.guide,
        data_plate,
        rows=_rows,
        is_categorical=lambda fn: isinstance(elementwise(fn), CategoricalLogits | CategoricalProbs),
    )


def _rows(site: Site, model_site: Site, size: int) -> list[Array] | None:
    q, p = elementwise(site.fn), elementwise(model_site.fn)
    if q.event_shape or p.event_shape or overrides_density(q) or overrides_density(p):
        return None
    entropy, prior_entropy, kl = closed_entropy(q), closed_entropy(p), family_divergence(q, p)
    if entropy is None or prior_entropy is None:
        return None
    try:
        parts = [entropy, prior_entropy, kl_divergence(q, p) if kl is None else kl, q.mean]
    except NotImplementedError:
        return None
    if belongs_to(q, Normal) and belongs_to(p, Normal):
        parts.append(q.variance / p.variance)
    shape = site.fn.batch_shape + site.fn.event_shape
    return [jnp.broadcast_to(part, shape).reshape(size, -1) for part in parts]
