"""A pair of a model and a guide, run once: the one place where a user's pair is traced.

What must hold for every look at a pair stands here: the host's own way of running it and its keys,
the state of nets, one subsample for several draws.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, NamedTuple

import jax
from jax import random
from jaxtyping import Array
from numpyro.handlers import replay, seed, substitute, trace
from numpyro.primitives import Messenger
from numpyro.util import _validate_model, check_model_guide_match

from entropy_core.checks import expected
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.params import Params, params_of
from numpyro_entropy.traces.sites import (
    Site,
    Trace,
    deterministic_sites,
    sample_sites,
    subsamples,
)

# What sites are held at: a value, or a site of another look with its draw.
Values = Mapping[str, Any]


class Look(NamedTuple):
    """The sites of a guide that was run alone, and the rows that its plates have drawn."""

    sites: dict[str, Site]
    rows: dict[str, Array]


def trace_pair(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Values | None = None,
) -> Pair:
    """Runs the guide, and the model at its draws, as the host's own objectives do.

    Args:
        rng_key: The key; the draws are those that the host's objectives make from it.
        params: The parameters of both.
        model: The model.
        guide: The guide.
        args: The arguments of both.
        kwargs: Their keyword arguments.
        values: What some sites are held at, such as `rows` of another pair.
    """
    return pair_of(*_traces(rng_key, {**params, **(values or {})}, model, guide, args, kwargs))


def pair_of(model_trace: Trace, guide_trace: Trace) -> Pair:
    """The pair of a guide's trace and the model's trace that was replayed against it."""
    return Pair(
        model=sample_sites(model_trace),
        guide=sample_sites(guide_trace),
        deterministic=tuple(deterministic_sites(model_trace)),
        rows=subsamples(guide_trace) | subsamples(model_trace),
        state={**_mutable_state(guide_trace), **_mutable_state(model_trace)},
    )


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


def trace_guide(
    rng_key: Array,
    params: Params,
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Values | None = None,
) -> Look:
    """Runs the guide alone; the arguments are those of `trace_pair`."""
    held = substitute(seed(guide, rng_key), data={**params, **(values or {})})
    found = trace(held).get_trace(*args, **(kwargs or {}))
    return Look(sample_sites(found), subsamples(found))


def trace_model(
    rng_key: Array,
    params: Params,
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Values,
) -> dict[str, Site]:
    """Runs the model alone, its latent sites held at `values`; see `trace_pair`."""
    sites = {name: v.message for name, v in values.items() if isinstance(v, Site)}
    rows = {name: v for name, v in values.items() if not isinstance(v, Site)}
    held = substitute(replay(seed(model, rng_key), sites), data={**params, **rows})
    return sample_sites(trace(held).get_trace(*args, **(kwargs or {})))


def check_reparameterised(guide: Mapping[str, Site]) -> None:
    """Refuses a guide whose draws have no gradient.

    Args:
        guide: The guide's sites.

    Raises:
        NotImplementedError: If a site that is not enumerated has no reparameterised draws.
    """
    for name, site in guide.items():
        drawn = not site.is_observed and site.enumerate_dim is None
        if drawn and not site.fn.has_rsample:
            got = f"site '{name}', {site.fn}"
            raise NotImplementedError(expected("reparameterised draws", "guide", got))


def pair_shapes(
    model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> Params:
    """The shapes and types of all parameters of a model and guide; nothing is computed."""

    def params() -> Params:
        return params_of(*_traces(random.key(0), {}, model, guide, args, kwargs))

    return jax.eval_shape(params)


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
    dims = [p.dim for s in {**pair.guide, **pair.model}.values() for p in s.plates if p.dim]
    places = {name: min(dims, default=0) - 1 - i for i, name in enumerate(names)}
    drawn = frozenset(places.keys() & pair.guide.keys())
    return _Enumerate(model, places, places.keys() - drawn), _Enumerate(guide, places, drawn)


def summing_out(model: Callable, guide: Callable, pair: Pair) -> tuple[Callable, Callable]:
    """Gives a model all values of the sites that ask for them and that the guide does not draw.

    Arguments and return value are those of `enumerating`; the guide draws as before.
    """
    drawn = {n: replace(site, wants_enumeration=False) for n, site in pair.guide.items()}
    return enumerating(model, guide, replace(pair, guide=drawn))


def _traces(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Trace, Trace]:
    kwargs = kwargs or {}
    model_key, guide_key = random.split(rng_key)
    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(*args, **kwargs)
    # A net of both has the state that the guide has left.
    params = {**params, **_mutable_state(guide_trace)}
    model_trace = trace(
        substitute(replay(seed(model, model_key), guide_trace), data=params)
    ).get_trace(*args, **kwargs)
    # Where sites are enumerated, what depends on them has all their values.
    sites = [*sample_sites(guide_trace).values(), *sample_sites(model_trace).values()]
    if all(site.enumerate_dim is None for site in sites):
        check_model_guide_match(model_trace, guide_trace)
        # As the host's own objectives do: a batch dimension without a plate is warned of.
        _validate_model(model_trace, plate_warning="loose")
    return model_trace, guide_trace


def _mutable_state(site_trace: Trace) -> dict[str, Any]:
    return {name: msg["value"] for name, msg in site_trace.items() if msg["type"] == "mutable"}


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
