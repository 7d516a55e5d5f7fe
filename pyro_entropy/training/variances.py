"""Variances of a Pyro model in closed form, from one pass over the training set."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.distributions import Normal

from entropy_core.checks import check_positive_int, expected
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import Plate, SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.training.optimum.variances import (
    NAME,
    ClosedForm,
    Response,
    VarianceSums,
    in_plate,
    sites_of,
    weight_of,
)
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import common_shape, unwrapped
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.enumerated import Looks
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import reading_params
from pyro_entropy.traces.sites import Site
from pyro_entropy.traces.terms import all_terms


def closed_form_variances(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    data_plate: str | None = None,
) -> ClosedForm:
    """Sets the learned variances of a model to their optimum for all data, at the other weights.

    `alpha_h^2 = mean_n (m_h^2 + tau_h^2)` for a prior, and `sigma^2 = mean_n E_q(x_n - mu)^2` for a
    decoder (Damm et al. 2023, Eq. 76; Fyffe 2020, Eq. 4), from one pass in evaluation mode:
    observed elements alone, and those of all sites that share a variance together. Right after, the
    residual of such a site is zero at the draws of this pass. It is a step of coordinate ascent on
    the ELBO, and no cure: training may reach its end later with it than without.

    It sets what the library's parts call `log_variance`, the scale `exp(log_variance / 2)` of
    normal sites in the plate over data points and of nothing else: those of `NormalDecoder`,
    `DiagonalNormalDecoder` and `NormalPrior`. `clear_state` makes an optimiser forget them.

    Args:
        model: The model.
        guide: The guide.
        batches: The training set, as `EntropySumDiagnostic.run` takes it.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        num_particles: The number of draws from the guide for each data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The parameters, which hold the new values, and their sites.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, there is no such
            variance, or one is not positive and finite; then none has changed.
        NotImplementedError: If a site is enumerated.

    Example:
        >>> from pyro_entropy import VAE2
        >>> vae, x = VAE2(4, 2), torch.rand(100, 4)
        >>> sorted(closed_form_variances(vae.model, vae.guide, x).sites.values())
        [('x',), ('z',)]
    """
    variances = ClosedFormVariances(
        model, guide, num_particles=num_particles, data_plate=data_plate
    )
    return variances.run(batches, batch_size=batch_size)


def clear_state(optim: Any, found: ClosedForm) -> None:
    """Makes an optimiser forget what it has learned of parameters that were set, and no others.

    Args:
        optim: The optimiser, Pyro's or torch's.
        found: What `closed_form_variances` has set.

    Raises:
        TypeError: If `optim` is no optimiser.
    """
    for param in found.params.values():
        held = optim.optim_objs.get(param) if isinstance(optim, PyroOptim) else optim
        # A scheduler of Pyro's holds the optimiser; a parameter without a step has none.
        held = getattr(held, "optimizer", held)
        if held is not None and not isinstance(held, torch.optim.Optimizer):
            what = "an optimiser of pyro.optim or torch.optim"
            raise TypeError(expected(what, "optim", type(held).__name__))
        if held is not None and param in held.state:
            _forget(held, param)


def check_not_enumerated(pair: Pair) -> None:
    """Refuses a pair with enumerated sites, over whose values moments would be weighted means.

    Raises:
        NotImplementedError: If a site is enumerated.
    """
    for name, site in {**pair.guide, **pair.model}.items():
        if site.enumerate_dim is not None:
            got = f"site '{name}', enumerated"
            raise NotImplementedError(expected("no enumerated sites", "model` and `guide", got))


class ClosedFormVariances:
    """Variances in closed form again and again, as once an epoch.

    Args:
        model: The model.
        guide: The guide.
        num_particles: The number of draws from the guide for each data point.
        data_plate: The name of the plate over data points; see `closed_form_variances`.

    Raises:
        ValueError: If `num_particles` is no positive integer.
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        *,
        num_particles: int = 1,
        data_plate: str | None = None,
    ) -> None:
        check_positive_int(num_particles, "num_particles")
        self.model, self.guide = model, guide
        self.num_particles, self.data_plate = num_particles, data_plate
        self._known: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}

    def run(self, batches: Tensor | Iterable, *, batch_size: int = 1000) -> ClosedForm:
        """Passes once over the data; see `closed_form_variances`."""
        looks, sums = Looks(self.model, self.guide), VarianceSums()
        params, sites = dict[str, Tensor](), dict[str, set[str]]()
        with evaluating(self.model, self.guide):
            for call in arguments_of(batches, batch_size):
                looks.start(*call)
                for particle in range(self.num_particles):
                    pair, read, records, plate, found = self._look(looks)
                    if not particle:
                        sums.check(plate)
                    for name, names in found.items():
                        params[name] = read[name]
                        sites.setdefault(name, set()).update(names)
                        for site in names:
                            _add(sums, name, read[name], pair, records[site], plate)
        new = sums.log_variances({name: to_numpy(p.detach()) for name, p in params.items()})
        with torch.no_grad():
            for name, values in new.items():
                params[name].copy_(torch.as_tensor(values))
        return ClosedForm(params, {name: tuple(sorted(names)) for name, names in sites.items()})

    def _look(self, looks: Looks) -> Any:
        # Derivatives are needed once, to find out which sites share which parameter.
        with torch.enable_grad(), reading_params() as read:
            pair = looks.look()
        check_not_enumerated(pair)
        with torch.no_grad():
            terms = all_terms(pair).records
        plate = find_data_plate(terms, self.data_plate)
        records = in_plate(terms, plate)
        candidates = {name: p for name, p in read.items() if name.endswith(NAME)}
        key = (*pair.model, *candidates)
        if key not in self._known:
            self._known[key] = _matches(pair, candidates, records)
        return pair, read, records, plate, self._known[key]


