"""Variational autoencoders for NumPyro whose ELBO is checked against a sum of three entropies."""

try:
    import numpyro as _numpyro  # noqa: F401
except ImportError as error:
    error.add_note("numpyro_entropy needs NumPyro: pip install 'elbo-entropy[numpyro]'")
    raise

from numpyro_entropy.decoders import NormalDecoder
from numpyro_entropy.diagnostic import EntropySumDiagnostic
from numpyro_entropy.elbos import Standard_ELBO
from numpyro_entropy.encoders import LinearNormalEncoder, NormalEncoder
from numpyro_entropy.fit import FitResult, fit
from numpyro_entropy.nets import MLP
from numpyro_entropy.priors import StandardNormalPrior
from numpyro_entropy.vae import VAE
from numpyro_entropy.variants import VAE1, LinearVAE

__all__ = [
    "MLP",
    "VAE",
    "VAE1",
    "EntropySumDiagnostic",
    "FitResult",
    "LinearNormalEncoder",
    "LinearVAE",
    "NormalDecoder",
    "NormalEncoder",
    "StandardNormalPrior",
    "Standard_ELBO",
    "fit",
]
