"""The ELBO, with every term in closed form that has one."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array

from entropy_core.records import SiteTerms
from entropy_core.terms import elbo
from numpyro_entropy.elbos.base import TermsELBO, Traces


class Standard_ELBO(TermsELBO):
    """The evidence lower bound `F = E_q[log p(z)] + E_q[log p(x|z)] + H[q(z|x)]`.

    Damm et al. 2023, Sec. 3.1; Kingma and Welling 2014. It is a drop-in for
    `numpyro.infer.TraceMeanField_ELBO`: a latent site whose `kl_divergence(q, p)` is registered
    adds `-KL`; another adds `log p` at the draw, and `H[q]` in closed form where NumPyro has it.
    With `closed_form=False` it is `numpyro.infer.Trace_ELBO` for reparameterised guides.

    Args:
        num_particles: The number of draws from the guide.
        closed_form: `False` takes every term at the draws.
        data_plate: The name of the plate over data points, for `terms`; needed only where two
            crossed plates both hold all data.
        **kwargs: Those of `numpyro.infer.ELBO`.

    Example:
        >>> import jax, numpyro
        >>> from numpyro_entropy import VAE1, Standard_ELBO
        >>> vae, key = VAE1(4, 2), jax.random.key(0)
        >>> x = jax.random.uniform(key, (8, 4))
        >>> optim = numpyro.optim.Adam(1e-3)
        >>> svi = numpyro.infer.SVI(vae.model, vae.guide, optim, Standard_ELBO())
        >>> state, loss = svi.update(svi.init(key, x), x)
        >>> params = svi.get_params(state)
        >>> terms = Standard_ELBO(num_particles=10).terms(key, params, vae.model, vae.guide, x)
        >>> bool(jax.numpy.isclose(terms.gap, sum(terms.residuals.values()), atol=1e-5))
        True
    """

    def bound(self, sites: Sequence[SiteTerms], traces: Traces, **options: Any) -> Array:
        """`F`, in nats, summed over the plates and scaled as the host does."""
        return elbo(sites)
