"""One batch of simulations, step by step, over the few functions that run a pair."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from entropy_core.arguments import Arguments, leaves_of_batch
from entropy_core.evaluation.simulations.carriers import Carriers, with_values
from entropy_core.evaluation.simulations.refusals import Flags, check_simulable, check_simulated
from entropy_core.evaluation.simulations.scores import (
    Scores,
    is_close,
    is_discrete,
    log_ratios,
    observed_values,
    observes,
    replaced,
)
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import Pair

Sites = Mapping[str, Any]


class Host(NamedTuple):
    """What a batch of simulations asks of a host.

    Args:
        simulate: From arguments to the sites of the model without its observations.
        model: From arguments and values of the latents, or the sites that have them, to the sites
            of the model.
        guide: From arguments, and values of the latents or `None`, to the sites of the guide.
        hold: From the guide's sites, values of the latents, and arguments, to its sites at these
            values.
        like: From a value and an argument to the value in the argument's shape and number type.
        below: From a latent site of the guide, and the plate over data points, to the part of its
            distribution that is below its value, `(B, H)`.
        eps: The distance from one to the next number in the float type of an array.
    """

    simulate: Callable[[Arguments], Sites]
    model: Callable[[Arguments, Mapping[str, Any]], Sites]
    guide: Callable[[Arguments, Mapping[str, Any] | None], Sites]
    hold: Callable[[Sites, Mapping[str, Any], Arguments], Sites]
    like: Callable[[Any, Any], Any]
    below: Callable[[Any, Plate], Any]
    eps: Callable[[Any], float]


class Plan(NamedTuple):
    """How to simulate batches of one form of arguments.

    Args:
        pair: A look at the pair with the data that were given.
        plate: The plate over data points.
        carriers: Which arguments carry the observations.
        arguments: What hands simulated data over in place of those, or `None`.
        untreated: The latent sites without ranks, and why.
    """

    pair: Pair
    plate: Plate
    carriers: Carriers
    arguments: Callable[..., Any] | None
    untreated: Mapping[str, str]

    def hand_over(self, values: Mapping[str, Any], call: Arguments, like: Any) -> Arguments:
        """The arguments with simulated values in place of the observations."""
        if self.arguments is not None:
            return Arguments.of(self.arguments(dict(values), *call.args, **call.kwargs))
        return with_values(values, self.carriers, call, like)


class Simulated(NamedTuple):
    """One batch of simulations.

    Args:
        scores: What is read off it.
        carried: For each observed site whether the model has observed what was simulated.
        call: The arguments that carry it.
        truth: Model and guide at the latents that the model has drawn.
    """

    scores: Scores
    carried: Mapping[str, Any]
    call: Arguments
    truth: Pair


def plan_of(
    pair: Pair,
    arguments: Callable[..., Any] | None,
    data_plate: str | None,
    carriers: Callable[[], Carriers],
) -> Plan:
    """Looks at what a pair is and how its data come to it.

    Args:
        pair: A look at the pair with the data that were given.
        arguments: See `guide_error` of either side.
        data_plate: See `find_data_plate`.
        carriers: Finds out which arguments carry the observations.

    Raises:
        ValueError: As `check_simulable` and `find_carriers` do.
    """
    plate = check_simulable(pair, data_plate)
    discrete = [name for name, site in pair.guide.items() if is_discrete(site)]
    return Plan(
        pair, plate, {} if arguments else carriers(), arguments, dict.fromkeys(discrete, "discrete")
    )


def simulated(host: Host, plan: Plan, call: Arguments) -> Simulated:
    """Simulates one batch, encodes it, and scores the true latents and the guide's.

    Args:
        host: What runs model and guide.
        plan: How to simulate.
        call: Arguments of the form of the plan.

    Raises:
        ValueError: If the simulations have other sites than the data.
    """
    sites = host.simulate(call)
    check_simulated(sites, plan.pair)
    sites = replaced(sites, plan.pair)
    values = observed_values(sites)
    new = plan.hand_over(values, call, host.like)
    own = host.guide(new, None)
    again = host.model(new, own)
    carried = {name: observes(again[name].value, value) for name, value in values.items()}
    # An argument of another float type has rounded them: both densities are of the same data.
    sites |= {name: sites[name].holding(again[name].value) for name in values}
    latents = {name: sites[name].value for name in own}
    truth, drawn = Pair(sites, host.hold(own, latents, new)), Pair(again, own)
    below = {
        name: host.below(site, plan.plate)
        for name, site in truth.guide.items()
        if name not in plan.untreated
    }
    return Simulated(
        Scores(*log_ratios(truth, drawn, plan.plate, host.eps), below), carried, new, truth
    )


def first_flags(host: Host, found: Simulated, call: Arguments) -> Flags:
    """Looks at a batch more closely: whether its simulations mean what they should.

    Args:
        host: What runs model and guide.
        found: The simulations.
        call: The arguments of the batch as they were given.
    """
    truth = found.truth
    latents = {n: s.value for n, s in truth.model.items() if not s.is_observed}
    again, others = host.model(found.call, latents), host.guide(call, latents)
    same_model = {
        name: is_close(again[name].log_prob, site.log_prob, host.eps(site.log_prob))
        for name, site in truth.model.items()
    }
    same_guide: Any = True
    for name, site in truth.guide.items():
        same_guide = (others[name].log_prob == site.log_prob).all() & same_guide
    return Flags(same_model, same_guide, _differ(call, found.call))


def _differ(call: Arguments, other: Arguments) -> Any:
    leaves, others = (leaves_of_batch((c.args, dict(c.kwargs))) for c in (call, other))
    if list(map(_shape, leaves)) != list(map(_shape, others)):
        return True
    pairs = zip(leaves, others, strict=True)
    changed: Any = False
    for leaf, new in pairs:
        if new is not leaf and _shape(leaf):
            # What was an array of another library is a new one at any rate.
            changed = (leaf != new).any() | changed if type(leaf) is type(new) else True
    return changed


def _shape(value: Any) -> Any:
    return getattr(value, "shape", ())
