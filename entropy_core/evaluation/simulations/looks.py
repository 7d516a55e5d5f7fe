"""What is read off one batch of simulations, and which pairs can be simulated at all.

Arrays are those of either host, with an entry for each data point of the batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from entropy_core.checks import expected
from entropy_core.evaluation.draws import check_own_rows
from entropy_core.evaluation.shapes import SiteShape, data_plate_of
from entropy_core.traces.importance import per_datum
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import BaseSite, Pair
from entropy_core.traces.sums import check_guide, check_sides

# What the guide was fitted to, it says nothing of other data.
FITTED = "a guide with a density of its own for any data that it is given"


class Look(NamedTuple):
    """One batch of simulations, of `B` data points.

    Args:
        sites: For each site by how much its part of `log w` is higher at the true latents than at
            the guide's draws, of shape `(B,)`.
        elbo: `log w` at the guide's draws, `(B,)`.
        rounding: By how much rounding may move the sum of parts, `(B,)`.
        parts: For each latent site that has ranks what part of the guide's distribution is below
            the true latents, `(B, H)`.
    """

    sites: Mapping[str, Any]
    elbo: Any
    rounding: Any
    parts: Mapping[str, Any]


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


def is_close(first: Any, second: Any, eps: float) -> Any:
    """Whether log-probabilities are the same but for the order of the sums in them."""
    near = abs(first - second) <= eps**0.5 * (1 + abs(second))
    # What is infinite, or no number, in both.
    return (near | (first == second) | ((first != first) & (second != second))).all()


def log_ratios(
    truth: Pair, drawn: Pair, plate: Plate, eps: Callable[[Any], float]
) -> tuple[dict[str, Any], Any, Any]:
    """The fields `sites`, `elbo` and `rounding` of a `Look`.

    Args:
        truth: Model and guide at the latents that the model has drawn, with its data.
        drawn: Both at the guide's draws, with the same data.
        plate: The plate over data points.
        eps: The distance from one to the next number in the float type of an array.
    """
    at_truth, at_draws = _parts(truth, plate), _parts(drawn, plate)
    sites = {name: at_truth[name] - at_draws[name] for name in at_truth}
    rounding = sum(
        eps(site.log_prob) * abs(per_datum(site, plate))
        for pair in (truth, drawn)
        for sites_of in (pair.model, pair.guide)
        for site in sites_of.values()
    )
    return sites, sum(at_draws.values()), rounding


def _parts(pair: Pair, plate: Plate) -> dict[str, Any]:
    # log p of each site of the model, less log q where the guide draws it.
    parts = {name: per_datum(site, plate) for name, site in pair.model.items()}
    for name, site in pair.guide.items():
        parts[name] = parts[name] - per_datum(site, plate)
    return parts


def in_rows(
    values: Any, batch_ndim: int, plate: Plate, moveaxis: Callable[[Any, int, int], Any]
) -> Any:
    """Values of a latent site as a row of `H` for each data point, `(B, H)`.

    Args:
        values: Of the shape of its draws.
        batch_ndim: The number of dimensions of its batch shape.
        plate: The plate over data points.
        moveaxis: That of the host.
    """
    assert plate.dim is not None
    return moveaxis(values, batch_ndim + plate.dim, 0).reshape(plate.size, -1)


def observes(again: Any, drawn: Any) -> Any:
    """Whether a model observes what was simulated, up to the rounding of another float type.

    Args:
        again: What it observes.
        drawn: What was simulated.
    """
    same = again == drawn
    if not str(drawn.dtype).endswith("bool"):
        same = same | ((again - drawn) ** 2 <= 1e-6 * drawn**2)
    return same.all()


def observed_values(sites: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the observed sites."""
    return {name: site.value for name, site in sites.items() if site.is_observed}


def replaced(sites: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
    """The sites of a run without observations, with those that the model observes as observed."""
    return {n: replace(sites[n], is_observed=s.is_observed) for n, s in pair.model.items()}


def is_discrete(site: BaseSite) -> bool:
    """Whether the values of a site can be counted: they have ties, and no ranks."""
    try:
        return bool(site.fn.support.is_discrete)
    except (AttributeError, NotImplementedError):
        return False
