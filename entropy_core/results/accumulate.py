"""One pass over any number of batches, in constant memory: sums that can be added and merged."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.traces.records import LatentTerms, SiteTerms, TraceTerms
from entropy_core.traces.sums import ELBOTerms, decompose

Key = tuple[str, ...]


@dataclass
class Moments:
    """The mean of a quantity over batches, and its Monte-Carlo standard error.

    A quantity has a part per data point, from the sites in the data plate, and a part for the whole
    data set, from the others, which counts once however many batches there are.

    Within a batch the draws of the particles differ and nothing else does (but for the data points,
    where a plate of the model draws them: then their variance is included), so the covariance of
    the two parts over particles is their Monte-Carlo covariance, whatever the structure of the
    model; those of the batches add up.
    """

    weight: int = 0
    weighted_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    weighted_covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))

    def add(self, values: NDArray[np.float64], weight: int) -> None:
        """Adds one batch of `weight` data points.

        Args:
            values: Both parts for each particle, of shape `(K, 2)`.
            weight: The number of data points in the batch.
        """
        num = len(values)
        covariance = np.cov(values, rowvar=False) / num if num > 1 else np.full((2, 2), np.nan)
        self.merge(Moments(weight, weight * values.mean(0), weight**2 * covariance))

    def merge(self, other: "Moments") -> None:
        """Adds what another pass has seen."""
        self.weight += other.weight
        self.weighted_sum = self.weighted_sum + other.weighted_sum
        self.weighted_covariance = self.weighted_covariance + other.weighted_covariance

    def estimate(self, num_data: int) -> tuple[float, float]:
        """The mean per data point of `num_data`, and its standard error; NaN with one particle."""
        return self._combined(np.array([1.0, 1.0 / num_data]))

    def estimate_total(self) -> tuple[float, float]:
        """The mean of the part for the whole data set, and its standard error."""
        return self._combined(np.array([0.0, 1.0]))

    def _combined(self, factors: NDArray[np.float64]) -> tuple[float, float]:
        parts = factors / self.weight
        # Rounding can leave a variance of zero below it.
        variance = np.maximum(parts @ self.weighted_covariance @ parts, 0.0)
        return float(parts @ self.weighted_sum), float(np.sqrt(variance))


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
        for name in ("entropy", "prior_entropy", "kl", "below"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.num_data = total


@dataclass
class Observed:
    """How many elements of a masked site no mask hides, and how many it has in all.

    Both are sums over batches of means over particles.
    """

    shown: float = 0.0
    elements: float = 0.0

    def merge(self, other: "Observed") -> None:
        """Adds what another pass has seen."""
        self.shown += other.shown
        self.elements += other.elements


@dataclass
class Accumulator:
    """All sums of a diagnostic.

    A quantity of a site outside the data plate is one of the whole data set: `estimate` divides it
    by the number of data points, as it must where it joins the sums of other sites, and
    `estimate_total` does not.

    Args:
        kl_epsilon: The threshold of the (epsilon, delta) criterion of posterior collapse.
    """

    kl_epsilon: float = 0.01
    num_data: int = 0
    num_particles: int = 0
    moments: dict[Key, Moments] = field(default_factory=dict)
    latents: dict[str, LatentMoments] = field(default_factory=dict)
    sites: tuple[SiteTerms, ...] = ()
    observed: dict[Key, Observed] = field(default_factory=dict)
    untreated: dict[str, str] = field(default_factory=dict)
    data_plate: str | None = None
    total: int | None = None

    def add(self, particles: Sequence[TraceTerms]) -> None:
        """Adds one batch, seen by several particles; all arrays are NumPy's."""
        first = particles[0]
        plate = first.data_plate
        weight = plate.size if plate else 1
        if plate is None and self.sites:
            # Each batch would be a data set of its own, and their totals do not add up to one.
            what = "one batch of all the data, which no plate of the model holds,"
            raise ValueError(expected(what, "batches", "several"))
        quantities = [_quantities(particle) for particle in particles]
        for key in quantities[0]:
            values = np.array([particle[key] for particle in quantities], float)
            self.moments.setdefault(key, Moments()).add(values, weight)
        for key, observed in _observed(particles).items():
            self.observed.setdefault(key, Observed()).merge(observed)
        # Where the plate subsamples, each particle has drawn other data points.
        alike = particles if plate is None or plate.full_size == plate.size else particles[:1]
        for i, latent in enumerate(first.latents):
            mean = _mean_over([particle.latents[i] for particle in alike])
            self._add_latent(latent.site, LatentMoments.of(mean, self.kl_epsilon))
        self.num_data += weight
        self.num_particles = len(particles)
        self.sites = first.sites
        self.untreated.update(first.untreated)
        self.data_plate = plate.name if plate else None
        # A plate larger than its batches says how large the data set is; else it is what was seen.
        self.total = plate.full_size if plate and plate.full_size != plate.size else None

    def merge(self, other: "Accumulator") -> None:
        """Adds what another pass, over other data, has seen.

        Raises:
            ValueError: If the other pass has seen another model, has another `kl_epsilon`, or if no
                plate of the model holds all data: each pass is then one over a whole data set.
        """
        if not other.sites:
            return
        if self.kl_epsilon != other.kl_epsilon:
            raise ValueError(expected(f"kl_epsilon {self.kl_epsilon}", "other", other.kl_epsilon))
        if self.sites and self.moments.keys() != other.moments.keys():
            raise ValueError(expected("the same sites", "other", sorted(other.moments)))
        if self.sites and other.data_plate is None:
            raise ValueError(expected("a plate that holds all data", "other", "none"))
        for key, moments in other.moments.items():
            self.moments.setdefault(key, Moments()).merge(moments)
        for key, observed in other.observed.items():
            self.observed.setdefault(key, Observed()).merge(observed)
        for site, latent in other.latents.items():
            self._add_latent(site, copy(latent))
        self.num_data += other.num_data
        self.num_particles = other.num_particles
        self.sites = other.sites
        self.untreated.update(other.untreated)
        self.data_plate, self.total = other.data_plate, other.total

    def estimate(self, key: Key) -> tuple[float, float]:
        """The mean of a quantity and its Monte-Carlo standard error."""
        num_data = (self.total or self.num_data) if self.data_plate else 1
        return self.moments[key].estimate(num_data)

    def estimate_total(self, key: Key) -> tuple[float, float]:
        """What sites outside the data plate add to a quantity, in nats for the whole data set.

        With its Monte-Carlo standard error; 0 for a site in the data plate.
        """
        return self.moments[key].estimate_total()

    def is_global(self, site: SiteTerms) -> bool:
        """Whether a site is outside the data plate, one for the whole data set."""
        return self.data_plate is not None and self.data_plate not in [p.name for p in site.plates]

    def _add_latent(self, site: str, latent: LatentMoments) -> None:
        if site in self.latents:
            self.latents[site].merge(latent)
        else:
            self.latents[site] = latent


