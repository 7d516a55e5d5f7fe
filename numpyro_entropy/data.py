"""Data where it enters a model or a guide: what can be checked while tracing, and its plate."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.handlers import substitute

from entropy_core.checks import check_batch, expected


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
