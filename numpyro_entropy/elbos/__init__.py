"""Objectives, one a file; each goes straight into `numpyro.infer.SVI`."""

from numpyro_entropy.elbos.iwae import IWAE_ELBO
from numpyro_entropy.elbos.standard import Standard_ELBO

__all__ = ["IWAE_ELBO", "Standard_ELBO"]
