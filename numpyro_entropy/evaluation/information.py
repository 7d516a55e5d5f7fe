"""How much a latent says of its data point: a criterion of posterior collapse."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr
from jax import nn, random
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_positive_int, expected
from entropy_core.evaluation.information import (
    check_latent,
    check_latents,
    chunks,
    information_group,
)
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import LatentTerms
from numpyro_entropy.compiled import compiled
from numpyro_entropy.elbos.aggregate import pairwise_log_prob
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.batches import arguments_of
from numpyro_entropy.traces.latents import latent_terms
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import pair_shapes, trace_pair
from numpyro_entropy.traces.sites import Site
from numpyro_entropy.traces.terms import site_terms


def mutual_information(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batch: Array | np.ndarray | tuple | list | Mapping[str, Any],
    *,
    num_particles: int = 10,
    data_plate: str | None = None,
) -> xr.Dataset:
    """The information between a data point and its latents, from the pairs of a batch, in nats.

    One part of the mean divergence from the prior tells data points apart; the other one only moves
    all of them away from the prior (Hoffman and Johnson 2016):

        mean_n KL(q(z|x_n) || p(z)) = I(x; z) + KL(q(z) || p(z))
        I(x; z) = mean_n E_q[log q(z|x_n) - log 1/B sum_j q(z|x_j)]

    with the aggregate `q(z)` of the batch. A batch shows no more than `log B`: an estimate close to
    it says that there is more, and for the data set it is a lower bound in expectation (Poole et
    al. 2019). A collapsed latent has none.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with one latent site.
        batch: The data points: an array, or the arguments of model and guide, as in
            `EntropySumDiagnostic.run`.
        num_particles: The number of draws for each data point.
        data_plate: See `EntropySumDiagnostic`.

    Returns:
        `total`, of all latents together, and its `bound` `log B`; and where the latents come apart
        in guide and prior, for each of them `mutual_information`, `kl` and what is left of it,
        `marginal_kl`.

    Raises:
        ValueError: If `num_particles` is no positive integer, the batch has fewer than two data
            points, or NaN or infinite entries, `params` are not complete, or the guide has several
            latent sites, or a masked one, or one that is not in the data plate alone.

    Example:
        >>> from numpyro_entropy import VAE1
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> x = random.uniform(key, (50, 4))
        >>> found = mutual_information(key, vae.init(key), vae.model, vae.guide, x)
        >>> found["bound"].item()  # log 50
        3.912...
    """
    check_positive_int(num_particles, "num_particles")
    (call,) = arguments_of([batch], 1)
    check_params(params, pair_shapes(model, guide, *call))

    @compiled
    def particle(key: Array, params: Params, call: Arguments) -> tuple:
        pair = site_terms(trace_pair(key, params, model, guide, *call), entropies=False)
        plate = find_data_plate(pair.records, data_plate)
        check_latents(list(pair.guide))
        (site,) = pair.guide.values()
        check_latent(site.name, site.plates, plate, tuple(site.fn.batch_shape))
        if site.is_masked:
            raise ValueError(expected("no masked latents", "guide", f"'{site.name}'"))
        records, _ = latent_terms(pair, plate)
        parts = _parts(site) if records else jnp.zeros(0)
        return _total(site), parts, records, jnp.asarray(len(site.value))

    with evaluating(model, guide):
        found = [
            fetched(particle(key, params, call)) for key in random.split(rng_key, num_particles)
        ]
    totals, parts, records, size = zip(*found, strict=True)
    latents: LatentTerms | None = records[-1][0] if records[-1] else None
    return information_group(
        np.stack(totals), np.stack(parts), latents, int(size[0]), library=numpyro
    )


def _total(site: Site) -> Array:
    log_prob = pairwise_log_prob(site.fn, site.value)
    own = jnp.diagonal(log_prob)
    return (own - nn.logsumexp(log_prob, -1)).mean() + math.log(len(log_prob))


def _parts(site: Site) -> Array:
    q, z = elementwise(site.fn), site.value
    own, size = q.log_prob(z).reshape(len(z), -1), len(z)
    sums = jnp.zeros_like(own[0])
    for rows in chunks(size, own.shape[1]):
        some = z[rows, None]
        # A guide of one width for all data points has it once.
        shape = (len(some), size, *z.shape[1:])
        log_prob = jnp.broadcast_to(q.log_prob(some), shape).reshape(len(some), size, -1)
        sums = sums + (own[rows] - nn.logsumexp(log_prob, axis=1)).sum(0)
    return sums / size + math.log(size)
