"""What normal sites of a pair say: means, variances and second moments, in rows.

And their densities, in few passes over the data.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from entropy_core.checks import expected
from entropy_core.traces.batch import LatentRows
from entropy_core.traces.sites import Pair
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import elementwise, unwrap
from pyro_entropy.traces.sites import Site


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
    num_batch_dims = len(guide_site.fn.batch_shape)
    scale = q.scale.expand(guide_site.fn.batch_shape + guide_site.fn.event_shape)
    # A scale that the batch does not enter is laid out once and repeated with a stride of zero.
    if any(scale.stride(dim) and scale.shape[dim] > 1 for dim in range(num_batch_dims)):
        got = f"one that depends on the data at site '{guide_site.name}'"
        raise ValueError(expected("a variance that is constant over the batch", "guide", got))
    return LatentRows(loc, scale[(0,) * num_batch_dims].flatten() ** 2)


def normal_of(site: Site, where: str) -> Any:
    """The normal distribution of a site, diagonal or with a full covariance, without `to_event`.

    Raises:
        ValueError: If the site has another distribution, or a mask.
    """
    fn = elementwise(site.fn)
    if site.mask is not None or not belongs_to(fn, Normal, MultivariateNormal):
        got = f"site '{site.name}', {'masked' if site.mask is not None else fn}"
        raise ValueError(expected("a normal distribution", where, got))
    return fn


def rows(site: Site, values: Tensor) -> Tensor:
    """Values of a site as a matrix: a row for each element of the plates, a column a dimension."""
    fn = site.fn
    return values.expand(fn.batch_shape + fn.event_shape).reshape(-1, fn.event_shape.numel())


def lean_pair(pair: Pair) -> Pair:
    """A pair whose densities are computed in few passes, where they are those of normals.

    The numbers are those of the host but for rounding. What the host has computed of them is not
    used, and is no part of a graph then.
    """

    def lean(sites: Any) -> dict[str, Site]:
        return {name: _lean_site(site) for name, site in sites.items()}

    return replace(pair, model=lean(pair.model), guide=lean(pair.guide))


def _lean_site(site: Site) -> Site:
    leaf: Any
    leaf, layers = unwrap(site.fn)
    # A wrapper that is no `to_event` has its own way with values and shapes.
    plain = all(layer.mask is None and not layer.batch_shape for layer in layers)
    args = site.message["args"] or site.message["kwargs"]
    if not belongs_to(leaf, Normal) or not plain or args or not isinstance(site.value, Tensor):
        return site
    shape = torch.broadcast_shapes(leaf.loc.shape, site.value.shape)
    if leaf.loc.shape != shape:
        return site
    density = _normal_log_prob(leaf.loc, leaf.scale, site.value, len(site.fn.event_shape))
    return replace(site, message={**site.message, "unscaled_log_prob": density})


def _normal_log_prob(loc: Tensor, scale: Tensor, value: Tensor, event_dims: int) -> Tensor:
    """The log-density of normals, summed over the last dimensions.

    Where all elements of an event share a scale, squares are summed before it divides them.
    """
    dims = tuple(range(-event_dims, 0))
    count = math.prod(loc.shape[loc.dim() - event_dims :])
    constant = 0.5 * count * math.log(2 * math.pi)
    distance, scale = value - loc, _undone(scale)
    if event_dims and all(scale.shape[dim] == 1 for dim in dims):
        scale = scale.reshape(scale.shape[:-event_dims])
        squares = (distance**2).sum(dims)
        density = -squares / (2 * scale**2) - (count * scale.log() + constant)
    else:
        squares = (distance / scale) ** 2
        log_scale = scale.log()
        if event_dims:
            squares = squares.sum(dims)
            repeats = count / math.prod(scale.shape[scale.dim() - event_dims :])
            log_scale = repeats * log_scale.sum(dims)
        density = -0.5 * squares - (log_scale + constant)
    return density.expand(loc.shape[: loc.dim() - event_dims])


def _undone(tensor: Tensor) -> Tensor:
    """A tensor without what `expand` has repeated."""
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor
