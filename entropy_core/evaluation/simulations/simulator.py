"""One batch of simulations, step by step, over the few functions that run a pair."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from entropy_core.arguments import Arguments
from entropy_core.evaluation.simulations.carriers import (
    Carriers,
    check_carried,
    find_carriers,
    with_values,
)
from entropy_core.evaluation.simulations.looks import (
    Look,
    check_depends,
    check_same_model,
    check_simulable,
    check_simulated,
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
        like: From a value and an argument to the value in the argument's shape and number type.
        below: From a latent site of the guide, and the plate over data points, to the part of its
            distribution that is below its value, `(B, H)`.
        to_numpy: From an array to one of NumPy.
    """

    simulate: Callable[[Arguments], Sites]
    model: Callable[[Arguments, Mapping[str, Any]], Sites]
    guide: Callable[[Arguments, Mapping[str, Any] | None], Sites]
    like: Callable[[Any, Any], Any]
    below: Callable[[Any, Plate], Any]
    to_numpy: Callable[[Any], np.ndarray]


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
        look: What is read off it.
        carried: For each observed site whether the model has observed what was simulated.
        call: The arguments that carry it.
        truth: Model and guide at the latents that the model has drawn.
    """

    look: Look
    carried: Mapping[str, Any]
    call: Arguments
    truth: Pair


def plan_of(
    pair: Pair,
    call: Arguments,
    arguments: Callable[..., Any] | None,
    data_plate: str | None,
    to_numpy: Callable[[Any], np.ndarray],
) -> Plan:
    """Looks at what a pair is and how its data come to it.

    Args:
        pair: A look at the pair with the data that were given.
        call: Its arguments.
        arguments: See `guide_error` of either side.
        data_plate: See `find_data_plate`.
        to_numpy: From an array of the host to one of NumPy.

    Raises:
        ValueError: As `check_simulable` and `find_carriers` do.
    """
    plate = check_simulable(pair, data_plate)
    observed = observed_values(pair.model)
    carriers = {} if arguments else find_carriers(observed, call, to_numpy)
    discrete = [name for name, site in pair.guide.items() if is_discrete(site)]
    return Plan(pair, plate, carriers, arguments, dict.fromkeys(discrete, "discrete"))


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
    truth, drawn = Pair(sites, _held(host, own, sites, new)), Pair(again, own)
    below = {
        name: host.below(site, plan.plate)
        for name, site in truth.guide.items()
        if name not in plan.untreated
    }
    carried = {name: observes(again[name].value, value) for name, value in values.items()}
    return Simulated(Look(*log_ratios(truth, drawn, plan.plate), below), carried, new, truth)


def check_first(host: Host, plan: Plan, call: Arguments, found: Simulated) -> None:
    """Looks at a batch more closely: whether its simulations mean what they should.

    Args:
        host: What runs model and guide.
        plan: How to simulate.
        call: The arguments of the batch as they were given.
        found: Its simulations.

    Raises:
        ValueError: If the model does not observe the simulated data, is another one with them than
            that which simulated them, or the guide does not depend on them.
    """
    truth, to_numpy = found.truth, host.to_numpy
    check_carried(found.carried)
    latents = {n: s.value for n, s in truth.model.items() if not s.is_observed}
    again = host.model(found.call, latents)
    check_same_model(
        *({n: to_numpy(s.log_prob) for n, s in m.items()} for m in (again, truth.model))
    )
    before, now = observed_values(plan.pair.model), observed_values(truth.model)
    others = host.guide(call, latents)

    def equal(first: Any, second: Any) -> bool:
        return np.array_equal(to_numpy(first), to_numpy(second))

    check_depends(
        any(not equal(before[name], value) for name, value in now.items()),
        all(equal(s.log_prob, others[name].log_prob) for name, s in truth.guide.items()),
    )


def _held(host: Host, own: Sites, sites: Sites, call: Arguments) -> Sites:
    # One site depends on no draw of another: the guide need not run again.
    if len(own) == 1:
        return {name: site.holding(sites[name].value) for name, site in own.items()}
    return host.guide(call, {name: sites[name].value for name in own})
