"""Log-likelihoods by importance sampling: sums of weights in chunks, errors, Pareto's k.

The weights come from either framework, as NumPy arrays; all sums are in float64.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from jaxtyping import Float

from entropy_core.checks import check_positive_int, expected
from entropy_core.evaluation.bits import bits_per_dim

# Above it, neither an estimate nor its error can be trusted (Vehtari et al. 2024, Sec. 3).
HIGH_K = 0.7

# Log-weights that differ by less differ by rounding, as those of the exact posterior do.
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """The log-likelihood of each data point, estimated by importance sampling.

    `log 1/K sum_k w_nk`, with `w_nk = p(x_n, z_nk) / q(z_nk|x_n)` (Burda et al. 2016, Eq. 8). The
    average of the weights is an unbiased estimate of `p(x_n)`; its logarithm is biased low, by
    about `Var(w_n) / (2 K p(x_n)^2)` in expectation, and so a stochastic lower bound. Where
    `pareto_k > 0.7`, a few draws decide, and neither the value nor its error can be trusted
    (Vehtari et al. 2024).

    Args:
        values: In nats for each data point, of shape `(N,)`.
        standard_errors: The Monte-Carlo standard error of each value; NaN with one particle.
        pareto_k: The shape of the weights' upper tail, as `arviz_stats` estimates it by `psislw`;
            NaN where there is no tail to fit: with fewer than 25 particles, and where the largest
            weights are all equal, as they are if the guide is the exact posterior.
        num_particles: The number of draws for each data point, `K`.

    Example:
        >>> nan = np.full(2, np.nan)
        >>> estimate = LogLikelihood(np.array([-3.0, -5.0]), np.array([0.3, 0.4]), nan, 20)
        >>> print(estimate)
        log-likelihood  -4.0000 ± 0.2500 nats per data point
        2 data points, 20 draws each
        Pareto k > 0.7  0 (0.0 %), not defined for 2
    """

    values: Float[np.ndarray, " n"]
    standard_errors: Float[np.ndarray, " n"]
    pareto_k: Float[np.ndarray, " n"]
    num_particles: int

    @property
    def mean(self) -> float:
        """The mean over data points, in nats per data point."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """The Monte-Carlo standard error of the mean: the draws vary, and the data do not."""
        return float(np.sqrt((self.standard_errors**2).sum()) / len(self.values))

    def bits_per_dim(self, data_dim: int, *, bin_width: float = 1.0) -> float:
        """The mean as the bits that code one dimension; see `entropy_core.evaluation.bits`.

        Args:
            data_dim: The number of dimensions of a data point.
            bin_width: The step from one level to the next in the data of a density; 1 for the
                probabilities of a discrete or discretised decoder.

        Raises:
            ValueError: If `data_dim` is no positive integer, or `bin_width` is not positive.
        """
        return bits_per_dim(self.mean, data_dim, bin_width=bin_width)

    def to_dataset(self) -> xr.Dataset:
        """All values by data point as an `xarray.Dataset`, for ArviZ's functions."""
        columns = {
            "log_likelihood": self.values,
            "standard_error": self.standard_errors,
            "pareto_k": self.pareto_k,
        }
        return dict_to_dataset(
            columns,
            dims={name: ["data"] for name in columns},
            coords={"data": np.arange(len(self.values))},
            attrs={"num_particles": self.num_particles, "units": "nats per data point"},
            sample_dims=[],
        )

    def __str__(self) -> str:
        num, high = len(self.values), int((self.pareto_k > HIGH_K).sum())
        known = self.pareto_k[~np.isnan(self.pareto_k)]
        tail = [f"{high} ({100 * high / num:.1f} %)"]
        if len(known):
            tail.append(f"worst {known.max():.2f}")
        if len(known) < num:
            tail.append(f"not defined for {num - len(known)}")
        return (
            f"log-likelihood  {self.mean:.4f} ± {self.standard_error:.4f} nats per data point\n"
            f"{num} data points, {self.num_particles} draws each\n"
            f"Pareto k > {HIGH_K}  {', '.join(tail)}"
        )

    @staticmethod
    def concatenate(parts: Iterable["LogLikelihood"]) -> "LogLikelihood":
        """The estimates of several batches as one.

        Raises:
            ValueError: If there is no data point.
        """
        parts = list(parts)
        if not sum(len(part.values) for part in parts):
            raise ValueError(expected("at least one data point", "batches", "none"))
        return LogLikelihood(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.standard_errors for part in parts]),
            np.concatenate([part.pareto_k for part in parts]),
            parts[0].num_particles,
        )


