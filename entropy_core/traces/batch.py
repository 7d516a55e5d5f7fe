"""What objectives that couple the data points of a batch ask of a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from entropy_core.across import ALONE, Across
from entropy_core.checks import expected
from entropy_core.traces.importance import common_scale
from entropy_core.traces.plates import need_data_plate
from entropy_core.traces.records import PARTICLES, Plate, SiteTerms


class LatentRows(NamedTuple):
    """A normal latent site under a normal prior, a row for each draw; `R` rows.

    Args:
        loc: The means of the guide's site less those of the prior, `(R, H)`.
        variance: The variances of the guide's site, `(R, H)`, or `(H,)` where they are the same in
            all rows by construction.
        across: The devices that have the other rows of the batch.
    """

    loc: Any
    variance: Any
    across: Across = ALONE

    @property
    def second_moments(self) -> Any:
        """`E_q[(z - loc)^2]` of each latent, the mean over the batch, `(H,)`; Fyffe 2020, Eq. 4."""
        return self.across.average((self.loc**2 + self.variance).mean(0), len(self.loc))


class BatchSites(NamedTuple):
    """The records of a pair of traces as objectives over a batch take them.

    Args:
        plate: The plate over data points.
        encoder: The record of the one latent site in the guide.
        prior: Its record in the model.
        others: All other records.
        scale: The factor from a term in nats per data point to the loss's sum over the data.
    """

    plate: Plate
    encoder: SiteTerms
    prior: SiteTerms
    others: list[SiteTerms]
    scale: Any

    def per_datum(self, sites: Sequence[SiteTerms]) -> Any:
        """What these records add to the ELBO, in nats per data point; no handler's scale enters."""
        return sum(site.total(site.term) for site in sites) / self.plate.full_size

    @property
    def elbo(self) -> Any:
        """The ELBO, in nats per data point."""
        return self.per_datum([self.encoder, self.prior, *self.others])


def batch_plate(
    sites: Sequence[SiteTerms], data_plate: str | None = None, *, smallest: int = 2
) -> Plate:
    """The plate over the data points of a batch that has enough of them.

    Args:
        sites: All the records of a pair of traces.
        data_plate: See `find_data_plate`.
        smallest: The number of data points that a batch must have.

    Raises:
        ValueError: If no plate holds all data, or the batch is smaller.
    """
    plate = need_data_plate(sites, data_plate)
    if plate.size < smallest:
        what = f"at least {smallest} data points in the plate '{plate.name}'"
        raise ValueError(expected(what, "batch", plate.size))
    return plate


def batch_sites(
    sites: Sequence[SiteTerms], data_plate: str | None = None, *, smallest: int = 2
) -> BatchSites:
    """Finds the one latent site that an objective over a batch is about.

    Args:
        sites: All the records of a pair of traces.
        data_plate: See `find_data_plate`.
        smallest: The number of data points that a batch must have.

    Raises:
        ValueError: If no plate holds all data, the batch is smaller, there is not one
            latent site, it is not in the data plate alone, or `scale` handlers around it differ
            between model and guide.
    """
    plate = batch_plate(sites, data_plate, smallest=smallest)
    latent = [site for site in sites if site.role == "encoder"]
    names = [site.name for site in latent]
    if len(latent) != 1:
        raise ValueError(expected("one latent site", "guide", names))
    (encoder,) = latent
    priors = [site for site in sites if site.role == "prior" and site.name == encoder.name]
    if len(priors) != 1:
        raise ValueError(expected(f"the latent site '{encoder.name}'", "model", "none"))
    _check_alone(encoder, plate, "guide")
    _check_alone(priors[0], plate, "model")
    others = [site for site in sites if site is not encoder and site is not priors[0]]
    scale = common_scale([encoder, *priors]) * plate.full_size
    return BatchSites(plate, encoder, priors[0], others, scale)


def observed_site(batch: BatchSites) -> SiteTerms:
    """The one observed site of a batch, in the data plate alone.

    Raises:
        ValueError: If there are several, or it is in other plates too.
    """
    observed = [site for site in batch.others if site.role == "decoder"]
    if len(observed) != 1:
        raise ValueError(expected("one observed site", "model", [site.name for site in observed]))
    (site,) = observed
    _check_alone(site, batch.plate, "model")
    return site


def _check_alone(site: SiteTerms, plate: Plate, where: str) -> None:
    if [p for p in site.plates if p.name != PARTICLES] != [plate]:
        what = f"'{site.name}' in the plate '{plate.name}' alone"
        raise ValueError(expected(what, where, [p.name for p in site.plates]))


def whole_batch(records: Sequence[SiteTerms], plate: Plate, across: Across) -> list[SiteTerms]:
    """The records of one device's rows, with sums that are those of the whole batch.

    A site outside the data plate is seen by each device, and counts as the mean of these.

    Args:
        records: All the records of a pair of traces over the rows of this device.
        plate: Their plate over data points.
        across: The devices.

    Raises:
        ValueError: If the data set is smaller than the batch.
    """
    size = across.count(plate.size)
    full_size = plate.full_size if plate.full_size != plate.size else size
    if full_size < size:
        what = f"at least the {size} data points of all devices"
        raise ValueError(expected(what, "total", full_size))
    whole = plate._replace(size=size, full_size=full_size)

    def shared(site: SiteTerms) -> SiteTerms:
        if plate in site.plates:
            plates = tuple(whole if other == plate else other for other in site.plates)
            return replace(site, plates=plates, across=across)
        names = ("log_prob", "term", "entropy")
        values = {name: getattr(site, name) for name in names}
        parts = {name: value / across.num for name, value in values.items() if value is not None}
        return replace(site, across=across, **parts)

    return [shared(site) for site in records]
