"""Variational autoencoders for NumPyro whose ELBO is checked against a sum of three entropies."""

try:
    import numpyro as _numpyro  # noqa: F401
except ImportError as error:
    error.add_note("numpyro_entropy needs NumPyro: pip install 'elbo-entropy[numpyro]'")
    raise

from entropy_core.version import __version__
from numpyro_entropy.coding.compression import compress, decompress
from numpyro_entropy.decoders.base import Decoder
from numpyro_entropy.decoders.continuous import (
    ContinuousBernoulliDecoder,
    GammaDecoder,
    LaplaceDecoder,
)
from numpyro_entropy.decoders.discrete import (
    BernoulliDecoder,
    CategoricalDecoder,
    DiscretizedLogisticDecoder,
    DiscretizedNormalDecoder,
    PoissonDecoder,
)
from numpyro_entropy.decoders.normal import (
    DiagonalNormalDecoder,
    FixedNormalDecoder,
    HeteroscedasticNormalDecoder,
    NormalDecoder,
)
from numpyro_entropy.diagnostic.claims import explain_residuals
from numpyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from numpyro_entropy.diagnostic.monitor import Monitor
from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.distributions.discretized import DiscretizedLogistic, DiscretizedNormal
from numpyro_entropy.elbos.baggins import BAGGINS_ELBO
from numpyro_entropy.elbos.bilbo import BILBO_ELBO, ConstantVariance_ELBO
from numpyro_entropy.elbos.edvae import EDVAE_ELBO
from numpyro_entropy.elbos.iwae import IWAE_ELBO
from numpyro_entropy.elbos.profiled import Profiled_ELBO
from numpyro_entropy.elbos.standard import Standard_ELBO
from numpyro_entropy.encoders import (
    ConstantNormalEncoder,
    FullNormalEncoder,
    LinearNormalEncoder,
    NormalEncoder,
)
from numpyro_entropy.evaluation.arviz import to_datatree
from numpyro_entropy.evaluation.guide_error import guide_error
from numpyro_entropy.evaluation.information import mutual_information
from numpyro_entropy.evaluation.laplace import constant_variance_penalty, laplace_log_evidence
from numpyro_entropy.evaluation.likelihood import log_likelihood
from numpyro_entropy.evaluation.selection import StreamingSelector
from numpyro_entropy.nets.architecture import Nets
from numpyro_entropy.nets.conv import ConvNet, DeconvNet
from numpyro_entropy.nets.mlp import MLP, DenseBlock, UnitNormLinear
from numpyro_entropy.priors.mixtures import LearnedMixturePrior, MixturePrior, VampPrior
from numpyro_entropy.priors.normal import FloatingNormalPrior, NormalPrior, StandardNormalPrior
from numpyro_entropy.training.at_once import SeedsResult
from numpyro_entropy.training.certificate import certify
from numpyro_entropy.training.fit import FitResult, fit
from numpyro_entropy.training.seeds import fit_seeds
from numpyro_entropy.training.variances import clear_state, closed_form_variances
from numpyro_entropy.vaes.base import VAE
from numpyro_entropy.vaes.damm import VAE0, VAE1, VAE2, VAE3, LinearVAE
from numpyro_entropy.vaes.related import EDVAE, BernoulliVAE, ConstantVarianceVAE, SigmaVAE

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
    "SeedsResult",
    "SigmaVAE",
    "StandardNormalPrior",
    "Standard_ELBO",
    "StreamingSelector",
    "UnitNormLinear",
    "VampPrior",
    "__version__",
    "certify",
    "clear_state",
    "closed_form_variances",
    "compress",
    "constant_variance_penalty",
    "decompress",
    "explain_residuals",
    "fit",
    "fit_seeds",
    "guide_error",
    "laplace_log_evidence",
    "log_likelihood",
    "mutual_information",
    "to_datatree",
]