class WeightSums:
    """What a log-likelihood needs of the log-weights of one batch, added up chunk by chunk.

    It holds two sums, and of each data point no more than some multiple of its `M + 1` largest
    log-weights and the latest chunk, where `M`, of the order of `sqrt(K)`, is the number of weights
    that Pareto's k is fitted to.

    Args:
        num_particles: The number of log-weights that will come for each data point, `K`.

    Example:
        >>> sums = WeightSums(4)
        >>> for _ in range(2):
        ...     sums.add(np.log([[1.0], [2.0]]))
        >>> sums.log_likelihood().values  # log 1.5
        array([0.40546511])
    """

    def __init__(self, num_particles: int) -> None:
        self.num_particles = num_particles
        self._num_largest = tail_length(num_particles) + 1
        self._count = 0
        # Those that may be among the largest ones.
        self._kept: list[np.ndarray] = []

    def add(self, log_weights: Float[np.ndarray, "k b"]) -> None:
        """Adds the log-weights of some draws for each data point of the batch.

        Raises:
            ValueError: If one is NaN or plus infinity.
        """
        values = log_weights.astype(np.float64, copy=False)
        # Minus infinity is a weight of zero, and as good as any other.
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            got = f"{int(bad.sum())} that are NaN or infinite"
            raise ValueError(expected("finite log-weights", "model` and `guide", got))
        if not self._count:
            self._max = np.full(values.shape[1], -np.inf)
            self._sum, self._squares = np.zeros((2, values.shape[1]))
        highest = np.maximum(self._max, values.max(0))
        origin = np.where(np.isneginf(highest), 0.0, highest)
        # The largest weight is 1, so that no exponential overflows.
        before, now = np.exp(self._max - origin), np.exp(values - origin)
        self._sum = before * self._sum + now.sum(0)
        self._squares = before**2 * self._squares + (now**2).sum(0)
        self._max = highest
        self._count += len(values)
        self._kept.append(values)
        # Seldom, since to find the largest of many takes as long for one new chunk as for several.
        if sum(map(len, self._kept)) > 4 * self._num_largest:
            self._kept = [self._largest()]

    def log_likelihood(self) -> LogLikelihood:
        """The estimate from all weights.

        The standard error of `log m`, with `m` the mean of the weights and `s` their standard
        deviation, is `s / (m sqrt(K))` by the delta method:

            sqrt( (sum w^2 / (sum w)^2 - 1/K) K / (K - 1) )

        Raises:
            ValueError: If the number of weights is not `num_particles`.
        """
        num = self.num_particles
        if self._count != num:
            raise ValueError(expected(f"{num} log-weights", "log_weights", self._count))
        origin = np.where(np.isneginf(self._max), 0.0, self._max)
        # Where all weights are zero, the value is minus infinity, and its error not a number.
        with np.errstate(divide="ignore", invalid="ignore"):
            values = origin + np.log(self._sum) - np.log(num)
            share = self._squares / self._sum**2
        errors = np.full_like(values, np.nan)
        if num > 1:
            # Rounding can leave a variance of zero below it.
            errors = np.sqrt(np.maximum(share - 1 / num, 0) * num / (num - 1))
        return LogLikelihood(values, errors, pareto_k(self._largest(), num), num)

    def _largest(self) -> Float[np.ndarray, "m b"]:
        kept = np.concatenate(self._kept)
        if len(kept) <= self._num_largest:
            return kept
        # Copied, so that the others are not held.
        return np.partition(kept, -self._num_largest, axis=0)[-self._num_largest :].copy()


def tail_length(num_particles: int) -> int:
    """How many of the largest of `K` weights are their tail: `min(K/5, 3 sqrt(K))`, rounded down.

    Vehtari et al. 2024, Appendix H, with independent draws.
    """
    return int(3 * sqrt(num_particles)) if num_particles > 225 else num_particles // 5


def pareto_k(largest: Float[np.ndarray, "m b"], num_particles: int) -> Float[np.ndarray, " b"]:
    """Pareto's k of each data point from its largest log-weights alone, as from all of them.

    Args:
        largest: The `tail_length(num_particles) + 1` largest log-weights, in any order.
        num_particles: The number of all log-weights.
    """
    # SciPy comes with it, which takes a second to import.
    from arviz_stats.base import array_stats

    found = np.full(largest.shape[1], np.nan)
    if tail_length(num_particles) < 5:  # psislw refuses
        return found
    ordered = np.sort(largest, axis=0)
    for n, column in enumerate(ordered.T):
        # Below the tail, only the largest weight has an influence, and all are made equal to it.
        padded = np.full(num_particles, column[0])
        padded[-len(column) :] = column
        # Zero weights and ties make infinities on the way, and psislw goes on with the others.
        with np.errstate(all="ignore"):
            if column[-1] - column[1] > EQUAL:
                # psislw takes log-likelihoods left out, the negative of log-weights.
                found[n] = array_stats.psislw(-padded)[1]
    return found


def chunk_sizes(num_particles: int, chunk_size: int) -> list[int]:
    """How many particles to draw at a time, all of one size but for the last.

    Raises:
        ValueError: If a number is no positive integer.

    Example:
        >>> chunk_sizes(250, 100)
        [100, 100, 50]
    """
    check_positive_int(num_particles, "num_particles")
    check_positive_int(chunk_size, "chunk_size")
    return [min(chunk_size, num_particles - i) for i in range(0, num_particles, chunk_size)]
