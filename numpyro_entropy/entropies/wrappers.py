"""What stands around a NumPyro distribution: `to_event`, masks and plates."""

import numpyro.distributions as dist
from numpyro.distributions import Distribution, ExpandedDistribution, MaskedDistribution


def elementwise(fn: dist.Distribution) -> dist.Distribution:
    """Takes off `to_event` and `expand`: what a factorised distribution is made of."""
    while isinstance(fn, dist.Independent | ExpandedDistribution):
        fn = fn.base_dist
    return fn


def unwrapped(fn: Distribution) -> Distribution:
    """Takes off `to_event`, `expand` and masks."""
    while True:
        fn = elementwise(fn)
        if not isinstance(fn, MaskedDistribution):
            return fn
        fn = fn.base_dist
