"""Auxiliary sites of guides, such as those of NumPyro's AutoGuides: which site each belongs to."""

from jaxtyping import Array
from numpyro.distributions import ExpandedDistribution, TransformedDistribution

from numpyro_entropy.entropies.estimate import closed_entropy
from numpyro_entropy.traces.sites import Site


def path_entropy(site: Site) -> Array | None:
    """`H[base] + log|det J|` at the draw of a guide's transformed distribution.

    Only for a guide: the draw must come from the distribution itself. Shape: the batch shape;
    units: nats.

    Returns:
        `None` where the distribution is not a transformed one, its base has no closed form, or the
        draw cannot be traced back.
    """
    fn = site.fn
    while isinstance(fn, ExpandedDistribution):
        fn = fn.base_dist
    # Where the site was not drawn but handed in, there is no path.
    if not (isinstance(fn, TransformedDistribution) and site.intermediates):
        return None
    entropy = closed_entropy(fn.base_dist)
    if entropy is None:
        return None
    (start, _), *_ = site.intermediates
    return entropy + fn.base_dist.log_prob(start) - site.log_prob
