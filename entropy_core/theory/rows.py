"""The parameters of all distributions of a pair as rows, which directions are asked to change.

A direction of the theorem scales the natural parameters of one site and leaves all other rows as
they are. For a fixed normal or Laplace prior it scales the latents in the guide instead, and undoes
that in the children of the site.

A distribution of no known family is seen through its density: `log p(v) - log p(v')` at some pairs
of values. Wherever its class keeps its parameters, these rows move where the distribution does, and
they are scaled as natural parameters are, since `eta . (T(v) - T(v'))` is linear in them.
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
        densities: Differences of log-densities at some values of a distribution, or `None` where
            it has no density.
        parameters: The arrays that make such a distribution what it is.
        location_and_scale: Those of a normal distribution, `None` of any other.
        is_drawn: Whether a site of the guide has draws with derivatives that are no points.
        moving: What moves where the distribution of a site of the guide does.
        centre_and_power: The mean of a normal or Laplace distribution, and the exponent of the
            deviation in its density; `None` of any other.
        name: The name of a distribution, without what is wrapped around it.
        flat: Entries of an array, some of a large one, divided by the size of another one.
        is_floating: Whether an array holds floats.
    """

    natural: Callable[[Any], Any]
    densities: Callable[[Any], Sequence[Any] | None]
    parameters: Callable[[Any], Sequence[Any]]
    location_and_scale: Callable[[Any], tuple[Any, Any] | None]
    is_drawn: Callable[[Any], bool]
    moving: Callable[[Any], Any]
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
        densities = reader.densities(site.fn) if natural is None else None
        if natural is not None:
            add("natural", name, natural.scaled)
            add("kept", name, natural.kept)
        elif densities is not None:
            add("natural", name, densities)
            add("kept", name, ())
        else:
            add("kept", name, reader.parameters(site.fn))
    for name, site in guide_sites.items():
        normal = reader.location_and_scale(site.fn)
        if normal is not None:
            add("guide", name, normal)
        elif reader.is_drawn(site):
            add("guide", name, (site.value,))
        else:
            add("kept guide", name, (reader.moving(site),))
    return rows


def rows_by_site(slices: Slices) -> dict[str, int]:
    """The number of rows of each site, of the model or of the guide, which has fewer."""
    found: dict[str, int] = {}
    for (_, name), where in slices.items():
        num = where.stop - where.start
        if num:
            found[name] = min(num, found.get(name, num))
    return found


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


class Scaled(NamedTuple):
    """A latent under a fixed normal or Laplace prior, whose draws could be scaled about its mean.

    Args:
        change: The draws less the mean.
        parts: What the scaling does to the guide's own rows, in parts.
    """

    change: Any
    parts: list[Any]


def scaled_latents(
    model_sites: Mapping[str, Any],
    guide_sites: Mapping[str, Any],
    slices: Slices,
    reader: RowReader,
) -> tuple[dict[str, Scaled], dict[str, float]]:
    """The latents that could be scaled, and the divisors of the ELBO's derivative along it."""
    scaled, powers = {}, {}
    for name, site in guide_sites.items():
        prior = reader.centre_and_power(model_sites[name].fn) if name in model_sites else None
        if prior is None or ("guide", name) not in slices:
            continue
        z, (centre, power) = site.value, prior
        if np.broadcast_shapes(centre.shape, z.shape) != tuple(z.shape):
            # As the prior of a component, which has a centre for each value of another site.
            continue
        normal = reader.location_and_scale(site.fn)
        loc, *scale = (z,) if normal is None else normal
        parts = [reader.flat(loc - centre, loc), *(reader.flat(s, s) for s in scale)]
        scaled[name], powers[name] = Scaled(z - centre, parts), power
    return scaled, powers


def rescalings(
    scaled: Mapping[str, Scaled],
    powers: Mapping[str, float],
    slices: Slices,
    *,
    push: Callable[[str, Any], Array],
    depends: Callable[[slice], bool],
    to_numpy: Callable[[Any], Array],
) -> dict[str, tuple[Array, float]]:
    """What scaling the draws of a latent site about its prior's mean does to all rows.

    Its children undo it: their rows are to stay, so that the parameters must move the other way.

    Args:
        scaled: The latents that could be scaled.
        powers: The divisor of the ELBO's derivative along it, for each.
        slices: Where the rows of each site are.
        push: The change of the rows where the draw of a site changes.
        depends: Whether some rows depend on any of the draws.
        to_numpy: An array as NumPy's.

    Returns:
        For each latent site under a fixed normal or Laplace prior the change of the rows, and the
        divisor of the ELBO's derivative along it.
    """
    found = {}
    for name, (change, parts) in scaled.items():
        own = slice(slices["natural", name].start, slices["kept", name].stop)
        if depends(own):
            continue
        target = -push(name, change)
        for (role, _), where in slices.items():
            if role == "guide":
                target[where] = 0
        target[own] = 0
        target[slices["guide", name]] = np.concatenate([to_numpy(part) for part in parts])
        found[name] = target, powers[name]
    return found
