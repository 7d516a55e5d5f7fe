"""Auxiliary sites of guides, such as those of NumPyro's AutoGuides: which site each belongs to."""

from jaxtyping import Array
from numpyro.distributions import Delta, ExpandedDistribution, TransformedDistribution

from numpyro_entropy.entropies.estimate import closed_entropy
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.traces.sites import Site, log_prob_of


def joint_sites(guide_sites: dict[str, Site]) -> list[str]:
    """The auxiliary sites that are left: each is one draw for several latent sites.

    A `Delta` is none: it draws nothing.
    """
    return [
        name
        for name, site in guide_sites.items()
        if site["infer"].get("is_auxiliary") and not is_point(site)
    ]


def path_entropy(site: Site) -> Array | None:
    """`H[base] + log|det J|` at the draw of a guide's transformed distribution.

    Only for a guide: the draw must come from the distribution itself. Shape: the batch shape;
    units: nats.

    Returns:
        `None` where the distribution is not a transformed one, its base has no closed form, or the
        draw cannot be traced back.
    """
    fn = site["fn"]
    while isinstance(fn, ExpandedDistribution):
        fn = fn.base_dist
    # Where the site was not drawn but handed in, there is no path.
    if not (isinstance(fn, TransformedDistribution) and site["intermediates"]):
        return None
    entropy = closed_entropy(fn.base_dist)
    if entropy is None:
        return None
    (start, _), *_ = site["intermediates"]
    return entropy + fn.base_dist.log_prob(start) - log_prob_of(site)


def is_point(site: Site) -> bool:
    """Whether a guide's site is a `Delta`, as in `AutoDelta`."""
    return isinstance(elementwise(site["fn"]), Delta)
