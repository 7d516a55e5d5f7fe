"""The bound with a Gaussian likelihood whose variances are read from the batch."""

from typing import Any, NamedTuple


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
