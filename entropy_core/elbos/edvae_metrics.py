"""The numbers by which the ED-VAE was judged, from the terms of the entropy-decomposed bound."""

import math
from typing import Any, NamedTuple

from entropy_core.checks import check_number, check_positive_int
from entropy_core.elbos.edvae import EDVAETerms


class EDVAEMetrics(NamedTuple):
    """The metrics of Lygerakis and Rueckert 2024, Table II, each in both readings.

    Args:
        mse: `E_q|x - mu(z)|^2`, the sum over the features, as a mean over the data.
        kl: `mean_n KL(q(z|x_n) || p(z))`, in nats.
        marginal_kl: `KL(q(z) || p(z))` of the aggregate posterior, by the estimate of its entropy.
    """

    mse: Any
    kl: Any
    marginal_kl: Any

    @property
    def elbo(self) -> Any:
        """The paper's "ELBO = -MSE - KLD", with `kl`: no bound, as no variance gives this MSE."""
        return -self.mse - self.kl

    @property
    def marginal_elbo(self) -> Any:
        """The same with `marginal_kl`; it leaves the mutual information out."""
        return -self.mse - self.marginal_kl


def edvae_metrics(terms: EDVAETerms, data_dim: int, *, variance: float = 0.5) -> EDVAEMetrics:
    """The metrics of a model whose likelihood is normal with one constant variance.

    The paper does not say whether its MSE is a sum over features, nor whether its KLD is that of
    the guide, as for a VAE, or that of the aggregate posterior, which its own objective has.

    Args:
        terms: Those of `EDVAE_ELBO(...).terms`, with any estimates.
        data_dim: The number of features, `D`.
        variance: The variance of the likelihood; the paper's loss is that of 1/2.

    Raises:
        ValueError: If `data_dim` is no positive integer, or `variance` is not positive.

    Example:
        >>> import math
        >>> terms = EDVAETerms(0, -2 - 2 * math.log(math.pi), 1.5, 6.0, 6.25, 0, 1.75, 0)
        >>> found = edvae_metrics(terms, 4)
        >>> round(found.mse, 6), found.kl, found.marginal_kl, round(found.elbo, 6)
        (2.0, 2.0, 0.25, -4.0)
    """
    check_positive_int(data_dim, "data_dim")
    check_number(variance, "variance")
    constant = 0.5 * data_dim * math.log(2 * math.pi * variance)
    marginal_kl = terms.cross_entropy - terms.aggregate_entropy
    return EDVAEMetrics(
        mse=-2 * variance * (terms.reconstruction_term + constant),
        kl=marginal_kl + terms.aggregate_information,
        marginal_kl=marginal_kl,
    )
