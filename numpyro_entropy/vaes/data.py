"""Data where it enters a model or a guide: its batches, its plate, and what can be checked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import substitute

from entropy_core.checks import (
    check_batch,
    check_finite,
    check_inside,
    expected,
)


def check_data(x: object, data_shape: tuple[int, ...] | None, total: object = None) -> None:
    """Refuses data that a model cannot take: another type or shape, an empty batch.

    Args:
        x: The batch.
        data_shape: The shape of one data point, `None` where the model does not know it.
        total: The size of the data set that the batch is a part of.

    Raises:
        TypeError: If `x` is no array of floats.
        ValueError: If `x` is empty or has another shape than the data, or `total` is below B.
    """
    if not isinstance(x, jax.Array | np.ndarray):
        raise TypeError(expected("an array", "x", type(x).__name__))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(expected("floating-point data", "x", x.dtype))
    check_batch(x.shape, data_shape, total)


def check_values(x: jax.Array | np.ndarray, support: Any = None) -> None:
    """Refuses data that are not finite, or outside the support of their distribution.

    Under a transformation of JAX there are no values to look at, and nothing is checked.

    Args:
        x: The data.
        support: The host's constraint, such as `constraints.boolean`; `None` for any values.

    Raises:
        ValueError: If `x` has NaN or infinite entries, or values outside the support.
    """
    if isinstance(x, jax.core.Tracer):
        return
    check_finite(np.asarray(x), "x")
    if support is not None:
        x = np.asarray(x)
        check_inside(np.asarray(support(x)), x, "x", repr(support))


def check_part(fn: object, event_shape: tuple[int, ...] | None, name: str) -> dist.Distribution:
    """Refuses what a part returns if it is no distribution, or one of another event shape.

    Args:
        fn: What the part has returned.
        event_shape: The shape that the event must have, `None` for any.
        name: The part.

    Raises:
        TypeError: If `fn` is no distribution.
        ValueError: If `fn` has another event shape.
    """
    if not isinstance(fn, dist.Distribution):
        raise TypeError(expected("a part that returns a distribution", name, type(fn).__name__))
    if event_shape is not None and fn.event_shape != event_shape:
        what = f"a distribution of event shape {event_shape}"
        raise ValueError(expected(what, name, f"event shape {fn.event_shape}"))
    return fn


def data_plate(x: jax.Array | np.ndarray, total: int | None) -> numpyro.plate:
    """The plate `"data"` over a batch already cut: it scales by `total / B`, and draws nothing.

    Args:
        x: The batch.
        total: The size of the data set, `None` for the batch itself; a static integer.
    """
    size = x.shape[0]
    if total is None:
        return numpyro.plate("data", size)
    with substitute(data={"data": jnp.arange(size)}):
        return numpyro.plate("data", total, subsample_size=size)