def _quantities(particle: TraceTerms) -> dict[Key, NDArray[np.float64]]:
    """Both parts of each quantity: per data point, and for the data set as a whole."""

    def parts(site: SiteTerms, values: Any) -> NDArray[np.float64]:
        in_plate = particle.data_plate in site.plates
        return np.array([1.0, 0.0] if in_plate else [0.0, 1.0]) * values

    terms = decompose(particle.sites, parts, np.zeros(2))
    sums: dict[Key, NDArray[np.float64]] = {
        (name,): getattr(terms, name) for name in (*ELBOTerms._fields, "gap") if name != "residuals"
    }
    for site in particle.sites:
        sums["term", site.role, site.name] = parts(site, site.term)
        sums["entropy", site.role, site.name] = parts(site, site.entropy)
        if site.role != "encoder":
            sums["residual", site.role, site.name] = parts(site, site.residual)
    return sums


def _observed(particles: Sequence[TraceTerms]) -> dict[Key, Observed]:
    found: dict[Key, Observed] = {}
    for particle in particles:
        for site in particle.sites:
            if site.num_observed is not None:
                shares = Observed(
                    float(site.num_observed) / len(particles), site.num_elements / len(particles)
                )
                found.setdefault((site.role, site.name), Observed()).merge(shares)
    return found


def _mean_over(particles: Sequence[LatentTerms]) -> LatentTerms:
    names = ("entropy", "prior_entropy", "kl", "mean")
    means = {
        name: np.mean([np.asarray(getattr(p, name), float) for p in particles], axis=0)
        for name in names
    }
    return LatentTerms(particles[0].site, **means)
