"""Data for training in any form: shuffled in batches for the steps, in order for the looks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array

from entropy_core.arguments import Arguments, even_sizes, leaves_of_batch, map_leaves
from entropy_core.checks import expected
from numpyro_entropy.layouts import check_all_finite, laid_out_as, on_devices
from numpyro_entropy.traces.batches import arguments_of

WHAT = "an array, a tuple or dictionary with some, or batches that have an array"

# How many data points a look takes together.
LOOK_SIZE = 1000


class Data:
    """Data for training in any form: shuffled in batches for the steps, in order for the looks.

    Rows are in an array, or in the arrays of a tuple or dictionary, the arguments of model and
    guide. They lie on the device and are shuffled there, but for NumPy's `memmap`, which is read
    batch by batch. An array over several devices stays there, and so do the rows of each batch.
    Everything else that can be iterated over again, and a function that makes an iterable for an
    epoch, gives batches as they are.

    Args:
        data: The data.
        batch_size: The largest number of rows in a batch.
        transform: What is done to each batch, with a key.

    Raises:
        TypeError: If the data have none of these forms.
        ValueError: If there are no rows, or arrays have different numbers of them.
    """

    def __init__(self, data: Any, batch_size: int, *, transform: Callable | None = None) -> None:
        self.data, self.batch_size, self.transform = data, batch_size, transform
        self.num_rows = self._count_rows()
        self.on_device = self.num_rows is not None and not any(
            isinstance(leaf, np.memmap) for leaf in leaves_of_batch(data)
        )
        if self.on_device:
            self.data = map_leaves(
                lambda a: on_devices(jnp.asarray(a)) if _has_rows(a) else a, data
            )

    def epoch(self, rng_key: Array, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, or which rows they are, where the data are on the device."""
        if self.num_rows is None:
            yield from map(_as_arrays, self._iterable(epoch))
            return
        for rows in self.orders(rng_key):
            for batch in rows:
                yield batch if self.on_device else self._take(np.asarray(batch))

    def orders(self, rng_key: Array) -> list[Array]:
        """Which rows the batches of an epoch are: for each size of a batch, `(batches, size)`."""
        assert self.num_rows is not None
        order = random.permutation(rng_key, self.num_rows)
        sizes = even_sizes(self.num_rows, self.batch_size)
        large = sizes.count(sizes[0])
        both = order[: large * sizes[0]], order[large * sizes[0] :]
        parts = zip(both, (sizes[0], sizes[-1]), strict=True)
        return [rows.reshape(-1, size) for rows, size in parts if len(rows)]

    @property
    def arrays(self) -> list[Array]:
        """The arrays that `rows` takes its rows of."""
        return [leaf for leaf in leaves_of_batch(self.data) if _has_rows(leaf)]

    def rows(self, rng_key: Array, rows: Array, arrays: Sequence[Array]) -> Arguments:
        """The arguments of model and guide that these rows are; for data on the device.

        Args:
            rng_key: The key of the transform.
            rows: Which rows.
            arrays: `arrays`, as arguments of what is compiled.
        """
        rest = iter(arrays)

        def take(a: Any) -> Any:
            return laid_out_as(a, next(rest)[rows]) if _has_rows(a) else a

        return self.ready(rng_key, map_leaves(take, self.data))

    def ready(self, rng_key: Array, batch: Any) -> Arguments:
        """The arguments of model and guide that a batch is, transformed."""
        return Arguments.of(batch if self.transform is None else self.transform(rng_key, batch))

    def in_order(self, rng_key: Array, batch_size: int = LOOK_SIZE) -> "InOrder":
        """The batches in their order, again and again."""
        return InOrder(self, rng_key, batch_size)

    def of_one_size(self, rng_key: Array) -> "InOrder":
        """As `in_order`, but that the last batch begins earlier, so that it compiles no shape."""
        size = even_sizes(self.num_rows, self.batch_size)[0] if self.num_rows else self.batch_size
        return InOrder(self, rng_key, size, overlapping=True)

    def ordered(
        self, rng_key: Array, batch_size: int, *, overlapping: bool = False
    ) -> Iterator[Any]:
        """The batches in their order, once."""
        if self.num_rows is None:
            batches: Iterable = map(_as_arrays, self._iterable(0))
        else:
            last = max(0, self.num_rows - batch_size) if overlapping else self.num_rows
            starts = (min(start, last) for start in range(0, self.num_rows, batch_size))
            batches = (self._take(slice(start, start + batch_size)) for start in starts)
        for i, batch in enumerate(batches):
            yield (
                batch
                if self.transform is None
                else self.transform(random.fold_in(rng_key, i), batch)
            )

    def _take(self, rows: Any) -> Any:
        return map_leaves(
            lambda leaf: laid_out_as(leaf, leaf[rows]) if _has_rows(leaf) else leaf, self.data
        )

    def _iterable(self, epoch: int) -> Iterable:
        return self.data(epoch) if callable(self.data) else self.data

    def _count_rows(self) -> int | None:
        if isinstance(self.data, jax.Array | np.ndarray | tuple | dict):
            sizes = {len(leaf) for leaf in leaves_of_batch(self.data) if _has_rows(leaf)}
            if len(sizes) > 1:
                raise ValueError(expected("as many rows in each array", "data", sorted(sizes)))
            if not sizes:
                raise TypeError(expected(WHAT, "data", type(self.data).__name__))
            if sizes == {0}:
                raise ValueError(expected("at least one data point", "data", "an empty array"))
            return sizes.pop()
        if isinstance(self.data, Iterator):
            what = "batches to go through again, or a function of the epoch that makes them,"
            raise TypeError(expected(what, "data", f"a {type(self.data).__name__}, which ends"))
        iterates = callable(self.data) or isinstance(self.data, Iterable)
        first = next(iter(self._iterable(0)), None) if iterates else 0
        if first is None:
            raise ValueError(expected("at least one batch", "data", "none"))
        if not any(_is_array(leaf) for leaf in leaves_of_batch(first)):
            raise TypeError(expected(WHAT, "data", type(self.data).__name__))
        return None


