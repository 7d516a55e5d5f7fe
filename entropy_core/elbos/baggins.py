"""The bound with a Gaussian likelihood whose variances are read from the batch."""

import math
from typing import Any, NamedTuple

from entropy_core.operations import Operations
from entropy_core.traces.batch import BatchSites, LatentRows
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sums import elbo


class BAGGINSTerms(NamedTuple):
    """A bound with the BAGGINS likelihood, and what it is made of, in nats per data point.

    Args:
        bound: `prior_term + reconstruction_term`.
        prior_term: Minus the KL divergence from the encoder to the prior.
        reconstruction_term: `E_q[log p(x|z)]` with the variances `R`.
        prior_variance: `S^2` of the batch, of shape `(H,)`.
        decoder_variance: The mean of `R` over the batch.
        elbo: The ELBO with the model's own prior and likelihood, from the same draws.
    """

    bound: Any
    prior_term: Any
    reconstruction_term: Any
    prior_variance: Any
    decoder_variance: Any
    elbo: Any


class BAGGINSParts(NamedTuple):
    """The two terms of the batch and the variances in them."""

    prior_term: Any
    likelihood: Any
    prior_variance: Any
    decoder_variance: Any


def baggins_parts(
    batch: BatchSites,
    latent: LatentRows,
    residuals: Any,
    information_factor: float,
    *,
    floating: bool,
    ops: Operations,
) -> BAGGINSParts:
    """The terms of Fyffe 2020, Eq. 30, in nats per data point.

    `R_i = kappa |x_i - mu(z_i)|^2 / tr(Sigma_i^-1 S^2)`, one for each example (Eq. 29).

    Args:
        batch: The records.
        latent: The latents, with a constant variance where the prior floats.
        residuals: `x_i - mu(z_i)`, of shape `(R, D)`.
        information_factor: `kappa`.
        floating: Whether the prior is the best one of the batch, or the model's own.
        ops: The host's functions.
    """
    s2 = latent.second_moments
    information = (s2 / latent.variance).sum(-1)  # tr(Sigma_i^-1 S^2)
    variance = information_factor * (residuals**2).sum(-1) / information

    def mean(values: Any) -> Any:
        return latent.across.average(values.mean(), len(residuals))

    likelihood = -0.5 * (
        residuals.shape[-1] * mean(ops.log(2 * math.pi * variance))
        + mean(information) / information_factor
    )
    if floating:
        prior_term = -0.5 * ops.log(s2 / latent.variance).sum()
    else:
        prior_term = batch.per_datum([batch.encoder, batch.prior])
    return BAGGINSParts(prior_term, likelihood, s2, mean(variance))


def baggins_bound(
    batch: BatchSites, observed: SiteTerms, parts: BAGGINSParts, *, floating: bool
) -> Any:
    """The bound, in nats, summed over the plates and scaled as the host does."""
    own = [batch.encoder, batch.prior]
    prior_term = batch.scale * parts.prior_term if floating else elbo(own)
    num_data = observed.handler_scale * batch.plate.full_size
    others = [site for site in batch.others if site is not observed]
    return prior_term + num_data * parts.likelihood + elbo(others)


def baggins_terms(batch: BatchSites, observed: SiteTerms, parts: BAGGINSParts) -> BAGGINSTerms:
    """The bound and its parts, in nats per data point."""
    others = batch.per_datum([site for site in batch.others if site is not observed])
    reconstruction_term = parts.likelihood + others
    return BAGGINSTerms(
        bound=parts.prior_term + reconstruction_term,
        prior_term=parts.prior_term,
        reconstruction_term=reconstruction_term,
        prior_variance=parts.prior_variance,
        decoder_variance=parts.decoder_variance,
        elbo=batch.elbo,
    )
