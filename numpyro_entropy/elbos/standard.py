"""The ELBO, with every term in closed form that has one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from entropy_core.checks import check_non_negative, check_weight, expected
from entropy_core.elbos.standard import (
    check_free_bits,
    floored_kl,
    minus_kl,
    no_claim,
    reconstruction,
)
from entropy_core.traces.plates import need_data_plate
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import elbo
from numpyro_entropy.elbos.base import TermsELBO
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.params import Params
from numpyro_entropy.traces.latents import latent_terms


class Standard_ELBO(TermsELBO):
    """The evidence lower bound `F = E_q[log p(z)] + E_q[log p(x|z)] + H[q(z|x)]`.

    Damm et al. 2023, Sec. 3.1; Kingma and Welling 2014. It is a drop-in for
    `numpyro.infer.TraceMeanField_ELBO`: a latent site whose `kl_divergence(q, p)` is registered
    adds `-KL`; another adds `log p` at the draw, and `H[q]` in closed form where NumPyro has it.
    With `closed_form=False` it is `numpyro.infer.Trace_ELBO` for reparameterised guides.

    Two options make it another objective, and the theorem says nothing of its optimum then. With a
    `kl_weight` it is `E_q[log p(x|z)] - beta KL(q || p)` (Higgins et al. 2017, Eq. 4); a loss takes
    the argument too, for one call: `svi.update(state, x, kl_weight=0.5)`, where it may be traced.
    With `free_bits` the KL divergence of each latent dimension, averaged over the batch, counts as
    no less than `lambda` bits (Kingma et al. 2016, Eq. 15):

        bound = E_q[log p(x|z)] - beta N sum_h max(lambda log 2, mean_n KL_nh)

    `terms` are those of the ELBO in every case.

    Args:
        num_particles: The number of draws from the guide.
        closed_form: `False` takes every term at the draws.
        kl_weight: `beta`, from 0.
        free_bits: `lambda`, in bits for each latent dimension, from 0; every latent site must come
            apart into dimensions, as in `latent_terms`.
        data_plate: The name of the plate over data points, for `terms` and free bits; needed only
            where two crossed plates both hold all data.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: Those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: If an option is negative or not finite, or if there are free bits and no closed
            forms.

    Example:
        >>> import jax, numpyro
        >>> from numpyro_entropy import VAE1, Standard_ELBO
        >>> vae, key = VAE1(4, 2), jax.random.key(0)
        >>> x = jax.random.uniform(key, (8, 4))
        >>> optim = numpyro.optim.Adam(1e-3)
        >>> svi = numpyro.infer.SVI(vae.model, vae.guide, optim, Standard_ELBO())
        >>> state, loss = jax.jit(svi.update)(jax.jit(svi.init)(key, x), x)
        >>> params = svi.get_params(state)
        >>> terms = Standard_ELBO(num_particles=10).terms(key, params, vae.model, vae.guide, x)
        >>> bool(jax.numpy.isclose(terms.gap, sum(terms.residuals.values()), atol=1e-5))
        True
    """

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        closed_form: bool = True,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_particles, *args, closed_form=closed_form, data_plate=data_plate, **kwargs
        )
        self.kl_weight = check_non_negative(kl_weight, "kl_weight")
        self.free_bits = check_non_negative(free_bits, "free_bits")
        if self.free_bits and not closed_form:
            raise ValueError(expected("0 with closed_form=False", "free_bits", free_bits))

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        return no_claim(self.kl_weight, self.free_bits)

    def bound(self, pair: Pair, *, kl_weight: Any = None) -> Array:
        """`F` with its options, in nats, summed over the plates and scaled as the host does.

        Args:
            pair: The pair, with its records.
            kl_weight: Stands in for the option; a number, or an array without dimensions.

        Raises:
            ValueError: If `kl_weight` is not one number from 0; with free bits, if no plate holds
                all data, a latent site does not come apart into dimensions, or the guide has a
                factor.
        """
        weight = self.kl_weight if kl_weight is None else check_weight(kl_weight, "kl_weight")
        if isinstance(weight, float) and weight == 1 and not self.free_bits:
            return elbo(pair.records)
        rest = -self._floored_kl(pair) if self.free_bits else minus_kl(pair.records)
        # The loss keeps its float type.
        return reconstruction(pair.records) + rest * jnp.asarray(weight, jnp.result_type(rest))

    def loss_with_mutable_state(
        self,
        rng_key: Array,
        param_map: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        kl_weight: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The loss, summed over plates and scaled as the host does, and the nets' mutable state.

        Raises:
            ValueError: If the guide lacks a latent site of the model; and as `bound` does.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """

        def bound_and_notes(pair: Pair) -> tuple[Array, tuple[Array, ...]]:
            return self.bound(pair, kl_weight=kl_weight), ()

        return self._loss(bound_and_notes, rng_key, param_map, model, guide, args, kwargs)

    def terms(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        kl_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The ELBO and its named parts, from the same draws; a `kl_weight` does not enter.

        Returns:
            `ELBOTerms`: scalars that carry gradients, in nats per data point; no `scale` handler
            enters.

        Raises:
            ValueError: If `params` are not complete, or if the guide lacks a latent site of the
                model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        return super().terms(rng_key, params, model, guide, *args, **kwargs)

    def _floored_kl(self, pair: Pair) -> Array:
        plate = need_data_plate(pair.records, self.data_plate)
        latents, untreated = latent_terms(pair, plate)
        check_free_bits(pair.records, untreated)
        return floored_kl(pair.records, latents, plate, self.free_bits, OPERATIONS)
