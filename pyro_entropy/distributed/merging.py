"""What the ranks have seen of the data, put together on each of them."""

from entropy_core.results.accumulate import Accumulator
from pyro_entropy.distributed.ranks import Ranks


def merged(sums: Accumulator) -> Accumulator:
    """The sums of all ranks' passes, the same on each of them.

    Args:
        sums: Those of this rank.

    Raises:
        RuntimeError: If `torch.distributed` has no process group.
        ValueError: If the ranks' sums do not merge.
    """
    first, *others = Ranks().merge(sums)
    for other in others:
        first.merge(other)
    return first
