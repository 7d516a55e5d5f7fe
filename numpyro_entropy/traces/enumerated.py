"""Enumerated sites: where a NumPyro trace has their values, and what each weighs."""

from collections.abc import Mapping
from dataclasses import replace

from entropy_core.traces.enumeration import Enumeration, Part, enumeration_of
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.traces.sites import Site

IN_A_SCAN = "marked for enumeration where it cannot be enumerated, as inside of a scan"


def read_enumeration(
    model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]
) -> Enumeration:
    """The weights of the enumerated sites of a pair.

    Args:
        model_sites: The sample sites of the model.
        guide_sites: Those of the guide.
    """
    marked = [
        name
        for name, site in model_sites.items()
        if not site.is_observed
        and name not in guide_sites
        and site.wants_enumeration
        and site.enumerate_dim is None
    ]
    untreated = dict.fromkeys(marked, IN_A_SCAN)
    sites = [*guide_sites.values(), *model_sites.values()]
    if all(site.enumerate_dim is None for site in sites):
        return Enumeration(OPERATIONS, untreated=untreated)
    guide, model = (
        {name: _part(site) for name, site in sites.items()} for sites in (guide_sites, model_sites)
    )
    found = enumeration_of(guide, model, OPERATIONS)
    return replace(found, untreated=untreated | dict(found.untreated))


def _part(site: Site) -> Part:
    dim = site.enumerate_dim
    # In the sum over values the host applies no mask to the enumerated site itself.
    log_prob = (site if dim is None else site.unmasked()).log_prob
    plates = frozenset(plate.dim for plate in site.plates if plate.dim is not None)
    return Part(log_prob, site.places, plates, None if dim is None else site.places[dim])
