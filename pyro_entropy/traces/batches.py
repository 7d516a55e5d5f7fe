"""Batches as the arguments of a model and a guide."""

from collections.abc import Iterable, Iterator

import torch

from entropy_core.checks import check_finite, check_positive_int, expected


def arguments_of(batches: torch.Tensor | Iterable, batch_size: int) -> Iterator[tuple]:
    """The arguments to model and guide of each batch.

    Args:
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or tuples of arguments.
        batch_size: How many data points make a batch, where `batches` is a tensor.

    Raises:
        ValueError: If `batches` is an empty tensor, a batch has NaN or infinite entries, or
            `batch_size` is no positive integer.
    """
    check_positive_int(batch_size, "batch_size")
    if isinstance(batches, torch.Tensor):
        if not len(batches):
            raise ValueError(expected("at least one data point", "batches", "an empty tensor"))
        batches = batches.split(batch_size)
    for batch in batches:
        args = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        for arg in args:
            if isinstance(arg, torch.Tensor) and arg.is_floating_point():
                check_finite(arg.detach().cpu().numpy(), "batches")
        yield args
