"""Data of probabilistic PCA, and what is known of it in closed form, for the linear VAE."""

import numpy as np

from entropy_core.datasets import ppca
from entropy_core.theory.closed_form import ppca_log_likelihood, ppca_optimum

# With the papers' noise of 0.1 the same takes three times as long: examples/linear_vae.py.
PPCA = ppca(num_train=1000, num_test=1, noise_scale=0.5, dtype=np.float64).train


def likelihood(weights):
    return ppca_log_likelihood(
        PPCA,
        weights["decoder.net.weight"],
        weights["decoder.net.bias"],
        float(np.exp(weights["decoder.log_variance"])),
    )


def optimum_weights():
    """The unrotated maximum of probabilistic PCA as the weights of a linear VAE."""
    best = ppca_optimum(PPCA, 2)
    return {
        "decoder.net.weight": best.weight,
        "decoder.net.bias": best.mean,
        "decoder.log_variance": np.log(best.variance),
        "encoder.net.weight": best.encoder_weight,
        "encoder.net.bias": -best.encoder_weight @ best.mean,
        "encoder.log_variance": np.log(best.encoder_variance),
    }
