"""Enumerated sites: where a Pyro trace has their values, and how a pair is made to draw them."""

from collections.abc import Callable
from dataclasses import replace

import torch
from pyro import poutine
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.util import get_rng_state, set_rng_state

from entropy_core.traces.enumeration import Enumeration, Operations, Part, enumeration_of
from pyro_entropy.traces.sites import Site, log_prob_of, plates_of, sample_sites, unmasked

OPERATIONS = Operations(torch.permute, torch.logsumexp, torch.exp, torch.where)
SEVERAL_DRAWS = "several draws at once, which are no enumeration"


def read_enumeration(model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> Enumeration:
    """The weights of the enumerated sites of a pair of traces.

    Args:
        model_sites: The sample sites of the model's trace.
        guide_sites: Those of the guide's trace.
    """
    sites = [*guide_sites.values(), *model_sites.values()]
    drawn = [site["name"] for site in sites if site["infer"].get("num_samples") is not None]
    untreated = dict.fromkeys(drawn, SEVERAL_DRAWS)
    if all(site["infer"].get("_enumerate_dim") is None for site in sites):
        return Enumeration(OPERATIONS, untreated=untreated)
    guide, model = (
        {name: _part(site) for name, site in sites.items()} for sites in (guide_sites, model_sites)
    )
    found = enumeration_of(guide, model, OPERATIONS)
    return replace(found, untreated=untreated | dict(found.untreated))


def enumerated_places(site: Site) -> dict[int, str]:
    """The places of a site's dimensions that are those of enumerated sites, and their names."""
    # A place may be another site's further down a Markov chain: the numbers are not.
    return {place: str(number) for place, number in site["infer"].get("_dim_to_id", {}).items()}


def _part(site: Site) -> Part:
    places, dim = enumerated_places(site), site["infer"].get("_enumerate_dim")
    # In the sum over values the host applies no mask to the enumerated site itself.
    log_prob = log_prob_of(site if dim is None else unmasked(site))
    plates = frozenset(plate.dim for plate in plates_of(site) if plate.dim is not None)
    return Part(log_prob, places, plates, None if dim is None else places[dim])


def enumerating(
    model: Callable, guide: Callable, args: tuple
) -> tuple[Callable, Callable, int | float]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets. The draws to
    come stay as they are.

    Args:
        model: The model.
        guide: The guide.
        args: The arguments of both.

    Returns:
        The model and guide, and how many dimensions plates may take; the very same and infinity
        where nothing asks for enumeration.
    """
    state = get_rng_state()
    with poutine.block():
        guide_trace = poutine.trace(guide).get_trace(*args)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args)
    set_rng_state(state)
    sites = [site for t in (model_trace, guide_trace) for site in sample_sites(t).values()]
    if not any(site["infer"].get("enumerate") == "parallel" for site in sites):
        return model, guide, float("inf")
    dims = (frame.dim for s in sites for frame in s["cond_indep_stack"] if frame.vectorized)
    nesting = -min(dims, default=0)
    # The model keeps clear of the dimensions that the guide has taken.
    return EnumMessenger()(model), EnumMessenger(-1 - nesting)(guide), nesting
