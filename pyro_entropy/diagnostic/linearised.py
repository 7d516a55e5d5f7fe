"""The derivatives of all distributions of a Pyro model and guide, as the claims ask for them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Laplace, MultivariateNormal, Normal

from entropy_core.arguments import Arguments
from entropy_core.theory.directions import Array, Jacobian, sampled_rows
from entropy_core.theory.linearised import Linearised
from entropy_core.theory.rows import (
    RowReader,
    Rows,
    natural_targets,
    read_rows,
    rescalings,
    rows_by_site,
    scaled_latents,
)
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.natural import (
    log_density_differences,
    natural_parameters,
    parameters_of,
)
from pyro_entropy.entropies.wrappers import unwrapped
from pyro_entropy.traces.autoguides import folded
from pyro_entropy.traces.pairs import trace_guide, trace_model
from pyro_entropy.traces.sites import Site

Params = dict[str, Tensor]


def linearise(model: Callable, guide: Callable, params: Params, call: Arguments) -> Linearised:
    """The model and guide about their parameters, at draws that are held.

    Args:
        model: The model.
        guide: The guide.
        params: The unconstrained parameters by name.
        call: The arguments of both.
    """
    drawn = trace_guide(guide, *call)
    draws = {
        name: site.value.detach().requires_grad_(site.value.is_floating_point())
        for name, site in drawn.sites.items()
    }
    held = {name: site.holding(draws[name]) for name, site in drawn.sites.items()}
    model_sites = trace_model(model, *call, values={**drawn.rows, **held})
    guide_sites = folded(drawn.sites, model_sites)
    found = read_rows(model_sites, guide_sites, _READER)
    live = {name: z for name, z in draws.items() if z.requires_grad}
    rows = _LinearRows(found, params, live)
    values = _numpy(rows.values)
    natural, reasons = natural_targets(model_sites, values, found.slices, _READER)
    scaled, powers = scaled_latents(model_sites, guide_sites, found.slices, _READER)
    rescaling = rescalings(
        {name: latent for name, latent in scaled.items() if name in live},
        powers,
        found.slices,
        push=rows.push,
        depends=rows.depends,
        to_numpy=_numpy,
    )
    arrays = {name: _numpy(p) for name, p in params.items()}
    jacobian = Jacobian(rows.jvp, rows.vjp, rows.second, len(values))
    num_rows = rows_by_site(found.slices)
    return Linearised(list(model_sites), arrays, jacobian, natural, rescaling, reasons, num_rows)


class _LinearRows:
    """The products of the rows' derivatives, by parameters and by draws."""

    def __init__(self, rows: Rows, params: Params, draws: Params) -> None:
        self.values = torch.cat(rows.parts)
        self.draws = draws
        self.leaves = [*params.values(), *draws.values()]
        self.num_params = sum(p.numel() for p in params.values())
        # The product with a vector of weights is linear in it, and its derivative the other one.
        self.weights = torch.zeros_like(self.values, requires_grad=True)
        self.pulled = _flat_grad(self.values, self.leaves, self.weights, create_graph=True)

    def vjp(self, weights: Array) -> Array:
        """From weights of the rows to a gradient of the parameters."""
        seed = torch.as_tensor(weights).to(self.values)
        return _numpy(_flat_grad(self.values, self.leaves, seed))[: self.num_params]

    def jvp(self, directions: Array) -> Array:
        """From directions of the parameters to the changes of the rows."""
        tangents = self.pulled.new_zeros(directions.shape[1], len(self.pulled))
        tangents[:, : self.num_params] = torch.as_tensor(directions.T).to(tangents)
        return self._push(tangents).T

    def second(self, direction: Array) -> Array:
        """From a direction of the parameters to the second derivative of the rows along it."""
        along = torch.zeros_like(self.pulled)
        along[: self.num_params] = torch.as_tensor(direction).to(along)
        pulled = _flat_grad(self.pulled, self.leaves, along, create_graph=True)
        if not pulled.requires_grad:
            return np.zeros(len(self.values))
        (change,) = torch.autograd.grad(
            pulled, self.weights, along, retain_graph=True, materialize_grads=True
        )
        return _numpy(change)

    def push(self, name: str, change: Tensor) -> Array:
        """The change of the rows where the draw of a site changes."""
        tangent, start = torch.zeros_like(self.pulled), self.num_params
        for other, z in self.draws.items():
            if other == name:
                tangent[start : start + z.numel()] = change.detach().flatten()
            start += z.numel()
        return self._push(tangent[None])[0]

    def depends(self, where: slice) -> bool:
        """Whether some rows depend on any of the draws."""
        draws = list(self.draws.values())
        return bool(_flat_grad(self.values[where].sum(), draws, None).any())

    def _push(self, tangents: Tensor) -> Array:
        if not self.pulled.requires_grad:
            return np.zeros((len(tangents), len(self.values)))
        push = partial(torch.autograd.grad, self.pulled, self.weights, retain_graph=True)
        try:
            (changes,) = push(tangents, is_grads_batched=True)
        except RuntimeError:
            # An operation of the model has no batched derivative.
            changes = torch.stack([push(tangent)[0] for tangent in tangents])
        return _numpy(changes)


def _location_and_scale(fn: Distribution) -> tuple[Tensor, Tensor] | None:
    leaf: Any = unwrapped(fn)
    if belongs_to(leaf, Normal):
        return leaf.loc, leaf.scale
    return (leaf.loc, leaf.scale_tril) if belongs_to(leaf, MultivariateNormal) else None


def _is_drawn(site: Site) -> bool:
    return site.fn.has_rsample and site.enumerate_dim is None and not site.is_point


def _moving(site: Site) -> Tensor:
    # A draw with derivatives moves with its distribution, whatever that is made of.
    return site.value if site.value.requires_grad else site.log_prob


def _centre_and_power(fn: Distribution) -> tuple[Tensor, float] | None:
    leaf: Any = unwrapped(fn)
    if not belongs_to(leaf, Normal, MultivariateNormal, Laplace):
        return None
    return leaf.mean.detach(), 1.0 if belongs_to(leaf, Laplace) else 2.0


def _flat(tensor: Tensor, like: Tensor) -> Tensor:
    size = like.detach().square().mean().sqrt()
    scaled = tensor / torch.where(size > 0, size, torch.ones_like(size))
    # Of a large distribution some of the rows do.
    return scaled.flatten()[torch.as_tensor(sampled_rows(tensor.numel()), device=tensor.device)]


_READER = RowReader(
    natural=natural_parameters,
    densities=log_density_differences,
    parameters=parameters_of,
    location_and_scale=_location_and_scale,
    is_drawn=_is_drawn,
    moving=_moving,
    centre_and_power=_centre_and_power,
    name=lambda fn: type(unwrapped(fn)).__name__,
    flat=_flat,
    is_floating=torch.is_floating_point,
)


def _flat_grad(
    outputs: Tensor, leaves: list[Tensor], weights: Tensor | None, *, create_graph: bool = False
) -> Tensor:
    grads: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if outputs.requires_grad:
        grads = torch.autograd.grad(
            outputs,
            leaves,
            weights,
            allow_unused=True,
            retain_graph=True,
            create_graph=create_graph,
        )
    found = zip(leaves, grads, strict=True)
    return torch.cat([(torch.zeros_like(x) if g is None else g).flatten() for x, g in found])


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
