"""How good a trained model is: log-likelihoods of data, beyond the bound that trained it."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from jax import random
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_outside
from entropy_core.evaluation.likelihood import LogLikelihood, chunk_sizes
from entropy_core.evaluation.weights.sums import WeightSums
from numpyro_entropy.compiled import compiled
from numpyro_entropy.elbos.iwae import IWAE_ELBO
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments, outside_support
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import trace_pair


def log_likelihood(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    num_particles: int = 5000,
    chunk_size: int = 100,
    batch_size: int = 100,
    data_plate: str | None = None,
) -> LogLikelihood:
    """The log-likelihood of each data point, by importance sampling from the guide.

        log p(x_n) ~ log 1/K sum_k p(x_n, z_nk) / q(z_nk|x_n),    z_nk ~ q(z|x_n)

    Burda et al. 2016, Eq. 8. The average is an unbiased estimate of `p(x_n)`; its logarithm is
    biased low, by about `Var(w_n) / (2 K p(x_n)^2)` in expectation: a stochastic lower bound.
    Pareto's k says of each data point whether to trust it: above 0.7 neither the value nor its
    standard error can be (Vehtari et al. 2024). No scale of a plate or handler enters.

    What is held does not grow with `num_particles`, but for some `sqrt(K)` weights of each data
    point in a batch: the draws come and go in chunks. A last chunk or batch of another size is
    compiled for itself.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model; one plate must hold all of its sites.
        guide: The guide.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        num_particles: The number of draws for each data point, `K`. With one there is no standard
            error, and with fewer than 25 no Pareto's k.
        chunk_size: The number of draws for each data point to hold at once.
        batch_size: How many data points to look at together, where `batches` is an array.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The values in the order of the data, with their errors, and how far they are above the ELBO.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries or observations
            outside their support, a log-weight is NaN, a number is no positive integer, `params`
            are not complete, a site is outside the plate over data points, or the guide lacks a
            latent site of the model.
        NotImplementedError: If a site of the guide has no reparameterised draws.

    Example:
        >>> from numpyro_entropy import VAE1, log_likelihood
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> params, x = vae.init(key), random.uniform(key, (8, 4))
        >>> estimate = log_likelihood(key, params, vae.model, vae.guide, x, num_particles=200)
        >>> estimate.values.shape
        (8,)
        >>> bool(estimate.standard_error < 0.2)
        True
    """
    sizes = chunk_sizes(num_particles, chunk_size)

    def chunk(
        size: int, batch_key: Array, chunk_key: Array, params: Params, call: Arguments
    ) -> tuple[Array, dict[str, Array]]:
        pair = trace_pair(batch_key, params, model, guide, *call)
        # All chunks see the same data points, where a plate draws them.
        bound = IWAE_ELBO(size, data_plate=data_plate).lean()
        params = {**params, **pair.rows}
        values = bound.log_weights(chunk_key, params, model, guide, *call.args, **call.kwargs)
        return values, outside_support(pair)

    # The last one may be smaller.
    chunks = {size: compiled(partial(chunk, size)) for size in set(sizes)}
    parts = []
    with evaluating(model, guide):
        calls = checked_arguments(params, model, guide, batches, batch_size)
        for i, call in enumerate(calls):
            batch_key, draws_key = random.split(random.fold_in(rng_key, i))
            sums = WeightSums(num_particles)
            for j, size in enumerate(sizes):
                values, outside = fetched(
                    chunks[size](batch_key, random.fold_in(draws_key, j), params, call)
                )
                check_outside(outside)
                sums.add(values)
            parts.append(sums.log_likelihood())
    return LogLikelihood.concatenate(parts)
