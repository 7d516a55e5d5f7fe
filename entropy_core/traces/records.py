"""What one pair of traces says, site by site, in arrays of either framework."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entropy_core.across import ALONE, Across

Role = Literal["encoder", "prior", "decoder", "factor", "guide factor"]
Method = Literal["closed form", "change of variables", "sampled", "none"]

# What is in the first of two parts of a sum, and in the second; see `part_of`.
PER_POINT, PER_DATA_SET = np.eye(2)

PARTICLES = "num_particles_vectorized"
FACTORS: tuple[Role, ...] = ("factor", "guide factor")


class Plate(NamedTuple):
    """A plate around a site: its name, dimension, size in this trace, and size in full."""

    name: str
    dim: int | None
    size: int
    full_size: int


@dataclass(frozen=True)
class SiteTerms:
    """What one sample site adds to the ELBO and to the entropy sum.

    The arrays have one entry a plate element (the batch shape of the site), are unscaled, and are
    zero where a mask hides the element.

    Args:
        name: The site.
        role: `"encoder"` (a guide site), `"prior"` (a latent model site), `"decoder"` (an observed
            site), `"factor"` or `"guide factor"`.
        log_prob: The log-probability at the draw of the trace.
        term: What the site adds to the ELBO: `E_q[log p]` of a model site, `H[q]` of a guide site.
        entropy: The entropy of the site's own distribution; `None` where it was not asked for.
        term_method: How `term` was got.
        entropy_method: How `entropy` was got.
        plates: The plates around the site. A plate of vectorised particles is among them, with the
            full size 1, so that its scale averages over particles.
        handler_scale: The product of the `scale` handlers around the site, without the plates'.
        num_elements: How many numbers the site has in this trace, over all plates and dimensions.
        num_observed: How many of them no mask hides; `None` where there is no mask.
        scaled_term: `term` under the handlers' scales, as a loss has it; `summed` fills it in.
        check: By how much fresh draws differ from `entropy`, where that could be wrong.
        family: The name of the site's family of distributions.
        scale: The least and the largest scale of a normal or Laplace distribution, else `None`.
        across: The devices that have the other rows of the batch, which sums are over.
    """

    name: str
    role: Role
    log_prob: Any
    term: Any
    entropy: Any
    term_method: Method
    entropy_method: Method
    plates: tuple[Plate, ...]
    handler_scale: Any = 1.0
    num_elements: int = 0
    num_observed: Any = None
    scaled_term: Any = None
    check: Any = None
    family: str = ""
    scale: Any = None
    across: Across = ALONE

    @property
    def plate_scale(self) -> float:
        """The factor by which the plates' subsampling scales the site."""
        return math.prod((plate.full_size / plate.size for plate in self.plates), start=1.0)

    @property
    def residual(self) -> Any:
        """`E_q[log p] + H[p]` of a model site: where the gap is (Damm et al. 2023, Eq. 13)."""
        return self.term + self.entropy

    def total(self, values: Any) -> Any:
        """Sums `values`, one a plate element, over the whole data set; no `scale` handler enters.

        Shapes: `values` as `term`; the result is a scalar, in nats.
        """
        return self.plate_scale * self.across.sum(values.sum())


@dataclass(frozen=True)
class LatentTerms:
    """A factorised latent site, dimension by dimension; each array has the shape `(B, H)`.

    Args:
        site: The name of the site.
        entropy: `H[q(z_h | x_n)]`.
        prior_entropy: `H[p(z_h)]`.
        kl: `KL(q(z_h | x_n) || p(z_h))`.
        mean: `E_q[z_h]`.
        noise: The variance of a normal `q(z_h | x_n)` in units of a normal prior's; `None` for
            others.
    """

    site: str
    entropy: Any
    prior_entropy: Any
    kl: Any
    mean: Any
    noise: Any = None


@dataclass(frozen=True)
class TraceTerms:
    """All that a diagnostic keeps of one pair of traces.

    Args:
        sites: The record of each site, with values made scalar by `summed`.
        latents: The latent sites that come apart into dimensions.
        untreated: Pairs of a site and the reason why it has no record, no entropy, or no rows among
            the latents.
        data_plate: The plate over data points.
    """

    sites: tuple[SiteTerms, ...]
    latents: tuple[LatentTerms, ...]
    untreated: tuple[tuple[str, str], ...]
    data_plate: Plate | None


def mean_or_total(site: SiteTerms, values: Any, plate: Plate | None) -> Any:
    """Values of a site summed over the data.

    In nats per data point for a site in the data plate, and in nats for any other.
    """
    num_data = plate.full_size if plate in site.plates and plate else 1
    return site.total(values) / num_data


def part_of(site: SiteTerms, plate: Plate | None) -> NDArray[np.float64]:
    """Which of two parts of a sum a site adds to: one per data point, one for the whole data set.

    Without a data plate all are added to the first one.
    """
    return PER_POINT if plate is None or plate in site.plates else PER_DATA_SET


def summed(site: SiteTerms, plate: Plate | None) -> SiteTerms:
    """The record with its values summed over the data, see `mean_or_total`."""
    return replace(
        site,
        log_prob=None,
        term=mean_or_total(site, site.term, plate),
        entropy=mean_or_total(site, site.entropy, plate),
        scaled_term=mean_or_total(site, site.handler_scale * site.term, plate),
        check=None if site.check is None else mean_or_total(site, site.check, plate),
    )


def joined(*reasons: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Pairs of a site and a reason, one a site: several reasons become one text.

    Example:
        >>> joined([("z", "masked")], [("z", "discrete"), ("w", "masked")])
        (('z', 'masked; discrete'), ('w', 'masked'))
    """
    found: dict[str, str] = {}
    for name, reason in (pair for pairs in reasons for pair in pairs):
        found[name] = f"{found[name]}; {reason}" if name in found else reason
    return tuple(found.items())


# The arrays of `LatentTerms`.
LATENT_ARRAYS = ("entropy", "prior_entropy", "kl", "mean", "noise")


def map_arrays(function: Callable[[Any], Any], terms: TraceTerms) -> TraceTerms:
    """Applies `function` to every array of the terms."""

    def mapped(record: Any, names: Iterable[str]) -> Any:
        values = {name: getattr(record, name) for name in names}
        # A site without a mask has no number of observed elements.
        changed = {name: function(v) for name, v in values.items() if v is not None}
        return replace(record, **changed)

    return replace(
        terms,
        sites=tuple(
            mapped(
                site,
                (
                    "log_prob",
                    "term",
                    "entropy",
                    "handler_scale",
                    "num_observed",
                    "scaled_term",
                    "check",
                    "scale",
                ),
            )
            for site in terms.sites
        ),
        latents=tuple(mapped(latent, LATENT_ARRAYS) for latent in terms.latents),
    )
