"""How far a guide is from the posterior, from simulations of the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor

from entropy_core.arguments import Arguments, leaves_of_batch
from entropy_core.checks import expected
from entropy_core.evaluation.simulations.carriers import (
    check_carried,
    find_carriers,
    with_values,
)
from entropy_core.evaluation.simulations.guide_error import GuideError
from entropy_core.evaluation.simulations.looks import (
    Look,
    check_depends,
    check_same_model,
    check_simulable,
    check_simulated,
    in_rows,
    is_discrete,
    log_ratios,
    observes,
    replaced,
)
from entropy_core.evaluation.simulations.ranks import NUM_RANKS
from entropy_core.evaluation.simulations.sums import GuideErrorSums
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import Pair
from pyro_entropy.entropies.families import overrides_density
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import run_pair, simulate, trace_guide, trace_model
from pyro_entropy.traces.sites import Site

# How many numbers the draws for ranks may be at once.
MOST_NUMBERS = 2**22


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
    simulators: dict[Any, _Simulator] = {}
    with evaluating(model, guide), pyro.validation_enabled(False):
        while not sums.is_complete:
            calls = arguments_of(batches, batch_size)
            for call in calls:
                form = _form(call)
                if form not in simulators:
                    simulators[form] = _Simulator(model, guide, call, arguments, data_plate)
                look, eps = simulators[form].look(call)
                sums.add(look, eps)
                if sums.is_complete:
                    break
            if not simulators:
                raise ValueError(expected("at least one batch", "batches", "none"))
    return sums.guide_error(next(iter(simulators.values())).untreated)


class _Simulator:
    """Simulates batches of one form of arguments; the first one is looked at more closely."""

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        call: Arguments,
        arguments: Callable[..., Any] | None,
        data_plate: str | None,
    ) -> None:
        self.model, self.guide, self.arguments = model, guide, arguments
        self.pair = run_pair(model, guide, *call)
        self.plate = check_simulable(self.pair, data_plate)
        observed = {n: s.value for n, s in self.pair.model.items() if s.is_observed}
        self.carriers = {} if arguments else find_carriers(observed, call, to_numpy)
        discrete = {n for n, s in self.pair.guide.items() if is_discrete(s)}
        self.untreated = dict.fromkeys(discrete, "discrete")
        self._is_checked = False

    def look(self, call: Arguments) -> tuple[Look, float]:
        """One batch of simulations, and the precision of its densities."""
        sites = simulate(self.model, *call)
        check_simulated(sites, self.pair)
        sites = replaced(sites, self.pair)
        new = self._with_values({n: s.value for n, s in sites.items() if s.is_observed}, call)
        own = trace_guide(self.guide, *new).sites
        again = trace_model(self.model, *new, values=own)
        check_carried(
            {n: bool(observes(again[n].value, s.value)) for n, s in sites.items() if s.is_observed}
        )
        truth = Pair(sites, self._held(own, sites, new))
        if not self._is_checked:
            self._check(call, new, truth)
            self._is_checked = True
        ratios, elbo, size = log_ratios(truth, Pair(again, own), self.plate)
        parts = {
            name: to_numpy(_below(site, self.plate))
            for name, site in truth.guide.items()
            if name not in self.untreated
        }
        by_site = {name: to_numpy(values) for name, values in ratios.items()}
        look = Look(by_site, to_numpy(elbo), to_numpy(size), parts)
        return look, torch.finfo(elbo.dtype).eps

    def _with_values(self, values: Mapping[str, Tensor], call: Arguments) -> Arguments:
        if self.arguments is not None:
            return Arguments.of(self.arguments(dict(values), *call.args, **call.kwargs))
        return with_values(
            values, self.carriers, call, lambda value, leaf: value.reshape(leaf.shape).to(leaf)
        )

    def _held(
        self, own: Mapping[str, Site], sites: Mapping[str, Site], call: Arguments
    ) -> dict[str, Site]:
        # One site depends on no draw of another: the guide need not run again.
        if len(own) == 1:
            return {name: site.holding(sites[name].value) for name, site in own.items()}
        values = {name: sites[name].value for name in own}
        return trace_guide(self.guide, *call, values=values).sites

    def _check(self, call: Arguments, new: Arguments, truth: Pair) -> None:
        values = {n: s.value for n, s in truth.model.items() if not s.is_observed}
        again = trace_model(self.model, *new, values=values)
        check_same_model(*({n: to_numpy(s.log_prob) for n, s in m.items()} for m in (again, truth.model)))
        before = trace_guide(self.guide, *call, values=values).sites
        observed = [n for n, s in truth.model.items() if s.is_observed]
        check_depends(
            any(not torch.equal(truth.model[n].value, self.pair.model[n].value) for n in observed),
            all(torch.equal(s.log_prob, before[n].log_prob) for n, s in truth.guide.items()),
        )


def _below(site: Site, plate: Plate) -> Tensor:
    """What part of a guide's distribution is below the value of its site, of shape `(B, H)`."""
    base, value = elementwise(site.fn), site.value
    below = None
    if not base.event_shape and not overrides_density(base):
        try:
            below = base.cdf(value).expand(value.shape)
        except NotImplementedError:
            pass
    if below is None:
        below = _drawn_below(site.fn, value)
    return in_rows(below, value.ndim - len(site.fn.event_shape), plate, torch.moveaxis)


def _drawn_below(fn: Any, value: Tensor) -> Tensor:
    count, left = torch.zeros_like(value), NUM_RANKS - 1
    while left:
        num = max(1, min(left, MOST_NUMBERS // value.numel()))
        count += (fn.sample((num,)) < value).sum(0)
        left -= num
    return (count + 0.5) / NUM_RANKS


def _form(call: Arguments) -> tuple:
    leaves = leaves_of_batch((call.args, dict(call.kwargs)))
    forms = [(leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves]
    return len(call.args), tuple(call.kwargs), tuple(forms)
