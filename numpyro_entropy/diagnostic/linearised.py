"""The derivatives of all distributions of a NumPyro model and guide, as the claims ask for them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.distributions import Laplace, MultivariateNormal, Normal
from numpyro.handlers import replay, seed, substitute, trace

from entropy_core.theory.claims import Linearised
from entropy_core.theory.directions import Jacobian, sampled_rows
from numpyro_entropy.entropies.natural import natural_parameters, parameters_of
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.params import Params
from numpyro_entropy.traces.enumerated import enumerating
from numpyro_entropy.traces.pairs import get_traces
from numpyro_entropy.traces.sites import Site, sample_sites

Sites = Mapping[str, Site]
Slices = dict[tuple[str, str], slice]


def linearise(
    rng_key: Array, params: Params, model: Callable, guide: Callable, args: tuple
) -> Linearised:
    """The model and guide about their parameters, at draws that are held.

    Args:
        rng_key: The key of the draws.
        params: The parameters of both.
        model: The model.
        guide: The guide.
        args: The arguments of both.
    """
    model_key, guide_key = random.split(rng_key)
    flat, unflatten = ravel_pytree(float_params(params))
    seen: dict[str, Any] = {}

    def rows(flat: Array, shifts: dict[str, Array]) -> Array:
        """The rows at parameters, and at draws that are held but for shifts."""
        values = {**params, **unflatten(flat)}
        guide_trace = trace(substitute(seed(guide, guide_key), data=values)).get_trace(*args)
        fixed = {}
        for name, site in guide_trace.items():
            if site["type"] == "sample" and name in shifts:
                site = {**site, "value": lax.stop_gradient(site["value"]) + shifts[name]}
            fixed[name] = site
        replayed = substitute(replay(seed(model, model_key), fixed), data=values)
        model_trace = trace(replayed).get_trace(*args)
        model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
        found = _rows(model_sites, guide_sites)
        seen.update(model=model_sites, guide=guide_sites, slices=found.slices)
        return found.values

    traces, _ = get_traces(rng_key, params, model, guide, args, {})
    model, guide = enumerating(model, guide, *traces)
    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(*args)
    still = {
        name: jnp.zeros_like(site["value"])
        for name, site in sample_sites(guide_trace).items()
        if jnp.issubdtype(site["value"].dtype, jnp.floating)
    }
    values, pushed = jax.linearize(rows, flat, still)
    push, (_, pull) = jax.jit(pushed), jax.vjp(rows, flat, still)
    pull = jax.jit(pull)
    # Once more without tracing, for values to look at.
    rows(flat, still)
    model_sites, guide_sites, slices = seen["model"], seen["guide"], seen["slices"]

    def jvp(direction: np.ndarray) -> np.ndarray:
        return np.asarray(push(jnp.asarray(direction, flat.dtype), still), np.float64)

    def vjp(weights: np.ndarray) -> np.ndarray:
        return np.asarray(pull(jnp.asarray(weights, values.dtype))[0], np.float64)

    natural, reasons, rescaling = {}, {}, {}
    for name, site in model_sites.items():
        where = slices.get(("natural", name))
        if where is None:
            reasons[name] = f"{type(unwrapped(site['fn'])).__name__} has no natural parameters"
            continue
        natural[name] = np.zeros(len(values))
        natural[name][where] = values[where]
    for name in still:
        if name not in model_sites or ("guide", name) not in slices:
            continue
        prior = unwrapped(model_sites[name]["fn"])
        if not isinstance(prior, Normal | MultivariateNormal | Laplace):
            continue
        own = slice(slices["natural", name].start, slices["kept", name].stop)
        weights = jnp.zeros_like(values).at[own].set(1.0)
        if any(jnp.any(shift) for shift in pull(weights)[1].values()):
            continue
        value = guide_sites[name]["value"]
        if jnp.broadcast_shapes(prior.mean.shape, value.shape) != value.shape:
            # As the prior of a component, which has a centre for each value of another site.
            continue
        shift = value - prior.mean
        target = -np.asarray(push(jnp.zeros_like(flat), {**still, name: shift}), np.float64)
        for (role, _), where in slices.items():
            if role == "guide":
                target[where] = 0
        target[own] = 0
        target[slices["guide", name]] = _scaled_guide(guide_sites[name], prior.mean)
        rescaling[name] = target, 1.0 if isinstance(prior, Laplace) else 2.0
    leaves = jax.tree_util.tree_leaves_with_path(float_params(params))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf, np.float64) for path, leaf in leaves}
    jacobian = Jacobian(jvp, vjp, len(values))
    return Linearised(list(model_sites), arrays, jacobian, natural, rescaling, reasons)


def float_params(params: Params) -> Params:
    """The parameters that have derivatives: nets may hold counts beside them."""
    return {
        name: value
        for name, value in params.items()
        if all(
            jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(value)
        )
    }


class _Rows(NamedTuple):
    values: Array
    slices: Slices


def _rows(model_sites: Sites, guide_sites: Sites) -> _Rows:
    """The parameters of all distributions, those of each kind divided by their size."""
    parts: list[Array] = []
    slices: Slices = {}
    count = 0

    def add(role: str, name: str, arrays: Iterable[Array]) -> None:
        nonlocal count
        start = count
        for array in arrays:
            if jnp.issubdtype(array.dtype, jnp.floating):
                parts.append(_sampled(array / _size(array)))
                count += len(parts[-1])
        slices[role, name] = slice(start, count)

    for name, site in model_sites.items():
        natural = natural_parameters(site["fn"])
        if natural is None:
            add("kept", name, parameters_of(site["fn"]))
        else:
            add("natural", name, natural.scaled)
            add("kept", name, natural.kept)
    for name, site in guide_sites.items():
        fn = unwrapped(site["fn"])
        if isinstance(fn, Normal | MultivariateNormal):
            add("guide", name, _location_and_scale(fn))
        else:
            add("kept guide", name, parameters_of(site["fn"]))
    return _Rows(jnp.concatenate(parts), slices)


def _scaled_guide(site: Site, centre: Array) -> Array:
    """What scaling the draws of a guide's site about `centre` does to its rows."""
    loc, scale = _location_and_scale(unwrapped(site["fn"]))
    changes = (loc - jnp.broadcast_to(centre, loc.shape)) / _size(loc), scale / _size(scale)
    return jnp.concatenate([_sampled(change) for change in changes])


def _location_and_scale(fn: Any) -> tuple[Array, Array]:
    scale = fn.scale if isinstance(fn, Normal) else fn.scale_tril
    return jnp.asarray(fn.loc), jnp.asarray(scale)


def _size(array: Array) -> Array:
    size = jnp.sqrt(jnp.mean(lax.stop_gradient(array) ** 2))
    return jnp.where(size > 0, size, 1.0)


def _sampled(array: Array) -> Array:
    # Of a large distribution some of the rows do.
    return array.ravel()[sampled_rows(array.size)]
