"""What is read off one batch of simulations.

Arrays are those of either host, with an entry for each data point of the batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from entropy_core.traces.importance import per_datum
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import BaseSite, Pair


class Scores(NamedTuple):
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


def log_ratios(
    truth: Pair, drawn: Pair, plate: Plate, eps: Callable[[Any], float]
) -> tuple[dict[str, Any], Any, Any]:
    """The fields `sites`, `elbo` and `rounding` of `Scores`.

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


def is_close(first: Any, second: Any, eps: float) -> Any:
    """Whether log-probabilities are the same but for the order of the sums in them."""
    near = abs(first - second) <= eps**0.5 * (1 + abs(second))
    # What is infinite, or no number, in both.
    return (near | (first == second) | ((first != first) & (second != second))).all()


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
