"""The ELBO, with every term in closed form that has one."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from entropy_core.checks import check_non_negative, check_weight, expected
from entropy_core.elbos.standard import check_free_bits
from entropy_core.traces.importance import common_scale
from entropy_core.traces.plates import need_data_plate
from entropy_core.traces.records import Role, SiteTerms
from entropy_core.traces.sums import elbo
from pyro_entropy.elbos.base import TermsELBO, Traces
from pyro_entropy.traces.latents import latent_terms

RECONSTRUCTION: tuple[Role, ...] = ("decoder", "factor")


class Standard_ELBO(TermsELBO):
    """The evidence lower bound `F = E_q[log p(z)] + E_q[log p(x|z)] + H[q(z|x)]`.

    Damm et al. 2023, Sec. 3.1; Kingma and Welling 2014. It is a drop-in for
    `pyro.infer.TraceMeanField_ELBO`: a latent site whose `kl_divergence(q, p)` is registered adds
    `-KL`; another adds `log p` at the draw, and `H[q]` in closed form where Pyro has it. With
    `closed_form=False` it is `pyro.infer.Trace_ELBO` for reparameterised guides.

    Two options make another objective of it, of whose optimum the theorem says nothing. With a
    `kl_weight` it is `E_q[log p(x|z)] - beta KL(q || p)` (Higgins et al. 2017, Eq. 4); a loss takes
    the argument too, for one call: `svi.step(x, kl_weight=0.5)`. With `free_bits` the KL divergence
    of each latent dimension, averaged over the batch, counts as no less than `lambda` bits (Kingma
    et al. 2016, Eq. 15):

        bound = E_q[log p(x|z)] - beta N sum_h max(lambda log 2, mean_n KL_nh)

    `terms` are those of the ELBO in every case.

    Args:
        num_particles: The number of draws from the guide.
        closed_form: `False` takes every term at the draws.
        kl_weight: `beta`, from 0.
        free_bits: `lambda`, in bits for each latent dimension, from 0; every latent site must come
            apart into dimensions, as in `latent_terms`, and particles must not be vectorised.
        data_plate: The name of the plate over data points, for `terms` and free bits; needed only
            where two crossed plates both hold all data.
        **kwargs: Those of `pyro.infer.ELBO`.

    Raises:
        ValueError: If an option is negative or not finite, or if there are free bits and no closed
            forms, or vectorised particles.

    Example:
        >>> import pyro, torch
        >>> from pyro_entropy import VAE1, Standard_ELBO
        >>> vae, x = VAE1(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, Standard_ELBO())
        >>> loss = svi.step(x)
        >>> terms = Standard_ELBO(num_particles=10).terms(vae.model, vae.guide, x)
        >>> bool(torch.isclose(terms.gap, sum(terms.residuals.values()), atol=1e-5))
        True
    """

    call_options: ClassVar[tuple[str, ...]] = ("kl_weight",)

    def __init__(
        self,
        num_particles: int = 1,
        *,
        closed_form: bool = True,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, closed_form=closed_form, data_plate=data_plate, **kwargs)
        self.kl_weight = check_non_negative(kl_weight, "kl_weight")
        self.free_bits = check_non_negative(free_bits, "free_bits")
        if self.free_bits and not closed_form:
            raise ValueError(expected("0 with closed_form=False", "free_bits", free_bits))
        if self.free_bits and self.vectorize_particles:
            raise ValueError(expected("0 with vectorize_particles=True", "free_bits", free_bits))

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        reasons = [f"KL weight {self.kl_weight:g}"] if self.kl_weight != 1 else []
        reasons += ["free bits"] if self.free_bits else []
        return " and ".join(reasons) or None

    def bound(
        self,
        sites: Sequence[SiteTerms],
        traces: Traces,
        *,
        kl_weight: Any = None,
        **options: Any,
    ) -> Tensor:
        """`F` with its options, in nats, summed over the plates and scaled as the host does.

        Args:
            sites: The records of both traces.
            traces: The traces of the model and of the guide.
            kl_weight: Stands in for the option; a number, or an array without dimensions.
            **options: None.

        Raises:
            ValueError: If `kl_weight` is not one number from 0; with free bits, if no plate holds
                all data, a latent site does not come apart into dimensions, or the guide has a
                factor.
        """
        weight = self.kl_weight if kl_weight is None else check_weight(kl_weight, "kl_weight")
        if isinstance(weight, float) and weight == 1 and not self.free_bits:
            return elbo(sites)
        reconstruction = elbo(site for site in sites if site.role in RECONSTRUCTION)
        if self.free_bits:
            rest = -self._floored_kl(sites, traces)
        else:
            rest = elbo(site for site in sites if site.role not in RECONSTRUCTION)
        return reconstruction + rest * weight

    def _floored_kl(self, sites: Sequence[SiteTerms], traces: Traces) -> Tensor:
        plate = need_data_plate(sites, self.data_plate)
        latents, untreated = latent_terms(traces[0], traces[1], plate)
        check_free_bits(sites, untreated)
        scale = common_scale([site for site in sites if site.role in ("encoder", "prior")])
        floor = self.free_bits * math.log(2)
        kl = torch.cat([latent.kl.mean(0) for latent in latents])
        return scale * plate.full_size * kl.clamp(min=floor).sum()
