"""The bound with a Gaussian likelihood whose variances are read from the batch."""

from typing import Any, Literal

import torch
from torch import Tensor

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
from pyro_entropy.elbos.base import TermsELBO
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.normals import latent_rows, normal_of, rows

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
    another objective; over several processes `Distributed_ELBO` has the moments of the whole batch.

    Args:
        information_factor: `kappa`; 1/5 on MNIST in the paper.
        num_particles: The number of draws from the guide.
        prior: `"floating"`, the best normal prior of the batch, or `"model"`, the model's own.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO`.

    Raises:
        ValueError: If `information_factor` is not positive, or `prior` is not known; when called,
            if there is not one latent and one observed site, one of their distributions is not
            normal, the guide's variance depends on the data (floating prior), the batch is of one
            data point, or a residual is zero. (`differentiable_loss`, which can be captured as a
            graph, looks at no values: it is then minus infinity.)

    Example:
        >>> import pyro
        >>> from pyro_entropy import BAGGINS_ELBO, ConstantVarianceVAE
        >>> vae, x = ConstantVarianceVAE(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, BAGGINS_ELBO(1 / 5))
        >>> loss = svi.step(x)
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

    def bound(self, pair: Pair) -> Tensor:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        batch, observed = self._batch(pair)
        parts = self._parts(pair, batch, observed)
        return baggins_bound(batch, observed, parts, floating=self.prior == "floating")

    @property
    def no_claim(self) -> str | None:
        """The likelihood is not the model's."""
        return "the likelihood of BAGGINS is another than the model's"

    def check_loss(self, loss: float) -> None:
        """Refuses a loss of minus infinity.

        Raises:
            ValueError: If an example is reconstructed exactly.
        """
        if loss == -torch.inf:
            what = "residuals that are not zero under BAGGINS"
            raise ValueError(expected(what, "x", "an example that is reconstructed exactly"))

    def _terms(self, pair: Pair) -> BAGGINSTerms:
        batch, observed = self._batch(pair)
        return baggins_terms(batch, observed, self._parts(pair, batch, observed))

    def _batch(self, pair: Pair) -> tuple[BatchSites, SiteTerms]:
        batch = batch_sites(pair.records, self.data_plate)
        return batch, observed_site(batch)

    def _parts(self, pair: Pair, batch: BatchSites, observed: SiteTerms) -> BAGGINSParts:
        floating, name = self.prior == "floating", batch.prior.name
        latent = latent_rows(pair.model[name], pair.guide[name], constant=floating)
        latent = latent._replace(across=batch.prior.across)
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
