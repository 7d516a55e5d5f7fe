"""Enumerated sites: where a Pyro trace has their values, and what each weighs."""

from collections.abc import Mapping
from dataclasses import replace

from entropy_core.traces.enumeration import Enumeration, Part, enumeration_of
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.sites import Site

SEVERAL_DRAWS = "several draws at once, which are no enumeration"


def read_enumeration(
    model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]
) -> Enumeration:
    """The weights of the enumerated sites of a pair.

    Args:
        model_sites: The sample sites of the model.
        guide_sites: Those of the guide.
    """
    sites = [*guide_sites.values(), *model_sites.values()]
    drawn = [site.name for site in sites if site.num_samples is not None]
    untreated = dict.fromkeys(drawn, SEVERAL_DRAWS)
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
