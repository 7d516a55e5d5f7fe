"""The ELBO with variances replaced by their optimum on the batch."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import MultivariateNormal, Normal

from entropy_core.elbos.profiled import check_forms, optimal_variance, profiled, sites_to_profile
from entropy_core.traces.batch import batch_plate
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import ELBOTerms, elbo, elbo_terms, is_mean_field
from numpyro_entropy.elbos.base import TermsELBO, one_state
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.normals import normal_of, rows
from numpyro_entropy.traces.pairs import pair_shapes
from numpyro_entropy.traces.sites import Site

Moments = dict[str, Array]


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
        **kwargs: `closed_form`, `data_plate`, and those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: If nothing is to be profiled, or an option is not known; when called, if a site
            that is to be profiled is not normal, or masked, or under a `scale` handler of several
            values, the batch is of one data point, or a full covariance has no more draws than
            dimensions.

    Example:
        >>> from jax import random
        >>> from numpyro_entropy import VAE1, Profiled_ELBO
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> pair = vae.init(key), vae.model, vae.guide, random.uniform(key, (8, 4))
        >>> terms = Profiled_ELBO(prior="diagonal").terms(key, *pair)
        >>> bool(jnp.isclose(terms.elbo, terms.entropy_sum))
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

    def bound(self, pair: Pair) -> Array:
        """The bound of one pair, in nats, summed over the plates and scaled."""
        return elbo(self._profiled(pair.records, self._moments(pair)))

    @property
    def no_claim(self) -> str | None:
        """The model's own variances are not trained."""
        return "profiled variances, which stand for the model's own"

    def loss_with_mutable_state(
        self,
        rng_key: Array,
        param_map: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The loss, summed over plates and scaled as the host does, and the nets' mutable state.

        Raises:
            ValueError: If the guide lacks a latent site of the model, and as the class says.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        drawn = self._particles(rng_key, param_map, model, guide, args, kwargs)
        bounds = jax.vmap(lambda sites: elbo(self._profiled(sites, drawn.moments)))(drawn.sites)
        return {"loss": -bounds.mean(), "mutable_state": drawn.state}

    def terms(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> ELBOTerms:
        """The bound in three terms and in three entropies, with the profiled variances.

        Returns:
            Scalars that carry gradients, in nats per data point; no `scale` handler enters.

        Raises:
            ValueError: If `params` are not complete, and as `loss_with_mutable_state` does.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        check_params(params, pair_shapes(model, guide, args, kwargs))
        drawn = self._particles(rng_key, params, model, guide, args, kwargs, entropies=True)
        terms = jax.vmap(
            lambda sites: elbo_terms(self._profiled(sites, drawn.moments), self.data_plate)
        )(drawn.sites)
        return jax.tree.map(lambda leaf: leaf.mean(0), terms)

    def variances(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> Moments:
        """The profiled variances of each site, `(D,)`, or `(D, D)` where they are `"full"`.

        Raises:
            ValueError: If `params` are not complete, and as `loss_with_mutable_state` does.
        """
        check_params(params, pair_shapes(model, guide, args, kwargs))
        return self._particles(rng_key, params, model, guide, args, kwargs).moments

    def _particles(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        *,
        entropies: bool = False,
    ) -> "_Drawn":
        def particle(key: Array) -> _Drawn:
            pair = self._pair(key, params, model, guide, args, kwargs)
            pair = self._read(pair, rng_key=key if entropies else None)
            return _Drawn(list(pair.records), self._moments(pair), dict(pair.state) or None)

        if self.num_particles == 1:
            drawn = particle(rng_key)
            return drawn._replace(
                sites=jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], drawn.sites)
            )
        drawn = self._map(particle, rng_key)
        moments = jax.tree.map(lambda leaf: leaf.mean(0), drawn.moments)
        return drawn._replace(moments=moments, state=one_state(drawn.state, self.num_particles))

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
            found[record.name] = optimal_variance(deviations, spread, form, record.name, OPERATIONS)
        return found

    def _profiled(self, records: Sequence[SiteTerms], moments: Moments) -> list[SiteTerms]:
        return profiled(records, moments, self.forms, OPERATIONS)


def _normal_or_none(site: Site) -> Any:
    # The squares of another guide's draws are taken as they come.
    fn = elementwise(site.fn)
    return fn if belongs_to(fn, Normal, MultivariateNormal) else None


def _mean_spread(site: Site, q: Any, form: str | None) -> Array:
    """The mean of a guide's variances over the batch, or of its covariances."""
    if form == "full" and isinstance(q, MultivariateNormal):
        covariances = q.covariance_matrix
        return covariances.reshape(-1, *covariances.shape[-2:]).mean(0)
    return rows(site, q.variance).mean(0)


class _Drawn(NamedTuple):
    sites: list[SiteTerms]  # with a first dimension over particles
    moments: Moments
    state: dict[str, Any] | None
