"""Enumerated sites: where a NumPyro trace has their values, and how a pair is made to draw them."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from numpyro.primitives import Messenger

from entropy_core.traces.enumeration import Enumeration, Operations, Part, enumeration_of
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.traces.sites import Site, Trace, log_prob_of, plates_of, sample_sites, unmasked

OPERATIONS = Operations(jnp.transpose, logsumexp, jnp.exp, jnp.where)
IN_A_SCAN = "marked for enumeration where it cannot be enumerated, as inside of a scan"


def read_enumeration(model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> Enumeration:
    """The weights of the enumerated sites of a pair of traces.

    Args:
        model_sites: The sample sites of the model's trace.
        guide_sites: Those of the guide's trace.
    """
    marked = [
        name
        for name, site in model_sites.items()
        if not site["is_observed"]
        and name not in guide_sites
        and site["infer"].get("enumerate") == "parallel"
        and "_enumerate_dim" not in site["infer"]
    ]
    untreated = dict.fromkeys(marked, IN_A_SCAN)
    sites = [*guide_sites.values(), *model_sites.values()]
    if not any("_enumerate_dim" in site["infer"] for site in sites):
        return Enumeration(OPERATIONS, untreated=untreated)
    guide, model = (
        {name: _part(site) for name, site in sites.items()} for sites in (guide_sites, model_sites)
    )
    found = enumeration_of(guide, model, OPERATIONS)
    return replace(found, untreated=untreated | dict(found.untreated))


def enumerated_places(site: Site) -> dict[int, str]:
    """The places of a site's dimensions that are those of enumerated sites, and their names."""
    return site["infer"].get("_enumerated_places", {})


def _part(site: Site) -> Part:
    places, dim = enumerated_places(site), site["infer"].get("_enumerate_dim")
    # In the sum over values the host applies no mask to the enumerated site itself.
    log_prob = log_prob_of(site if dim is None else unmasked(site))
    plates = frozenset(plate.dim for plate in plates_of(site) if plate.dim is not None)
    return Part(log_prob, places, plates, None if dim is None else places[dim])


def enumerating(
    model: Callable, guide: Callable, model_trace: Trace, guide_trace: Trace
) -> tuple[Callable, Callable]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets.

    Args:
        model: The model.
        guide: The guide.
        model_trace: A trace of the model, replayed against `guide_trace`, without enumeration.
        guide_trace: The trace of the guide.

    Returns:
        The model and guide; the very same where nothing asks for enumeration.
    """
    guide_sites, model_sites = sample_sites(guide_trace), sample_sites(model_trace)
    marked = [
        [
            name
            for name, site in sites.items()
            if site["infer"].get("enumerate") == "parallel" and not site["is_observed"]
        ]
        for sites in (guide_sites, model_sites)
    ]
    names = [*marked[0], *(name for name in marked[1] if name not in guide_sites)]
    if not names:
        return model, guide
    dims = [p.dim for s in (guide_sites | model_sites).values() for p in plates_of(s) if p.dim]
    places = {name: min(dims, default=0) - 1 - i for i, name in enumerate(names)}
    drawn = frozenset(places.keys() & guide_sites.keys())
    return _Enumerate(model, places, places.keys() - drawn), _Enumerate(guide, places, drawn)


class _Enumerate(Messenger):
    """Gives each of some sites all of its values, in a dimension of their own."""

    def __init__(self, fn: Callable, places: dict[str, int], names: AbstractSet[str]) -> None:
        super().__init__(fn)
        self.places = {place: name for name, place in places.items()}
        self.dims = {name: places[name] for name in names}

    def process_message(self, msg: Site) -> None:
        if msg["type"] != "sample":
            return
        msg["infer"] = {**msg["infer"], "_enumerated_places": self.places}
        if msg["value"] is not None or msg["name"] not in self.dims:
            return
        dim, fn = self.dims[msg["name"]], elementwise(msg["fn"])
        values = fn.enumerate_support(expand=False)
        msg["value"] = values.reshape(values.shape[:1] + (1,) * (-dim - 1) + fn.event_shape)
        msg["infer"] = {**msg["infer"], "_enumerate_dim": dim}
