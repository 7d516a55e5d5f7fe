"""What normal sites of a pair say: means, variances and second moments, in rows.

And their densities, in few operations for each element.
"""

import math
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import MultivariateNormal, Normal

from entropy_core.checks import expected
from entropy_core.traces.batch import LatentRows
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.wrappers import elementwise, unwrap
from numpyro_entropy.traces.sites import Site


def latent_rows(model_site: Site, guide_site: Site, *, constant: bool = False) -> LatentRows:
    """Reads a latent site whose prior and guide are both normal, the guide's with a diagonal.

    Args:
        model_site: The site of the model.
        guide_site: The site of the guide.
        constant: Whether the guide's variances must be the same in all rows. That is looked for in
            their layout and not in their values.

    Raises:
        ValueError: If a distribution is not such a one.
    """
    p, q = normal_of(model_site, "model"), normal_of(guide_site, "guide")
    if not isinstance(q, Normal):
        what = "a normal distribution with a diagonal covariance"
        raise ValueError(expected(what, "guide", f"site '{guide_site.name}', {q}"))
    loc = rows(guide_site, q.mean - p.mean)
    if not constant:
        return LatentRows(loc, rows(guide_site, q.variance))
    fn = guide_site.fn
    scale, num_batch_dims = jnp.asarray(q.scale), len(fn.batch_shape)
    num_dims = num_batch_dims + len(fn.event_shape)
    scale = scale.reshape((1,) * (num_dims - scale.ndim) + scale.shape)
    # A scale that the batch does not enter is laid out once, with batch dimensions of size one.
    if any(size > 1 for size in scale.shape[:num_batch_dims]):
        got = f"one that depends on the data at site '{guide_site.name}'"
        raise ValueError(expected("a variance that is constant over the batch", "guide", got))
    scale = jnp.broadcast_to(scale[(0,) * num_batch_dims], fn.event_shape)
    return LatentRows(loc, scale.reshape(-1) ** 2)


def normal_of(site: Site, where: str) -> Any:
    """The normal distribution of a site, diagonal or with a full covariance, without `to_event`.

    Raises:
        ValueError: If the site has another distribution, or a mask.
    """
    fn = elementwise(site.fn)
    if not belongs_to(fn, Normal, MultivariateNormal):
        got = f"site '{site.name}', {type(fn).__name__}"
        raise ValueError(expected("a normal distribution", where, got))
    return fn


def rows(site: Site, values: Array) -> Array:
    """Values of a site as a matrix: a row for each element of the plates, a column a dimension."""
    fn = site.fn
    values = jnp.broadcast_to(values, fn.batch_shape + fn.event_shape)
    return values.reshape(-1, math.prod(fn.event_shape))


def lean_pair(pair: Pair) -> Pair:
    """A pair whose densities take few operations, where all elements of normals share a scale.

    The numbers are those of the host but for rounding.
    """

    def lean(sites: Any) -> dict[str, Site]:
        return {name: _lean_site(site) for name, site in sites.items()}

    return replace(pair, model=lean(pair.model), guide=lean(pair.guide))


def _lean_site(site: Site) -> Site:
    leaf: Any
    leaf, layers = unwrap(site.fn)
    normal = type(leaf) is Normal and not site.intermediates
    # A wrapper that is no `to_event` has its own way with values and shapes.
    plain = all(layer.mask is None and not layer.batch_shape for layer in layers)
    event_shape = site.fn.event_shape
    event_dims, value = len(event_shape), jnp.asarray(site.value)
    if not normal or not plain or not event_dims or value.shape[-event_dims:] != event_shape:
        return site
    scale = jnp.asarray(leaf.scale)
    scale = scale.reshape((1,) * (event_dims - scale.ndim) + scale.shape)
    if any(size != 1 for size in scale.shape[-event_dims:]):
        return site
    # Squares are summed before the scale divides them, which is slow for each element.
    squares = ((value - leaf.loc) ** 2).sum(tuple(range(-event_dims, 0)))
    scale = scale.reshape(scale.shape[:-event_dims])
    constant = jnp.log(scale) + 0.5 * math.log(2 * math.pi)
    density = -0.5 * squares / scale**2 - math.prod(event_shape) * constant
    batch_shape = jnp.broadcast_shapes(density.shape, site.fn.batch_shape)
    return replace(site, density=jnp.broadcast_to(density, batch_shape))
