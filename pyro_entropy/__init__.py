"""Variational autoencoders for Pyro whose ELBO is checked against a sum of three entropies."""

try:
    import pyro as _pyro  # noqa: F401
except ImportError as error:
    error.add_note("pyro_entropy needs Pyro: pip install 'elbo-entropy[pyro]'")
    raise

from entropy_core.version import __version__
from pyro_entropy.capture.captured import CapturedLoss, Captures
from pyro_entropy.capture.svi import CapturedSVI
from pyro_entropy.coding.compression import compress, decompress
from pyro_entropy.decoders.base import Decoder
from pyro_entropy.decoders.continuous import (
    ContinuousBernoulliDecoder,
    GammaDecoder,
    LaplaceDecoder,
)
from pyro_entropy.decoders.discrete import (
    BernoulliDecoder,
    CategoricalDecoder,
    DiscretizedLogisticDecoder,
    DiscretizedNormalDecoder,
    PoissonDecoder,
)
from pyro_entropy.decoders.normal import (
    DiagonalNormalDecoder,
    FixedNormalDecoder,
    HeteroscedasticNormalDecoder,
    NormalDecoder,
)
from pyro_entropy.diagnostic.claims import explain_residuals
from pyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from pyro_entropy.diagnostic.monitor import Monitor
from pyro_entropy.distributed.elbo import Distributed_ELBO
from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.distributions.discretized import DiscretizedLogistic, DiscretizedNormal
from pyro_entropy.elbos.baggins import BAGGINS_ELBO
from pyro_entropy.elbos.bilbo import BILBO_ELBO, ConstantVariance_ELBO
from pyro_entropy.elbos.edvae import EDVAE_ELBO
from pyro_entropy.elbos.iwae import IWAE_ELBO
from pyro_entropy.elbos.profiled import Profiled_ELBO
from pyro_entropy.elbos.standard import Standard_ELBO
from pyro_entropy.encoders import (
    ConstantNormalEncoder,
    FullNormalEncoder,
    LinearNormalEncoder,
    NormalEncoder,
)
from pyro_entropy.evaluation.arviz import to_datatree
from pyro_entropy.evaluation.guide_error import guide_error
from pyro_entropy.evaluation.information import mutual_information
from pyro_entropy.evaluation.laplace import constant_variance_penalty, laplace_log_evidence
from pyro_entropy.evaluation.likelihood import log_likelihood
from pyro_entropy.evaluation.selection import StreamingSelector
from pyro_entropy.nets.architecture import Nets
from pyro_entropy.nets.conv import ConvNet, DeconvNet
from pyro_entropy.nets.mlp import MLP, DenseBlock, UnitNormLinear
from pyro_entropy.priors.mixtures import LearnedMixturePrior, MixturePrior, VampPrior
from pyro_entropy.priors.normal import FloatingNormalPrior, NormalPrior, StandardNormalPrior
from pyro_entropy.training.certificate import certify
from pyro_entropy.training.fit import FitResult, fit
from pyro_entropy.training.seeds import SeedsResult, fit_seeds
from pyro_entropy.training.variances import clear_state, closed_form_variances
from pyro_entropy.vaes.base import VAE
from pyro_entropy.vaes.damm import VAE0, VAE1, VAE2, VAE3, LinearVAE
from pyro_entropy.vaes.related import EDVAE, BernoulliVAE, ConstantVarianceVAE, SigmaVAE

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
    "CapturedLoss",
    "CapturedSVI",
    "Captures",
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
    "Distributed_ELBO",
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
