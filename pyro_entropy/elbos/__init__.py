"""Objectives, one a file; each goes straight into `pyro.infer.SVI`."""

from pyro_entropy.elbos.iwae import IWAE_ELBO
from pyro_entropy.elbos.standard import Standard_ELBO

__all__ = ["IWAE_ELBO", "Standard_ELBO"]
