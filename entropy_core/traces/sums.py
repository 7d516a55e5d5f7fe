"""Sums of the records of one pair of traces: the ELBO, its three terms, its three entropies.

The arrays are those of whichever host read the traces; the arithmetic is only products and sums, so
it is written once. What knows a host is in that host's own package.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from entropy_core.checks import expected
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import FACTORS, Role, SiteTerms, mean_or_total, part_of


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


def check_guide(latent: Mapping[str, Any], guide_sites: Iterable[str]) -> None:
    """Refuses a guide that lacks one of the model's latent sites.

    Args:
        latent: The latent sites of the model, by name.
        guide_sites: The names of the guide's sites.

    Raises:
        ValueError: If a name in `latent` is not in `guide_sites`.
    """
    guide_sites = sorted(guide_sites)
    for name, site in latent.items():
        if name in guide_sites:
            continue
        what = f"a sample site '{name}'"
        got = f"a guide with the sites {guide_sites}"
        if site.wants_enumeration:
            what += ", or a mixture distribution in its place in the model,"
            got += (
                f": '{name}' is enumerated in the model alone, which the host's `TraceEnum_ELBO`,"
                " `EntropySumDiagnostic` and `to_datatree` sum out"
            )
        raise ValueError(expected(what, "guide", got))


def check_sides(model_sites: Mapping[str, Any], guide_sites: Mapping[str, Any]) -> None:
    """Refuses a model and a guide that were handed over the wrong way round.

    Raises:
        ValueError: If the guide has observations and the model has none.
    """

    def observed(sites: Mapping[str, Any]) -> list[str]:
        return [name for name, site in sites.items() if site.is_observed and not site.is_factor]

    if observed(guide_sites) and not any(site.is_observed for site in model_sites.values()):
        got = f"observations {observed(guide_sites)} in the guide alone: the wrong way round"
        raise ValueError(expected("observations in the model", "model` and `guide", got))


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
    sites = list(sites)
    own = sum((site.plate_scale * (site.handler_scale * site.term).sum()) for site in sites)
    return sites[0].across.sum(own) if sites else own


def elbo_terms(sites: Sequence[SiteTerms], data_plate: str | None = None) -> ELBOTerms:
    """Sums the records of one pair of traces into the three terms and the three entropies.

    Args:
        sites: All the records, with entropies.
        data_plate: See `find_data_plate`.
    """
    plate = find_data_plate(sites, data_plate)
    num_data = plate.full_size if plate else 1
    return decompose(sites, lambda site, values: site.total(values) / num_data)


def split_elbo_terms(
    sites: Sequence[SiteTerms], data_plate: str | None = None
) -> tuple[ELBOTerms, ELBOTerms]:
    """The sums of sites in the data plate, per data point, and of all others, per data set.

    `elbo_terms` is the first one, and the second one divided by the number of data points. Without
    a data plate the first one has all.

    Args:
        sites: All the records, with entropies.
        data_plate: See `find_data_plate`.
    """
    plate = find_data_plate(sites, data_plate)

    def value(site: SiteTerms, values: Any) -> Any:
        return mean_or_total(site, values, plate)

    inside, outside = ([s for s in sites if part_of(s, plate)[i]] for i in (0, 1))
    return decompose(inside, value), decompose(outside, value)


def decompose(
    sites: Sequence[SiteTerms], value: Callable[[SiteTerms, Any], Any], zero: Any = 0.0
) -> ELBOTerms:
    """The three terms and the three entropies, from what each record adds.

    Args:
        sites: All the records, with entropies.
        value: Takes a record and one of its arrays, and returns what the array adds to a sum.
        zero: An empty sum.
    """

    def model_terms(*roles: Role) -> Any:
        return sum((value(site, site.term) for site in sites if site.role in roles), zero)

    def entropy(role: Role) -> Any:
        return sum((value(site, site.entropy) for site in sites if site.role == role), zero)

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
            site.name if site.role != "guide factor" else f"{site.name} (guide)": value(
                site, site.residual
            )
            for site in sites
            if site.role != "encoder"
        },
    )


def average(terms: Sequence[Any]) -> Any:
    """Averages the records of several pairs of traces, field by field; all are of the same type."""

    def mean(values: Sequence[Any]) -> Any:
        if isinstance(values[0], dict):
            return {name: mean([value[name] for value in values]) for name in values[0]}
        return sum(values) / len(values)

    return type(terms[0])._make(map(mean, zip(*terms, strict=True)))
