"""Which pairs can be simulated at all, and which simulations mean what they should."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from entropy_core.checks import expected
from entropy_core.evaluation.draws import check_own_rows
from entropy_core.evaluation.shapes import SiteShape, data_plate_of
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import BaseSite, Pair
from entropy_core.traces.sums import check_guide, check_sides

# What the guide was fitted to, it says nothing of other data.
FITTED = "a guide with a density of its own for any data that it is given"


def check_simulable(pair: Pair, data_plate: str | None) -> Plate:
    """Refuses pairs whose guide cannot be compared with simulations of the model.

    Args:
        pair: A look at the pair with the data that were given.
        data_plate: See `find_data_plate`.

    Returns:
        The plate over data points.

    Raises:
        ValueError: If nothing is observed, a site is a factor, masked, enumerated or outside of the
            plate over data points, plates subsample, the guide lacks a latent site or has one that
            is a point or stands for others.
    """
    check_own_rows(pair.drawing_rows)
    check_sides(pair.model, pair.guide)
    for part, sites in (("model", pair.model), ("guide", pair.guide)):
        for name, site in sites.items():
            why = _why_not(site)
            if why:
                raise ValueError(expected(why[0], part, f"site '{name}', {why[1]}"))
    if not any(site.is_observed for site in pair.model.values()):
        raise ValueError(expected("observed sites", "model", "none"))
    check_guide({n: s for n, s in pair.model.items() if not s.is_observed}, pair.guide)
    for name, site in pair.guide.items():
        if site.is_observed:
            raise ValueError(expected("no observations", "guide", f"site '{name}'"))
        if site.is_point or site.is_auxiliary or name not in pair.model:
            kind = "auxiliary" if site.is_auxiliary else "a point"
            kind = kind if name in pair.model or site.is_auxiliary else "which the model has not"
            raise ValueError(expected(FITTED, "guide", f"site '{name}', {kind}"))
    shapes = {n: SiteShape(s.is_observed, s.plates, 0) for n, s in pair.model.items()}
    plate = data_plate_of(shapes, data_plate)
    if plate is None:
        raise ValueError(expected("a plate that holds all observed sites", "model", "none"))
    for part, sites in (("model", pair.model), ("guide", pair.guide)):
        for name, site in sites.items():
            _check_plates(name, site, part, plate)
    return plate


def _why_not(site: BaseSite) -> tuple[str, str] | None:
    if site.is_factor:
        return "distributions alone, of which data can be drawn,", "a factor"
    if site.is_masked:
        return "no masked sites", "masked"
    if site.enumerate_dim is not None:
        return "no enumerated sites", "enumerated"
    return None


def _check_plates(name: str, site: BaseSite, part: str, plate: Plate) -> None:
    if plate not in site.plates:
        what = f"all sites in the plate '{plate.name}'"
        raise ValueError(expected(what, part, f"site '{name}' outside of it"))
    for inner in site.plates:
        if inner != plate and inner.full_size != inner.size:
            what = "no subsampling in plates beside that of the data"
            raise ValueError(expected(what, part, f"'{inner.name}' around site '{name}'"))


def check_simulated(sites: Mapping[str, BaseSite], pair: Pair) -> None:
    """Refuses simulations that have other sites than the model has with data.

    Args:
        sites: The sites of a run of the model without its observations.
        pair: The look with them.

    Raises:
        ValueError: If a site is missing, still observed, or of another shape.
    """
    for name, site in pair.model.items():
        drawn = sites.get(name)
        if drawn is None or drawn.is_observed:
            what = f"a draw of '{name}'"
            got = "no such site" if drawn is None else "an observation that stays"
            raise ValueError(expected(what, "model", f"{got} where data are simulated"))
        if tuple(drawn.value.shape) != tuple(site.value.shape):
            what = f"draws of '{name}' of the shape {tuple(site.value.shape)} that it observes"
            raise ValueError(expected(what, "model", tuple(drawn.value.shape)))


class Flags(NamedTuple):
    """What a closer look at a batch of simulations shows, as numbers of the host.

    Args:
        same_model: For each site of the model whether it has the same density at the same values
            when it observes what was simulated.
        same_guide: Whether the guide has the same densities with the data that were given.
        changed: Whether the simulated data are others than those.
    """

    same_model: Mapping[str, Any]
    same_guide: Any
    changed: Any


def check_flags(flags: Flags) -> None:
    """Refuses simulations that do not mean what they should.

    Args:
        flags: What a closer look shows.

    Raises:
        ValueError: If the model is another one with the simulated data, such as one whose latents,
            covariates or masks come from the argument that it observes, too; or if the guide does
            not look at the data.
    """
    for name, same in flags.same_model.items():
        if not bool(same):
            what = f"a density of '{name}' that depends on no observation"
            raise ValueError(expected(what, "model", "another one with the simulated data"))
    if bool(flags.changed) and bool(flags.same_guide):
        raise ValueError(expected(FITTED, "guide", "the same densities whatever the data"))
