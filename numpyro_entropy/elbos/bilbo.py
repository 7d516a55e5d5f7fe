"""Bounds of a constant encoder variance under a prior that floats with the batch."""

from abc import abstractmethod
from typing import Any

from jaxtyping import Array

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
from numpyro_entropy.elbos.base import TermsELBO
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.traces.normals import latent_rows


class FloatingPriorELBO(TermsELBO):
    """Base of the bounds whose prior is `N(0, S^2)` with `S^2 = Sigma + M_B` of the batch.

    Fyffe 2020, Sec. 4.3. The guide's variance `Sigma` must not depend on the data, and the variance
    of the model's own prior does not enter. Means are taken about those of the model's prior.

    The batch couples the data points: there is no loss of one data point, and smaller batches make
    another objective; an array over several devices has `M_B` of the whole batch. The prior is the
    best one for its own batch, so that on a small one the value is too high in expectation and
    bounds nothing: evaluate with the moments of the data set (`vae.fit_floating_prior`).

    Args:
        num_particles: The number of draws from the guide.
        full_covariance: Whether `M_B = E_B[m m^T]` is the full matrix (Eq. 23), or its diagonal.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `numpyro.infer.ELBO`.
    """

    replaces_variances = True

    def __init__(
        self, num_particles: int = 1, *args: Any, full_covariance: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        self.full_covariance = full_covariance

    @abstractmethod
    def prior_term(self, latent: LatentRows) -> Array:
        """Minus the KL divergence to the floating prior, in nats per data point."""

    def bound(self, pair: Pair) -> Array:
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
        return latent_rows(pair.model[site.name], pair.guide[site.name], constant=True)


class BILBO_ELBO(FloatingPriorELBO):
    """The batch information lower bound, `-1/2 log|I + Sigma^-1 M_B| + E_B[E_q[log p(x|z)]]`.

    Fyffe 2020, Eq. 24; with `full_covariance` Eq. 23, which for an isotropic `Sigma` does not
    change under rotations of the latent space, and is never below the other. It is the ELBO of the
    prior `N(0, Sigma + M_B)`, the best one for the batch.

    Args:
        num_particles: The number of draws from the guide.
        full_covariance: Whether `M_B = E_B[m m^T]` is the full matrix, or its diagonal.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: When called: if there is not one latent site, the guide's variance depends on
            the data, prior or guide is not normal, or the batch is of one data point.

    Example:
        >>> from jax import jit, random
        >>> from numpyro.infer import SVI
        >>> from numpyro.optim import Adam
        >>> from numpyro_entropy import BILBO_ELBO, ConstantVarianceVAE
        >>> vae, key = ConstantVarianceVAE(4, 2), random.key(0)
        >>> x = random.uniform(key, (8, 4))
        >>> svi = SVI(vae.model, vae.guide, Adam(1e-3), BILBO_ELBO())
        >>> state, loss = jit(svi.update)(jit(svi.init)(key, x), x)
        >>> terms = BILBO_ELBO().terms(key, svi.get_params(state), vae.model, vae.guide, x)
        >>> terms.prior_variance.shape
        (2,)
    """

    def prior_term(self, latent: LatentRows) -> Array:
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
        **kwargs: `closed_form`, `data_plate`, and those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: When called, as `BILBO_ELBO` does.

    Example:
        >>> from jax import numpy as jnp, random
        >>> from numpyro_entropy import BILBO_ELBO, ConstantVariance_ELBO, ConstantVarianceVAE
        >>> vae, key = ConstantVarianceVAE(4, 2), random.key(0)
        >>> pair = vae.init(key), vae.model, vae.guide, random.uniform(key, (8, 4))
        >>> terms = ConstantVariance_ELBO().terms(key, *pair)
        >>> bilbo = BILBO_ELBO().terms(key, *pair)
        >>> bool(jnp.isclose(terms.prior_term, bilbo.prior_term))
        True
    """

    def prior_term(self, latent: LatentRows) -> Array:
        """`1/2 (log|e S^-2 Sigma| - tr S^-2 Sigma - E_B|S^-1 m|^2)`."""
        return constant_variance_prior_term(latent, self.full_covariance, OPERATIONS)
