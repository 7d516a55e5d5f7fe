"""Importance weights per data point, from the records of traces of either framework."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from entropy_core.across import ALONE, Across
from entropy_core.checks import expected
from entropy_core.traces.plates import need_data_plate
from entropy_core.traces.records import PARTICLES, Plate, SiteTerms


class LogWeights(NamedTuple):
    """The logarithms of importance weights.

    Args:
        model: `log p(x_n, z_n)`, of shape `(B,)`, or `(K, B)` with vectorised particles.
        guide: `log q(z_n | x_n)`, of the same shape.
        scale: The factor of the sum over data points: the data plate's subsampling, and the `scale`
            handlers that all sites share. It belongs outside of every exponent.
        across: The devices that have the other rows of the batch.
    """

    model: Any
    guide: Any
    scale: Any
    across: Across = ALONE

    @property
    def values(self) -> Any:
        """`log p(x_n, z_n) - log q(z_n | x_n)`."""
        return self.model - self.guide

    def total(self, values: Any) -> Any:
        """The sum over the data set, from values of the data points of this device."""
        return self.scale * self.across.sum(values.sum())


def log_weights(sites: Sequence[SiteTerms], data_plate: str | None = None) -> LogWeights:
    """Adds the log-probabilities of all sites up, data point by data point.

    Plates inside the data plate are summed over, and scaled where they subsample.

    Args:
        sites: All the records of a pair of traces.
        data_plate: See `find_data_plate`.

    Raises:
        ValueError: If no plate holds all data, if a site is outside of it (its value is shared by
            all data points, which have no weights of their own then), or if `scale` handlers differ
            between sites.
    """
    plate = need_data_plate(sites, data_plate)
    for site in sites:
        if plate not in site.plates:
            what = f"all sites in the plate '{plate.name}'"
            got = f"site '{site.name}' outside of it, which `Standard_ELBO` takes"
            own = {other.name for other in sites if other.role in ("prior", "decoder")}
            part = "model" if site.name in own else "guide"
            raise ValueError(expected(what, part, got))
    scale = common_scale(sites)
    guide = [per_datum(s, plate) for s in sites if s.role in ("encoder", "guide factor")]
    model = [per_datum(s, plate) for s in sites if s.role not in ("encoder", "guide factor")]
    scale = scale * (plate.full_size / plate.size)
    return LogWeights(sum(model), sum(guide), scale, sites[0].across)


def per_datum(site: Any, data_plate: Plate) -> Any:
    """The log-probability of a site for each data point, scaled where inner plates subsample.

    Args:
        site: A record, or a site, in the plate over data points.
        data_plate: That plate.
    """
    kept = {plate.dim for plate in site.plates if plate.name in (PARTICLES, data_plate.name)}
    values = site.log_prob
    inner = 1.0
    for plate in site.plates:
        if plate.dim not in kept:
            inner *= plate.full_size / plate.size
    summed = tuple(dim for dim in range(-values.ndim, 0) if dim not in kept)
    return inner * (values.sum(summed) if summed else values)


def common_scale(sites: Sequence[SiteTerms]) -> Any:
    """The factor of the `scale` handlers around some sites, which all of them share.

    Args:
        sites: At least one record.

    Raises:
        ValueError: If the factors differ between sites.
    """
    first, *others = (site.handler_scale for site in sites)
    for site, scale in zip(sites[1:], others, strict=True):
        if scale is not first and not _equal(scale, first):
            what = "the same `scale` handler around all sites"
            raise ValueError(expected(what, "model", f"{first} and, at '{site.name}', {scale}"))
    return first


def _equal(left: Any, right: Any) -> bool:
    # Arrays of one number are looked at too, as torch's JIT makes them of plain ones; under a
    # transformation of JAX they have no values to compare.
    if getattr(left, "ndim", 0) or getattr(right, "ndim", 0):
        return False
    try:
        left, right = float(left), float(right)
    except TypeError:
        return False
    return abs(left - right) <= 1e-6 * abs(right)
