"""Variational autoencoders for Pyro whose ELBO is checked against a sum of three entropies."""

try:
    import pyro as _pyro  # noqa: F401
except ImportError as error:
    error.add_note("pyro_entropy needs Pyro: pip install 'elbo-entropy[pyro]'")
    raise

from pyro_entropy.decoders import NormalDecoder
from pyro_entropy.diagnostic import EntropySumDiagnostic
from pyro_entropy.elbos import Standard_ELBO
from pyro_entropy.encoders import LinearNormalEncoder, NormalEncoder
from pyro_entropy.fit import FitResult, fit
from pyro_entropy.nets import MLP
from pyro_entropy.priors import StandardNormalPrior
from pyro_entropy.vae import VAE
from pyro_entropy.variants import VAE1, LinearVAE

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
