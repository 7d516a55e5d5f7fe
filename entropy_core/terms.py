"""What one pair of traces says, site by site, in arrays of either framework.

A record holds arrays of whichever host read the traces; the arithmetic here is only products and
sums, so it is written once. Everything that knows a host is in that host's `terms.py`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from entropy_core.checks import expected

Role = Literal["encoder", "prior", "decoder", "factor", "guide factor"]
Method = Literal["closed form", "sampled", "none"]

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
        return self.plate_scale * values.sum()


@dataclass(frozen=True)
class LatentTerms:
    """A factorised latent site, dimension by dimension; each array has the shape `(B, H)`.

    Args:
        site: The name of the site.
        entropy: `H[q(z_h | x_n)]`.
        prior_entropy: `H[p(z_h)]`.
        kl: `KL(q(z_h | x_n) || p(z_h))`.
        mean: `E_q[z_h]`.
    """

    site: str
    entropy: Any
    prior_entropy: Any
    kl: Any
    mean: Any


class ELBOTerms(NamedTuple):
    """The ELBO in three terms and in three entropies, from the same draws.

    `elbo = prior_term + reconstruction_term + encoder_entropy` (Damm et al. 2023, Sec. 3.1),
    `entropy_sum = encoder_entropy - prior_entropy - decoder_entropy` (Eq. 13), and
    `elbo - entropy_sum = sum(residuals.values())`, exactly and at every point. Units: nats per data
    point, or nats in all where no plate holds all the data.
    """

    elbo: Any
    prior_term: Any
    reconstruction_term: Any
    encoder_entropy: Any
    prior_entropy: Any
    decoder_entropy: Any
    entropy_sum: Any
    residuals: dict[str, Any]

    @property
    def gap(self) -> Any:
        """`elbo - entropy_sum`."""
        return self.elbo - self.entropy_sum


@dataclass(frozen=True)
class TraceTerms:
    """All that a diagnostic keeps of one pair of traces.

    Args:
        sites: The record of each site, with values made scalar by `summed`.
        latents: The latent sites that come apart into dimensions.
        untreated: Pairs of a latent site that does not, and the reason.
        data_plate: The plate over data points.
    """

    sites: tuple[SiteTerms, ...]
    latents: tuple[LatentTerms, ...]
    untreated: tuple[tuple[str, str], ...]
    data_plate: Plate | None


def check_guide(latent: Iterable[str], guide_sites: Iterable[str]) -> None:
    """Refuses a guide that lacks one of the model's latent sites.

    Raises:
        ValueError: If a name in `latent` is not in `guide_sites`.
    """
    guide_sites = sorted(guide_sites)
    for name in latent:
        if name not in guide_sites:
            raise ValueError(
                expected(
                    f"a sample site '{name}'", "guide", f"a guide with the sites {guide_sites}"
                )
            )


def is_mean_field(name: str, model_sites: Iterable[str], guide_sites: Iterable[str]) -> bool:
    """Whether `-KL` stands for the terms of a latent site: no parent descends from it in the guide.

    Parents and descendants are read off the order of the sites. Where one that comes before `name`
    in the model comes after it in the guide, the KL divergence at the draws of the trace is not the
    expectation that the ELBO asks for.

    Example:
        >>> is_mean_field("z1", ["z2", "z1", "x"], ["z1", "z2"])
        False
    """
    model_order, guide_order = list(model_sites), list(guide_sites)
    before = model_order[: model_order.index(name)]
    return set(before).isdisjoint(guide_order[guide_order.index(name) :])


def elbo(sites: Iterable[SiteTerms]) -> Any:
    """The ELBO as the host's SVI sees it: in nats, summed over plates, scaled by them and handlers.

    `F = sum_s scale_s E_q[log p_s] + sum_s scale_s H[q_s]` (Damm et al. 2023, Sec. 3.1).
    """
    return sum((site.plate_scale * (site.handler_scale * site.term).sum()) for site in sites)


def find_data_plate(sites: Sequence[SiteTerms], name: str | None = None) -> Plate | None:
    """The plate over data points: of those around every observed site, the one of lowest dimension.

    Args:
        sites: All the records of a pair of traces.
        name: The data plate's name, needed only where two crossed plates both qualify.

    Returns:
        The plate, or `None` where no plate holds all observed sites: such a model is reported in
        totals only.

    Raises:
        ValueError: If no such plate is called `name`, or if crossed plates leave it open.
    """
    observed = [site for site in sites if site.role == "decoder"]
    # A plate without a dimension is a sequential one: its data points are sites, not elements.
    common = [
        plate
        for plate in (observed[0].plates if observed else ())
        if plate.name != PARTICLES
        and plate.dim is not None
        and all(plate in site.plates for site in observed)
    ]
    names = sorted(plate.name for plate in common)
    if name is not None:
        for plate in common:
            if plate.name == name:
                return plate
        raise ValueError(
            expected(f"one of the plates around all data {names}", "data_plate", repr(name))
        )
    if not common:
        return None
    outermost = min(common, key=lambda plate: plate.dim or 0)
    crossed = [
        plate.name
        for plate in common
        if any(plate in site.plates and outermost not in site.plates for site in sites)
    ]
    if crossed:
        names = sorted([outermost.name, *crossed])
        raise ValueError(expected(f"one of the crossed plates {names}", "data_plate", None))
    return outermost


def elbo_terms(sites: Sequence[SiteTerms], data_plate: str | None = None) -> ELBOTerms:
    """Sums the records of one pair of traces into the three terms and the three entropies.

    Args:
        sites: All the records, with entropies.
        data_plate: See `find_data_plate`.
    """
    plate = find_data_plate(sites, data_plate)
    num_data = plate.full_size if plate else 1

    def add(values: Iterable[Any]) -> Any:
        return sum(values) / num_data

    def model_terms(*roles: Role) -> Any:
        return add(site.total(site.term) for site in sites if site.role in roles)

    def entropy(role: Role) -> Any:
        return add(site.total(site.entropy) for site in sites if site.role == role)

    prior_term, reconstruction_term = model_terms("prior"), model_terms("decoder", *FACTORS)
    encoder, prior, decoder = entropy("encoder"), entropy("prior"), entropy("decoder")
    return ELBOTerms(
        elbo=prior_term + reconstruction_term + encoder,
        prior_term=prior_term,
        reconstruction_term=reconstruction_term,
        encoder_entropy=encoder,
        prior_entropy=prior,
        decoder_entropy=decoder,
        entropy_sum=encoder - prior - decoder,
        residuals={
            # A guide may have a factor of the same name as one of the model's.
            site.name if site.role != "guide factor" else f"{site.name} (guide)": add(
                [site.total(site.residual)]
            )
            for site in sites
            if site.role != "encoder"
        },
    )


def summed(site: SiteTerms, plate: Plate | None) -> SiteTerms:
    """The record with its values summed over the data.

    In nats per data point for a site in the data plate, and in nats for any other.
    """
    num_data = plate.full_size if plate in site.plates and plate else 1
    values = {
        name: site.total(getattr(site, name)) / num_data for name in ("log_prob", "term", "entropy")
    }
    return replace(site, **values)


def map_arrays(function: Callable[[Any], Any], terms: TraceTerms) -> TraceTerms:
    """Applies `function` to every array of the terms."""

    def mapped(record: Any, names: Iterable[str]) -> Any:
        return replace(record, **{name: function(getattr(record, name)) for name in names})

    return replace(
        terms,
        sites=tuple(
            mapped(site, ("log_prob", "term", "entropy", "handler_scale")) for site in terms.sites
        ),
        latents=tuple(
            mapped(latent, ("entropy", "prior_entropy", "kl", "mean")) for latent in terms.latents
        ),
    )


def average(terms: Sequence[ELBOTerms]) -> ELBOTerms:
    """Averages the terms of several pairs of traces of the same model and guide."""

    def mean(values: Iterable[Any]) -> Any:
        return sum(values) / len(terms)

    *scalars, residuals = zip(*terms, strict=True)
    return ELBOTerms._make(
        [
            *map(mean, scalars),
            {name: mean([values[name] for values in residuals]) for name in residuals[0]},
        ]
    )
