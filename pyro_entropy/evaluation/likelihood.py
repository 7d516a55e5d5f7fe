"""How good a trained model is: log-likelihoods of data, beyond the bound that trained it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from entropy_core.checks import check_outside
from entropy_core.evaluation.likelihood import LogLikelihood, chunk_sizes
from entropy_core.evaluation.weights.sums import WeightSums
from pyro_entropy.capture.weights import CapturedWeights
from pyro_entropy.elbos.iwae import IWAE_ELBO
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of, outside_support
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import run_pair


@torch.no_grad()
def log_likelihood(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
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
    point in a batch: the draws come and go in chunks. Modules are in evaluation mode.

    Where there is much to do, chunks are replayed from a graph of the tensor operations of model
    and guide, as in `CapturedLoss`: the draws are the same, and the values but for rounding. Model
    and guide are run as they are where the graph differs from them or none can stand for them.

    Args:
        model: The model; one plate must hold all of its sites.
        guide: The guide.
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        num_particles: The number of draws for each data point, `K`. With one there is no standard
            error, and with fewer than 25 no Pareto's k.
        chunk_size: The number of draws for each data point to hold at once.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        The values in the order of the data, with their errors, and how far they are above the ELBO.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries or observations
            outside their support, a log-weight is NaN, a number is no positive integer, a site is
            outside the plate over data points, or the guide lacks a latent site of the model.
        NotImplementedError: If a site of the guide has no reparameterised draws.

    Example:
        >>> from pyro_entropy import VAE1, log_likelihood
        >>> vae = VAE1(4, 2)
        >>> estimate = log_likelihood(vae.model, vae.guide, torch.rand(8, 4), num_particles=200)
        >>> estimate.values.shape
        (8,)
        >>> bool(estimate.standard_error < 0.2)
        True
    """
    sizes = chunk_sizes(num_particles, chunk_size)
    # One object for each size, since it guesses the nesting of plates only once.
    chunks = {
        size: CapturedWeights(
            IWAE_ELBO(size, data_plate=data_plate), model, guide, sizes.count(size)
        )
        for size in set(sizes)
    }
    parts = []
    with evaluating(model, guide):
        for call in arguments_of(batches, batch_size):
            pair = run_pair(model, guide, *call)
            check_outside(outside_support(pair))
            sums = WeightSums(num_particles)
            for captured in chunks.values():
                captured.next_batch()
            for size in sizes:
                # All chunks see the same data points, where a plate draws them.
                values = chunks[size].log_weights(pair.rows, call.args, call.kwargs)
                sums.add(to_numpy(values))
            parts.append(sums.log_likelihood())
    return LogLikelihood.concatenate(parts)
