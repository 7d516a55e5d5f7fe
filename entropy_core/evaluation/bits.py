"""Bits per dimension, the unit in which likelihoods of images are compared."""

from math import log, log2

from entropy_core.checks import check_positive, check_positive_int


def bits_per_dim(log_likelihood: float, data_dim: int, *, bin_width: float = 1.0) -> float:
    """A log-likelihood in nats per data point as the bits that code one dimension of it.

        -L / (D log 2) - log2(bin_width)

    Args:
        log_likelihood: The log-likelihood `L` of a data point, or a bound of it.
        data_dim: The number of dimensions, `D`.
        bin_width: The step from one level to the next in the data of a density: 1/256 for 8-bit
            data `(k + u) / 256` with uniform noise `u`, whose bits the result then bounds from
            above, and 1/255 for `k / 255`. The probabilities of a discretised or discrete decoder
            need no correction: 1.

    Raises:
        ValueError: If `data_dim` is no positive integer, or `bin_width` is not positive.

    Example:
        >>> bits_per_dim(-784 * log(256), 784)  # 256 levels of equal probability
        8.0
    """
    check_positive_int(data_dim, "data_dim")
    check_positive(bin_width, "bin_width")
    return -log_likelihood / (data_dim * log(2)) - log2(bin_width)
