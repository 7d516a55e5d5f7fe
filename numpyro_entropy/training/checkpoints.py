"""The state of a training as bytes, by names that a restart does not change."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from numpy.typing import NDArray
from safetensors.numpy import load, save

from entropy_core.training.checkpoints import refused

# What has no type in a file is there as integers of its size.
_AS_INTEGERS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def to_bytes(course: str, losses: NDArray[np.float64], state: Mapping[str, Any]) -> bytes:
    """A file's content."""
    arrays = {f"{name}/{key}": a for name, tree in state.items() for key, a in _flat(tree).items()}
    return save({**arrays, "losses": np.ascontiguousarray(losses)}, metadata={"course": course})


def from_bytes(content: bytes) -> tuple[str, NDArray[np.float64], dict[str, Any]]:
    """The inverse of `to_bytes`, but for the structure of its trees; no code of the file is run."""
    arrays = load(content)
    # The library reads metadata from files only: a header in JSON, after its length.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    course = header["__metadata__"]["course"]
    losses = arrays.pop("losses")
    state: dict[str, Any] = {}
    for name, array in arrays.items():
        tree, _, key = name.partition("/")
        state.setdefault(tree, {})[key] = array
    return course, losses, state


def like(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """A tree of the structure of another one, with the arrays of a file.

    Raises:
        ValueError: If names, shapes or types differ.
    """
    wanted = _flat(tree)
    if wanted.keys() != arrays.keys():
        names = sorted(wanted.keys() ^ arrays.keys())
        raise refused(f"one with other parameters or another optimiser: {names}")
    for name, array in wanted.items():
        if (array.shape, array.dtype) != (arrays[name].shape, arrays[name].dtype):
            got = f"{name} of shape {arrays[name].shape} in {arrays[name].dtype}"
            raise refused(f"one with {got}")

    def leaf(path: Any, old: Any) -> Any:
        array = arrays[jax.tree_util.keystr(path)]
        if _is_key(old):
            return random.wrap_key_data(jnp.asarray(array), impl=random.key_impl(old))
        return jnp.asarray(array.view(jnp.asarray(old).dtype))

    return jax.tree_util.tree_map_with_path(leaf, tree)


def _flat(tree: Any) -> dict[str, NDArray[Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): _to_numpy(leaf) for path, leaf in leaves}


def _to_numpy(leaf: Any) -> NDArray[Any]:
    array = np.asarray(random.key_data(leaf) if _is_key(leaf) else leaf, order="C")
    # JAX's own types, such as bfloat16.
    return array if array.dtype.kind in "biuf" else array.view(_AS_INTEGERS[array.dtype.itemsize])


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
