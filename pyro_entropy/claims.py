"""What the theorem claims for each site of a Pyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.enum import get_importance_trace
from torch import Tensor

from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.claims import Evidence, SiteClaim, explain, mean_evidence
from entropy_core.records import SiteTerms
from entropy_core.terms import elbo_terms, find_data_plate
from pyro_entropy.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.data import arguments_of, evaluating
from pyro_entropy.elbos.base import check_reparameterised
from pyro_entropy.linearised import Params, linearise
from pyro_entropy.terms import Site, sample_sites, site_terms


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
                at = linearise(model, guide, params, args)
                solved = torch.finfo(next(iter(params.values())).dtype).eps ** 0.4
            for _ in range(num_particles):
                evidence.append(_evidence(model, guide, params, args, data_plate))
                weights.append(len(args[0]) if args and isinstance(args[0], Tensor) else 1)
    if at is None:
        raise ValueError(expected("at least one batch", "batches", "none"))
    return explain(at, mean_evidence(evidence, weights), tolerance=tolerance, solved=solved)


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
    sites = site_terms(*traces)
    terms = elbo_terms(sites, data_plate)
    grads = torch.autograd.grad(terms.elbo, list(params.values()), allow_unused=True)
    flat = [
        torch.zeros_like(p) if g is None else g for p, g in zip(params.values(), grads, strict=True)
    ]
    return Evidence(
        torch.cat([g.flatten() for g in flat]).double().cpu().numpy(),
        {name: value.item() for name, value in terms.residuals.items()},
        _base_measures(sample_sites(traces[0]), sites, data_plate),
    )


def _base_measures(
    model_sites: Mapping[str, Site], sites: list[SiteTerms], data_plate: str | None
) -> dict[str, float]:
    """`E_q[log h(v)] - E_q E_p[log h]` of the sites whose base measure is not constant."""
    plate, found = find_data_plate(sites, data_plate), {}
    for record in sites:
        if record.role not in ("prior", "decoder"):
            continue
        site = model_sites[record.name]
        at_draw = log_base_measure(site["fn"], site["value"])
        mean = mean_log_base_measure(site["fn"])
        if at_draw is not None and mean is not None:
            values = scale_and_mask(at_draw - mean, mask=site["mask"])
            found[record.name] = record.total(values).item() / (plate.full_size if plate else 1)
    return found
