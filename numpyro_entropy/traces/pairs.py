"""A pair of a model and a guide, run once: the one place where a user's pair is traced.

What must hold for every look at a pair stands here: the host's own way of running it and its keys,
the state of nets, one subsample for several draws.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax import random
from jaxtyping import Array
from numpyro.handlers import replay, seed, substitute, trace, uncondition
from numpyro.util import _validate_model, check_model_guide_match

from entropy_core.traces.sites import ONE_AT_A_TIME, Pair, not_reparameterised
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.params import Params, check_mapping, params_of
from numpyro_entropy.traces.sites import (
    Site,
    Trace,
    deterministic_sites,
    draws_rows,
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
    check_mapping(params)
    return pair_of(*_traces(rng_key, {**params, **(values or {})}, model, guide, args, kwargs))


def pair_of(model_trace: Trace, guide_trace: Trace) -> Pair:
    """The pair of a guide's trace and the model's trace that was replayed against it."""
    return Pair(
        model=sample_sites(model_trace),
        guide=sample_sites(guide_trace),
        deterministic=tuple(deterministic_sites(model_trace)),
        rows=subsamples(guide_trace) | subsamples(model_trace),
        drawing_rows=frozenset(
            name
            for found in (guide_trace, model_trace)
            for name, message in found.items()
            if draws_rows(message)
        ),
        state={**_mutable_state(guide_trace), **_mutable_state(model_trace)},
    )


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


def simulate(
    rng_key: Array,
    params: Params,
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Site]:
    """Runs the model alone without its observations: latents and data are drawn."""
    drawn = substitute(seed(uncondition(model), rng_key), data=params)
    return sample_sites(trace(drawn).get_trace(*args, **(kwargs or {})))


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
            raise NotImplementedError(not_reparameterised(name, type(unwrapped(site.fn)).__name__))


def pair_shapes(
    model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> Params:
    """The shapes and types of all parameters of a model and guide; nothing is computed."""

    def params() -> Params:
        return params_of(*_traces(random.key(0), {}, model, guide, args, kwargs))

    return jax.eval_shape(params)


def _traces(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Trace, Trace]:
    with ONE_AT_A_TIME:
        return _guide_then_model(rng_key, params, model, guide, args, kwargs or {})


def _guide_then_model(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any],
) -> tuple[Trace, Trace]:
    model_key, guide_key = random.split(rng_key)
    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(*args, **kwargs)
    # A net of both has the parameters that the guide has made, and the state that it has left.
    params = {**params, **params_of(guide_trace)}
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
