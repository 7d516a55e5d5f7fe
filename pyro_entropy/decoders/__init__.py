"""Decoders `p(x|z)`: modules that return a distribution over the observed variables."""

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
