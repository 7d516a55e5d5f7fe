"""Free bits: a floor under the KL divergence of each latent dimension."""

from collections.abc import Iterable, Sequence

from entropy_core.checks import expected
from entropy_core.traces.records import SiteTerms


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
