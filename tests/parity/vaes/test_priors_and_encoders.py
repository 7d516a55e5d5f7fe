"""Every prior and encoder, in both backends, has the density that its weights and net say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpyro.handlers import substitute
from scipy.special import log_softmax, logsumexp
from scipy.stats import multivariate_normal, norm

import numpyro_entropy
import pyro_entropy
from tests.support.cases import CASES, FACTORS, MEANS, PSEUDO_INPUTS
from tests.support.helpers import PARITY, B, D, H, data, random_weights

Z = np.random.default_rng(8).standard_normal((B, H))
GIVEN = np.log(np.array([1, 2, 3]) / 6)


def normal(z, loc, log_variance):
    return norm.logpdf(z, loc, np.exp(0.5 * log_variance)).sum(-1)


def diagonal(z, out):
    """The means of a net's output, then the log-variances."""
    return normal(z, out[:, :H], out[:, H:])


def full(z, out):
    """The means, then `log tau^2`, then the rows of `U` below its diagonal; `L = diag(tau) U`."""
    densities = []
    for point, row in zip(z, out, strict=True):
        unit = np.eye(H)
        unit[1, 0], unit[2, 0], unit[2, 1] = row[2 * H :]
        factor = np.diag(np.exp(0.5 * row[H : 2 * H])) @ unit
        densities.append(multivariate_normal.logpdf(point, row[:H], factor @ factor.T))
    return np.array(densities)


def mixture(log_weights, components):
    return logsumexp([a + b for a, b in zip(log_weights, components, strict=True)], axis=0)


# The name of a VAE in `CASES` -> the class of its encoder, and the logarithm of its density from
# draws, the net's output and the weights.
ENCODERS = {
    "VAE1": ("NormalEncoder", lambda z, out, w: diagonal(z, out)),
    "SigmaVAE": ("FullNormalEncoder", lambda z, out, w: full(z, out)),
    "LinearVAE": (
        "LinearNormalEncoder",
        lambda z, out, w: normal(z, out, w["encoder.log_variance"]),
    ),
    "ConstantVarianceVAE": (
        "ConstantNormalEncoder",
        lambda z, out, w: normal(z, out, np.log(0.1)),
    ),
}

# The same for priors: from draws, the weights, and the encoder's net as a function.
PRIORS = {
    "VAE1": ("StandardNormalPrior", lambda z, w, net: normal(z, 0.0, 0.0)),
    "VAE2": ("NormalPrior", lambda z, w, net: normal(z, 0.0, w["prior.log_variance"])),
    "ConstantVarianceVAE": (
        "FloatingNormalPrior",
        lambda z, w, net: normal(z, 0.0, np.log(w["prior.variance"])),
    ),
    "full floating prior": (
        "FloatingNormalPrior",
        lambda z, w, net: multivariate_normal.logpdf(z, np.zeros(H), w["prior.covariance"]),
    ),
    "given mixture": (
        "MixturePrior",
        lambda z, w, net: mixture(GIVEN, [normal(z, m, np.log(m**2 + 0.1)) for m in MEANS]),
    ),
    "given full mixture": (
        "MixturePrior",
        lambda z, w, net: mixture(
            GIVEN,
            [
                multivariate_normal.logpdf(z, m, a @ a.T + np.eye(H))
                for m, a in zip(MEANS, FACTORS, strict=True)
            ],
        ),
    ),
    "EDVAE": (
        "LearnedMixturePrior",
        lambda z, w, net: mixture(
            log_softmax(w["prior.logits"]),
            [
                normal(z, *component)
                for component in zip(w["prior.loc"], w["prior.log_variance"], strict=True)
            ],
        ),
    ),
    "VampPrior": (
        "VampPrior",
        lambda z, w, net: mixture(
            np.full(len(PSEUDO_INPUTS), -np.log(len(PSEUDO_INPUTS))),
            [diagonal(z, net(u[None])) for u in w["prior.pseudo_inputs"]],
        ),
    ),
}


class Pair:
    """One VAE in both backends, with the same random weights."""

    def __init__(self, name):
        self.vae = CASES[name].make(pyro_entropy, torch.float64)
        self.twin = CASES[name].make(numpyro_entropy, jnp.float64)
        self.weights = random_weights(self.vae.get_weights())
        self.vae.set_weights(self.weights)
        self.params = self.twin.set_weights(self.weights)

    def net(self, x):
        return self.vae.encoder.net(torch.tensor(x)).detach().numpy()


def assert_densities(fn, twin, expected):
    found = fn.log_prob(torch.tensor(Z)).detach()
    np.testing.assert_allclose(found, expected, rtol=PARITY, err_msg="pyro")
    np.testing.assert_allclose(twin, expected, rtol=PARITY, err_msg="numpyro")


@pytest.mark.parametrize("package", [pyro_entropy, numpyro_entropy])
@pytest.mark.parametrize(("suffix", "table"), [("Encoder", ENCODERS), ("Prior", PRIORS)])
def test_the_tables_have_every_class(package, suffix, table):
    names = {name for name in package.__all__ if name.endswith(suffix)}
    assert names == {name for name, _ in table.values()}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_density_of_an_encoder(name):
    pair, (kind, log_prob) = Pair(name), ENCODERS[name]
    assert type(pair.vae.encoder).__name__ == type(pair.twin.encoder).__name__ == kind
    x = data(B, D)
    twin = jax.jit(lambda params: pair.twin.encode(params, x).log_prob(Z))(pair.params)
    expected = log_prob(Z, pair.net(x), pair.weights)
    assert_densities(pair.vae.encode(torch.tensor(x)), twin, expected)


@pytest.mark.parametrize("name", PRIORS)
def test_the_density_of_a_prior(name):
    pair, (kind, log_prob) = Pair(name), PRIORS[name]
    assert type(pair.vae.prior).__name__ == type(pair.twin.prior).__name__ == kind
    twin = jax.jit(lambda params: substitute(pair.twin.prior, params)().log_prob(Z))(pair.params)
    assert_densities(pair.vae.prior(), twin, log_prob(Z, pair.weights, pair.net))
