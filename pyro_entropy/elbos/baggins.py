"""The bound with a Gaussian likelihood whose variances are read from the batch."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from entropy_core.checks import check_choice, check_number, expected
from entropy_core.elbos.baggins import BAGGINSTerms
from entropy_core.traces.batch import BatchSites, batch_sites, observed_site
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sums import elbo, elbo_terms
from pyro_entropy.elbos.base import TermsELBO, Traces
from pyro_entropy.traces.normals import latent_rows, normal_of, rows
from pyro_entropy.traces.sites import sample_sites

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

    The batch couples the data points: there is no loss of one data point, a run over several
    devices has to sum the moments over them, and smaller batches make another objective.

    Args:
        information_factor: `kappa`; 1/5 on MNIST in the paper.
        num_particles: The number of draws from the guide.
        prior: `"floating"`, the best normal prior of the batch, or `"model"`, the model's own.
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

    def __init__(
        self,
        information_factor: float = 0.2,
        num_particles: int = 1,
        *,
        prior: Prior = "floating",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, **kwargs)
        self.information_factor = check_number(information_factor, "information_factor")
        check_choice(prior, Prior, "prior")
        self.prior = prior

    def bound(self, sites: Sequence[SiteTerms], traces: Traces, **options: Any) -> Tensor:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        batch = batch_sites(sites, self.data_plate)
        observed = observed_site(batch)
        terms = self._read(batch, observed, traces)
        if self.prior == "floating":
            prior_term = batch.scale * terms.prior_term
        else:
            prior_term = elbo([batch.encoder, batch.prior])
        num_data = observed.handler_scale * batch.plate.full_size
        others = [site for site in batch.others if site is not observed]
        return prior_term + num_data * terms.reconstruction_term + elbo(others)

    @property
    def no_claim(self) -> str | None:
        """The likelihood is not the model's."""
        return "the likelihood of BAGGINS is another than the model's"

    def _check(self, loss: float) -> None:
        if loss == -torch.inf:
            what = "residuals that are not zero under BAGGINS"
            raise ValueError(expected(what, "x", "an example that is reconstructed exactly"))

    def _terms(self, sites: Sequence[SiteTerms], traces: Traces) -> BAGGINSTerms:
        batch = batch_sites(sites, self.data_plate)
        observed = observed_site(batch)
        terms = self._read(batch, observed, traces)
        others = batch.per_datum([site for site in batch.others if site is not observed])
        reconstruction_term = terms.reconstruction_term + others
        return BAGGINSTerms(
            bound=terms.prior_term + reconstruction_term,
            prior_term=terms.prior_term,
            reconstruction_term=reconstruction_term,
            prior_variance=terms.prior_variance,
            decoder_variance=terms.decoder_variance,
            elbo=elbo_terms(sites, self.data_plate).elbo,
        )

    def _read(self, batch: BatchSites, observed: SiteTerms, traces: Traces) -> "_Read":
        model_sites, guide_sites = (sample_sites(trace) for trace in traces[:2])
        name = batch.prior.name
        latent = latent_rows(
            model_sites[name], guide_sites[name], constant=self.prior == "floating"
        )
        s2 = latent.second_moments
        information = (s2 / latent.variance).sum(-1)  # tr(Sigma_i^-1 S^2)
        site = model_sites[observed.name]
        residuals = rows(site, site["value"] - normal_of(site, "model").mean)
        variance = self.information_factor * (residuals**2).sum(-1) / information
        likelihood = -0.5 * (
            residuals.shape[-1] * torch.log(2 * torch.pi * variance).mean()
            + information.mean() / self.information_factor
        )
        if self.prior == "floating":
            prior_term = -0.5 * torch.log(s2 / latent.variance).sum()
        else:
            prior_term = batch.per_datum([batch.encoder, batch.prior])
        return _Read(prior_term, likelihood, s2, variance.mean())


class _Read(NamedTuple):
    prior_term: Tensor
    reconstruction_term: Tensor
    prior_variance: Tensor
    decoder_variance: Tensor
