"""The table that drives the tests of variants and parts: one line a case, for both backends.

Each line takes the package, `pyro_entropy` or `numpyro_entropy`, and a float type of its host.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.support.helpers import HIDDEN, B, D, H, data

IMAGE = (2, 8, 8)
CLASSES = 4
LEVELS = 256
RNG = np.random.default_rng(5)
MEANS = RNG.standard_normal((3, H))
FACTORS = RNG.standard_normal((3, H, H))
PSEUDO_INPUTS = RNG.standard_normal((4, D))


def observations(kind: str) -> np.ndarray:
    """Observations that a decoder of this kind can have."""
    x = data()
    uniform = 1 / (1 + np.exp(-x))
    return {
        "real": lambda: x,
        "binary": lambda: (x > 0).astype(float),
        "unit": lambda: uniform,
        "levels": lambda: np.round(uniform * (LEVELS - 1)) / (LEVELS - 1),
        "counts": lambda: np.floor(4 * uniform),
        "positive": lambda: np.exp(x),
        "one-hot": lambda: np.eye(CLASSES)[np.arange(B * D).reshape(B, D) % CLASSES],
        "images": lambda: np.random.default_rng(0).standard_normal((B, *IMAGE)),
    }[kind]()


class Case(NamedTuple):
    """A VAE of the table.

    Args:
        make: Makes it from the package and the float type.
        kind: The kind of its data.
        constants: The weights that nothing trains.
        sampled: The sites whose entropy has no closed form.
    """

    make: Callable[[Any, Any], Any]
    kind: str = "real"
    constants: frozenset[str] = frozenset()
    sampled: frozenset[str] = frozenset()


def with_parts(m, dtype, prior=None, encoder=None, decoder=None, shape=(D,)):
    """A VAE with some parts of its own; the other ones are those of VAE-1."""
    encoder = encoder or m.NormalEncoder(mlp(m, dtype, shape, 2 * H))
    return m.VAE(
        prior(encoder) if prior else m.StandardNormalPrior(H, dtype=dtype),
        encoder,
        decoder or m.NormalDecoder(mlp(m, dtype, H, D), dtype=dtype),
        shape,
    )


def mlp(m, dtype, in_dim, out_dim):
    return m.MLP(in_dim, out_dim, HIDDEN, "tanh", dtype=dtype)


NETS = {"hidden": HIDDEN, "activation": "tanh"}
Z, X, S2 = frozenset({"z"}), frozenset({"x"}), frozenset({"prior.variance", "prior.covariance"})

VARIANTS = {
    "VAE0": Case(lambda m, dtype: m.VAE0(D, H, variance=0.5, **NETS, dtype=dtype)),
    "VAE1": Case(lambda m, dtype: m.VAE1(D, H, **NETS, dtype=dtype)),
    "LinearVAE": Case(lambda m, dtype: m.LinearVAE(D, H, dtype=dtype)),
    "VAE2": Case(lambda m, dtype: m.VAE2(D, H, **NETS, dtype=dtype)),
    "VAE3": Case(lambda m, dtype: m.VAE3(D, H, **NETS, dtype=dtype)),
    "SigmaVAE": Case(lambda m, dtype: m.SigmaVAE(D, H, **NETS, dtype=dtype)),
    "BernoulliVAE": Case(lambda m, dtype: m.BernoulliVAE(D, H, **NETS, dtype=dtype), "binary"),
    "ConstantVarianceVAE": Case(
        lambda m, dtype: m.ConstantVarianceVAE(D, H, encoder_variance=0.1, **NETS, dtype=dtype),
        constants=S2,
    ),
    "EDVAE": Case(lambda m, dtype: m.EDVAE(D, H, num_components=3, **NETS, dtype=dtype), sampled=Z),
}

PARTS = {
    "full floating prior": Case(
        lambda m, dtype: m.ConstantVarianceVAE(D, H, full_covariance=True, **NETS, dtype=dtype),
        constants=S2,
    ),
    "given mixture": Case(
        lambda m, dtype: with_parts(
            m, dtype, lambda _: m.MixturePrior([1, 2, 3], MEANS, MEANS**2 + 0.1, dtype=dtype)
        ),
        sampled=Z,
    ),
    "given full mixture": Case(
        lambda m, dtype: m.EDVAE(
            D,
            H,
            prior=m.MixturePrior(
                [1, 2, 3], MEANS, FACTORS @ FACTORS.swapaxes(1, 2) + np.eye(H), dtype=dtype
            ),
            **NETS,
            dtype=dtype,
        ),
        sampled=Z,
    ),
    "VampPrior": Case(
        lambda m, dtype: with_parts(
            m, dtype, lambda encoder: m.VampPrior(encoder, PSEUDO_INPUTS, dtype=dtype)
        ),
        sampled=Z,
    ),
    "variance by dimension": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.DiagonalNormalDecoder(mlp(m, dtype, H, D), D, dtype=dtype)
        )
    ),
    "continuous Bernoulli": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.ContinuousBernoulliDecoder(mlp(m, dtype, H, D))
        ),
        "unit",
    ),
    "discretised logistic": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.DiscretizedLogisticDecoder(mlp(m, dtype, H, D), dtype=dtype)
        ),
        "levels",
        sampled=X,
    ),
    "discretised normal": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.DiscretizedNormalDecoder(mlp(m, dtype, H, D), dtype=dtype)
        ),
        "levels",
        sampled=X,
    ),
    "categorical": Case(
        lambda m, dtype: with_parts(
            m,
            dtype,
            decoder=m.CategoricalDecoder(mlp(m, dtype, H, (D, CLASSES))),
            shape=(D, CLASSES),
        ),
        "one-hot",
    ),
    "Poisson": Case(
        lambda m, dtype: with_parts(m, dtype, decoder=m.PoissonDecoder(mlp(m, dtype, H, D))),
        "counts",
    ),
    "Gamma": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.GammaDecoder(mlp(m, dtype, H, D), dtype=dtype)
        ),
        "positive",
    ),
    "Laplace": Case(
        lambda m, dtype: with_parts(
            m, dtype, decoder=m.LaplaceDecoder(mlp(m, dtype, H, D), dtype=dtype)
        )
    ),
    "convolutional VAE3": Case(
        lambda m, dtype: m.VAE3(
            IMAGE, H, net="conv", hidden=(3, 4), activation="tanh", dtype=dtype
        ),
        "images",
    ),
    "convolutional VAE2": Case(
        lambda m, dtype: m.VAE2(
            IMAGE, H, net="conv", hidden=(3, 4), activation="tanh", dtype=dtype
        ),
        "images",
    ),
    "dense block": Case(
        lambda m, dtype: m.VAE1(
            D, H, net="dense_block", hidden=(8, 8), activation="tanh", dtype=dtype
        )
    ),
}

CASES = {**VARIANTS, **PARTS}
