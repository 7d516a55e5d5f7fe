"""Objectives, one a file; each goes straight into `pyro.infer.SVI`."""

from pyro_entropy.elbos.standard import Standard_ELBO

__all__ = ["Standard_ELBO"]
