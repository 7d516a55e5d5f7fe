"""The bound with a Gaussian likelihood whose variances are read from the batch."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from entropy_core.checks import check_choice, check_number, expected
from entropy_core.elbos.baggins import (
    BAGGINSParts,
    BAGGINSTerms,
    baggins_bound,
    baggins_parts,
    baggins_terms,
)
from entropy_core.traces.batch import BatchSites, batch_sites, observed_site
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from numpyro_entropy.elbos.base import TermsELBO
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.traces.normals import latent_rows, normal_of, rows

Prior = Literal["floating", "model"]


class BAGGINS_ELBO(TermsELBO):
    """The bound with bounded aggregate information sampling: the likelihood's variances `R_i`.

    `R_i = kappa |x_i - mu(z_i)|^2 / tr(Sigma_i^-1 S^2)`, one for each example, with `S^2` of the
    batch (Fyffe 2020, Eqs. 4 and 29; `kappa` is the paper's information factor `tau`). With the
    floating prior it is Eq. 30,

        -1/2 ( log|I + Sigma^-1 M_B| + 1/kappa tr(I + Sigma^-1 M_B) + E_B[D log(2 pi R_i)] )

    and asks for a guide of constant variance, as `BILBO_ELBO` does; with the model's prior it is
    the standard bound with these variances in the likelihood (Eq. 2). The model's own likelihood
    gives its mean alone. Scaling the data by `lambda` changes the bound by `-D log lambda`.
    Gradients pass through `R` and `S^2`.

    The batch couples the data points: there is no loss of one data point, and smaller batches make
    another objective; an array over several devices has the moments of the whole batch.

    Args:
        information_factor: `kappa`; 1/5 on MNIST in the paper.
        num_particles: The number of draws from the guide.
        prior: `"floating"`, the best normal prior of the batch, or `"model"`, the model's own.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: If `information_factor` is not positive, or `prior` is not known; when called,
            if there is not one latent and one observed site, one of their distributions is not
            normal, the guide's variance depends on the data (floating prior), the batch is of one
            data point, or a residual is zero. (Under a transformation of JAX there are no values
            to look at: the loss is then minus infinity, which `fit` refuses.)

    Example:
        >>> from jax import jit, random
        >>> from numpyro_entropy import BAGGINS_ELBO, ConstantVarianceVAE
        >>> vae, key = ConstantVarianceVAE(4, 2), random.key(0)
        >>> x = random.uniform(key, (8, 4))
        >>> loss = jit(BAGGINS_ELBO(1 / 5).loss, static_argnums=(2, 3))
        >>> value = loss(key, jit(vae.init)(key), vae.model, vae.guide, x)
    """

    replaces_variances = True

    def __init__(
        self,
        information_factor: float = 0.2,
        num_particles: int = 1,
        *args: Any,
        prior: Prior = "floating",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        self.information_factor = check_number(information_factor, "information_factor")
        check_choice(prior, Prior, "prior")
        self.prior = prior

    def bound(self, pair: Pair) -> Array:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        batch, observed = self._batch(pair)
        parts = self._parts(pair, batch, observed)
        return baggins_bound(batch, observed, parts, floating=self.prior == "floating")

    @property
    def no_claim(self) -> str | None:
        """The likelihood is not the model's."""
        return "the likelihood of BAGGINS is another than the model's"

    def loss_with_mutable_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The loss, and the nets' mutable state; see the base class.

        Raises:
            ValueError: As the class says.
        """
        result = super().loss_with_mutable_state(*args, **kwargs)
        if not isinstance(result["loss"], jax.core.Tracer) and result["loss"] == -jnp.inf:
            what = "residuals that are not zero under BAGGINS"
            raise ValueError(expected(what, "x", "an example that is reconstructed exactly"))
        return result

    def _terms(self, pair: Pair) -> BAGGINSTerms:
        batch, observed = self._batch(pair)
        return baggins_terms(batch, observed, self._parts(pair, batch, observed))

    def _batch(self, pair: Pair) -> tuple[BatchSites, SiteTerms]:
        batch = batch_sites(pair.records, self.data_plate)
        return batch, observed_site(batch)

    def _parts(self, pair: Pair, batch: BatchSites, observed: SiteTerms) -> BAGGINSParts:
        floating, name = self.prior == "floating", batch.prior.name
        latent = latent_rows(pair.model[name], pair.guide[name], constant=floating)
        site = pair.model[observed.name]
        residuals = rows(site, site.value - normal_of(site, "model").mean)
        return baggins_parts(
            batch,
            latent,
            residuals,
            self.information_factor,
            floating=floating,
            ops=OPERATIONS,
        )
