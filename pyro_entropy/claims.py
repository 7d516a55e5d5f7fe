"""What the theorem claims for each site of a Pyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from torch import Tensor
from torch.distributions import Laplace, MultivariateNormal, Normal

from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.claims import (
    Evidence,
    Jacobian,
    Linearised,
    SiteClaim,
    explain,
    mean_evidence,
    sampled_rows,
)
from entropy_core.terms import elbo_terms
from pyro_entropy.data import arguments_of, evaluating
from pyro_entropy.elbos.base import check_reparameterised
from pyro_entropy.natural import natural_parameters, parameters_of, unwrapped
from pyro_entropy.terms import Site, sample_sites, site_terms

Params = dict[str, Tensor]


def explain_residuals(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    tolerance: float = 1e-3,
    data_plate: str | None = None,
) -> list[SiteClaim]:
    """What the theorem claims for each site of a model, and whether it has converged.

    The residual `r_s = E_q[log p_s] + H[p_s]` of a site is the derivative of the ELBO along a
    direction of the parameters that scales the site's natural parameters and moves nothing else,
    where there is one (Damm et al. 2023, Theorems 1 to 3; Luecke 2022). That direction is looked
    for numerically at the draws of the first batch, in any parametrisation; for a fixed normal or
    Laplace prior it scales the latents in the guide and undoes that in their children. The claim is
    about a stationary point of the ELBO on these data.

    Args:
        model: The model.
        guide: The guide, with reparameterised draws.
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or tuples of arguments to model and guide. The first one needs more
            data points than a site's direction has parameters.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        num_particles: The number of draws from the guide for each data point.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, or the guide lacks a latent site of the model.
        NotImplementedError: If a site of the guide has no reparameterised draws.

    Example:
        >>> from pyro_entropy import VAE1
        >>> vae = VAE1(4, 2, hidden=())
        >>> for claim in explain_residuals(vae.model, vae.guide, torch.rand(100, 4)):
        ...     print(*claim.sites, claim.verdict)
        z not converged
        x not converged
    """
    check_number(tolerance, "tolerance")
    check_positive_int(num_particles, "num_particles")
    at, evidence, weights = None, [], []
    with evaluating(model, guide), torch.enable_grad():
        for args in arguments_of(batches, batch_size):
            if at is None:
                params = _params(model, guide, args)
                at = _linearise(model, guide, params, args)
                solved = torch.finfo(next(iter(params.values())).dtype).eps ** 0.4
            for _ in range(num_particles):
                evidence.append(_evidence(model, guide, params, args, data_plate))
                weights.append(len(args[0]) if args and isinstance(args[0], Tensor) else 1)
    if at is None:
        raise ValueError(expected("at least one batch", "batches", "none"))
    return explain(at, mean_evidence(evidence, weights), tolerance=tolerance, solved=solved)


class _Rows(NamedTuple):
    values: Tensor
    slices: dict[tuple[str, str], slice]


def _params(model: Callable, guide: Callable, args: tuple) -> Params:
    """The unconstrained parameters that SVI would train."""
    with poutine.trace(param_only=True) as capture:
        get_importance_trace("flat", float("inf"), model, guide, args, {})
    sites: dict[str, Any] = capture.trace.nodes
    found = {name: site["value"].unconstrained() for name, site in sites.items()}
    trained = {n: p for n, p in found.items() if p.requires_grad and p.is_floating_point()}
    if not trained:
        raise ValueError(expected("parameters that can be trained", "model` and `guide", "none"))
    return trained


def _evidence(
    model: Callable, guide: Callable, params: Params, args: tuple, data_plate: str | None
) -> Evidence:
    traces = get_importance_trace("flat", float("inf"), model, guide, args, {})
    check_reparameterised(traces[1])
    terms = elbo_terms(site_terms(*traces), data_plate)
    grads = torch.autograd.grad(terms.elbo, list(params.values()), allow_unused=True)
    flat = [
        torch.zeros_like(p) if g is None else g for p, g in zip(params.values(), grads, strict=True)
    ]
    return Evidence(
        _numpy(torch.cat([g.flatten() for g in flat])),
        {name: value.item() for name, value in terms.residuals.items()},
        {},
    )


def _linearise(model: Callable, guide: Callable, params: Params, args: tuple) -> Linearised:
    guide_trace = poutine.trace(guide).get_trace(*args)
    guide_sites = sample_sites(guide_trace)
    fixed, draws = guide_trace.copy(), {}
    for name, site in guide_sites.items():
        draws[name] = site["value"].detach().requires_grad_(site["value"].is_floating_point())
        fixed.nodes[name] = cast(Any, {**site, "value": draws[name]})
    model_trace = poutine.trace(poutine.replay(model, trace=fixed)).get_trace(*args)
    model_sites = sample_sites(model_trace)
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
