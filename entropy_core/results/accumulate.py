"""One pass over any number of batches, in constant memory: sums that can be added and merged."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.results.moments import LatentMoments, Moments, moments_of
from entropy_core.results.seen import PlateSeen, SiteSeen, data_set_size, plates_of, woven
from entropy_core.traces.plates import SEVERAL_DATA_SETS
from entropy_core.traces.records import (
    LATENT_ARRAYS,
    LatentTerms,
    SiteTerms,
    TraceTerms,
    part_of,
)
from entropy_core.traces.sums import ELBOTerms, decompose

Key = tuple[str, ...]

RAGGED = "its number of dimensions differs between batches"


@dataclass
class Accumulator:
    """All sums of a diagnostic.

    Batches may have other sites, plates and masks; none decides for the others. A site adds zero to
    the sums of the batches that lack it, so that residuals add up to the gap, and
    `moments[key].num_data` says how many data points the others have. Rows of latents are over
    these alone.

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
    rows: dict[tuple[str, int], LatentMoments] = field(default_factory=dict)
    sites: dict[Key, SiteSeen] = field(default_factory=dict)
    plates: dict[str, PlateSeen] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, particles: Sequence[TraceTerms]) -> None:
        """Adds one batch, seen by several particles; all arrays are NumPy's."""
        plate = particles[0].data_plate
        num_data = plate.size if plate else 1
        if self.num_data and not (plate and self.plates):
            raise ValueError(SEVERAL_DATA_SETS)
        new = Accumulator(self.kl_epsilon, num_data, len(particles), plates=plates_of(plate))
        quantities = [_quantities(particle) for particle in particles]
        keys: list[Key] = reduce(woven, map(list, quantities), [])
        zero = np.zeros(2)
        # A draw without the site adds nothing.
        values = np.array([[found.get(key, zero) for key in keys] for found in quantities], float)
        new.moments = dict(zip(keys, moments_of(values, num_data), strict=True))
        for particle in particles:
            _merge(new.sites, _sites(particle, len(particles)))
            _merge(new.reasons, {n: set(why.split("; ")) for n, why in particle.untreated})
        new.left_out = dict.fromkeys(_left_out(particles), num_data)
        # Where the plate subsamples, each particle has drawn other data points.
        alike = particles if plate is None or plate.full_size == plate.size else particles[:1]
        for site in dict.fromkeys(latent.site for particle in alike for latent in particle.latents):
            found = [latent for p in alike for latent in p.latents if latent.site == site]
            rows = LatentMoments.of(_mean_over(found), self.kl_epsilon)
            new.rows[site, len(rows.mean)] = rows
        self._merge(new)

    def merge(self, other: "Accumulator") -> None:
        """Adds what another pass, over other data, has seen.

        Raises:
            ValueError: If the other pass has another `kl_epsilon`, or if no plate of the model
                holds all data: each pass is then one over a whole data set.
        """
        if not other.num_data:
            return
        if self.kl_epsilon != other.kl_epsilon:
            raise ValueError(expected(f"kl_epsilon {self.kl_epsilon}", "other", other.kl_epsilon))
        if self.num_data and not (self.plates and other.plates):
            raise ValueError(expected("a plate that holds all data", "other", "none"))
        self._merge(other)

    def _merge(self, other: "Accumulator") -> None:
        for mine, theirs in (
            (self.moments, other.moments),
            (self.rows, other.rows),
            (self.sites, other.sites),
            (self.plates, other.plates),
            (self.reasons, other.reasons),
        ):
            _merge(mine, theirs)
        for name, num_data in other.left_out.items():
            self.left_out[name] = self.left_out.get(name, 0) + num_data
        self.num_particles = min(self.num_particles or other.num_particles, other.num_particles)
        self.num_data += other.num_data

    @property
    def data_plate(self) -> str | None:
        """The plate over data points; several names where batches have plates of their own."""
        return ", ".join(sorted(self.plates)) or None

    @property
    def data_set_size(self) -> int:
        """The number of data points in all, 1 where no plate says what one is."""
        return data_set_size(self.plates)

    @property
    def latents(self) -> dict[str, LatentMoments]:
        """The rows of latent sites that have as many dimensions in all batches."""
        counts = [site for site, _ in self.rows]
        return {site: rows for (site, _), rows in self.rows.items() if counts.count(site) == 1}

    @property
    def untreated(self) -> dict[str, str]:
        """Sites without a record, an entropy or rows, and the reasons of all batches."""
        ragged = {site: {RAGGED} for site, _ in self.rows if site not in self.latents}
        names = [*self.reasons, *(site for site in ragged if site not in self.reasons)]
        return {
            name: "; ".join(sorted(self.reasons.get(name, set()) | ragged.get(name, set())))
            for name in names
        }

    def estimate(self, key: Key) -> tuple[float, float]:
        """The mean of a quantity over all data points seen and its Monte-Carlo standard error."""
        return self.moments[key].estimate(self.num_data, self.data_set_size)

    def estimate_total(self, key: Key) -> tuple[float, float]:
        """What sites outside the data plate add to a quantity, in nats for the whole data set.

        With its Monte-Carlo standard error; 0 for a site in the data plate.
        """
        return self.moments[key].estimate_total(self.num_data)

    def is_global(self, site: SiteSeen) -> bool:
        """Whether a site is outside the data plate, one for the whole data set."""
        return bool(self.plates) and not site.in_data_plate


