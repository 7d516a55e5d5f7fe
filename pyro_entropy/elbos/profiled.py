"""The ELBO with variances replaced by their optimum on the batch."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from entropy_core.elbos.profiled import check_forms, optimal_variance, profiled, sites_to_profile
from entropy_core.traces.batch import batch_plate
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import ELBOTerms, average, elbo, elbo_terms, is_mean_field
from pyro_entropy.elbos.base import TermsELBO
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import elementwise
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.normals import normal_of, rows
from pyro_entropy.traces.sites import Site

Moments = dict[str, Tensor]


class Profiled_ELBO(TermsELBO):
    """The ELBO with chosen variances at their optimum on the batch.

    `alpha_h^2 = mean_n E_q[z_h^2]` and `sigma^2 = 1/(D N) sum_n E_q|x_n - mu(z)|^2` (Damm et al.
    2023, Eq. 76), about the means of the model's own distributions. Put back, a site adds minus its
    entropy, so that its residual is zero: with all the model's sites profiled the ELBO is a sum of
    entropies at every step. A profiled prior is the prior term of BILBO (Fyffe 2020, Eq. 24), a
    profiled scalar decoder the log-MSE loss (Yu 2020, Sec. 5.1; Rybkin et al. 2021).

    The variances of the model's own sites do not enter and are not trained; `variances` says what
    they would be. They are the best ones for their own batch, so that on a small one the value is
    too high in expectation and bounds nothing.

    Args:
        num_particles: The number of draws from the guide; the optimum is that of all together.
        prior: What is profiled of the latent sites in the data plate: `None`, `"diagonal"`, one
            variance for each latent, or `"full"`, the covariance.
        decoder: The same of the observed sites, or `"scalar"`, one variance for all dimensions.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO`.

    Raises:
        ValueError: If nothing is to be profiled, or an option is not known; when called, if a site
            that is to be profiled is not normal, or masked, or under a `scale` handler of several
            values, the batch is of one data point, or a full covariance has no more draws than
            dimensions.

    Example:
        >>> from pyro_entropy import VAE1, Profiled_ELBO
        >>> vae, x = VAE1(4, 2), torch.rand(8, 4)
        >>> terms = Profiled_ELBO(prior="diagonal").terms(vae.model, vae.guide, x)
        >>> bool(torch.isclose(terms.elbo, terms.entropy_sum))
        True
    """

    replaces_variances = True

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        prior: Literal["diagonal", "full"] | None = None,
        decoder: Literal["scalar", "diagonal", "full"] | None = "scalar",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        self.forms = check_forms(prior, decoder)

    def bound(self, pair: Pair) -> Tensor:
        """The bound of one pair, in nats, summed over the plates and scaled."""
        return elbo(self._profiled(pair, self._moments(pair)))

    @property
    def no_claim(self) -> str | None:
        """The model's own variances are not trained."""
        return "profiled variances, which stand for the model's own"

    def terms(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> ELBOTerms:
        """The bound in three terms and in three entropies, with the profiled variances.

        Returns:
            Scalars that carry gradients, in nats per data point; no `scale` handler enters.

        Raises:
            ValueError: As `differentiable_loss` does.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        pairs, moments = self._particles(model, guide, args, kwargs, entropies=True)
        return average(
            [elbo_terms(self._profiled(pair, moments), self.data_plate) for pair in pairs]
        )

    def variances(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> Moments:
        """The profiled variances of each site, `(D,)`, or `(D, D)` where they are `"full"`.

        Raises:
            ValueError: As `differentiable_loss` does.
        """
        return self._particles(model, guide, args, kwargs)[1]

    def _particle_losses(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> Iterator[Tensor]:
        pairs, moments = self._particles(model, guide, args, kwargs)
        # One graph for all particles, since they share the variances.
        yield -torch.stack([elbo(self._profiled(pair, moments)) for pair in pairs]).mean()

    def _particles(
        self,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict,
        *,
        entropies: bool = False,
    ) -> tuple[list[Pair], Moments]:
        traced = list(self._get_traces(model, guide, args, kwargs))
        pairs = [self._read(pair, entropies=entropies) for pair in traced]
        found = [self._moments(pair) for pair in pairs]
        moments = {name: torch.stack([m[name] for m in found]).mean(0) for name in found[0]}
        return pairs, moments

    def _moments(self, pair: Pair) -> Moments:
        """The mean over the batch of `E_q[(v - loc)^2]`, for each site to profile."""
        plate = batch_plate(pair.records, self.data_plate)
        found = {}
        for record, form in sites_to_profile(pair.records, plate, self.forms):
            site = pair.model[record.name]
            loc = normal_of(site, "model").mean
            closed = record.role == "prior" and self.closed_form
            mean_field = closed and is_mean_field(record.name, pair.model, pair.guide)
            q = _normal_or_none(pair.guide[record.name]) if mean_field else None
            deviations = rows(site, (site.value if q is None else q.mean) - loc)
            spread = None if q is None else _mean_spread(site, q, form)
            found[record.name] = optimal_variance(
                deviations, spread, form, record.name, OPERATIONS, record.across
            )
        return found

    def _profiled(self, pair: Pair, moments: Moments) -> list[SiteTerms]:
        return profiled(pair.records, moments, self.forms, OPERATIONS)


def _normal_or_none(site: Site) -> Any:
    # The squares of another guide's draws are taken as they come.
    fn = elementwise(site.fn)
    return fn if belongs_to(fn, Normal, MultivariateNormal) and site.mask is None else None


def _mean_spread(site: Site, q: Any, form: str | None) -> Tensor:
    """The mean of a guide's variances over the batch, or of its covariances."""
    if form == "full" and isinstance(q, MultivariateNormal):
        return q.covariance_matrix.flatten(0, -3).mean(0)
    return rows(site, q.variance).mean(0)
