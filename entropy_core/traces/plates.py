"""The plate over data points: which of a model's plates it is."""

from collections.abc import Sequence

from entropy_core.checks import expected
from entropy_core.traces.records import PARTICLES, Plate, SiteTerms


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


def need_data_plate(sites: Sequence[SiteTerms], name: str | None = None) -> Plate:
    """The plate over data points, for what cannot do without one; see `find_data_plate`.

    Raises:
        ValueError: If no plate holds all observed sites, and as `find_data_plate` does.
    """
    plate = find_data_plate(sites, name)
    if plate is None:
        raise ValueError(expected("a plate that holds all observed sites", "model", "none"))
    return plate
