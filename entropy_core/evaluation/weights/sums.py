"""What a log-likelihood needs of importance weights, added up chunk by chunk.

The weights come from either framework, as NumPy arrays; all sums are in float64.
"""

import numpy as np
from jaxtyping import Float

from entropy_core.checks import expected
from entropy_core.evaluation.likelihood import LogLikelihood
from entropy_core.evaluation.weights.pareto import pareto_k, tail_length


class WeightSums:
    """What a log-likelihood needs of the log-weights of one batch, added up chunk by chunk.

    It holds a few sums, and of each data point no more than some multiple of its `M + 1` largest
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
            self._sum, self._squares, self._products = np.zeros((3, values.shape[1]))
            self._logs, self._log_squares = np.zeros((2, values.shape[1]))
            # Logarithms are counted from where the first ones lie, so that their squares are small.
            first = values.max(0)
            self._origin = np.where(np.isneginf(first), 0.0, first)
        highest = np.maximum(self._max, values.max(0))
        origin = np.where(np.isneginf(highest), 0.0, highest)
        # The largest weight is 1, so that no exponential overflows.
        before, now = np.exp(self._max - origin), np.exp(values - origin)
        self._sum = before * self._sum + now.sum(0)
        self._squares = before**2 * self._squares + (now**2).sum(0)
        logs = values - self._origin
        # A weight of zero times its logarithm is zero.
        products = now * np.where(np.isneginf(logs), 0.0, logs)
        self._products = before * self._products + products.sum(0)
        self._logs += logs.sum(0)
        self._log_squares += (logs**2).sum(0)
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

        That of `log m` less the mean of the logarithms is the standard deviation of `w / m - log w`
        divided by `sqrt(K)`.

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
            mean = self._logs / num
            log_variance = self._log_squares / num - mean**2
            covariance = self._products / self._sum - mean
        errors, gap_errors = np.full((2, len(values)), np.nan)
        if num > 1:
            # Rounding can leave a variance of zero below it.
            errors = np.sqrt(np.maximum(share - 1 / num, 0) * num / (num - 1))
            with np.errstate(invalid="ignore"):
                gap_variance = errors**2 + (log_variance - 2 * covariance) / (num - 1)
                gap_errors = np.sqrt(np.maximum(gap_variance, 0))
        k, elbos = pareto_k(self._largest(), num), self._origin + mean
        return LogLikelihood(values, errors, k, num, elbos, gap_errors)

    def _largest(self) -> Float[np.ndarray, "m b"]:
        kept = np.concatenate(self._kept)
        if len(kept) <= self._num_largest:
            return kept
        # Copied, so that the others are not held.
        return np.partition(kept, -self._num_largest, axis=0)[-self._num_largest :].copy()
