"""Observations that their distribution cannot have: grey pixels under a Bernoulli, say."""

from collections.abc import Callable

import torch
from torch import Tensor

from entropy_core.checks import check_outside
from entropy_core.traces.sites import Pair
from pyro_entropy.traces.pairs import run_pair


def outside_support(pair: Pair) -> dict[str, int]:
    """How many elements of its batch are outside its support, for each observed site not masked."""
    return {
        name: int((~site.fn.support.check(site.value)).sum())
        for name, site in pair.model.items()
        if site.is_observed and not site.is_masked
    }


@torch.no_grad()
def check_observations(model: Callable, guide: Callable, data: Tensor, batch_size: int) -> None:
    """Passes once over a data set and refuses observations outside their support.

    Pyro does so too, where validation is on, but only once training has come to the batch.

    Raises:
        ValueError: If an observed site has values outside its support.
    """
    for batch in data.split(batch_size):
        check_outside(outside_support(run_pair(model, guide, (batch,))))
