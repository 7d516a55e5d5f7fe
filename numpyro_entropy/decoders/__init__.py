"""Decoders `p(x|z)`: callables that return a distribution over the observed variables."""

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

__all__ = [
    "BernoulliDecoder",
    "CategoricalDecoder",
    "ContinuousBernoulliDecoder",
    "Decoder",
    "DiagonalNormalDecoder",
    "DiscretizedLogisticDecoder",
    "DiscretizedNormalDecoder",
    "FixedNormalDecoder",
    "GammaDecoder",
    "HeteroscedasticNormalDecoder",
    "LaplaceDecoder",
    "NormalDecoder",
    "PoissonDecoder",
]
