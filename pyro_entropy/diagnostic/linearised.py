"""The derivatives of all distributions of a Pyro model and guide, as the claims ask for them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Laplace, MultivariateNormal, Normal

from entropy_core.theory.claims import Linearised
from entropy_core.theory.directions import Jacobian, sampled_rows
from pyro_entropy.entropies.natural import natural_parameters, parameters_of
from pyro_entropy.entropies.wrappers import unwrapped
from pyro_entropy.traces.autoguides import folded
from pyro_entropy.traces.sites import Site, sample_sites

Params = dict[str, Tensor]


def linearise(model: Callable, guide: Callable, params: Params, args: tuple) -> Linearised:
    """The model and guide about their parameters, at draws that are held.

    Args:
        model: The model.
        guide: The guide.
        params: The unconstrained parameters by name.
        args: The arguments of both.
    """
    guide_trace = poutine.trace(guide).get_trace(*args)
    fixed, draws = guide_trace.copy(), {}
    for name, site in sample_sites(guide_trace).items():
        draws[name] = site["value"].detach().requires_grad_(site["value"].is_floating_point())
        fixed.nodes[name] = cast(Any, {**site, "value": draws[name]})
    model_trace = poutine.trace(poutine.replay(model, trace=fixed)).get_trace(*args)
    model_sites = sample_sites(model_trace)
    guide_sites = folded(sample_sites(guide_trace), model_sites)
    found = _rows(model_sites, guide_sites)
    leaves = [*params.values(), *(z for z in draws.values() if z.requires_grad)]
    num_params = sum(p.numel() for p in params.values())

    # The product with a vector of weights is linear in it, and its derivative the other product.
    weights = torch.zeros_like(found.values, requires_grad=True)
    pulled = _flat_grad(found.values, leaves, weights, create_graph=True)

    def vjp(rows: np.ndarray) -> np.ndarray:
        seed = torch.as_tensor(rows).to(found.values)
        return _numpy(_flat_grad(found.values, leaves, seed))[:num_params]

    def push(tangent: Tensor) -> np.ndarray:
        if not pulled.requires_grad:
            return np.zeros(len(found.values))
        (change,) = torch.autograd.grad(pulled, weights, tangent, retain_graph=True)
        return _numpy(change)

    def jvp(direction: np.ndarray) -> np.ndarray:
        tangent = torch.zeros_like(pulled)
        tangent[:num_params] = torch.as_tensor(direction).to(tangent)
        return push(tangent)

    natural, reasons, rescaling = {}, {}, {}
    values = _numpy(found.values)
    for name, site in model_sites.items():
        where = found.slices.get(("natural", name))
        if where is None:
            reasons[name] = f"{type(unwrapped(site['fn'])).__name__} has no natural parameters"
            continue
        natural[name] = np.zeros(len(values))
        natural[name][where] = values[where]
    offset = num_params
    for name, z in draws.items():
        if not z.requires_grad:
            continue
        tangent = torch.zeros_like(pulled)
        size, start, offset = z.numel(), offset, offset + z.numel()
        if name not in model_sites or ("guide", name) not in found.slices:
            continue
        prior = unwrapped(model_sites[name]["fn"])
        if not isinstance(prior, Normal | MultivariateNormal | Laplace):
            continue
        rows = slice(found.slices["natural", name].start, found.slices["kept", name].stop)
        latents = [draw for draw in draws.values() if draw.requires_grad]
        if _flat_grad(found.values[rows].sum(), latents, None).any():
            continue
        centre = prior.mean.detach()
        if torch.broadcast_shapes(centre.shape, z.shape) != z.shape:
            # As the prior of a component, which has a centre for each value of another site.
            continue
        tangent[start : start + size] = (z.detach() - centre).flatten()
        target = -push(tangent)
        for (role, _), where in found.slices.items():
            if role == "guide":
                target[where] = 0
        target[rows] = 0
        scaled = _numpy(_scaled_guide(guide_sites[name], centre))
        target[found.slices["guide", name]] = scaled
        rescaling[name] = target, 1.0 if isinstance(prior, Laplace) else 2.0
    arrays = {name: _numpy(p) for name, p in params.items()}
    jacobian = Jacobian(jvp, vjp, len(values))
    return Linearised(list(model_sites), arrays, jacobian, natural, rescaling, reasons)


class _Rows(NamedTuple):
    values: Tensor
    slices: dict[tuple[str, str], slice]


def _rows(model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]) -> _Rows:
    """The parameters of all distributions, those of each kind divided by their size."""
    parts: list[Tensor] = []
    slices: dict[tuple[str, str], slice] = {}
    count = 0

    def add(role: str, name: str, tensors: Iterable[Tensor]) -> None:
        nonlocal count
        start = count
        for tensor in tensors:
            if tensor.is_floating_point():
                parts.append(_sampled(tensor / _size(tensor)))
                count += len(parts[-1])
        slices[role, name] = slice(start, count)

    for name, site in model_sites.items():
        natural = natural_parameters(site["fn"])
        if natural is None:
            add("kept", name, parameters_of(site["fn"]))
        else:
            add("natural", name, natural.scaled)
            add("kept", name, natural.kept)
    for name, site in guide_sites.items():
        fn = unwrapped(site["fn"])
        if isinstance(fn, Normal | MultivariateNormal):
            add("guide", name, _location_and_scale(fn))
        else:
            add("kept guide", name, parameters_of(site["fn"]))
    return _Rows(torch.cat(parts), slices)


def _scaled_guide(site: Site, centre: Tensor) -> Tensor:
    """What scaling the draws of a guide's site about `centre` does to its rows."""
    loc, scale = _location_and_scale(unwrapped(site["fn"]))
    changes = (loc - centre.expand(loc.shape)) / _size(loc), scale / _size(scale)
    return torch.cat([_sampled(change) for change in changes])


def _location_and_scale(fn: Any) -> tuple[Tensor, Tensor]:
    return fn.loc, fn.scale if isinstance(fn, Normal) else fn.scale_tril


def _size(tensor: Tensor) -> Tensor:
    size = tensor.detach().square().mean().sqrt()
    return torch.where(size > 0, size, torch.ones_like(size))


def _sampled(tensor: Tensor) -> Tensor:
    # Of a large distribution some of the rows do.
    return tensor.flatten()[torch.as_tensor(sampled_rows(tensor.numel()), device=tensor.device)]


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
