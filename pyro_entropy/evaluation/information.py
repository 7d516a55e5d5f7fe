"""How much a latent says of its data point: a criterion of posterior collapse."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
import xarray as xr
from torch import Tensor

from entropy_core.checks import check_positive_int, expected
from entropy_core.evaluation.information import (
    check_latent,
    check_latents,
    chunks,
    information_group,
)
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import LatentTerms
from pyro_entropy.elbos.aggregate import pairwise_log_prob
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.operations import log_sum_exp, to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.latents import latent_terms
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import trace_pair
from pyro_entropy.traces.sites import Site
from pyro_entropy.traces.terms import site_terms


@torch.no_grad()
def mutual_information(
    model: Callable,
    guide: Callable,
    batch: Tensor | tuple | list | Mapping[str, Any],
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
        model: The model.
        guide: The guide, with one latent site.
        batch: The data points: a tensor, or the arguments of model and guide, as in
            `EntropySumDiagnostic.run`.
        num_particles: The number of draws for each data point.
        data_plate: See `EntropySumDiagnostic`.

    Returns:
        `total`, of all latents together, and its `bound` `log B`; and where the latents come apart
        in guide and prior, for each of them `mutual_information`, `kl` and what is left of it,
        `marginal_kl`.

    Raises:
        ValueError: If `num_particles` is no positive integer, the batch has fewer than two data
            points, or NaN or infinite entries, or the guide has several latent sites, or a masked
            one, or one that is not in the data plate alone.

    Example:
        >>> from pyro_entropy import VAE1
        >>> vae = VAE1(4, 2)
        >>> found = mutual_information(vae.model, vae.guide, torch.rand(50, 4))
        >>> found["bound"].item()  # log 50
        3.912...
    """
    check_positive_int(num_particles, "num_particles")
    (call,) = arguments_of([batch], 1)
    totals, parts = [], []
    with evaluating(model, guide):
        for _ in range(num_particles):
            pair = site_terms(trace_pair(model, guide, *call), entropies=False)
            plate = find_data_plate(pair.records, data_plate)
            check_latents(list(pair.guide))
            (site,) = pair.guide.values()
            check_latent(site.name, site.plates, plate, tuple(site.fn.batch_shape))
            if site.is_masked:
                raise ValueError(expected("no masked latents", "guide", f"'{site.name}'"))
            rows, _ = latent_terms(pair, plate)
            latents: LatentTerms | None = rows[0] if rows else None
            totals.append(_total(site))
            parts.append(_parts(site) if latents else torch.zeros(0))
    size = len(site.value)
    if latents is not None:
        latents = LatentTerms(latents.site, None, None, to_numpy(latents.kl), None)
    return information_group(
        to_numpy(torch.stack(totals)), to_numpy(torch.stack(parts)), latents, size, library=pyro
    )


def _total(site: Site) -> Tensor:
    log_prob = pairwise_log_prob(site.fn, site.value)
    return (log_prob.diagonal() - log_sum_exp(log_prob)).mean() + math.log(len(log_prob))


def _parts(site: Site) -> Tensor:
    q, z = elementwise(site.fn), site.value
    own, size = q.log_prob(z).reshape(len(z), -1), len(z)
    sums = torch.zeros_like(own[0])
    for rows in chunks(size, own.shape[1]):
        log_prob = q.log_prob(z[rows].unsqueeze(1)).reshape(len(z[rows]), size, -1)
        sums = sums + (own[rows] - log_prob.logsumexp(1)).sum(0)
    return sums / size + math.log(size)
