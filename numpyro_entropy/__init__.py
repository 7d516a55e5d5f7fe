"""Variational autoencoders for NumPyro whose ELBO is checked against a sum of three entropies."""

try:
    import numpyro as _numpyro  # noqa: F401
except ImportError as error:
    error.add_note("numpyro_entropy needs NumPyro: pip install 'elbo-entropy[numpyro]'")
    raise

from numpyro_entropy.architecture import Nets
from numpyro_entropy.arviz import to_datatree
from numpyro_entropy.claims import explain_residuals
from numpyro_entropy.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.convnets import ConvNet, DeconvNet
from numpyro_entropy.decoders import (
    BernoulliDecoder,
    CategoricalDecoder,
    ContinuousBernoulliDecoder,
    Decoder,
    DiagonalNormalDecoder,
    DiscretizedLogisticDecoder,
    DiscretizedNormalDecoder,
    FixedNormalDecoder,
    GammaDecoder,
    HeteroscedasticNormalDecoder,
    LaplaceDecoder,
    NormalDecoder,
    PoissonDecoder,
)
from numpyro_entropy.diagnostic import EntropySumDiagnostic
from numpyro_entropy.discretized import DiscretizedLogistic, DiscretizedNormal
from numpyro_entropy.elbos import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    IWAE_ELBO,
    ConstantVariance_ELBO,
    Profiled_ELBO,
    Standard_ELBO,
)
from numpyro_entropy.encoders import (
    ConstantNormalEncoder,
    FullNormalEncoder,
    LinearNormalEncoder,
    NormalEncoder,
)
from numpyro_entropy.evaluate import log_likelihood
from numpyro_entropy.fit import FitResult, fit
from numpyro_entropy.information import mutual_information
from numpyro_entropy.laplace import constant_variance_penalty, laplace_log_evidence
from numpyro_entropy.mixtures import LearnedMixturePrior, MixturePrior, VampPrior
from numpyro_entropy.monitor import Monitor
from numpyro_entropy.nets import MLP, DenseBlock, UnitNormLinear
from numpyro_entropy.priors import FloatingNormalPrior, NormalPrior, StandardNormalPrior
from numpyro_entropy.selection import StreamingSelector
from numpyro_entropy.vae import VAE
from numpyro_entropy.variants import (
    EDVAE,
    VAE0,
    VAE1,
    VAE2,
    VAE3,
    BernoulliVAE,
    ConstantVarianceVAE,
    LinearVAE,
    SigmaVAE,
)

__all__ = [
    "BAGGINS_ELBO",
    "BILBO_ELBO",
    "EDVAE",
    "EDVAE_ELBO",
    "IWAE_ELBO",
    "MLP",
    "VAE",
    "VAE0",
    "VAE1",
    "VAE2",
    "VAE3",
    "BernoulliDecoder",
    "BernoulliVAE",
    "CategoricalDecoder",
    "ConstantNormalEncoder",
    "ConstantVarianceVAE",
    "ConstantVariance_ELBO",
    "ContinuousBernoulli",
    "ContinuousBernoulliDecoder",
    "ConvNet",
    "Decoder",
    "DeconvNet",
    "DenseBlock",
    "DiagonalNormalDecoder",
    "DiscretizedLogistic",
    "DiscretizedLogisticDecoder",
    "DiscretizedNormal",
    "DiscretizedNormalDecoder",
    "EntropySumDiagnostic",
    "FitResult",
    "FixedNormalDecoder",
    "FloatingNormalPrior",
    "FullNormalEncoder",
    "GammaDecoder",
    "HeteroscedasticNormalDecoder",
    "LaplaceDecoder",
    "LearnedMixturePrior",
    "LinearNormalEncoder",
    "LinearVAE",
    "MixturePrior",
    "Monitor",
    "Nets",
    "NormalDecoder",
    "NormalEncoder",
    "NormalPrior",
    "PoissonDecoder",
    "Profiled_ELBO",
    "SigmaVAE",
    "StandardNormalPrior",
    "Standard_ELBO",
    "StreamingSelector",
    "UnitNormLinear",
    "VampPrior",
    "constant_variance_penalty",
    "explain_residuals",
    "fit",
    "laplace_log_evidence",
    "log_likelihood",
    "mutual_information",
    "to_datatree",
]
