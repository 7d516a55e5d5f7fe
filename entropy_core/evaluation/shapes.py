"""The shapes of a model's sites in several batches, and what these have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from entropy_core.checks import expected
from entropy_core.evaluation.names import plate_dims, variable_names
from entropy_core.traces.plates import SEVERAL_DATA_SETS, find_data_plate
from entropy_core.traces.records import Plate, SiteTerms


@dataclass(frozen=True)
class SiteShape:
    """What the draws of a model's site do not say themselves.

    Args:
        observed: Whether the site is observed.
        plates: The plates around it.
        batch_ndim: The number of its batch dimensions, those of its log-probability.
    """

    observed: bool
    plates: tuple[Plate, ...]
    batch_ndim: int


class BatchDraws(NamedTuple):
    """All draws of one batch; the arrays have a leading dimension of draws where `GROUPS` says so.

    Args:
        shapes: The shape of each site of the model.
        groups: For each group its arrays by site.
        shown: For each observed site under a mask whether it is shown: for each draw, in each
            batch dimension, and in those event dimensions that the mask tells apart.
    """

    shapes: Mapping[str, SiteShape]
    groups: Mapping[str, Mapping[str, Any]]
    shown: Mapping[str, Any] = {}


def data_plate_of(shapes: Mapping[str, SiteShape], name: str | None) -> Plate | None:
    """The plate over data points; see `entropy_core.traces.plates.find_data_plate`.

    `None` too where nothing is observed.
    """
    if not any(shape.observed for shape in shapes.values()):
        return None
    sites = [
        SiteTerms(
            site,
            "decoder" if shape.observed else "prior",
            None,
            None,
            None,
            "none",
            "none",
            shape.plates,
        )
        for site, shape in shapes.items()
    ]
    return find_data_plate(sites, name)


@dataclass(frozen=True)
class Layout:
    """What all batches together have.

    Args:
        plate: The dimension of the plate over data points.
        variables: The variable of each site.
        plates: The dimension of each plate.
        starts: Where each batch starts along the plate over data points.
        num_rows: How many data points there are.
        places: The places of plates, which the batch shapes of sites outside leave free.
    """

    plate: str | None
    variables: dict[str, str]
    plates: dict[str, str]
    starts: list[int]
    num_rows: int
    places: frozenset[int | None]


def layout_of(batches: Sequence[BatchDraws], data_plate: str | None) -> Layout:
    """Reads off all batches what no single one of them decides.

    Args:
        batches: At least one.
        data_plate: See `find_data_plate`.

    Raises:
        ValueError: If the data of several batches are in no plate, or in plates of other names, or
            if two sites or two plates would have one name.
    """
    plate = _data_plate(batches, data_plate)
    shapes = [(site, shape) for batch in batches for site, shape in batch.shapes.items()]
    variables = variable_names(dict.fromkeys(site for site, _ in shapes))
    names = dict.fromkeys(p.name for _, shape in shapes for p in shape.plates)
    plates = plate_dims(names, variables)
    rows = [
        max(
            (p.size for shape in batch.shapes.values() for p in shape.plates if p.name == plate),
            default=0,
        )
        for batch in batches
    ]
    return Layout(
        plates.get(plate) if plate is not None else None,
        variables,
        plates,
        [sum(rows[:i]) for i in range(len(rows))],
        sum(rows),
        frozenset(p.dim for _, shape in shapes for p in shape.plates),
    )


def _data_plate(batches: Sequence[BatchDraws], name: str | None) -> str | None:
    # A batch without an observation does not say which plate it is.
    observed = [b.shapes for b in batches if any(shape.observed for shape in b.shapes.values())]
    plates = [data_plate_of(shapes, name) for shapes in observed]
    found = list(dict.fromkeys(plate and plate.name for plate in plates))
    if len(found) > 1:
        what = "one plate that holds the data of every batch"
        raise ValueError(expected(what, "model", f"{found[0]} and {found[1]}"))
    plate = found[0] if found else name
    if plate is None and len(batches) > 1:
        raise ValueError(SEVERAL_DATA_SETS)
    return plate


def is_outside(
    plates: Sequence[Plate], shapes: Mapping[str, SiteShape], data_plate: str | None
) -> bool:
    """Whether a site of the guide is one of the whole data set, and not of single data points.

    Args:
        plates: Those around it.
        shapes: Those of the sites of its batch.
        data_plate: See `find_data_plate`.
    """
    plate = data_plate_of(shapes, data_plate)
    if plate is None:
        # Nothing says which of several plates are over data points.
        return not plates
    return plate.name not in (other.name for other in plates)
