"""What the theorem claims for each site of a NumPyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.claims import Evidence, SiteClaim, explain, mean_evidence
from entropy_core.records import SiteTerms
from entropy_core.terms import elbo_terms, find_data_plate
from numpyro_entropy.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.data import arguments_of
from numpyro_entropy.elbos.base import check_reparameterised
from numpyro_entropy.linearised import float_params, linearise
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.terms import Site, sample_sites, site_terms
from numpyro_entropy.traces import get_traces, pair_shapes

Sites = Mapping[str, Site]
Slices = dict[tuple[str, str], slice]


def explain_residuals(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
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
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with reparameterised draws.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or tuples of arguments to model and guide. The first one needs more
            data points than a site's direction has parameters.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of draws from the guide for each data point.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, `params` are not complete, or the guide lacks a latent site of the model.
        NotImplementedError: If a site of the guide has no reparameterised draws.

    Example:
        >>> from numpyro_entropy import VAE1
        >>> vae, key = VAE1(4, 2, hidden=()), random.key(0)
        >>> x = random.uniform(key, (100, 4))
        >>> for claim in explain_residuals(key, vae.init(key), vae.model, vae.guide, x):
        ...     print(*claim.sites, claim.verdict)
        z not converged
        x not converged
    """
    check_number(tolerance, "tolerance")
    check_positive_int(num_particles, "num_particles")

    @jax.jit
    def evidence_of(key: Array, params: Params, args: tuple) -> tuple[Params, Params, Params]:
        def elbo(floats: Params) -> tuple[Array, tuple[Params, Params]]:
            traces, _ = get_traces(key, {**params, **floats}, model, guide, args, {})
            check_reparameterised(traces[1])
            sites = site_terms(*traces, rng_key=key)
            terms = elbo_terms(sites, data_plate)
            measures = _base_measures(sample_sites(traces[0]), sites, data_plate)
            return terms.elbo, (terms.residuals, measures)

        grads, (residuals, measures) = jax.grad(elbo, has_aux=True)(float_params(params))
        return grads, residuals, measures

    at, evidence, weights = None, [], []
    for i, args in enumerate(arguments_of(batches, batch_size)):
        if at is None:
            check_params(params, pair_shapes(model, guide, args, {}))
            if not float_params(params):
                what = "parameters that can be trained"
                raise ValueError(expected(what, "model` and `guide", "none"))
            at = linearise(rng_key, params, model, guide, args)
        for key in random.split(random.fold_in(rng_key, i), num_particles):
            grads, *parts = jax.device_get(evidence_of(key, params, args))
            gradient = np.asarray(ravel_pytree(grads)[0], np.float64)
            numbers = ({name: float(value) for name, value in part.items()} for part in parts)
            evidence.append(Evidence(gradient, *numbers))
            weights.append(len(args[0]) if args and hasattr(args[0], "shape") else 1)
    if at is None:
        raise ValueError(expected("at least one batch", "batches", "none"))
    solved = float(jnp.finfo(ravel_pytree(float_params(params))[0].dtype).eps ** 0.4)
    return explain(at, mean_evidence(evidence, weights), tolerance=tolerance, solved=solved)


def _base_measures(
    model_sites: Sites, sites: list[SiteTerms], data_plate: str | None
) -> dict[str, Array]:
    """`E_q[log h(v)] - E_q E_p[log h]` of the sites whose base measure is not constant."""
    plate, found = find_data_plate(sites, data_plate), {}
    for record in sites:
        if record.role not in ("prior", "decoder"):
            continue
        site = model_sites[record.name]
        at_draw = log_base_measure(site["fn"], site["value"])
        mean = mean_log_base_measure(site["fn"])
        if at_draw is not None and mean is not None:
            found[record.name] = record.total(at_draw - mean) / (plate.full_size if plate else 1)
    return found
