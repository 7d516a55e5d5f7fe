"""Observations that their distribution cannot have: grey pixels under a Bernoulli, say."""

from collections.abc import Callable

import torch
from pyro import poutine
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.poutine import Trace
from torch import Tensor

from entropy_core.checks import check_outside
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.traces.sites import sample_sites


def outside_support(model_trace: Trace) -> dict[str, int]:
    """How many elements of its batch are outside its support, for each observed site not masked."""
    return {
        name: int((~site["fn"].support.check(site["value"])).sum())
        for name, site in sample_sites(model_trace).items()
        if site["is_observed"]
        and site["mask"] is None
        and not isinstance(elementwise(site["fn"]), MaskedDistribution)
    }


@torch.no_grad()
def check_observations(model: Callable, guide: Callable, data: Tensor, batch_size: int) -> None:
    """Passes once over a data set and refuses observations outside their support.

    Pyro does so too, where validation is on, but only once training has come to the batch.

    Raises:
        ValueError: If an observed site has values outside its support.
    """
    for batch in data.split(batch_size):
        guide_trace = poutine.trace(guide).get_trace(batch)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(batch)
        check_outside(outside_support(model_trace))
