"""Auxiliary sites of guides, such as those of Pyro's AutoGuides: which site each belongs to."""

from pyro.distributions import Delta, TransformedDistribution
from torch import Tensor
from torch.distributions import Distribution, biject_to
from torch.distributions.transforms import ComposeTransform, IndependentTransform

from pyro_entropy.entropies.estimate import closed_entropy
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.traces.sites import Site, log_prob_of, plates_of, unmasked

UNCONSTRAINED = "_unconstrained"


def folded(guide_sites: dict[str, Site], model_sites: dict[str, Site]) -> dict[str, Site]:
    """Puts each auxiliary site that stands for one latent site alone into that site.

    `AutoNormal` draws `"z_unconstrained"` and makes of it a `Delta` at `"z"`, whose `log_density`
    is minus the log-determinant. Together they are one transformed distribution, and the normal
    distribution itself where `"z"` may be any real number.

    Args:
        guide_sites: The sample sites of the guide's trace.
        model_sites: Those of the model's trace.

    Returns:
        The sites without those auxiliary ones. A site that took one in has it under the key
        `"auxiliary"`, both log-probabilities, and the distribution of both together.
    """
    sites = {}
    for name, site in guide_sites.items():
        auxiliary = guide_sites.get(name + UNCONSTRAINED)
        if name in model_sites and auxiliary is not None and _belongs(auxiliary, site):
            log_probs = [log_prob_of(unmasked(s)) for s in (auxiliary, site)]
            site = {
                **site,
                "fn": _together(auxiliary, model_sites[name]),
                "unscaled_log_prob": sum(log_probs),
                "auxiliary": auxiliary,
            }
        sites[name] = site
    taken = {site["auxiliary"]["name"] for site in sites.values() if "auxiliary" in site}
    return {name: site for name, site in sites.items() if name not in taken}


def joint_sites(guide_sites: dict[str, Site]) -> list[str]:
    """The auxiliary sites that are left: each is one draw for several latent sites.

    A `Delta` is none: it draws nothing.
    """
    return [
        name
        for name, site in guide_sites.items()
        if site["infer"].get("is_auxiliary") and not is_point(site)
    ]


def path_entropy(site: Site) -> Tensor | None:
    """`H[base] + log|det J|` at the draw of a guide's transformed distribution.

    Only for a guide: the draw must come from the distribution itself. Shape: the batch shape;
    units: nats.

    Returns:
        `None` where the distribution is not a transformed one, its base has no closed form, or the
        draw cannot be traced back.
    """
    if "auxiliary" in site:
        auxiliary = site["auxiliary"]
        base, base_log_prob = auxiliary["fn"], log_prob_of(unmasked(auxiliary))
    elif isinstance(site["fn"], TransformedDistribution):
        base, value = site["fn"].base_dist, site["value"]
        try:
            for transform in reversed(site["fn"].transforms):
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
    return entropy + base_log_prob - log_prob_of(unmasked(site))


def is_point(site: Site) -> bool:
    """Whether a guide's site is a `Delta`, as in `AutoDelta`."""
    return isinstance(elementwise(site["fn"]), Delta)


def _belongs(auxiliary: Site, site: Site) -> bool:
    return bool(
        auxiliary["infer"].get("is_auxiliary")
        and is_point(site)
        and plates_of(auxiliary) == plates_of(site)
    )


def _together(auxiliary: Site, model_site: Site) -> Distribution:
    transform = inner = biject_to(model_site["fn"].support)
    while isinstance(inner, IndependentTransform):
        inner = inner.base_transform
    # That of the real numbers is a composition of nothing.
    if isinstance(inner, ComposeTransform) and not inner.parts:
        return auxiliary["fn"]
    return TransformedDistribution(auxiliary["fn"], [transform])