class InOrder:
    """The batches of a data set in their order, again and again.

    Args:
        data: The data set.
        rng_key: The key of the transform.
        batch_size: The number of rows in a batch, where the data have rows.
        overlapping: Whether the last batch begins earlier, where it would be smaller.
    """

    def __init__(
        self, data: Data, rng_key: Array, batch_size: int, *, overlapping: bool = False
    ) -> None:
        self.data, self.rng_key, self.batch_size = data, rng_key, batch_size
        self.overlapping = overlapping

    def __iter__(self) -> Iterator[Any]:
        """Begins again."""
        return self.data.ordered(self.rng_key, self.batch_size, overlapping=self.overlapping)


def first_batch(data: Data, rng_key: Array) -> Arguments:
    """The arguments of model and guide for the first batch."""
    return Arguments.of(next(islice(data.ordered(rng_key, data.batch_size), 1)))


def count_data(data: Data, rng_key: Array) -> int:
    """The number of data points, all of which are looked at.

    Raises:
        ValueError: If they have NaN or infinite entries.
    """
    if not data.on_device:
        calls = arguments_of(data.in_order(rng_key), data.batch_size, name="data")
        return sum(call.num_data for call in calls)
    for array in data.arrays:
        if jnp.issubdtype(array.dtype, jnp.floating):
            check_all_finite(array, "data")
    return len(data.arrays[0])


def _as_arrays(batch: Any) -> Any:
    """A batch of NumPy's arrays for those of other libraries, such as a loader's of torch."""

    def as_array(leaf: Any) -> Any:
        foreign = hasattr(leaf, "__array__") and not isinstance(leaf, jax.Array | np.ndarray)
        return np.asarray(leaf) if foreign else leaf

    return map_leaves(as_array, batch)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "__array__") and hasattr(leaf, "shape")


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and leaf.ndim > 0
