"""Auxiliary sites of guides, such as those of Pyro's AutoGuides: which site each belongs to."""

from collections.abc import Mapping
from dataclasses import replace

from pyro.distributions import TransformedDistribution
from torch import Tensor
from torch.distributions import Distribution, biject_to
from torch.distributions.transforms import ComposeTransform, IndependentTransform

from pyro_entropy.entropies.estimate import closed_entropy
from pyro_entropy.traces.sites import Site

UNCONSTRAINED = "_unconstrained"


def folded(guide_sites: Mapping[str, Site], model_sites: Mapping[str, Site]) -> dict[str, Site]:
    """Puts each auxiliary site that stands for one latent site alone into that site.

    `AutoNormal` draws `"z_unconstrained"` and makes of it a `Delta` at `"z"`, whose `log_density`
    is minus the log-determinant. Together they are one transformed distribution, and the normal
    distribution itself where `"z"` may be any real number.

    Args:
        guide_sites: The sample sites of the guide.
        model_sites: Those of the model.

    Returns:
        The sites without those auxiliary ones. A site that took one in has it as its `auxiliary`,
        both log-probabilities, and the distribution of both together.
    """
    sites = {}
    for name, site in guide_sites.items():
        auxiliary = guide_sites.get(name + UNCONSTRAINED)
        if name in model_sites and auxiliary is not None and _belongs(auxiliary, site):
            log_prob = auxiliary.unmasked().log_prob + site.unmasked().log_prob
            site = replace(
                site,
                fn=_together(auxiliary, model_sites[name]),
                message={**site.message, "unscaled_log_prob": log_prob},
                auxiliary=auxiliary,
            )
        sites[name] = site
    taken = {site.auxiliary.name for site in sites.values() if site.auxiliary is not None}
    return {name: site for name, site in sites.items() if name not in taken}


def path_entropy(site: Site) -> Tensor | None:
    """`H[base] + log|det J|` at the draw of a guide's transformed distribution.

    Only for a guide: the draw must come from the distribution itself. Shape: the batch shape;
    units: nats.

    Returns:
        `None` where the distribution is not a transformed one, its base has no closed form, or the
        draw cannot be traced back.
    """
    if site.auxiliary is not None:
        base, base_log_prob = site.auxiliary.fn, site.auxiliary.unmasked().log_prob
    elif isinstance(site.fn, TransformedDistribution):
        base, value = site.fn.base_dist, site.value
        try:
            for transform in reversed(site.fn.transforms):
                value = transform.inv(value)
        except (NotImplementedError, KeyError):
            # Such as a flow that has no inverse, and no longer has this draw in its cache.
            return None
        base_log_prob = base.log_prob(value)
    else:
        return None
    entropy = closed_entropy(base)
    if entropy is None:
        return None
    return entropy + base_log_prob - site.unmasked().log_prob


def _belongs(auxiliary: Site, site: Site) -> bool:
    return auxiliary.is_auxiliary and site.is_point and auxiliary.plates == site.plates


def _together(auxiliary: Site, model_site: Site) -> Distribution:
    transform = inner = biject_to(model_site.fn.support)
    while isinstance(inner, IndependentTransform):
        inner = inner.base_transform
    # That of the real numbers is a composition of nothing.
    if isinstance(inner, ComposeTransform) and not inner.parts:
        return auxiliary.fn
    return TransformedDistribution(auxiliary.fn, [transform])
