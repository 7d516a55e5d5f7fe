"""The log evidence of a Gaussian model by its decoder's Jacobian, read from its traces."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.functional import jvp
from torch.distributions import Normal

from entropy_core.arguments import Arguments
from entropy_core.checks import check_outside, expected
from entropy_core.evaluation import laplace
from entropy_core.evaluation.laplace import ConstantVariancePenalty, GaussNewton
from entropy_core.traces.batch import batch_sites, observed_site
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of, outside_support
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.normals import normal_of, rows
from pyro_entropy.traces.pairs import trace_model, trace_pair
from pyro_entropy.traces.terms import site_terms


def laplace_log_evidence(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    batch_size: int = 100,
    data_plate: str | None = None,
) -> Float[np.ndarray, " N"]:
    """The log evidence of each data point by the decoder's Jacobian `J` at the guide's mean `z`.

        -1/2 ( D log 2 pi + |S^-1 z|^2 + (x - mu)^T R^-1 (x - mu) + log|R|
               + log|I + S J^T R^-1 J S| )

    Fyffe 2020, Eqs. 16 and 26, with prior `N(0, S^2)` and likelihood `N(mu(z), R)`. It is exact for
    a linear decoder at the mean of the posterior; otherwise it is the Gauss-Newton form of
    Laplace's approximation (the paper's word is "exact"), and single data points may be off by
    nats. It bounds nothing.

    Args:
        model: The model, with one latent and one observed site, both normal, in the data plate.
        guide: The guide; the latents are taken at the mean of its distribution.
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The values in the order of the data, float64, in nats.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries or observations
            outside their support, or the model is not such a one.

    Example:
        >>> from pyro_entropy import LinearVAE, laplace_log_evidence
        >>> vae = LinearVAE(4, 2)
        >>> laplace_log_evidence(vae.model, vae.guide, torch.rand(8, 4)).shape
        (8,)
    """
    parts = _gauss_newton(model, guide, batches, batch_size, data_plate)
    return np.concatenate([laplace.log_evidence(part) for part in parts])


def constant_variance_penalty(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    *,
    batch_size: int = 100,
    data_plate: str | None = None,
) -> ConstantVariancePenalty:
    """What a constant encoder variance costs, `1/4 E tr[(A Abar^-1 - I)^2]`.

    Fyffe 2020, Eq. 22, with the precision `A = S^-2 + J^T R^-1 J` of the posterior and
    `Abar = E A`, to second order in their difference. It holds `N H^2` numbers.

    Args:
        model: The model, as for `laplace_log_evidence`.
        guide: The guide; the latents are taken at the mean of its distribution.
        batches: The data, as for `laplace_log_evidence`.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The penalty in nats per data point, and the best constant covariance `Abar^-1`.

    Raises:
        ValueError: As `laplace_log_evidence` does.

    Example:
        >>> from pyro_entropy import LinearVAE, constant_variance_penalty
        >>> vae = LinearVAE(4, 2)  # of a linear decoder all precisions are the same
        >>> penalty, covariance = constant_variance_penalty(vae.model, vae.guide, torch.rand(8, 4))
        >>> round(penalty, 6), covariance.shape
        (0.0, (2, 2))
    """
    parts = _gauss_newton(model, guide, batches, batch_size, data_plate)
    return laplace.penalty(laplace.precision(part) for part in parts)


@torch.no_grad()
def _gauss_newton(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
    batch_size: int,
    data_plate: str | None,
) -> list[GaussNewton]:
    with evaluating(model, guide):
        found = [
            _expand(model, guide, call, data_plate) for call in arguments_of(batches, batch_size)
        ]
    if not found:
        raise ValueError(expected("at least one batch", "batches", "none"))
    return found


def _expand(
    model: Callable, guide: Callable, call: Arguments, data_plate: str | None
) -> GaussNewton:
    pair = site_terms(trace_pair(model, guide, *call), entropies=False)
    check_outside(outside_support(pair))
    batch = batch_sites(pair.records, data_plate, smallest=1)
    latent, observed = batch.prior.name, observed_site(batch).name
    prior = normal_of(pair.model[latent], "model")
    guide_site = pair.guide[latent]
    z = guide_site.fn.mean

    def decoded(z: Tensor) -> tuple[Any, Any]:
        site = trace_model(model, *call, values={**pair.rows, latent: z})[observed]
        return site, normal_of(site, "model")

    def means(z: Tensor) -> Tensor:
        site, likelihood = decoded(z)
        return rows(site, likelihood.mean)

    site, likelihood = decoded(z)
    if not isinstance(likelihood, Normal):
        what = "a normal distribution with a diagonal covariance"
        raise ValueError(expected(what, "model", f"site '{observed}', {likelihood}"))
    # One product for each latent; the data points do not see each other.
    flat = rows(guide_site, z)
    columns = [
        jvp(means, z, basis.expand(flat.shape).reshape(z.shape))[1]
        for basis in torch.eye(flat.shape[1]).to(flat)
    ]
    if isinstance(prior, Normal):
        covariance = torch.diag_embed(rows(guide_site, prior.variance))
    else:
        covariance = prior.covariance_matrix.expand(*flat.shape, flat.shape[1])
    parts = (
        rows(guide_site, z - prior.mean),
        covariance,
        rows(site, site.value - likelihood.mean),
        rows(site, likelihood.variance),
        torch.stack(columns, -1),
    )
    return GaussNewton(*(to_numpy(part) for part in parts))
