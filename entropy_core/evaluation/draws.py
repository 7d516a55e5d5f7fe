"""Draws from a guide as ArviZ's groups: the posterior, the log-likelihood, the observed data."""

from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset

from entropy_core.checks import expected
from entropy_core.evaluation.names import ARVIZ_DIMS, own_dim
from entropy_core.evaluation.shapes import BatchDraws, Layout, SiteShape, layout_of

# What each group holds, and whether it has draws.
GROUPS = {
    "posterior": True,
    "posterior_predictive": True,
    "log_likelihood": True,
    "observed_data": False,
}


class Block(NamedTuple):
    """An array of one batch.

    Args:
        values: The array.
        dims: The names of its dimensions.
        starts: Where it starts along some of them; along all others at the first place.
    """

    values: np.ndarray
    dims: tuple[str, ...]
    starts: Mapping[str, int]


def hide(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Values with NaN in the place of those that are not shown.

    Args:
        values: An array of any type.
        shown: Whether to show them, of the shape of their first dimensions.

    Returns:
        The values as they are where all are shown; integers become float64 elsewhere.

    Example:
        >>> hide(np.array([1, 2]), np.array([True, False]))
        array([ 1., nan])
    """
    if shown.all():
        return values
    shown = shown.reshape(shown.shape + (1,) * (values.ndim - shown.ndim))
    return np.where(shown, values, np.array(np.nan, _with_nan(values.dtype)))


def join(blocks: Sequence[Block], sizes: Mapping[str, int]) -> np.ndarray:
    """Puts blocks of the same dimensions into one array, NaN where none of them lies.

    Args:
        blocks: At least one; they do not overlap.
        sizes: The size of each dimension in the whole.

    Returns:
        The array, whose integers are float64 where there is a NaN among them.

    Example:
        >>> first, second = (Block(np.array([[i]]), ("n", "k"), {"n": i}) for i in range(2))
        >>> join([first, second], {"n": 3, "k": 1}).ravel()
        array([ 0.,  1., nan])
    """
    dims = blocks[0].dims
    shape = tuple(sizes[dim] for dim in dims)
    dtype = np.result_type(*(block.values.dtype for block in blocks))
    if sum(block.values.size for block in blocks) == np.prod(shape, dtype=int):
        whole = np.empty(shape, dtype)
    else:
        whole = np.full(shape, np.nan, _with_nan(dtype))
    for values, _, starts in blocks:
        first = [starts.get(dim, 0) for dim in dims]
        whole[tuple(slice(i, i + n) for i, n in zip(first, values.shape, strict=True))] = values
    return whole


def _with_nan(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)


def check_own_rows(drawn: Collection[str]) -> None:
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

    A site has NaN in the rows of a batch that lacks it, and behind the end of a dimension that is
    shorter in one batch than in another.

    Args:
        batches: At least one.
        data_plate: See `find_data_plate`.
        library: The host, whose name and version the groups carry.

    Returns:
        The groups, with the dimensions `chain` (one), `draw`, those of the plates by their names,
        and `<site>_dim_<i>`. Where a variable or the coordinate of a plate has another name than
        its site or plate, the attribute `site_name` or `plate_name` says which it is.

    Raises:
        ValueError: If there is no batch, several and no data plate, or several with other
            dimensions of a site.
    """
    if not batches:
        raise ValueError(expected("at least one batch", "batches", "none"))
    layout = layout_of(batches, data_plate)
    blocks = {group: _blocks(group, batches, layout) for group in GROUPS}
    sizes = {} if layout.plate is None else {layout.plate: layout.num_rows}
    for block in (b for sites in blocks.values() for found in sites.values() for b in found):
        for dim, size in zip(block.dims, block.values.shape, strict=True):
            sizes[dim] = max(sizes.get(dim, 0), block.starts.get(dim, 0) + size)
    groups = {}
    for group, sites in blocks.items():
        if sites:
            groups[group] = _dataset(sites, sizes, layout, library, draws=GROUPS[group])
    return xr.DataTree.from_dict(groups)


def _blocks(group: str, batches: Sequence[BatchDraws], layout: Layout) -> dict[str, list[Block]]:
    blocks: dict[str, list[Block]] = {}
    for batch, start in zip(batches, layout.starts, strict=True):
        for site, values in batch.groups.get(group, {}).items():
            shape = batch.shapes[site]
            values = _shown(group, np.asarray(values), batch.shown.get(site), shape)
            block = _named(site, values, shape, GROUPS[group], layout)
            if layout.plate in block.dims:
                block = block._replace(starts={layout.plate: start})
            earlier = blocks.setdefault(site, [])
            if earlier:
                _check_alike(site, earlier[0], block)
            # A latent of the whole data set is the same in every batch.
            if not earlier or block.starts:
                earlier.append(block)
    return blocks


def _shown(group: str, values: np.ndarray, shown: Any | None, shape: SiteShape) -> np.ndarray:
    # Draws are there for what is hidden too, and a placeholder is no observation.
    if shown is None or group not in ("log_likelihood", "observed_data"):
        return values
    shown = np.asarray(shown)
    if group == "observed_data":
        return hide(values, np.asarray(shown.any(0)))
    elements = shown.reshape(*shown.shape[: 1 + shape.batch_ndim], -1)
    return hide(values, np.asarray(elements.any(-1)))


def _named(
    site: str, values: np.ndarray, shape: SiteShape, has_draws: bool, layout: Layout
) -> Block:
    # The array with a chain where there are draws, and the names of its dimensions. A batch
    # dimension of size 1 in no plate, where others have one, only makes room for it.
    first, variable = int(has_draws), layout.variables[site]
    taken = {*layout.variables.values(), *layout.plates.values(), *ARVIZ_DIMS}
    plates = {plate.dim: plate.name for plate in shape.plates}
    outermost = min((dim for dim in plates if dim is not None), default=0)
    names, room = ["chain", "draw"] if has_draws else [], []
    number = 0
    for axis in range(first, values.ndim):
        dim = axis - first - shape.batch_ndim
        plate = plates.get(dim) if dim < 0 else None
        if plate is not None:
            names.append(layout.plates[plate])
        elif dim < 0 and values.shape[axis] == 1 and (dim in layout.places or dim > outermost):
            room.append(axis)
        else:
            names.append(own_dim(variable, number, taken))
            number += 1
    values = values.squeeze(tuple(room))
    return Block(values[None] if has_draws else values, tuple(names), {})


def _check_alike(site: str, first: Block, block: Block) -> None:
    dims, other = ([d for d in b.dims if d not in ARVIZ_DIMS] for b in (first, block))
    if dims != other:
        what = f"the dimensions {dims} of '{site}' in every batch"
        raise ValueError(expected(what, "batches", other))
    if not block.starts and first.values.shape != block.values.shape:
        what = f"the shape {first.values.shape[2:]} of '{site}', which no data plate holds,"
        raise ValueError(expected(what, "batches", block.values.shape[2:]))


def _dataset(
    sites: Mapping[str, Sequence[Block]],
    sizes: Mapping[str, int],
    layout: Layout,
    library: ModuleType,
    *,
    draws: bool,
) -> xr.Dataset:
    names = {site: layout.variables[site] for site in sites}
    dataset = dict_to_dataset(
        {names[site]: join(blocks, sizes) for site, blocks in sites.items()},
        dims={names[site]: list(blocks[0].dims) for site, blocks in sites.items()},
        sample_dims=["chain", "draw"] if draws else [],
        inference_library=library,
    )
    for site, name in names.items():
        if name != site:
            dataset[name].attrs["site_name"] = site
    for plate, dim in layout.plates.items():
        if dim != plate and dim in dataset.coords:
            dataset[dim].attrs["plate_name"] = plate
    return dataset
