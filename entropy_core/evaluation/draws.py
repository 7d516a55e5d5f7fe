"""Draws from a guide as ArviZ's groups: the posterior, the log-likelihood, the observed data."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset

from entropy_core.checks import expected
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import Plate, SiteTerms

# What each group holds, and whether it has draws.
GROUPS = {
    "posterior": True,
    "posterior_predictive": True,
    "log_likelihood": True,
    "observed_data": False,
}


class SiteShape(NamedTuple):
    """What the draws of a model's site do not say themselves.

    Args:
        observed: Whether the site is observed.
        plates: The plates around it.
        batch_ndim: The number of its batch dimensions.
    """

    observed: bool
    plates: tuple[Plate, ...]
    batch_ndim: int


class BatchDraws(NamedTuple):
    """All draws of one batch; the arrays have a leading dimension of draws where `GROUPS` says so.

    Args:
        shapes: The shape of each site of the model.
        groups: For each group its arrays by site.
    """

    shapes: dict[str, SiteShape]
    groups: dict[str, dict[str, Any]]


def data_plate_of(shapes: Mapping[str, SiteShape], name: str | None) -> Plate | None:
    """The plate over data points; see `entropy_core.traces.plates.find_data_plate`."""
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


def check_own_rows(drawn: Sequence[str]) -> None:
    """Refuses plates that draw the rows of a batch themselves.

    Args:
        drawn: Their names.

    Raises:
        ValueError: If there is one.
    """
    if drawn:
        what = "plates that take the rows of a batch as they are"
        raise ValueError(expected(what, "model", f"{sorted(drawn)}, which draw rows"))


def to_datatree(
    batches: Sequence[BatchDraws], data_plate: str | None, *, library: ModuleType
) -> xr.DataTree:
    """Puts the batches one after another along the data plate.

    Args:
        batches: At least one.
        data_plate: See `find_data_plate`.
        library: The host, whose name and version the groups carry.

    Returns:
        The groups, with the dimensions `chain` (one), `draw`, those of the plates by their names,
        and `<site>_dim_<i>`.

    Raises:
        ValueError: If there is no batch, or several and no data plate.
    """
    if not batches:
        raise ValueError(expected("at least one batch", "batches", "none"))
    shapes = batches[0].shapes
    plate = data_plate_of(shapes, data_plate)
    if plate is None and len(batches) > 1:
        what = "one batch of all the data, which no plate of the model holds,"
        raise ValueError(expected(what, "batches", "several"))
    groups = {}
    for group, has_draws in GROUPS.items():
        arrays: dict[str, np.ndarray] = {}
        dims: dict[Any, Any] = {}
        for site in batches[0].groups.get(group, {}):
            shape = shapes[site]
            values = [np.asarray(batch.groups[group][site]) for batch in batches]
            if plate and plate.dim is not None and _holds(plate, shape):
                joined = np.concatenate(values, has_draws + shape.batch_ndim + plate.dim)
            else:
                # A latent of the whole data set is the same in every batch.
                joined = values[0]
            arrays[site], dims[site] = _named(site, joined, shape, has_draws, set(shapes))
        if arrays:
            groups[group] = dict_to_dataset(
                arrays,
                dims=dims,
                sample_dims=["chain", "draw"] if has_draws else [],
                inference_library=library,
            )
    return xr.DataTree.from_dict(groups)


def _holds(plate: Plate, shape: SiteShape) -> bool:
    return plate.name in (other.name for other in shape.plates)


def _named(
    site: str, values: np.ndarray, shape: SiteShape, has_draws: bool, taken: set[str]
) -> tuple[np.ndarray, list[str]]:
    # The array with a chain where there are draws, and the names of its other dimensions. A batch
    # dimension of size 1 in no plate only makes room for plates of other sites.
    names, axes = [], []
    first = int(has_draws)
    plates = {plate.dim: plate.name for plate in shape.plates}
    for axis in range(first, values.ndim):
        dim = axis - first - shape.batch_ndim
        plate = plates.get(dim) if dim < 0 else None
        if plate is not None:
            names.append(f"{plate}_plate" if plate in taken else plate)
        elif dim < 0 and values.shape[axis] == 1:
            axes.append(axis)
        else:
            names.append(f"{site}_dim_{axis - first - (shape.batch_ndim if dim >= 0 else 0)}")
    values = values.squeeze(tuple(axes))
    return (values[None] if has_draws else values), names
