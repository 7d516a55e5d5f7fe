"""The importance weighted bound: what it returns, and what it refuses."""

from typing import Any, Literal, NamedTuple, get_args

from entropy_core.checks import check_positive_int, expected

Gradient = Literal["plain", "dreg", "stl"]


class IWAETerms(NamedTuple):
    """The importance weighted bound and what it is made of.

    Args:
        bound: `L_K`, in nats per data point.
        elbo: The ELBO at the same draws, which is never above the bound.
        effective_sample_size: `(sum_k w_k)^2 / sum_k w_k^2`, the mean over data points.
    """

    bound: Any
    elbo: Any
    effective_sample_size: Any


def check_particles(num_particles: int, chunk_size: int | None, gradient: str) -> int:
    """The number of particles to draw at once.

    Raises:
        ValueError: If a number is no positive integer, or `gradient` is not known.
    """
    check_positive_int(num_particles, "num_particles")
    if gradient not in get_args(Gradient):
        raise ValueError(expected("'plain', 'dreg' or 'stl'", "gradient", repr(gradient)))
    if chunk_size is None:
        return num_particles
    check_positive_int(chunk_size, "chunk_size")
    return min(chunk_size, num_particles)
