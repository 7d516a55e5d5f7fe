"""Data for training in any form: shuffled in batches for the steps, in order for the looks."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entropy_core.arguments import Arguments, even_sizes, leaves_of_batch, map_leaves
from entropy_core.checks import expected
from pyro_entropy.distributed.ranks import Ranks

WHAT = "a torch.Tensor, or NumPy array, a tuple or dictionary with some, or batches that have a"

# How many data points a look takes together.
LOOK_SIZE = 1000


class Data:
    """Data for training in any form: shuffled in batches for the steps, in order for the looks.

    Rows are in an array, or in the arrays of a tuple or dictionary, the arguments of model and
    guide. Those of tensors are shuffled on the device where they are, those of NumPy's arrays,
    which may lie on a disk, are read batch by batch. Everything else that can be iterated over
    again, and a function that makes an iterable for an epoch, gives batches as they are.

    Args:
        data: The data.
        batch_size: The largest number of rows in a batch.
        transform: What is done to each batch.
        device: Where batches are brought that do not lie in tensors with all the data; `None`
            leaves them where they are.
        ranks: The processes that train together. Each has all rows, in the order of the first, and
            takes its own of each batch; batches that come as they are, are those of one rank.

    Raises:
        TypeError: If the data have none of these forms.
        ValueError: If there are no rows, arrays have different numbers of them, or a batch has none
            for some rank.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        transform: Callable | None = None,
        device: torch.device | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.data, self.batch_size = data, batch_size
        self.transform, self.device, self.ranks = transform, device, ranks
        self.num_rows = self._count_rows()
        if ranks is not None and self.num_rows is not None:
            smallest = min(even_sizes(self.num_rows, batch_size))
            if smallest < ranks.num:
                what = f"at least one data point in each batch for each of {ranks.num} ranks"
                raise ValueError(expected(what, "data", smallest))

    def epoch(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, in random order where the data have rows."""
        if self.num_rows is None:
            yield from map(self._ready, self._iterable(epoch))
            return
        arrays = [leaf for leaf in leaves_of_batch(self.data) if self._has_rows(leaf)]
        device = arrays[0].device if isinstance(arrays[0], Tensor) else None
        order = torch.randperm(self.num_rows, device=device)
        if self.ranks is not None:
            order = self.ranks.of_first(order)
        for rows in order.split(even_sizes(self.num_rows, self.batch_size)):
            yield self._take(rows if self.ranks is None else rows[self.ranks.part(len(rows))])

    def in_order(self, batch_size: int = LOOK_SIZE) -> "InOrder":
        """The batches in their order, again and again."""
        return InOrder(self, batch_size)

    def ordered(self, batch_size: int) -> Iterator[Any]:
        """The batches in their order, once."""
        if self.num_rows is None:
            yield from map(self._ready, self._iterable(0))
            return
        rows = range(self.num_rows)
        own = rows if self.ranks is None else rows[self.ranks.part(self.num_rows)]
        for start in range(own.start, own.stop, batch_size):
            yield self._take(slice(start, min(start + batch_size, own.stop)))

    def _take(self, rows: Any) -> Any:
        def take(leaf: Any) -> Any:
            if not self._has_rows(leaf):
                return leaf
            if isinstance(leaf, Tensor):
                return leaf[rows if isinstance(rows, slice) else rows.to(leaf.device)]
            return leaf[rows if isinstance(rows, slice) else rows.numpy()]

        return self._ready(map_leaves(take, self.data))

    def _ready(self, batch: Any) -> Any:
        def ready(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                # A copy: a slice of a file is not to be written to.
                leaf = torch.from_numpy(np.array(leaf))
            elif not isinstance(leaf, Tensor) or self.num_rows is not None:
                return leaf
            return leaf if self.device is None else leaf.to(self.device)

        batch = map_leaves(ready, batch)
        return batch if self.transform is None else self.transform(batch)

    def _iterable(self, epoch: int) -> Iterable:
        return self.data(epoch) if callable(self.data) else self.data

    def _has_rows(self, leaf: Any) -> bool:
        return isinstance(leaf, Tensor | np.ndarray) and leaf.ndim > 0

    def _count_rows(self) -> int | None:
        if isinstance(self.data, Tensor | np.ndarray | tuple | dict):
            sizes = {len(leaf) for leaf in leaves_of_batch(self.data) if self._has_rows(leaf)}
            if len(sizes) > 1:
                raise ValueError(expected("as many rows in each array", "data", sorted(sizes)))
            if not sizes:
                raise TypeError(expected(f"{WHAT} torch.Tensor", "data", type(self.data).__name__))
            if sizes == {0}:
                raise ValueError(expected("at least one data point", "data", "an empty tensor"))
            return sizes.pop()
        if isinstance(self.data, Iterator):
            what = "batches to go through again, or a function of the epoch that makes them,"
            raise TypeError(expected(what, "data", f"a {type(self.data).__name__}, which ends"))
        first = next(iter(self._iterable(0)), None) if self._iterates() else 0
        if first is None:
            raise ValueError(expected("at least one batch", "data", "none"))
        if not any(isinstance(leaf, Tensor | np.ndarray) for leaf in leaves_of_batch(first)):
            raise TypeError(expected(f"{WHAT} torch.Tensor", "data", type(self.data).__name__))
        return None

    def _iterates(self) -> bool:
        return callable(self.data) or isinstance(self.data, Iterable)


class InOrder:
    """The batches of a data set in their order, again and again.

    Args:
        data: The data set.
        batch_size: The number of rows in a batch, where the data have rows.
    """

    def __init__(self, data: Data, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size

    def __iter__(self) -> Iterator[Any]:
        """Begins again."""
        return self.data.ordered(self.batch_size)


def first_batch(data: Data) -> Arguments:
    """The arguments of model and guide for the first batch."""
    return Arguments.of(next(islice(data.ordered(data.batch_size), 1)))
