"""Sums over batches of quantities of a pass, which can be added and merged."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from entropy_core.traces.records import LatentTerms


@dataclass
class Moments:
    """The sum of a quantity over batches, and its Monte-Carlo covariance.

    A quantity has a part per data point, from the sites in the data plate, and a part for the whole
    data set, from the others, which counts once however many batches there are.

    Within a batch the draws of the particles differ and nothing else does (but for the data points,
    where a plate of the model draws them: then their variance is included), so the covariance of
    the two parts over particles is their Monte-Carlo covariance, whatever the structure of the
    model; those of the batches add up.

    Args:
        num_data: The number of data points in the batches that have the quantity: to a mean over
            all data the others add zero.
        weighted_sum: Both parts, times the data points of each batch.
        weighted_covariance: Its covariance over draws.
    """

    num_data: int = 0
    weighted_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    weighted_covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))

    def merge(self, other: "Moments") -> None:
        """Adds what another pass has seen."""
        self.num_data += other.num_data
        self.weighted_sum = self.weighted_sum + other.weighted_sum
        self.weighted_covariance = self.weighted_covariance + other.weighted_covariance

    def estimate(self, seen: int, num_data: int) -> tuple[float, float]:
        """The mean per data point, and its standard error; NaN with one particle.

        Args:
            seen: The number of data points in all batches.
            num_data: The size of the data set, which shares the part for the whole of it.
        """
        return self._combined(np.array([1.0, 1.0 / num_data]) / seen)

    def estimate_total(self, seen: int) -> tuple[float, float]:
        """The mean of the part for the whole data set, and its standard error."""
        return self._combined(np.array([0.0, 1.0]) / seen)

    def _combined(self, parts: NDArray[np.float64]) -> tuple[float, float]:
        # Rounding can leave a variance of zero below it.
        variance = np.maximum(parts @ self.weighted_covariance @ parts, 0.0)
        return float(parts @ self.weighted_sum), float(np.sqrt(variance))


def moments_of(values: NDArray[np.float64], num_data: int) -> list[Moments]:
    """The moments of one batch of `num_data` data points.

    Args:
        values: Both parts of each of `Q` quantities for each particle, of shape `(K, Q, 2)`.
        num_data: The number of data points in the batch.
    """
    num, mean = len(values), values.mean(0)
    covariance = np.full((*mean.shape, 2), np.nan)
    if num > 1:
        spread = values - mean
        covariance = np.einsum("kqi,kqj->qij", spread, spread) / (num * (num - 1))
    sums, weighted = num_data * mean, num_data**2 * covariance
    return [Moments(num_data, *parts) for parts in zip(sums, weighted, strict=True)]


@dataclass
class LatentMoments:
    """Sums over data points for each dimension of a latent site, with shape `(H,)`."""

    num_data: int
    entropy: NDArray[np.float64]
    prior_entropy: NDArray[np.float64]
    kl: NDArray[np.float64]
    below: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, terms: LatentTerms, kl_epsilon: float) -> "LatentMoments":
        """Sums one batch; `below` counts the data points with `KL < kl_epsilon`."""
        mean = terms.mean.mean(0)
        # A mean that is infinite, as that of a half-Cauchy distribution, has no variance: NaN.
        with np.errstate(invalid="ignore"):
            squares = ((terms.mean - mean) ** 2).sum(0)
        return cls(
            len(terms.mean),
            terms.entropy.sum(0),
            terms.prior_entropy.sum(0),
            terms.kl.sum(0),
            (terms.kl < kl_epsilon).sum(0).astype(float),
            mean,
            squares,
            np.full(len(mean), np.nan) if terms.noise is None else terms.noise.sum(0),
        )

    def merge(self, other: "LatentMoments") -> None:
        """Adds what another pass has seen (Chan et al. 1983 for mean and sum of squares)."""
        total = self.num_data + other.num_data
        with np.errstate(invalid="ignore"):
            shift = other.mean - self.mean
        # Not in place: the arrays may be those of another pass.
        between = shift**2 * self.num_data * other.num_data / total
        self.squares = self.squares + other.squares + between
        self.mean = self.mean + shift * other.num_data / total
        for name in ("entropy", "prior_entropy", "kl", "below", "noise"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.num_data = total
