"""Small problems driven to a stationary point, where the theorem makes its claims.

The noise of the latents is frozen, so that the objective is a function of the parameters alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

NUM, DIM, LATENT = 200, 4, 2
NOISE = {"z": np.random.default_rng(2).standard_normal((NUM, LATENT))}
# Linear nets: others of this size learn the frozen noise by heart, and their weights grow for ever.
NETS = {"hidden": ()}
# The residual is at most |gradient| |direction|, and directions here are of the order of ten.
GRADIENT_NORM = 1e-8
HOLDS, NO_CLAIM = 1e-7, 1e-4


def observations(kind: str) -> np.ndarray:
    """Data of `LATENT` causes and noise, in the support that a decoder asks for."""
    rng = np.random.default_rng(3)
    z = rng.standard_normal((NUM, LATENT))
    x = np.tanh(z @ rng.standard_normal((LATENT, DIM))) + 0.5 * rng.standard_normal((NUM, DIM))
    return {
        "real": lambda: x,
        "binary": lambda: (x > 0).astype(float),
        "unit": lambda: 1 / (1 + np.exp(-3 * x)),
        "one-hot": lambda: np.eye(3)[np.digitize(x, [-0.5, 0.5])],
        "positive": lambda: np.exp(x),
    }[kind]()


class Stationary(NamedTuple):
    """A VAE and the claims of the theorem for its sites.

    Args:
        make: Makes it from the package and the float type.
        kind: The kind of its data.
        no_claim: The sites whose residual does not vanish.
    """

    make: Callable[[Any, Any], Any]
    kind: str = "real"
    no_claim: frozenset[str] = frozenset()


def decoded(m, dtype, decoder, shape=(DIM,)):
    """A VAE-1 with another decoder."""
    net = m.MLP(shape, 2 * LATENT, (), dtype=dtype)
    return m.VAE(m.StandardNormalPrior(LATENT, dtype=dtype), m.NormalEncoder(net), decoder, shape)


def mlp(m, dtype, out=DIM):
    return m.MLP(LATENT, out, (), dtype=dtype)


# EQUATIONS of the theorem: Damm et al. 2023, Theorems 1 to 3; Luecke 2022 for the families.
CASES = {
    "LinearVAE": Stationary(lambda m, dtype: m.LinearVAE(DIM, LATENT, dtype=dtype)),
    "VAE1": Stationary(lambda m, dtype: m.VAE1(DIM, LATENT, **NETS, dtype=dtype)),
    "VAE2": Stationary(lambda m, dtype: m.VAE2(DIM, LATENT, **NETS, dtype=dtype)),
    "VAE3": Stationary(lambda m, dtype: m.VAE3(DIM, LATENT, **NETS, dtype=dtype)),
    "SigmaVAE": Stationary(lambda m, dtype: m.SigmaVAE(DIM, LATENT, **NETS, dtype=dtype)),
    "BernoulliVAE": Stationary(
        lambda m, dtype: m.BernoulliVAE(DIM, LATENT, **NETS, dtype=dtype), "binary"
    ),
    "variance by dimension": Stationary(
        lambda m, dtype: decoded(m, dtype, m.DiagonalNormalDecoder(mlp(m, dtype), DIM, dtype=dtype))
    ),
    "continuous Bernoulli": Stationary(
        lambda m, dtype: decoded(m, dtype, m.ContinuousBernoulliDecoder(mlp(m, dtype))), "unit"
    ),
    "categorical": Stationary(
        lambda m, dtype: decoded(
            m, dtype, m.CategoricalDecoder(mlp(m, dtype, (DIM, 3))), shape=(DIM, 3)
        ),
        "one-hot",
    ),
    "Gamma": Stationary(
        lambda m, dtype: decoded(m, dtype, m.GammaDecoder(mlp(m, dtype), dtype=dtype)), "positive"
    ),
    "VAE0": Stationary(
        lambda m, dtype: m.VAE0(DIM, LATENT, variance=0.5, **NETS, dtype=dtype),
        no_claim=frozenset({"x"}),
    ),
    # Neither can the encoder rescale a latent, nor is there another parameter of the prior.
    "ConstantVarianceVAE": Stationary(
        lambda m, dtype: m.ConstantVarianceVAE(
            DIM, LATENT, encoder_variance=0.3, **NETS, dtype=dtype
        ),
        no_claim=frozenset({"z"}),
    ),
}


def minimise(
    loss_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    norm: float = GRADIENT_NORM,
) -> np.ndarray:
    """The parameters at a stationary point, where the gradient is no longer than `norm`."""

    def gradient(x: np.ndarray) -> np.ndarray:
        return loss_and_gradient(x)[1]

    x = minimize(loss_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-6}).x
    # The last digits with Newton's method, since a line search cannot tell such losses apart.
    for _ in range(10):
        if np.linalg.norm(gradient(x)) < norm:
            return x
        steps = 1e-5 * np.eye(len(x))
        hessian = np.stack([(gradient(x + h) - gradient(x - h)) / 2e-5 for h in steps])
        # Some directions change nothing, such as the length of VAE-2's raw columns.
        x = x - np.linalg.lstsq(hessian, gradient(x), rcond=1e-8)[0]
    raise AssertionError(f"the gradient's norm is {np.linalg.norm(gradient(x))}")
