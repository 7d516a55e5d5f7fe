"""The parameters of all distributions of a pair as rows, which directions are asked to change.

A direction of the theorem scales the natural parameters of one site and leaves all other rows as
they are. For a fixed normal or Laplace prior it scales the latents in the guide instead, and undoes
that in the children of the site.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from entropy_core.theory.directions import Array

Slices = dict[tuple[str, str], slice]


class RowReader(NamedTuple):
    """What rows ask of a host.

    Args:
        natural: The natural parameters of a distribution, `scaled` and `kept`, or `None`.
        parameters: The arrays that make a distribution what it is.
        location_and_scale: Those of a normal distribution, `None` of any other.
        centre_and_power: The mean of a normal or Laplace distribution, and the exponent of the
            deviation in its density; `None` of any other.
        name: The name of a distribution, without what is wrapped around it.
        flat: Entries of an array, some of a large one, divided by the size of another one.
        is_floating: Whether an array holds floats.
    """

    natural: Callable[[Any], Any]
    parameters: Callable[[Any], Sequence[Any]]
    location_and_scale: Callable[[Any], tuple[Any, Any] | None]
    centre_and_power: Callable[[Any], tuple[Any, float] | None]
    name: Callable[[Any], str]
    flat: Callable[[Any, Any], Any]
    is_floating: Callable[[Any], bool]


class Rows(NamedTuple):
    """The rows in parts, and where the ones of each kind and site are."""

    parts: list[Any]
    slices: Slices


def read_rows(
    model_sites: Mapping[str, Any], guide_sites: Mapping[str, Any], reader: RowReader
) -> Rows:
    """The parameters of all distributions, those of each kind divided by their size."""
    rows = Rows([], {})
    count = 0

    def add(role: str, name: str, arrays: Sequence[Any]) -> None:
        nonlocal count
        start = count
        for array in arrays:
            if reader.is_floating(array):
                rows.parts.append(reader.flat(array, array))
                count += len(rows.parts[-1])
        rows.slices[role, name] = slice(start, count)

    for name, site in model_sites.items():
        natural = reader.natural(site.fn)
        if natural is None:
            add("kept", name, reader.parameters(site.fn))
        else:
            add("natural", name, natural.scaled)
            add("kept", name, natural.kept)
    for name, site in guide_sites.items():
        normal = reader.location_and_scale(site.fn)
        if normal is None:
            add("kept guide", name, reader.parameters(site.fn))
        else:
            add("guide", name, normal)
    return rows


def natural_targets(
    model_sites: Mapping[str, Any], values: Array, slices: Slices, reader: RowReader
) -> tuple[dict[str, Array], dict[str, str]]:
    """For each site what scaling its natural parameters does to the rows, or why it has none."""
    targets, reasons = {}, {}
    for name, site in model_sites.items():
        where = slices.get(("natural", name))
        if where is None:
            reasons[name] = f"{reader.name(site.fn)} has no natural parameters"
            continue
        targets[name] = np.zeros(len(values))
        targets[name][where] = values[where]
    return targets, reasons


def rescalings(
    model_sites: Mapping[str, Any],
    guide_sites: Mapping[str, Any],
    slices: Slices,
    reader: RowReader,
    *,
    draws: Mapping[str, Any],
    push: Callable[[str, Any], Array],
    depends: Callable[[slice], bool],
    to_numpy: Callable[[Any], Array],
) -> dict[str, tuple[Array, float]]:
    """What scaling the draws of a latent site about its prior's mean does to all rows.

    Its children undo it: their rows are to stay, so that the parameters must move the other way.

    Args:
        model_sites: The sites of the model.
        guide_sites: Those of the guide.
        slices: Where the rows of each are.
        reader: What rows ask of the host.
        draws: The draws of the guide that have derivatives.
        push: The change of the rows where the draw of a site changes.
        depends: Whether some rows depend on any of the draws.
        to_numpy: An array as NumPy's.

    Returns:
        For each latent site under a fixed normal or Laplace prior the change of the rows, and the
        divisor of the ELBO's derivative along it.
    """
    found = {}
    for name, z in draws.items():
        if name not in model_sites or ("guide", name) not in slices:
            continue
        prior = reader.centre_and_power(model_sites[name].fn)
        if prior is None:
            continue
        own = slice(slices["natural", name].start, slices["kept", name].stop)
        if depends(own):
            continue
        centre, power = prior
        if np.broadcast_shapes(centre.shape, z.shape) != tuple(z.shape):
            # As the prior of a component, which has a centre for each value of another site.
            continue
        target = -push(name, z - centre)
        for (role, _), where in slices.items():
            if role == "guide":
                target[where] = 0
        target[own] = 0
        loc, scale = reader.location_and_scale(guide_sites[name].fn) or (z, z)
        scaled = reader.flat(loc - centre, loc), reader.flat(scale, scale)
        target[slices["guide", name]] = np.concatenate([to_numpy(part) for part in scaled])
        found[name] = target, power
    return found