def _matches(
    pair: Pair, candidates: dict[str, Tensor], records: dict[str, SiteTerms]
) -> dict[str, tuple[str, ...]]:
    """The sites whose variance each parameter is."""
    named = {**pair.model, **{f"{name} (guide)": site for name, site in pair.guide.items()}}
    found = {}
    for name, param in candidates.items():
        if not param.requires_grad:
            continue
        responses = {site: _response(s, param) for site, s in named.items()}
        eps = torch.finfo(param.dtype).eps
        matched = sites_of(responses, to_numpy(param.detach()), eps, model=records)
        if matched:
            found[name] = matched
    return found


def _response(site: Site, param: Tensor) -> Response:
    fn: Any = unwrapped(site.fn)
    if not belongs_to(fn, Normal):
        return Response(None, to_numpy(param.new_zeros(())), _derivative(site.log_prob, param))
    # The derivative of a sum has an entry for each of the parameter, which stands for many scales.
    scale = torch.as_tensor(fn.scale).expand((*site.fn.batch_shape, *site.fn.event_shape))
    flat = scale.reshape(-1, *param.shape) if _ends_with(scale, param) else scale.sum()[None]
    change = _gradient(flat.sum(), param) / len(flat)
    spread = (flat - flat[0]).abs().max() if flat.numel() else flat.sum()
    alike = flat.mean(0) if not spread else torch.full_like(flat[0], torch.inf)
    value = _derivative(torch.as_tensor(fn.loc), param)
    return Response(to_numpy(alike.detach()), to_numpy(change), value)


def _ends_with(values: Tensor, param: Tensor) -> bool:
    return values.shape[values.ndim - param.ndim :] == param.shape


def _gradient(value: Tensor, param: Tensor) -> Tensor:
    found = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value, param, allow_unused=True, retain_graph=True)
    return torch.zeros_like(param) if found is None else found


def _derivative(values: Tensor, param: Tensor) -> float:
    # Of squares, so that changes do not cancel.
    return float(_gradient((values + values**2).sum(), param).abs().sum())


def _add(
    sums: VarianceSums, name: str, param: Tensor, pair: Pair, record: SiteTerms, plate: Plate | None
) -> None:
    """Adds the squares of a site of a batch, of its observed elements."""
    site = pair.model[record.name]
    fn = unwrapped(site.fn)
    # A value may be wider than its distribution.
    own = (*site.fn.batch_shape, *site.fn.event_shape)
    shape = common_shape(own, tuple(site.value.shape))
    with torch.no_grad():
        if record.role == "prior" and record.term_method == "closed form":
            q: Any = unwrapped(pair.guide[record.name].fn)
            squares = (q.mean - fn.mean).double() ** 2 + q.variance.double()
        else:
            squares = (site.value - fn.mean).double() ** 2
        weights = torch.as_tensor(weight_of(record, plate)).to(squares)
        weights = weights.reshape(*weights.shape, *[1] * len(site.fn.event_shape)).expand(shape)
        shown = site.shown(tuple(site.fn.batch_shape))
        if shown is not None:
            shown = shown.to(weights.device)
            shown = shown.reshape(*shown.shape, *[1] * (len(shape) - shown.ndim))
            weights = torch.where(shown, weights, 0.0)
            # What is hidden may be NaN.
            squares = torch.where(shown, squares, 0.0)
        squares = squares.expand(shape)
        sums.add(
            name,
            to_numpy((weights * squares).reshape(-1, *param.shape).sum(0)),
            to_numpy(weights.reshape(-1, *param.shape).sum(0)),
        )


def _forget(optim: torch.optim.Optimizer, param: Tensor) -> None:
    if isinstance(optim, torch.optim.LBFGS):
        # It keeps one history of all parameters together.
        optim.state.clear()
        return
    group = next(g for g in optim.param_groups if any(p is param for p in g["params"]))
    state = optim.state[param]
    if "sum" not in state:
        # A state is made at the next step.
        del optim.state[param]
        return
    # Adagrad's is made when the optimiser is.
    state["sum"].fill_(group.get("initial_accumulator_value", 0.0))
    state["step"] = torch.zeros_like(state["step"]) if torch.is_tensor(state["step"]) else 0
