"""Sites that only the model enumerates, summed out of the log-likelihood of an observed one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from entropy_core.checks import expected
from entropy_core.traces.enumeration import Enumeration
from entropy_core.traces.sites import BaseSite


def summed_out(
    name: str, model: Mapping[str, BaseSite], read: Callable[[Mapping[str, Any]], Enumeration]
) -> Any:
    """The log-likelihood of a site given the guide's draws, without the enumerated sites.

        log p(x|z) = log sum_c p(x, c, z) - log sum_c p(c, z)

    Each sum is over what depends on the enumerated sites `c` of the model, and is that of the terms
    averaged over the weights `r` of `c` and of the entropies of `r`, as in
    `entropy_core.traces.enumeration`.

    Args:
        name: The observed site.
        model: The sites of the model, with all values of those that the guide does not draw.
        read: Finds the weights of enumerated sites.

    Returns:
        A value for each element, in nats, of the shape of the log-probability without the
        dimensions of enumerated sites.

    Raises:
        ValueError: If what depends on the enumerated sites is in other plates than the site, or has
            another observed site: then no data point has a log-likelihood of its own.
    """
    site = model[name]
    linked = _linked(site, model)
    if not linked:
        return site.log_prob.reshape(shape_without_enumerated(site))
    whole, rest = read(model), read({n: s for n, s in model.items() if n != name})
    places = {plate.dim for plate in site.plates}
    others = [
        n
        for n, s in linked.items()
        if n in {*whole.untreated, *rest.untreated}
        or {plate.dim for plate in s.plates} != places
        or (s.is_observed and n != name)
    ]
    if others:
        what = f"enumerated sites, and all that depends on them, in the plates of '{name}' alone"
        got = f"{others}, observed too or in other plates"
        raise ValueError(expected(what, "model", got))

    def log_sum(enumeration: Enumeration, names: Iterable[str]) -> Any:
        total = 0.0
        for n in names:
            if n in enumeration.marginalised:
                total = total + enumeration.entropy(n)
            # In the sum over values the host applies no mask to the enumerated site itself.
            s = linked[n].unmasked() if n in enumeration.marginalised else linked[n]
            total = total + enumeration.mean(s.log_prob, s.places)
        return total

    difference = log_sum(whole, linked) - log_sum(rest, [n for n in linked if n != name])
    return difference.reshape(shape_without_enumerated(site))


def shape_without_enumerated(site: BaseSite) -> tuple[int, ...]:
    """The shape of a site's log-probability without the dimensions of enumerated sites.

    Raises:
        ValueError: If a dimension of its value that no plate declares lies in the place of one.
    """
    shape = tuple(site.log_prob.shape)
    # They are left of those of the plates.
    depth = min((-1 - place for place in site.places), default=len(shape))
    batch_ndim = site.value.ndim - len(site.fn.event_shape)
    if site.enumerate_dim is None and batch_ndim > depth:
        what = f"plates around all elements of '{site.name}', beside sites that are enumerated,"
        raise ValueError(expected(what, "model", f"shape {tuple(site.value.shape)}"))
    return shape[max(len(shape) - depth, 0) :]


def shown_without_enumerated(site: BaseSite) -> Any:
    """`BaseSite.shown` without the dimensions of enumerated sites."""
    shape = tuple(site.log_prob.shape)
    shown = site.shown(shape)
    if shown is None:
        return None
    return shown.reshape(-1, *shape_without_enumerated(site), *shown.shape[len(shape) :]).any(0)


def check_predictive(site: BaseSite) -> None:
    """Refuses draws of a site that depends on enumerated ones, which have no draws themselves.

    Raises:
        ValueError: If it does.
    """
    if _enumerated_in(site):
        what = "no draws of a site that depends on one that only the model enumerates"
        raise ValueError(expected(what, "posterior_predictive", f"True and '{site.name}'"))


def _linked(site: BaseSite, model: Mapping[str, BaseSite]) -> dict[str, BaseSite]:
    # What depends on the enumerated sites that a site depends on, or on one of its neighbours.
    dims, before = _enumerated_in(site), None
    if not dims:
        return {}
    held = {n: _enumerated_in(s) for n, s in model.items()}
    while dims != before:
        before = dims
        dims = dims.union(*(found for found in held.values() if found & dims))
    return {n: model[n] for n, found in held.items() if found & dims}


def _enumerated_in(site: BaseSite) -> set[str]:
    values = site.log_prob
    return {
        name
        for place, name in site.places.items()
        if place == site.enumerate_dim or (values.ndim >= -place and values.shape[place] > 1)
    }
