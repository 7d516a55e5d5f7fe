"""Entropies by hand of the users' models in `models.py` of either side, at their initial values."""

import numpy as np
from scipy import special, stats

from tests.support.helpers import STANDARD_ERRORS, data, normal_entropy

X = data()
# The model of nested plates has one draw of `noise` for each member of each group.
GROUPS, MEMBERS = X.shape
PARTICLES = 500


def nested_entropies():
    """Those of the encoder, the prior and the decoder, for each group."""
    encoder = normal_entropy(0.25) + stats.gamma(3.0, scale=1 / (1 + abs(X))).entropy().sum(1)
    prior = normal_entropy(1.0) + MEMBERS * stats.gamma(2.0, scale=1 / 1.5).entropy()
    # That of the data is 1/2 log(2 pi e) + log(noise), with the noise of the guide.
    log_noise = special.digamma(3.0) - np.log1p(abs(X))
    return encoder.mean(), prior, (normal_entropy(1.0) + log_noise).sum(1).mean()


# By name: the three entropies, and how far the last one may be off, where it depends on the draws.
ENTROPIES = {
    "two sites": (
        normal_entropy(0.5**2) + normal_entropy(0.9**2),
        normal_entropy(2.0**2) + normal_entropy(1.0),
        normal_entropy(0.7**2),
        1e-9,
    ),
    "nested plates": (
        *nested_entropies(),
        STANDARD_ERRORS * (special.polygamma(1, 3.0) * MEMBERS / GROUPS / PARTICLES) ** 0.5,
    ),
    "subsampled plate": (
        2 * normal_entropy(0.6**2),
        2 * normal_entropy(1.0),
        normal_entropy(0.8**2),
        1e-9,
    ),
}
