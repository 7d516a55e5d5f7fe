"""Objectives, one a file; each goes straight into `numpyro.infer.SVI`."""

from numpyro_entropy.elbos.baggins import BAGGINS_ELBO
from numpyro_entropy.elbos.bilbo import BILBO_ELBO, ConstantVariance_ELBO
from numpyro_entropy.elbos.edvae import EDVAE_ELBO
from numpyro_entropy.elbos.iwae import IWAE_ELBO
from numpyro_entropy.elbos.profiled import Profiled_ELBO
from numpyro_entropy.elbos.standard import Standard_ELBO

__all__ = [
    "BAGGINS_ELBO",
    "BILBO_ELBO",
    "EDVAE_ELBO",
    "IWAE_ELBO",
    "ConstantVariance_ELBO",
    "Profiled_ELBO",
    "Standard_ELBO",
]
