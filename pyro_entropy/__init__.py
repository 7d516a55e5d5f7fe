"""Variational autoencoders for Pyro whose ELBO is checked against a sum of three entropies."""

try:
    import pyro as _pyro  # noqa: F401
except ImportError as error:
    error.add_note("pyro_entropy needs Pyro: pip install 'elbo-entropy[pyro]'")
    raise

from pyro_entropy.architecture import Nets
from pyro_entropy.arviz import to_datatree
from pyro_entropy.claims import explain_residuals
from pyro_entropy.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.convnets import ConvNet, DeconvNet
from pyro_entropy.decoders import (
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
from pyro_entropy.diagnostic import EntropySumDiagnostic
from pyro_entropy.discretized import DiscretizedLogistic, DiscretizedNormal
from pyro_entropy.elbos import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    IWAE_ELBO,
    ConstantVariance_ELBO,
    Profiled_ELBO,
    Standard_ELBO,
)
from pyro_entropy.encoders import (
    ConstantNormalEncoder,
    FullNormalEncoder,
    LinearNormalEncoder,
    NormalEncoder,
)
from pyro_entropy.evaluate import log_likelihood
from pyro_entropy.fit import FitResult, fit
from pyro_entropy.information import mutual_information
from pyro_entropy.laplace import constant_variance_penalty, laplace_log_evidence
from pyro_entropy.mixtures import LearnedMixturePrior, MixturePrior, VampPrior
from pyro_entropy.monitor import Monitor
from pyro_entropy.nets import MLP, DenseBlock, UnitNormLinear
from pyro_entropy.priors import FloatingNormalPrior, NormalPrior, StandardNormalPrior
from pyro_entropy.selection import StreamingSelector
from pyro_entropy.vae import VAE
from pyro_entropy.variants import (
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
