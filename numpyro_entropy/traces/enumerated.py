"""Enumerated sites: runs of a NumPyro pair with all their values, and what each weighs."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from jaxtyping import Array
from numpyro.primitives import Messenger

from entropy_core.traces.enumeration import Enumeration, Part, enumeration_of
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.params import Params
from numpyro_entropy.traces.pairs import trace_pair
from numpyro_entropy.traces.sites import Site

IN_A_SCAN = "marked for enumeration where it cannot be enumerated, as inside of a scan"


def trace_enumerated(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
) -> Pair:
    """Runs a pair as `trace_pair` does, with all values of the sites that ask for them."""
    pair = trace_pair(rng_key, params, model, guide, args, kwargs)
    enumerated = enumerating(model, guide, pair)
    if enumerated != (model, guide):
        # Compiled, the first pair of traces costs nothing: its values are not used.
        pair = trace_pair(rng_key, params, *enumerated, args, kwargs)
    return pair


def enumerating(model: Callable, guide: Callable, pair: Pair) -> tuple[Callable, Callable]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets.

    Args:
        model: The model.
        guide: The guide.
        pair: One run of both, without enumeration.

    Returns:
        The model and guide; the very same where nothing asks for enumeration.
    """
    marked = [
        [name for name, s in sites.items() if s.wants_enumeration and not s.is_observed]
        for sites in (pair.guide, pair.model)
    ]
    names = [*marked[0], *(name for name in marked[1] if name not in pair.guide)]
    if not names:
        return model, guide
    # Not only plates have dimensions: the time of a `scan` lies to the left of them.
    sites = [*pair.guide.values(), *pair.model.values()]
    depth = max(
        -min((p.dim for s in sites for p in s.plates if p.dim), default=0),
        max(len(site.fn.batch_shape) for site in sites),
    )
    places = {name: -depth - 1 - i for i, name in enumerate(names)}
    drawn = frozenset(places.keys() & pair.guide.keys())
    return _Enumerate(model, places, places.keys() - drawn), _Enumerate(guide, places, drawn)


def summing_out(model: Callable, guide: Callable, pair: Pair) -> tuple[Callable, Callable]:
    """Gives a model all values of the sites that ask for them and that the guide does not draw.

    Arguments and return value are those of `enumerating`; the guide draws as before.
    """
    drawn = {n: replace(site, wants_enumeration=False) for n, site in pair.guide.items()}
    return enumerating(model, guide, replace(pair, guide=drawn))


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


class _Enumerate(Messenger):
    """Gives each of some sites all of its values, in a dimension of their own."""

    def __init__(self, fn: Callable, places: dict[str, int], names: AbstractSet[str]) -> None:
        super().__init__(fn)
        self.places = {place: name for name, place in places.items()}
        self.dims = {name: places[name] for name in names}

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample":
            return
        msg["infer"] = {**msg["infer"], "_enumerated_places": self.places}
        if msg["value"] is not None or msg["name"] not in self.dims:
            return
        dim, fn = self.dims[msg["name"]], elementwise(msg["fn"])
        values = fn.enumerate_support(expand=False)
        msg["value"] = values.reshape(values.shape[:1] + (1,) * (-dim - 1) + fn.event_shape)
        msg["infer"] = {**msg["infer"], "_enumerate_dim": dim}
