"""What stands around a Pyro distribution: `to_event`, masks and plates."""

import pyro.distributions as dist
from pyro.distributions.torch_distribution import MaskedDistribution
from torch.distributions import Distribution


def elementwise(fn: Distribution) -> Distribution:
    """Takes off `to_event`: what a factorised distribution is made of."""
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    return fn


def unwrapped(fn: Distribution) -> Distribution:
    """Takes off `to_event` and masks."""
    while True:
        fn = elementwise(fn)
        if not isinstance(fn, MaskedDistribution):
            return fn
        fn = fn.base_dist
