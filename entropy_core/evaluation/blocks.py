"""Arrays of several batches as one, along dimensions that have names."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Block(NamedTuple):
    """An array of one batch.

    Args:
        values: The array.
        dims: The names of its dimensions.
        starts: Where it starts along some of them; along all others at the first place.
    """

    values: np.ndarray
    dims: tuple[str, ...]
    starts: Mapping[str, int]


def hide(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Values with NaN in the place of those that are not shown.

    Args:
        values: An array of any type.
        shown: Whether to show them, of the shape of their first dimensions.

    Returns:
        The values as they are where all are shown; integers become float64 elsewhere.

    Example:
        >>> hide(np.array([1, 2]), np.array([True, False]))
        array([ 1., nan])
    """
    if shown.all():
        return values
    shown = shown.reshape(shown.shape + (1,) * (values.ndim - shown.ndim))
    return np.where(shown, values, np.array(np.nan, _with_nan(values.dtype)))


def join(blocks: Sequence[Block], sizes: Mapping[str, int]) -> np.ndarray:
    """Puts blocks of the same dimensions into one array, NaN where none of them lies.

    Args:
        blocks: At least one; they do not overlap.
        sizes: The size of each dimension in the whole.

    Returns:
        The array, whose integers are float64 where there is a NaN among them.

    Example:
        >>> first, second = (Block(np.array([[i]]), ("n", "k"), {"n": i}) for i in range(2))
        >>> join([first, second], {"n": 3, "k": 1}).ravel()
        array([ 0.,  1., nan])
    """
    dims = blocks[0].dims
    shape = tuple(sizes[dim] for dim in dims)
    dtype = np.result_type(*(block.values.dtype for block in blocks))
    if sum(block.values.size for block in blocks) == np.prod(shape, dtype=int):
        whole = np.empty(shape, dtype)
    else:
        whole = np.full(shape, np.nan, _with_nan(dtype))
    for values, _, starts in blocks:
        first = [starts.get(dim, 0) for dim in dims]
        whole[tuple(slice(i, i + n) for i, n in zip(first, values.shape, strict=True))] = values
    return whole


def _with_nan(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)
