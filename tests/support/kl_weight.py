"""Guides with known KL divergences: of half a bit one latent has less, and two have more.

Of the second latent some data points have less: the average comes before the maximum.
"""

import numpy as np

from tests.support.helpers import B, H

RNG = np.random.default_rng(0)
LOC = RNG.standard_normal((B, H)) * [0.1, 1.0, 2.0]
SCALE = np.array([0.9, 0.6, 0.4]) * np.exp(0.05 * RNG.standard_normal((B, H)))
# KL(N(m, s^2) || N(0, 1)) for each latent, the mean over data points.
KL_OF_POINTS = 0.5 * (LOC**2 + SCALE**2 - 1) - np.log(SCALE)
KL = KL_OF_POINTS.mean(0)
HALF_A_BIT = 0.5 * np.log(2)
X = RNG.standard_normal(B)
# Where the data does not depend on the latents: the mean of log N(x; 0, 1).
FLAT = (-0.5 * (X**2 + np.log(2 * np.pi))).mean()

assert KL[0] < HALF_A_BIT < KL[1] < KL[2]
assert KL_OF_POINTS[:, 1].min() < HALF_A_BIT
