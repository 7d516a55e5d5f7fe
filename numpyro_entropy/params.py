"""Parameters by site name: what a model or guide asks for, and the layout that torch shares."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array
from numpy.typing import ArrayLike
from numpyro.handlers import seed, trace

from entropy_core.checks import expected

Params = dict[str, Any]

# The host registers the parameters of the net "decoder.net" as the site "decoder.net$params", and
# state such as running statistics as "decoder.net$state", under a key "state".
NET, STATE = "$params", "$state"


def init_params(rng_key: Array, fn: Callable, *args: Any) -> Params:
    """The initial values of all the parameters that `fn` asks for when it is called with `args`."""
    return params_of(trace(seed(fn, rng_key)).get_trace(*args))


def params_of(*traces: Mapping[str, Any]) -> Params:
    """The parameters in traces, with the mutable state of nets that have one."""
    sites = [site for site_trace in traces for site in site_trace.values()]
    return {s["name"]: s["value"] for s in sites if s["type"] in ("param", "mutable")}


def param_shapes(fn: Callable, *args: Any) -> Params:
    """The shapes and types of those parameters; nothing is computed."""
    return jax.eval_shape(lambda *args: init_params(random.key(0), fn, *args), *args)


def check_mapping(params: object) -> None:
    """Refuses what is no dictionary of parameters.

    Raises:
        TypeError: If `params` are none.
    """
    if not isinstance(params, Mapping):
        raise TypeError(expected("a dictionary of parameters", "params", type(params).__name__))


def check_params(params: Mapping[str, Any], shapes: Params) -> None:
    """Refuses parameters that are not all there: NumPyro would draw new ones and not say so.

    Raises:
        TypeError: If `params` are no dictionary, such as a key or the result of a training.
        ValueError: If a parameter in `shapes` is missing from `params`, or has another shape.
    """
    check_mapping(params)
    missing = sorted(shapes.keys() - params.keys())
    if missing:
        raise ValueError(expected(f"the parameters {missing}", "params", sorted(params)))
    for name, shape in shapes.items():
        wanted, got = _leaf_shapes(shape), _leaf_shapes(params[name])
        if wanted != got:
            raise ValueError(expected(f"'{name}' of shapes {wanted}", "params", got))


def to_weights(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, or their shapes, by the keys and in the layout of a weights file."""
    weights = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(params)):
        key, is_kernel = _weights_key(path)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            weights[key] = jax.eval_shape(_kernel_to_weight, leaf) if is_kernel else leaf
        else:
            weights[key] = np.asarray(_kernel_to_weight(leaf) if is_kernel else leaf)
    return weights


def from_weights(weights: Mapping[str, ArrayLike], shapes: Params) -> Params:
    """The inverse of `to_weights`, into parameters of these shapes and types."""

    def leaf(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.Array:
        key, is_kernel = _weights_key(path)
        array = np.asarray(weights[key])
        return jnp.asarray(_weight_to_kernel(array) if is_kernel else array, shape.dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def _kernel_to_weight(kernel: Any) -> Any:
    # Flax: (*spatial, in, out), and (*spatial, out, in) where convolutions are transposed.
    # Torch: (out, in, *spatial), and (in, out, *spatial).
    return kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))


def _weight_to_kernel(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(*range(2, weight.ndim), 1, 0)


def _weights_key(path: tuple) -> tuple[str, bool]:
    # ("decoder.net$params", "layer_0", "kernel") -> "decoder.net.layer_0.weight"
    first, *rest = map(_path_name, path)
    if first.endswith(STATE):
        rest = rest[1:]
    *parents, name = [first.removesuffix(NET).removesuffix(STATE), *rest]
    is_kernel = bool(parents) and name == "kernel"
    return ".".join([*parents, "weight" if is_kernel else name]), is_kernel


def _path_name(entry: Any) -> str:
    # Keys of dictionaries, places in lists, fields of Equinox's modules.
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def _leaf_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
