"""A pair of traces of a guide and a model, as the host's own objectives make them."""

from collections.abc import Callable
from typing import Any

import jax
from jax import random
from jaxtyping import Array
from numpyro.handlers import replay, seed, substitute, trace
from numpyro.util import check_model_guide_match

from numpyro_entropy.params import Params, params_of
from numpyro_entropy.traces.enumerated import enumerating
from numpyro_entropy.traces.sites import Trace


def get_traces(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    args: tuple,
    kwargs: dict[str, Any],
) -> tuple[tuple[Trace, Trace], dict[str, Any]]:
    """Traces the guide, and the model replayed against it, with the draws of the host's objectives.

    Returns:
        The traces of model and guide, and the state of nets that have one.
    """
    model_key, guide_key = random.split(rng_key)
    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(*args, **kwargs)
    params = {**params, **_mutable_state(guide_trace)}
    model_trace = trace(
        substitute(replay(seed(model, model_key), guide_trace), data=params)
    ).get_trace(*args, **kwargs)
    # Where sites are enumerated, what depends on them has all their values.
    sites = (*guide_trace.values(), *model_trace.values())
    if not any("_enumerate_dim" in site.get("infer", {}) for site in sites):
        check_model_guide_match(model_trace, guide_trace)
    return (model_trace, guide_trace), {
        **_mutable_state(guide_trace),
        **_mutable_state(model_trace),
    }


def get_enumerated_traces(
    rng_key: Array, params: Params, model: Callable, guide: Callable, args: tuple
) -> tuple[Trace, Trace]:
    """Traces a pair as `get_traces` does, with all values of the sites that ask for them."""
    traces, _ = get_traces(rng_key, params, model, guide, args, {})
    pair = enumerating(model, guide, *traces)
    if pair != (model, guide):
        # Compiled, the first pair of traces costs nothing: its values are not used.
        traces, _ = get_traces(rng_key, params, *pair, args, {})
    return traces


def _mutable_state(site_trace: Trace) -> dict[str, Any]:
    return {name: s["value"] for name, s in site_trace.items() if s["type"] == "mutable"}


def pair_shapes(model: Callable, guide: Callable, args: tuple, kwargs: dict[str, Any]) -> Params:
    """The shapes and types of all parameters of a model and guide; nothing is computed."""

    def params() -> Params:
        traces, _ = get_traces(random.key(0), {}, model, guide, args, kwargs)
        return params_of(*traces)

    return jax.eval_shape(params)
