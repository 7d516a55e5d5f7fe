"""Rows of arrays that lie on several devices, over the same devices."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding


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
