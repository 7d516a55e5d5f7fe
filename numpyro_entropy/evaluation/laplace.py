"""The log evidence of a Gaussian model by its decoder's Jacobian, read from its traces."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float
from numpyro.distributions import Normal

from entropy_core.arguments import Arguments
from entropy_core.checks import check_outside, expected
from entropy_core.evaluation import laplace
from entropy_core.evaluation.laplace import ConstantVariancePenalty, GaussNewton
from entropy_core.traces.batch import batch_sites, observed_site
from numpyro_entropy.compiled import compiled
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments, outside_support
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.normals import normal_of, rows
from numpyro_entropy.traces.pairs import trace_model, trace_pair
from numpyro_entropy.traces.terms import site_terms


def laplace_log_evidence(
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
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
        params: The parameters of model and guide.
        model: The model, with one latent and one observed site, both normal, in the data plate.
        guide: The guide; the latents are taken at the mean of its distribution.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        batch_size: How many data points to look at together, where `batches` is an array.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The values in the order of the data, float64, in nats.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries or observations
            outside their support, `params` are not complete, or the model is not such a one.

    Example:
        >>> from numpyro_entropy import LinearVAE, laplace_log_evidence
        >>> vae, key = LinearVAE(4, 2), random.key(0)
        >>> x = random.uniform(key, (8, 4))
        >>> laplace_log_evidence(vae.init(key), vae.model, vae.guide, x).shape
        (8,)
    """
    parts = _gauss_newton(params, model, guide, batches, batch_size, data_plate)
    return np.concatenate([laplace.log_evidence(part) for part in parts])


def constant_variance_penalty(
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 100,
    data_plate: str | None = None,
) -> ConstantVariancePenalty:
    """What a constant encoder variance costs, `1/4 E tr[(A Abar^-1 - I)^2]`.

    Fyffe 2020, Eq. 22, with the precision `A = S^-2 + J^T R^-1 J` of the posterior and
    `Abar = E A`, to second order in their difference. It holds `N H^2` numbers.

    Args:
        params: The parameters of model and guide.
        model: The model, as for `laplace_log_evidence`.
        guide: The guide; the latents are taken at the mean of its distribution.
        batches: The data, as for `laplace_log_evidence`.
        batch_size: How many data points to look at together, where `batches` is an array.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The penalty in nats per data point, and the best constant covariance `Abar^-1`.

    Raises:
        ValueError: As `laplace_log_evidence` does.

    Example:
        >>> from numpyro_entropy import LinearVAE, constant_variance_penalty
        >>> vae, key = LinearVAE(4, 2), random.key(0)
        >>> pair = vae.init(key), vae.model, vae.guide, random.uniform(key, (8, 4))
        >>> penalty, covariance = constant_variance_penalty(*pair)  # a linear decoder has one A
        >>> round(penalty, 6), covariance.shape
        (0.0, (2, 2))
    """
    parts = _gauss_newton(params, model, guide, batches, batch_size, data_plate)
    return laplace.penalty(laplace.precision(part) for part in parts)


def _gauss_newton(
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    batch_size: int,
    data_plate: str | None,
) -> list[GaussNewton]:
    @compiled
    def expand(params: Params, call: Arguments) -> tuple[GaussNewton, dict[str, Array]]:
        return _expand(params, model, guide, call, data_plate)

    found = []
    with evaluating(model, guide):
        for call in checked_arguments(params, model, guide, batches, batch_size):
            part, outside = fetched(expand(params, call))
            check_outside(outside)
            found.append(part)
    if not found:
        raise ValueError(expected("at least one batch", "batches", "none"))
    return found


def _expand(
    params: Params, model: Callable, guide: Callable, call: Arguments, data_plate: str | None
) -> tuple[GaussNewton, dict[str, Array]]:
    # A key for draws that are replaced by means.
    key = random.key(0)
    pair = site_terms(trace_pair(key, params, model, guide, *call), entropies=False)
    batch = batch_sites(pair.records, data_plate, smallest=1)
    latent, observed = batch.prior.name, observed_site(batch).name
    prior = normal_of(pair.model[latent], "model")
    guide_site = pair.guide[latent]
    z = jnp.broadcast_to(guide_site.fn.mean, guide_site.value.shape)

    def decoded(z: Array) -> tuple[Any, Any]:
        held = {**pair.rows, latent: guide_site.holding(z)}
        site = trace_model(key, params, model, *call, values=held)[observed]
        return site, normal_of(site, "model")

    def means(z: Array) -> Array:
        site, likelihood = decoded(z)
        return rows(site, likelihood.mean)

    site, likelihood = decoded(z)
    if not isinstance(likelihood, Normal):
        what = "a normal distribution with a diagonal covariance"
        got = f"site '{observed}', {type(likelihood).__name__}"
        raise ValueError(expected(what, "model", got))
    # One product for each latent; the data points do not see each other.
    flat = rows(guide_site, z)
    tangents = jnp.eye(flat.shape[1], dtype=flat.dtype)[:, None] * jnp.ones_like(flat)
    _, product = jax.linearize(means, z)
    columns = jax.vmap(product)(tangents.reshape(-1, *z.shape))
    if isinstance(prior, Normal):
        covariance = jax.vmap(jnp.diag)(rows(guide_site, prior.variance))
    else:
        covariance = jnp.broadcast_to(prior.covariance_matrix, (*flat.shape, flat.shape[1]))
    expansion = GaussNewton(
        deviation=rows(guide_site, z - prior.mean),
        prior_covariance=covariance,
        residual=rows(site, site.value - likelihood.mean),
        variance=rows(site, likelihood.variance),
        jacobian=jnp.moveaxis(columns, 0, -1),
    )
    return expansion, outside_support(pair)
