"""What normal sites of a pair say: means, variances and second moments, in rows."""

from typing import Any

from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from entropy_core.checks import expected
from entropy_core.traces.batch import LatentRows
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import elementwise
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
