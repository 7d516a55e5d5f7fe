"""Batches as the arguments of a model and a guide."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from entropy_core.checks import check_finite, check_positive_int, expected


def arguments_of(batches: jax.Array | np.ndarray | Iterable, batch_size: int) -> Iterator[tuple]:
    """The arguments to model and guide of each batch.

    Args:
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or tuples of arguments.
        batch_size: How many data points make a batch, where `batches` is an array.

    Raises:
        ValueError: If `batches` is an empty array, a batch has NaN or infinite entries, or
            `batch_size` is no positive integer.
    """
    check_positive_int(batch_size, "batch_size")
    if isinstance(batches, jax.Array | np.ndarray):
        if not len(batches):
            raise ValueError(expected("at least one data point", "batches", "an empty array"))
        batches = [batches[i : i + batch_size] for i in range(0, len(batches), batch_size)]
    for batch in batches:
        args = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        for arg in args:
            if isinstance(arg, jax.Array | np.ndarray) and jnp.issubdtype(arg.dtype, jnp.floating):
                check_finite(np.asarray(arg), "batches")
        yield args
