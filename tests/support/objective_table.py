"""The objectives over a batch, one a line, each with a VAE that meets its conditions."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from entropy_core.elbos.edvae import EDVAEWeights
from tests.support.cases import CASES, Case
from tests.support.helpers import B, H

# More latents than observed variables.
WIDE = Case(lambda m, dtype: m.LinearVAE(3, 5, dtype=dtype))
ALL_CASES = {**CASES, "wide": WIDE}
NOISE = np.random.default_rng(1).standard_normal((B, H))


class Objective(NamedTuple):
    """An objective of the table: makes it from the package, and the name of a VAE in `CASES`."""

    make: Callable[[Any], Any]
    vae: str = "VAE1"


def moved(*args):
    """Positives without noise; NumPyro hands over a random key, too."""
    return (args[-1] + 0.1,)


def without_limit(m, **options):
    """An entropy-decomposed bound that warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return m.EDVAE_ELBO(**options)


OBJECTIVES = {
    "BILBO": Objective(lambda m: m.BILBO_ELBO(), "ConstantVarianceVAE"),
    "full BILBO": Objective(lambda m: m.BILBO_ELBO(full_covariance=True), "ConstantVarianceVAE"),
    "BILBO, learned variance": Objective(lambda m: m.BILBO_ELBO(), "LinearVAE"),
    "constant variance": Objective(lambda m: m.ConstantVariance_ELBO(), "ConstantVarianceVAE"),
    "full constant variance": Objective(
        lambda m: m.ConstantVariance_ELBO(full_covariance=True), "full floating prior"
    ),
    "BAGGINS": Objective(lambda m: m.BAGGINS_ELBO(0.3), "ConstantVarianceVAE"),
    "BAGGINS, own prior": Objective(lambda m: m.BAGGINS_ELBO(0.3, prior="model"), "VAE2"),
    "profiled decoder": Objective(lambda m: m.Profiled_ELBO()),
    "profiled prior": Objective(lambda m: m.Profiled_ELBO(prior="diagonal", decoder=None), "VAE3"),
    "profiled": Objective(lambda m: m.Profiled_ELBO(prior="diagonal"), "SigmaVAE"),
    "profiled at the draws": Objective(
        lambda m: m.Profiled_ELBO(prior="full", decoder="diagonal", closed_form=False), "VAE2"
    ),
    "fully profiled": Objective(
        lambda m: m.Profiled_ELBO(prior="full", decoder="diagonal"), "SigmaVAE"
    ),
    "ED-VAE": Objective(lambda m: m.EDVAE_ELBO(positives=moved, temperature=2.0), "EDVAE"),
    "weighted ED-VAE": Objective(
        lambda m: m.EDVAE_ELBO(
            critic="dot",
            positives=moved,
            aggregate_entropy="weighted",
            weights=EDVAEWeights(1.0, 0.5, 2.0, 3.0),
        ),
        "EDVAE",
    ),
    "stratified ED-VAE": Objective(
        lambda m: m.EDVAE_ELBO(positives=moved, aggregate_entropy="stratified"), "EDVAE"
    ),
    "moments ED-VAE": Objective(
        lambda m: without_limit(
            m, critic="dot", floor=False, positives=moved, aggregate_entropy="moment"
        ),
        "SigmaVAE",
    ),
    "ED-VAE by the aggregate": Objective(
        lambda m: m.EDVAE_ELBO(mutual_information="aggregate"), "VampPrior"
    ),
}
