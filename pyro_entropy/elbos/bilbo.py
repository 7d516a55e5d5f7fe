"""Bounds of a constant encoder variance under a prior that floats with the batch."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from entropy_core.elbos.bilbo import (
    BILBOTerms,
    bilbo_prior_term,
    constant_variance_prior_term,
    floating_bound,
    floating_terms,
)
from entropy_core.traces.batch import LatentRows, batch_sites
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from pyro_entropy.elbos.base import TermsELBO
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.normals import latent_rows


class FloatingPriorELBO(TermsELBO):
    """Base of the bounds whose prior is `N(0, S^2)` with `S^2 = Sigma + M_B` of the batch.

    Fyffe 2020, Sec. 4.3. The guide's variance `Sigma` must not depend on the data, and the variance
    of the model's own prior does not enter. Means are taken about those of the model's prior.

    The batch couples the data points: there is no loss of one data point, and smaller batches make
    another objective; over several processes `Distributed_ELBO` has `M_B` of the whole batch. The
    prior is the best one for its own batch, so that on a small one the value is too high in
    expectation and bounds nothing: evaluate with the moments of the data set
    (`vae.fit_floating_prior`).

    Args:
        num_particles: The number of draws from the guide.
        full_covariance: Whether `M_B = E_B[m m^T]` is the full matrix (Eq. 23), or its diagonal.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO`.
    """

    replaces_variances = True

    def __init__(
        self, num_particles: int = 1, *args: Any, full_covariance: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        self.full_covariance = full_covariance

    @abstractmethod
    def prior_term(self, latent: LatentRows) -> Tensor:
        """Minus the KL divergence to the floating prior, in nats per data point."""

    def bound(self, pair: Pair) -> Tensor:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        batch = batch_sites(pair.records, self.data_plate)
        return floating_bound(batch, self.prior_term(self._latent(pair, batch.prior)))

    @property
    def no_claim(self) -> str | None:
        """The prior of each batch is its own."""
        return "a prior that floats with the batch"

    def _terms(self, pair: Pair) -> BILBOTerms:
        batch = batch_sites(pair.records, self.data_plate)
        latent = self._latent(pair, batch.prior)
        prior_term = self.prior_term(latent)
        return floating_terms(batch, latent, prior_term, self.full_covariance, OPERATIONS)

    def _latent(self, pair: Pair, site: SiteTerms) -> LatentRows:
        latent = latent_rows(pair.model[site.name], pair.guide[site.name], constant=True)
        return latent._replace(across=site.across)


class BILBO_ELBO(FloatingPriorELBO):
    """The batch information lower bound, `-1/2 log|I + Sigma^-1 M_B| + E_B[E_q[log p(x|z)]]`.

    Fyffe 2020, Eq. 24; with `full_covariance` Eq. 23, which for an isotropic `Sigma` does not
    change under rotations of the latent space, and is never below the other. It is the ELBO of the
    prior `N(0, Sigma + M_B)`, the best one for the batch.

    Args:
        num_particles: The number of draws from the guide.
        full_covariance: Whether `M_B = E_B[m m^T]` is the full matrix, or its diagonal.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO`.

    Raises:
        ValueError: When called: if there is not one latent site, the guide's variance depends on
            the data, prior or guide is not normal, or the batch is of one data point.

    Example:
        >>> import pyro, torch
        >>> from pyro_entropy import BILBO_ELBO, ConstantVarianceVAE
        >>> vae, x = ConstantVarianceVAE(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, BILBO_ELBO())
        >>> loss = svi.step(x)
        >>> BILBO_ELBO().terms(vae.model, vae.guide, x).prior_variance.shape
        torch.Size([2])
    """

    def prior_term(self, latent: LatentRows) -> Tensor:
        """`-1/2 log|I + Sigma^-1 M_B|`."""
        return bilbo_prior_term(latent, self.full_covariance, OPERATIONS)


class ConstantVariance_ELBO(FloatingPriorELBO):
    """The ELBO with a constant encoder variance and the best normal prior of the batch.

    `1/2 (log|e S^-2 Sigma| - tr S^-2 Sigma - E_B|S^-1 m|^2) + E_B[E_q[log p(x|z)]]` with
    `S^2 = Sigma + M_B` (Fyffe 2020, Eqs. 2 and 4). It is the same number as `BILBO_ELBO`, before
    the traces are seen to cancel.

    Args:
        num_particles: The number of draws from the guide.
        full_covariance: Whether `M_B = E_B[m m^T]` is the full matrix, or its diagonal.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO`.

    Raises:
        ValueError: When called, as `BILBO_ELBO` does.

    Example:
        >>> import torch
        >>> import torch
        >>> from pyro_entropy import BILBO_ELBO, ConstantVariance_ELBO, ConstantVarianceVAE
        >>> vae, x = ConstantVarianceVAE(4, 2), torch.rand(8, 4)
        >>> terms = ConstantVariance_ELBO().terms(vae.model, vae.guide, x)
        >>> bilbo = BILBO_ELBO().terms(vae.model, vae.guide, x)
        >>> bool(torch.isclose(terms.prior_term, bilbo.prior_term))
        True
    """

    def prior_term(self, latent: LatentRows) -> Tensor:
        """`1/2 (log|e S^-2 Sigma| - tr S^-2 Sigma - E_B|S^-1 m|^2)`."""
        return constant_variance_prior_term(latent, self.full_covariance, OPERATIONS)
