"""Bounds under a prior that floats with the batch."""

from typing import Any, NamedTuple


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
