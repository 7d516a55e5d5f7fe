"""Arrays that lie on several devices: their rows over the same devices, and their values here."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from entropy_core.checks import check_finite


def on_devices(array: Any) -> Any:
    """An array whose layout JAX may choose for what is computed from it.

    Over a mesh with explicit axes, as `jax.make_mesh` makes them, JAX refuses to take rows, and
    much that models do.

    Args:
        array: Any array; others than those over a mesh are returned as they are.
    """
    layout = getattr(array, "sharding", None)
    if not isinstance(layout, NamedSharding) or not layout.mesh.are_all_axes_explicit:
        return array
    mesh = Mesh(layout.mesh.devices, layout.mesh.axis_names)
    return jax.device_put(array, NamedSharding(mesh, layout.spec))


def laid_out_as(array: Any, rows: Any) -> Any:
    """Some rows of an array, over the devices that its own rows are over.

    JAX lays out what it takes from a sharded array as it likes, which is often all of it on every
    device: then each does the work of all.

    Args:
        array: The array that they are of, as `on_devices` returns it.
        rows: The rows; under `jit` too.

    Example:
        >>> x = jnp.ones((8, 3))
        >>> laid_out_as(x, x[:5]).shape
        (5, 3)
    """
    layout = getattr(array, "sharding", None)
    if not isinstance(layout, NamedSharding) or layout.num_devices == 1:
        return rows
    names = layout.spec[0] if layout.spec else None
    axes = names if isinstance(names, tuple) else (names,) if names is not None else ()
    num_parts = math.prod(layout.mesh.shape[name] for name in axes)
    missing = -len(rows) % num_parts
    if not missing:
        return lax.with_sharding_constraint(rows, layout)
    # Parts of one size are asked for; the compiler knows how to leave the last rows out.
    padded = jnp.concatenate([rows, jnp.zeros((missing, *rows.shape[1:]), rows.dtype)])
    return lax.with_sharding_constraint(padded, layout)[: len(rows)]


def fetched(tree: Any) -> Any:
    """A tree of arrays as NumPy's, each with all its rows, those of other processes among them.

    Args:
        tree: Any tree; all processes of `jax.distributed` ask for it together.
    """

    def gathered(leaf: Any) -> Any:
        return multihost_utils.process_allgather(leaf, tiled=True) if _is_apart(leaf) else leaf

    return jax.device_get(jax.tree.map(gathered, tree))


def check_all_finite(array: Any, name: str) -> None:
    """Refuses arrays with NaN or infinite entries, on whatever devices these are.

    Args:
        array: An array of floats.
        name: The argument as the caller knows it.

    Raises:
        ValueError: If an entry is NaN or infinite.
    """
    # What other processes have is sent only where there is something to say of it.
    if not _is_apart(array):
        check_finite(np.asarray(array), name)
    elif not jax.jit(lambda values: jnp.isfinite(values).all())(array):
        check_finite(fetched(array), name)


def _is_apart(leaf: Any) -> bool:
    """Whether some of an array's rows are with other processes alone."""
    if not isinstance(leaf, jax.Array):
        return False
    return not (leaf.is_fully_addressable or leaf.is_fully_replicated)
