"""Bounds of a constant encoder variance under a prior that floats with the batch."""

from typing import Any, NamedTuple

from entropy_core.across import ALONE, Across
from entropy_core.operations import Operations
from entropy_core.traces.batch import BatchSites, LatentRows
from entropy_core.traces.sums import elbo


class BILBOTerms(NamedTuple):
    """A bound with a floating prior, and what it is made of, in nats per data point.

    Args:
        bound: `prior_term + reconstruction_term`.
        prior_term: Minus the KL divergence from the encoder to the floating prior of the batch.
        reconstruction_term: `E_q[log p(x|z)]`.
        prior_variance: `S^2` of the batch, of shape `(H,)` or `(H, H)`.
        elbo: The ELBO with the model's own prior and likelihood, from the same draws.
    """

    bound: Any
    prior_term: Any
    reconstruction_term: Any
    prior_variance: Any
    elbo: Any


def batch_moments(loc: Any, full_covariance: bool, across: Across = ALONE) -> Any:
    """`M_B = E_B[m m^T]` or its diagonal, from means `(R, H)` (Fyffe 2020, Sec. 4.3)."""
    moments = loc.mT @ loc / len(loc) if full_covariance else (loc**2).mean(0)
    return across.average(moments, len(loc))


def bilbo_prior_term(latent: LatentRows, full_covariance: bool, ops: Operations) -> Any:
    """`-1/2 log|I + Sigma^-1 M_B|`, in nats per data point (Fyffe 2020, Eqs. 23 and 24)."""
    loc, variance, across = latent
    if not full_covariance:
        return -0.5 * ops.log1p(batch_moments(loc, False, across) / variance).sum()
    whitened = batch_moments(loc / variance**0.5, True, across)
    return -0.5 * ops.log_det(ops.eye_like(whitened) + whitened)


def constant_variance_prior_term(latent: LatentRows, full_covariance: bool, ops: Operations) -> Any:
    """`1/2 (log|e S^-2 Sigma| - tr S^-2 Sigma - E_B|S^-1 m|^2)` (Fyffe 2020, Eqs. 2 and 4)."""
    loc, variance, across = latent
    moments = batch_moments(loc, full_covariance, across)
    if not full_covariance:
        s2 = variance + moments
        return 0.5 * (1 + ops.log(variance / s2) - variance / s2 - moments / s2).sum()
    s2 = ops.diag(variance) + moments
    traces = (ops.solve(s2, ops.diag(variance)) * ops.eye_like(s2)).sum()
    squares = across.average((ops.solve(s2, loc.mT) * loc.mT).sum(0).mean(), len(loc))
    return 0.5 * (len(s2) + ops.log(variance).sum() - ops.log_det(s2) - traces - squares)


def floating_bound(batch: BatchSites, prior_term: Any) -> Any:
    """The bound with that prior term, in nats, summed over the plates and scaled."""
    return batch.scale * prior_term + elbo(batch.others)


def floating_terms(
    batch: BatchSites, latent: LatentRows, prior_term: Any, full_covariance: bool, ops: Operations
) -> BILBOTerms:
    """The bound with that prior term and its parts, in nats per data point."""
    reconstruction_term = batch.per_datum(batch.others)
    sigma = ops.diag(latent.variance) if full_covariance else latent.variance
    return BILBOTerms(
        bound=prior_term + reconstruction_term,
        prior_term=prior_term,
        reconstruction_term=reconstruction_term,
        prior_variance=sigma + batch_moments(latent.loc, full_covariance, latent.across),
        elbo=batch.elbo,
    )
