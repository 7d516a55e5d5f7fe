"""The ELBO with a weight of its KL divergence, and with a floor under it."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from entropy_core.checks import expected
from entropy_core.operations import Operations
from entropy_core.traces.importance import common_scale
from entropy_core.traces.records import LatentTerms, Plate, Role, SiteTerms
from entropy_core.traces.sums import elbo

RECONSTRUCTION: tuple[Role, ...] = ("decoder", "factor")


def reconstruction(records: Sequence[SiteTerms]) -> Any:
    """What observed sites and factors add to the ELBO, in nats, summed and scaled."""
    return elbo(site for site in records if site.role in RECONSTRUCTION)


def minus_kl(records: Sequence[SiteTerms]) -> Any:
    """What is left of the ELBO, in nats, summed and scaled."""
    return elbo(site for site in records if site.role not in RECONSTRUCTION)


def floored_kl(
    records: Sequence[SiteTerms],
    latents: Sequence[LatentTerms],
    plate: Plate,
    free_bits: float,
    ops: Operations,
) -> Any:
    """`N sum_h max(lambda log 2, mean_n KL_nh)`, scaled (Kingma et al. 2016, Eq. 15)."""
    scale = common_scale([site for site in records if site.role in ("encoder", "prior")])
    kl = ops.concatenate([latent.kl.mean(0) for latent in latents])
    kl = records[0].across.average(kl, len(latents[0].kl))
    return scale * plate.full_size * ops.at_least(kl, free_bits * math.log(2)).sum()


def no_claim(kl_weight: float, free_bits: float) -> str | None:
    """Why the theorem says nothing of the optimum with these options."""
    reasons = [f"KL weight {kl_weight:g}"] if kl_weight != 1 else []
    reasons += ["free bits"] if free_bits else []
    return " and ".join(reasons) or None


def check_free_bits(sites: Sequence[SiteTerms], untreated: Iterable[tuple[str, str]]) -> None:
    """Refuses a pair whose KL divergence is not a sum over latent dimensions.

    Args:
        sites: All the records of a pair of traces.
        untreated: The latent sites that do not come apart into dimensions, and the reasons.

    Raises:
        ValueError: If there is such a site or a factor in the guide, a site of the guide is none of
            the model's, a KL divergence is not that of the ELBO, or there is no latent site.
    """
    reasons = dict(untreated)
    latents = {site.name for site in sites if site.role == "prior"}
    for site in sites:
        why = None
        if site.role == "guide factor":
            why = "a factor"
        elif site.role == "encoder" and site.name not in latents:
            why = "not in the model"
        elif site.role in ("encoder", "prior"):
            why = reasons.get(site.name)
        # Where a parent of the site descends from it in the guide.
        if why is None and site.role == "prior" and site.term_method == "sampled":
            why = "no closed form for its KL divergence"
        if why is not None:
            what = "latent sites that come apart into dimensions (for free bits)"
            raise ValueError(expected(what, "guide", f"site '{site.name}': {why}"))
    if not latents:
        raise ValueError(expected("at least one latent site (for free bits)", "model", "none"))
