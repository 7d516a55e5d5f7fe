"""One pass over any number of batches, in constant memory: sums that can be added and merged."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.terms import LatentTerms, SiteTerms, TraceTerms

Key = tuple[str, ...]


@dataclass
class Moments:
    """The weighted mean of a quantity over batches, and its Monte-Carlo standard error.

    Within a batch the draws of the particles differ and nothing else does, so the variance over
    particles is the Monte-Carlo variance, whatever the structure of the model; those of the batches
    add up.
    """

    weight: int = 0
    weighted_sum: float = 0.0
    weighted_variance: float = 0.0

    def add(self, values: NDArray[np.float64], weight: int) -> None:
        """Adds one batch: a value for each particle, and the number of data points in the batch."""
        variance = values.var(ddof=1) / values.size if values.size > 1 else np.nan
        self.merge(Moments(weight, weight * values.mean(), weight**2 * variance))

    def merge(self, other: "Moments") -> None:
        """Adds what another pass has seen."""
        self.weight += other.weight
        self.weighted_sum += other.weighted_sum
        self.weighted_variance += other.weighted_variance

    @property
    def estimate(self) -> tuple[float, float]:
        """The mean and its standard error; the latter is NaN with one particle."""
        mean = self.weighted_sum / self.weight
        return float(mean), float(np.sqrt(self.weighted_variance) / self.weight)


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

    @classmethod
    def of(cls, terms: LatentTerms, kl_epsilon: float) -> "LatentMoments":
        """Sums one batch; `below` counts the data points with `KL < kl_epsilon`."""
        mean = terms.mean.mean(0)
        return cls(
            len(terms.mean),
            terms.entropy.sum(0),
            terms.prior_entropy.sum(0),
            terms.kl.sum(0),
            (terms.kl < kl_epsilon).sum(0).astype(float),
            mean,
            ((terms.mean - mean) ** 2).sum(0),
        )

    def merge(self, other: "LatentMoments") -> None:
        """Adds what another pass has seen (Chan et al. 1983 for mean and sum of squares)."""
        total = self.num_data + other.num_data
        shift = other.mean - self.mean
        self.squares += other.squares + shift**2 * self.num_data * other.num_data / total
        self.mean += shift * other.num_data / total
        self.entropy += other.entropy
        self.prior_entropy += other.prior_entropy
        self.kl += other.kl
        self.below += other.below
        self.num_data = total


@dataclass
class Accumulator:
    """All sums of a diagnostic.

    Args:
        kl_epsilon: The threshold of the (epsilon, delta) criterion of posterior collapse.
    """

    kl_epsilon: float = 0.01
    num_data: int = 0
    num_particles: int = 0
    moments: dict[Key, Moments] = field(default_factory=dict)
    latents: dict[str, LatentMoments] = field(default_factory=dict)
    sites: tuple[SiteTerms, ...] = ()
    untreated: dict[str, str] = field(default_factory=dict)
    data_plate: str | None = None

    def add(self, particles: Sequence[TraceTerms]) -> None:
        """Adds one batch, seen by several particles; all arrays are NumPy's."""
        first = particles[0]
        weight = first.data_plate.size if first.data_plate else 1
        for key in _quantities(first):
            values = np.array([_quantities(particle)[key] for particle in particles], float)
            self.moments.setdefault(key, Moments()).add(values, weight)
        for i, latent in enumerate(first.latents):
            mean = _mean_over([particle.latents[i] for particle in particles])
            self._add_latent(latent.site, LatentMoments.of(mean, self.kl_epsilon))
        self.num_data += weight
        self.num_particles = len(particles)
        self.sites = first.sites
        self.untreated.update(first.untreated)
        self.data_plate = first.data_plate.name if first.data_plate else None

    def merge(self, other: "Accumulator") -> None:
        """Adds what another pass, over other data, has seen.

        Raises:
            ValueError: If the other pass has seen another model: other sites.
        """
        if self.sites and other.sites and self.moments.keys() != other.moments.keys():
            raise ValueError(expected("the same sites", "other", sorted(other.moments)))
        for key, moments in other.moments.items():
            self.moments.setdefault(key, Moments()).merge(moments)
        for site, latent in other.latents.items():
            self._add_latent(site, latent)
        self.num_data += other.num_data
        self.num_particles = other.num_particles
        self.sites = other.sites
        self.untreated.update(other.untreated)
        self.data_plate = other.data_plate

    def _add_latent(self, site: str, latent: LatentMoments) -> None:
        if site in self.latents:
            self.latents[site].merge(latent)
        else:
            self.latents[site] = latent


def _quantities(particle: TraceTerms) -> dict[Key, Any]:
    sums = particle.sums
    quantities: dict[Key, Any] = {
        (name,): getattr(sums, name) for name in (*sums._fields[:-1], "gap")
    }
    for site in particle.sites:
        quantities["term", site.role, site.name] = site.term
        quantities["entropy", site.role, site.name] = site.entropy
        if site.role != "encoder":
            quantities["residual", site.role, site.name] = site.residual
    return quantities


def _mean_over(particles: Sequence[LatentTerms]) -> LatentTerms:
    names = ("entropy", "prior_entropy", "kl", "mean")
    means = {
        name: np.mean([np.asarray(getattr(p, name), float) for p in particles], axis=0)
        for name in names
    }
    return LatentTerms(particles[0].site, **means)
