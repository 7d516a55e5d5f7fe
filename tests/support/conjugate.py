"""A conjugate Gaussian model with a known evidence, and the exact bias of importance weighting.

`z ~ N(0, 1)`, `x ~ N(z, 1)`; the posterior is `N(x / 2, 1 / 2)`. The guide is wrong: it has another
mean, and a variance above the posterior's, so that the weights have a variance.
"""

import numpy as np

N = 100
X = np.random.default_rng(7).normal(scale=2**0.5, size=N)
SLOPE, SHIFT, SCALE = 0.3, 0.2, 0.9

LOG_EVIDENCE = -0.5 * np.log(4 * np.pi) - X**2 / 4


def weight_variance() -> np.ndarray:
    """`Var(w_n) / p(x_n)^2`, by quadrature."""
    z, step = np.linspace(-12, 12, 40_001, retstep=True)
    q_mean = SLOPE * X[:, None] + SHIFT
    log_q = -0.5 * np.log(2 * np.pi * SCALE**2) - (z - q_mean) ** 2 / (2 * SCALE**2)
    log_p = -np.log(2 * np.pi) - 0.5 * z**2 - 0.5 * (X[:, None] - z) ** 2
    second = np.exp(2 * log_p - log_q - 2 * LOG_EVIDENCE[:, None]).sum(1) * step
    return second - 1
