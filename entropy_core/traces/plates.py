"""The plate over data points: which of a model's plates it is."""

from collections.abc import Sequence

from entropy_core.checks import expected
from entropy_core.traces.records import PARTICLES, Plate, SiteTerms

# Without a data plate each batch would be a data set of its own, and their totals make up no one.
SEVERAL_DATA_SETS = expected(
    "one batch of all the data, which no plate of the model holds,", "batches", "several"
)


def find_data_plate(sites: Sequence[SiteTerms], name: str | None = None) -> Plate | None:
    """The plate over data points: of those around every observed site, the outermost one.

    A plate is nested in another one where every site in it is in the other one too; of two plates
    that hold the same sites, the outer one is that which was entered first.

    Args:
        sites: All the records of a pair of traces, each with its plates from the outside in.
        name: The data plate's name, needed only where two crossed plates both qualify.

    Returns:
        The plate, or `None` where no plate holds all observed sites: such a model is reported in
        totals only.

    Raises:
        ValueError: If no such plate is called `name`, or if crossed plates leave it open.
    """
    common = _around_all([site for site in sites if site.role == "decoder"])
    names = sorted(plate.name for plate in common)
    if name is not None:
        for plate in common:
            if plate.name == name:
                return plate
        raise ValueError(
            expected(f"one of the plates around all data {names}", "data_plate", repr(name))
        )

    def holds(outer: Plate, inner: Plate) -> bool:
        return all(outer in site.plates for site in sites if inner in site.plates)

    for plate in common:
        if all(holds(plate, other) for other in common):
            return plate
    if common:
        raise ValueError(expected(f"one of the crossed plates {names}", "data_plate", None))
    return None


def _around_all(observed: Sequence[SiteTerms]) -> list[Plate]:
    """The plates that hold all observed sites and may be those over data points."""
    if not observed:
        return []
    inside: set[Plate] = set()
    for site in observed:
        # A plate without a dimension is a sequential one: its data points are sites, not elements,
        # and what is inside of it is no more than a part of one.
        sequential = [plate.dim is None for plate in site.plates]
        first = sequential.index(True) if True in sequential else len(sequential)
        inside |= set(site.plates[first:])
    return [
        plate
        for plate in observed[0].plates
        if plate.name != PARTICLES
        and plate not in inside
        and all(plate in site.plates for site in observed)
    ]


def need_data_plate(sites: Sequence[SiteTerms], name: str | None = None) -> Plate:
    """The plate over data points, for what cannot do without one; see `find_data_plate`.

    Raises:
        ValueError: If no plate holds all observed sites, and as `find_data_plate` does.
    """
    plate = find_data_plate(sites, name)
    if plate is None:
        raise ValueError(expected("a plate that holds all observed sites", "model", "none"))
    return plate
