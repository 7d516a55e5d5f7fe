"""What is wrong with a part or with data, and what the error says: the same in both backends."""

import numpy as np

from tests.support.cases import CLASSES, LEVELS, MEANS, with_parts
from tests.support.helpers import B, D, H, data

HALF = np.full((B, D), 0.5)
ONE_HOT = np.zeros((B, D, CLASSES))

# Made, but not with a guide and a model that fit together: an error when the pair is traced.
PAIRS = {
    "prior is no distribution": (
        lambda m, dtype: with_parts(m, dtype, lambda _: lambda: 0.0),
        TypeError,
        "a part that returns a distribution for `prior`; got float",
    ),
    "latent sizes": (
        lambda m, dtype: with_parts(m, dtype, lambda _: m.StandardNormalPrior(H + 1, dtype=dtype)),
        ValueError,
        r"latents of the prior's shape \(4,\) for `encoder`; got shape \(3,\)",
    ),
    "decoder's size": (
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.NormalDecoder(m.MLP(H, D + 1, dtype=dtype), dtype=dtype)
        ),
        ValueError,
        r"event shape \(6,\) for `decoder`; got event shape \(7,\)",
    ),
    "odd output of an encoder": (
        lambda m, dtype: with_parts(
            m, dtype, encoder=m.NormalEncoder(m.MLP(D, 2 * H + 1, dtype=dtype))
        ),
        ValueError,
        r"\(..., 2 H\) for `net`",
    ),
    "output of a full encoder": (
        lambda m, dtype: with_parts(
            m, dtype, encoder=m.FullNormalEncoder(m.MLP(D, 2 * H, dtype=dtype), H)
        ),
        ValueError,
        r"\(..., 9\) for `net`; got \(8, 6\)",
    ),
    "variances of an encoder": (
        lambda m, dtype: with_parts(
            m,
            dtype,
            encoder=m.ConstantNormalEncoder(m.MLP(D, H, dtype=dtype), [1.0, 2.0], dtype=dtype),
        ),
        ValueError,
        r"one variance or 3 for `variance`; got \(2,\)",
    ),
    "input of a net": (
        lambda m, dtype: with_parts(
            m, dtype, encoder=m.NormalEncoder(m.MLP((2, D), 2 * H, dtype=dtype))
        ),
        ValueError,
        r"a shape that ends in \(2, 6\) for `x`; got shape \(8, 6\)",
    ),
    "channels last": (
        lambda m, dtype: with_parts(
            m, dtype, encoder=m.NormalEncoder(m.ConvNet((2, 4, 4), 2 * H, (3,), dtype=dtype))
        ),
        ValueError,
        r"a shape that ends in \(2, 4, 4\) for `x`",
    ),
    "odd output of a decoder with two heads": (
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.HeteroscedasticNormalDecoder(m.MLP(H, 2 * D + 1, dtype=dtype))
        ),
        ValueError,
        r"\(..., 2 D\) for `net`",
    ),
}

# Refused when it is made.
PARTS = {
    "fixed variance": (
        lambda m: m.FixedNormalDecoder(m.MLP(H, D), 0.0),
        "positive numbers for `variance`; got 0.0",
    ),
    "VAE0": (lambda m: m.VAE0(D, H, variance=-1.0), "positive numbers for `variance`"),
    "encoder variance": (
        lambda m: m.ConstantVarianceVAE(D, H, encoder_variance=[1.0, -1.0, 1.0]),
        "positive numbers for `variance`",
    ),
    "mixture": (
        lambda m: m.MixturePrior([1, 1, 1], MEANS, -np.ones_like(MEANS)),
        "positive numbers for `covariance`",
    ),
    "components": (lambda m: m.EDVAE(D, H, num_components=0), "`num_components`"),
    "prior's size": (lambda m: m.NormalPrior(0), "`latent_dim`"),
    "floating prior's size": (lambda m: m.FloatingNormalPrior(-1), "`latent_dim`"),
    "encoder's size": (lambda m: m.FullNormalEncoder(m.MLP(D, 2), 0), "`latent_dim`"),
    "decoder's size": (lambda m: m.DiagonalNormalDecoder(m.MLP(H, D), 0), "`data_dim`"),
    "levels": (lambda m: m.DiscretizedNormalDecoder(m.MLP(H, D), num_levels=0), "`num_levels`"),
    "one level": (
        lambda m: m.DiscretizedLogisticDecoder(m.MLP(H, D), num_levels=1),
        "at least 2 levels for `num_levels`",
    ),
    "many variances": (
        lambda m: m.FixedNormalDecoder(m.MLP(H, D), np.ones(D)),
        "one number for `variance`",
    ),
    "hidden": (lambda m: m.VAE1(D, H, hidden=8), "a sequence of sizes for `hidden`; got 8"),
    "no pseudo-inputs": (
        lambda m: m.VampPrior(m.NormalEncoder(m.MLP(D, 2 * H)), np.zeros((0, D))),
        r"\(K, \*data_shape\) for `pseudo_inputs`; got \(0, 6\)",
    ),
    "VampPrior of another encoder": (
        lambda m: with_parts(
            m, None, lambda _: m.VampPrior(m.NormalEncoder(m.MLP(D, 2 * H)), np.zeros((2, D)))
        ),
        "the VAE's own encoder for `prior`",
    ),
    "shape of data": (
        lambda m: m.VAE(m.StandardNormalPrior(H), None, None, (D, 0)),
        "a positive integer for `data_shape`",
    ),
    "pseudo-inputs": (
        lambda m: m.VampPrior(m.NormalEncoder(m.MLP(D, 2 * H)), np.full((2, D), np.nan)),
        "finite values for `pseudo_inputs`",
    ),
    "activation": (lambda m: m.VAE1(D, H, activation="step"), "`activation`; got step"),
    "net": (lambda m: m.VAE1(D, H, net="transformer"), "`net`; got transformer"),
    "image": (
        lambda m: m.VAE1((1, 28, 28), H, net="conv", hidden=(8, 8, 8)),
        r"multiples of 8 for `data_dim`; got \(1, 28, 28\)",
    ),
    "in_dim of ConvNet": (lambda m: m.ConvNet((1, 9, 8), 4, (2,)), "`in_dim`"),
    "out_dim of DeconvNet": (lambda m: m.DeconvNet(4, (8, 8), (2,)), "`out_dim`"),
}

# Data outside the support of the decoder: case of the table, data, what is said of the support.
OUTSIDE = {
    "grey pixels": ("BernoulliVAE", HALF, "Boolean"),
    "above one": ("continuous Bernoulli", HALF + 1, "Interval|interval|UnitInterval"),
    "between levels": ("discretised logistic", HALF, f"UnitGrid.num_levels={LEVELS}."),
    "beyond the levels": ("discretised normal", (HALF * 2 * LEVELS) / (LEVELS - 1), "UnitGrid"),
    "not one hot": ("categorical", ONE_HOT, "OneHot"),
    "fractions": ("Poisson", HALF, "[Ii]nteger|GreaterThan"),
    "negative": ("Gamma", data(), "GreaterThan|Positive"),
}
