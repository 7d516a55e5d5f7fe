"""Data where they enter a pair: batches as arguments, and what their distribution cannot have."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_outside, check_positive_int, expected
from entropy_core.traces.sites import ONE_AT_A_TIME, Pair
from numpyro_entropy.compiled import compiled
from numpyro_entropy.layouts import check_all_finite, fetched, laid_out_as, on_devices
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import pair_shapes, trace_pair

# What is no array, such as a number of Python's, decides on shapes: it is static when compiled.
_ARRAYS = (jax.Array, np.ndarray, np.generic, float, complex, jax.ShapeDtypeStruct)


def _flatten(call: Arguments) -> tuple[list[Any], tuple[Any, tuple]]:
    leaves, structure = jax.tree.flatten((call.args, dict(call.kwargs)))
    is_array = [isinstance(leaf, _ARRAYS) for leaf in leaves]
    static = tuple(None if a else (leaf,) for leaf, a in zip(leaves, is_array, strict=True))
    arrays = [leaf for leaf, a in zip(leaves, is_array, strict=True) if a]
    return arrays, (structure, static)


def _unflatten(aux: tuple[Any, tuple], arrays: Iterable[Any]) -> Arguments:
    structure, static = aux
    rest = iter(arrays)
    leaves = [next(rest) if held is None else held[0] for held in static]
    return Arguments(*jax.tree.unflatten(structure, leaves))


jax.tree_util.register_pytree_node(Arguments, _flatten, _unflatten)


def arguments_of(
    batches: jax.Array | np.ndarray | Iterable, batch_size: int, *, name: str = "batches"
) -> Iterator[Arguments]:
    """The arguments to model and guide of each batch.

    Args:
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or the arguments of model and guide: a tuple, a dictionary of those by
            name, or a tuple of both.
        batch_size: How many data points make a batch, where `batches` is an array.
        name: The argument as the caller knows it.

    Raises:
        ValueError: If `batches` is an empty array, a batch has NaN or infinite entries, or
            `batch_size` is no positive integer.
    """
    check_positive_int(batch_size, "batch_size")
    if isinstance(batches, jax.Array | np.ndarray):
        if not len(batches):
            raise ValueError(expected("at least one data point", name, "an empty array"))
        whole, starts = on_devices(batches), range(0, len(batches), batch_size)
        batches = (laid_out_as(whole, whole[i : i + batch_size]) for i in starts)
    for batch in batches:
        call = Arguments.of(batch)
        for arg in call.values:
            if isinstance(arg, jax.Array | np.ndarray) and jnp.issubdtype(arg.dtype, jnp.floating):
                check_all_finite(arg, name)
        yield call


def checked_arguments(
    params: Params,
    model: Callable,
    guide: Callable,
    batches: jax.Array | np.ndarray | Iterable,
    batch_size: int,
    shapes: dict[Any, Params] | None = None,
) -> Iterator[Arguments]:
    """As `arguments_of`, for parameters that all batches need: a batch may have sites of its own.

    Args:
        params: The parameters.
        model: The model.
        guide: The guide.
        batches: The batches.
        batch_size: How many data points make a batch, where `batches` is an array.
        shapes: What was found for this pair before, and where to put what is found.

    Raises:
        ValueError: If a parameter is missing or has another shape, and as `arguments_of` does.
    """
    shapes, seen = {} if shapes is None else shapes, set()
    for call in arguments_of(batches, batch_size):
        leaves, structure = jax.tree.flatten(call)
        forms = [(getattr(a, "shape", ()), getattr(a, "dtype", type(a))) for a in leaves]
        look = structure, tuple(forms)
        if look not in shapes:
            shapes[look] = pair_shapes(model, guide, *call)
        if look not in seen:
            check_params(params, shapes[look])
            seen.add(look)
        yield call


def outside_support(pair: Pair) -> dict[str, Array]:
    """How many elements of its batch are outside its support, for each observed site not masked."""
    return {
        name: jnp.sum(~jnp.asarray(site.fn.support(site.value)))
        for name, site in pair.model.items()
        if site.is_observed and not site.is_masked
    }


def check_observations(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    data: Array | np.ndarray | Iterable,
    batch_size: int,
) -> int:
    """Passes once over a data set and refuses observations outside their support.

    NumPyro itself looks at them where its validation is on, and then warns at most.

    Returns:
        The number of data points.

    Raises:
        ValueError: If an observed site has values outside its support, or a batch has NaN or
            infinite entries.
    """

    def outside(params: Params, call: Arguments) -> dict[str, Array]:
        return outside_support(trace_pair(rng_key, params, model, guide, *call))

    num_data, check = 0, compiled(outside)
    with evaluating(model, guide):
        for call in arguments_of(data, batch_size, name="data"):
            check_outside(fetched(check(params, call)))
            num_data += call.num_data
    return num_data


def first_not_finite(
    rng_key: Array, params: Params, model: Callable, guide: Callable, call: Arguments
) -> str | None:
    """The first site of a pair whose value or log-probability is not finite; `None` without one."""
    names: list[str] = []

    def finite(rng_key: Array, params: Params, call: Arguments) -> list[Array]:
        pair = trace_pair(rng_key, params, model, guide, *call)
        sites = [*pair.guide.values(), *pair.model.values()]
        names[:] = [site.name for site in sites]
        both = ((site.value, site.log_prob) for site in sites)
        return [jnp.all(jnp.isfinite(v)) & jnp.all(jnp.isfinite(p)) for v, p in both]

    with ONE_AT_A_TIME:
        found = compiled(finite)(rng_key, params, call)
    return next((name for name, fine in zip(names, found, strict=True) if not fine), None)
