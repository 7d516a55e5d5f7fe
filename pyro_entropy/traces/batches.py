"""Data where they enter a pair: batches as arguments, and what their distribution cannot have."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from entropy_core.arguments import Arguments
from entropy_core.checks import check_finite, check_outside, check_positive_int, expected
from entropy_core.traces.sites import Pair
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import run_pair


def arguments_of(
    batches: torch.Tensor | Iterable, batch_size: int, *, name: str = "batches"
) -> Iterator[Arguments]:
    """The arguments to model and guide of each batch.

    Args:
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or the arguments of model and guide: a tuple, a dictionary of those by
            name, or a tuple of both.
        batch_size: How many data points make a batch, where `batches` is a tensor.
        name: The argument as the caller knows it.

    Raises:
        ValueError: If `batches` is an empty tensor, a batch has NaN or infinite entries, or
            `batch_size` is no positive integer.
    """
    check_positive_int(batch_size, "batch_size")
    if isinstance(batches, torch.Tensor):
        if not len(batches):
            raise ValueError(expected("at least one data point", name, "an empty tensor"))
        batches = batches.split(batch_size)
    for batch in batches:
        call = Arguments.of(batch)
        for arg in call.values:
            if isinstance(arg, torch.Tensor) and arg.is_floating_point():
                check_finite(to_numpy(arg), name)
        yield call


def outside_support(pair: Pair) -> dict[str, int]:
    """How many elements of its batch are outside its support, for each observed site not masked."""
    return {
        name: int((~site.fn.support.check(site.value)).sum())
        for name, site in pair.model.items()
        if site.is_observed and not site.is_masked
    }


@torch.no_grad()
def check_observations(
    model: Callable, guide: Callable, data: Tensor | Iterable, batch_size: int
) -> int:
    """Passes once over a data set and refuses observations outside their support.

    Pyro does so too, where validation is on, but only once training has come to the batch.

    Returns:
        The number of data points.

    Raises:
        ValueError: If an observed site has values outside its support, or a batch has NaN or
            infinite entries.
    """
    num_data = 0
    with evaluating(model, guide):
        for call in arguments_of(data, batch_size, name="data"):
            check_outside(outside_support(run_pair(model, guide, *call)))
            num_data += call.num_data
    return num_data
