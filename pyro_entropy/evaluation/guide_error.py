"""How far a guide is from the posterior, from simulations of the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal

from entropy_core.arguments import Arguments, leaves_of_batch, map_leaves
from entropy_core.evaluation.simulations.carriers import carried_as_is, check_carried, find_carriers
from entropy_core.evaluation.simulations.guide_error import GuideError
from entropy_core.evaluation.simulations.ranks import NUM_DRAWS
from entropy_core.evaluation.simulations.refusals import check_flags
from entropy_core.evaluation.simulations.scores import Scores, in_rows, observed_values
from entropy_core.evaluation.simulations.simulator import (
    Host,
    Plan,
    first_flags,
    plan_of,
    simulated,
)
from entropy_core.evaluation.simulations.sums import GuideErrorSums
from entropy_core.traces.records import Plate
from pyro_entropy.entropies.families import belongs_to, overrides_density
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.operations import OPERATIONS, to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import run_pair, simulate, trace_guide, trace_model
from pyro_entropy.traces.sites import Site


@torch.no_grad()
def guide_error(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    num_simulations: int = 10_000,
    arguments: Callable[..., Any] | None = None,
    batch_size: int = 1000,
    data_plate: str | None = None,
) -> GuideError:
    """How far a guide is from the posterior, over simulations from the model, in nats.

    With `z, x ~ p(z) p(x|z)`, and `log w(z) = log p(z, x) - log q(z|x)` (Domke 2021),

        E_p(z,x)[log w(z)] - E_p(x) E_q(z|x)[log w(z)] = E_p(x)[KL(p(z|x) || q) + KL(q || p(z|x))]

    The evidence cancels, and no posterior is needed: each `z` that the model draws is one from the
    posterior of its `x`. Its ranks in the guide are those of simulation-based calibration (Talts et
    al. 2018), without a refit: the guide encodes any data that it is given.

    The model runs without its observations, and what it draws takes the place of those arguments
    whose values it observes: they are found by value. The other ones, such as labels and
    covariates, stay as they are, and results are averages over them. No scale of a plate or handler
    enters, and modules are in evaluation mode.

    Args:
        model: The model; one plate must hold all of its sites.
        guide: The guide, which must look at the data that it is given.
        batches: As in `log_likelihood`: data of the right shapes, of which only what the model does
            not observe matters. They are passed over as often as is needed.
        num_simulations: The number of simulated data points. What the last batch has more is left
            out.
        arguments: How to hand simulated data over, where no argument has the values of a site: from
            a dictionary of simulated values by site, and the arguments, to what a batch can be.
        batch_size: How many data points to simulate together, where `batches` is a tensor.
        data_plate: See `log_likelihood`.

    Returns:
        The divergence with its standard error, in all and by site, the ranks, and what they mean.

    Raises:
        ValueError: If `num_simulations` is no integer from 2, there is no batch, a batch has NaN or
            infinite entries, no argument has the values of an observed site, the model observes
            something else than was simulated, or is another one with it, the guide does not depend
            on the data, or lacks a latent site, or has a point in its place, a site is a factor,
            masked, enumerated or outside the plate over data points, plates draw the rows of a
            batch, a density is NaN, or batches have other sites.
        NotImplementedError: If the host cannot draw a site of the model.

    Example:
        >>> from pyro_entropy import VAE1, guide_error
        >>> vae = VAE1(4, 2)
        >>> found = guide_error(vae.model, vae.guide, torch.zeros(100, 4), num_simulations=500)
        >>> found.differs, list(found.sites), found.latents
        (True, ['z', 'x'], ('z[0]', 'z[1]'))
    """
    sums = GuideErrorSums(num_simulations)
    # A pass over what can be passed over once is kept for the next one.
    batches = list(batches) if isinstance(batches, Iterator) else batches
    host, plans = _host(model, guide), dict[Any, Plan]()
    with evaluating(model, guide), pyro.validation_enabled(False):
        for call in sums.until_complete(lambda: arguments_of(batches, batch_size)):
            form = _form(call)
            if form not in plans:
                plan = _plan(model, guide, call, arguments, data_plate)
                found = simulated(host, plan, call)
                check_carried(found.carried)
                check_flags(first_flags(host, found, call))
                plans[form] = plan
            else:
                found = simulated(host, plans[form], call)
                check_carried(found.carried)
            scores = Scores(*map_leaves(to_numpy, tuple(found.scores)))
            sums.add(scores, plans[form].untreated)
    return sums.guide_error()


def _plan(
    model: Callable,
    guide: Callable,
    call: Arguments,
    arguments: Callable[..., Any] | None,
    data_plate: str | None,
) -> Plan:
    pair = run_pair(model, guide, *call)
    values = observed_values(pair.model)
    return plan_of(
        pair,
        arguments,
        data_plate,
        # An argument may be an array of NumPy.
        lambda: find_carriers(
            values, call, lambda leaf: to_numpy(torch.as_tensor(leaf)), carried_as_is(values, call)
        ),
    )


def _host(model: Callable, guide: Callable) -> Host:
    return Host(
        simulate=lambda call: simulate(model, *call),
        model=lambda call, values: trace_model(model, *call, values=values),
        guide=lambda call, values: trace_guide(guide, *call, values=values).sites,
        hold=partial(_hold, guide),
        like=lambda value, leaf: value.reshape(leaf.shape).to(torch.as_tensor(leaf)),
        below=_below,
        eps=OPERATIONS.eps,
    )


def _hold(
    guide: Callable, own: Mapping[str, Site], values: Mapping[str, Tensor], call: Arguments
) -> dict[str, Site]:
    # One site depends on no draw of another: the guide need not run again.
    if len(own) == 1:
        return {name: site.holding(values[name]) for name, site in own.items()}
    return trace_guide(guide, *call, values=values).sites


def _below(site: Site, plate: Plate) -> Tensor:
    """What part of a guide's distribution is below the value of its site, of shape `(B, H)`."""
    base, value = elementwise(site.fn), site.value
    if belongs_to(base, MultivariateNormal, LowRankMultivariateNormal):
        base = Normal(base.mean, base.variance.sqrt())
    below = None
    if not base.event_shape and not overrides_density(base):
        with suppress(NotImplementedError):
            below = base.cdf(value).expand(value.shape)
    if below is None:
        below = _drawn_below(site.fn, value)
    return in_rows(below, value.ndim - len(site.fn.event_shape), plate, torch.moveaxis)


def _drawn_below(fn: Any, value: Tensor) -> Tensor:
    count = torch.zeros_like(value)
    for _ in range(NUM_DRAWS):
        count += fn.sample() < value
    # One draw is no more than another: within its part the rank is at random.
    return (count + torch.rand_like(value)) / (NUM_DRAWS + 1)


def _form(call: Arguments) -> tuple:
    leaves = leaves_of_batch((call.args, dict(call.kwargs)))
    arrays = Tensor | np.ndarray
    forms = [
        (leaf.shape, leaf.dtype) if isinstance(leaf, arrays) else repr(leaf) for leaf in leaves
    ]
    return len(call.args), tuple(call.kwargs), tuple(forms)