def _merge(mine: dict[Any, Any], theirs: dict[Any, Any]) -> None:
    """Adds entries that have a `merge` of their own, or are sets."""
    order = woven(list(mine), list(theirs)) if theirs.keys() - mine.keys() else None
    for key, value in theirs.items():
        if isinstance(value, set):
            mine[key] = mine.get(key, set()) | value
        elif key in mine:
            mine[key].merge(value)
        else:
            mine[key] = copy(value)
    if order:
        found = dict(mine)
        mine.clear()
        mine.update((key, found[key]) for key in order)


def _sites(particle: TraceTerms, num_particles: int) -> dict[Key, SiteSeen]:
    return {
        (site.role, site.name): SiteSeen.of(site, particle.data_plate, num_particles)
        for site in particle.sites
    }


def _left_out(particles: Sequence[TraceTerms]) -> list[str]:
    """The sites that could not be treated, and which no sum of a draw holds."""
    found: dict[str, None] = {}
    for particle in particles:
        held = {site.name for site in particle.sites}
        reasons = particle.untreated
        left_out = (n for n, why in reasons if n not in held and why != "deterministic")
        found |= dict.fromkeys(left_out)
    return list(found)


def _quantities(particle: TraceTerms) -> dict[Key, NDArray[np.float64]]:
    """Both parts of each quantity: per data point, and for the data set as a whole."""

    def parts(site: SiteTerms, values: Any) -> NDArray[np.float64]:
        return part_of(site, particle.data_plate) * values

    terms = decompose(particle.sites, parts, np.zeros(2))
    sums: dict[Key, NDArray[np.float64]] = {
        (name,): getattr(terms, name) for name in (*ELBOTerms._fields, "gap") if name != "residuals"
    }
    scaled = (parts(site, site.scaled_term) for site in particle.sites)
    sums["scaled_elbo",] = sum(scaled, np.zeros(2))
    for site in particle.sites:
        sums["term", site.role, site.name] = parts(site, site.term)
        sums["entropy", site.role, site.name] = parts(site, site.entropy)
        if site.check is not None:
            sums["check", site.role, site.name] = parts(site, site.check)
        if site.role != "encoder":
            sums["residual", site.role, site.name] = parts(site, site.residual)
    return sums


def _mean_over(particles: Sequence[LatentTerms]) -> LatentTerms:
    means = {
        name: np.mean([np.asarray(getattr(p, name), float) for p in particles], axis=0)
        for name in LATENT_ARRAYS
        if all(getattr(p, name) is not None for p in particles)
    }
    return LatentTerms(particles[0].site, **means)
