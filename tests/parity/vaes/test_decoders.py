"""Every decoder, in both backends, has the density that its net's raw output says."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen
from numpyro.handlers import seed
from scipy import stats
from scipy.special import log_expit, log_softmax

import numpyro_entropy
import pyro_entropy
from tests.support.cases import CLASSES, LEVELS, observations
from tests.support.helpers import PARITY, B, D

# The logarithm of a learned variance, scale or shape: its own exponential is no other's inverse.
LOG = -0.7
SCALE = np.exp(LOG)
DEVIATION = np.exp(0.5 * LOG)


def discretised(density):
    """The logarithm of a density's probabilities of levels, whose outer bins are open."""

    def log_prob(x, loc):
        half = 0.5 / (LEVELS - 1)
        upper = np.where(x == 1, np.inf, x + half)
        lower = np.where(x == 0, -np.inf, x - half)
        return np.log(density.cdf(upper, loc, SCALE) - density.cdf(lower, loc, SCALE))

    return log_prob


# Name -> the kind of its data, how it is made of a package and a net, and the logarithm of its
# density by SciPy, from the data and the net's output.
DECODERS = {
    "FixedNormalDecoder": (
        "real",
        lambda m, net: m.FixedNormalDecoder(net, SCALE),
        lambda x, mean: stats.norm.logpdf(x, mean, DEVIATION),
    ),
    "NormalDecoder": (
        "real",
        lambda m, net: m.NormalDecoder(net, initial_log_variance=LOG),
        lambda x, mean: stats.norm.logpdf(x, mean, DEVIATION),
    ),
    "DiagonalNormalDecoder": (
        "real",
        lambda m, net: m.DiagonalNormalDecoder(net, D, initial_log_variance=LOG),
        lambda x, mean: stats.norm.logpdf(x, mean, DEVIATION),
    ),
    "HeteroscedasticNormalDecoder": (
        "real",
        lambda m, net: m.HeteroscedasticNormalDecoder(net, initial_log_variance=LOG),
        lambda x, mean, log: stats.norm.logpdf(x, mean, np.exp(0.5 * (log + LOG))),
    ),
    "BernoulliDecoder": (
        "binary",
        lambda m, net: m.BernoulliDecoder(net),
        lambda x, logits: x * log_expit(logits) + (1 - x) * log_expit(-logits),
    ),
    "CategoricalDecoder": (
        "one-hot",
        lambda m, net: m.CategoricalDecoder(net),
        lambda x, logits: x * log_softmax(logits, -1),
    ),
    "PoissonDecoder": (
        "counts",
        lambda m, net: m.PoissonDecoder(net),
        lambda x, log_rate: stats.poisson.logpmf(x, np.exp(log_rate)),
    ),
    "DiscretizedLogisticDecoder": (
        "levels",
        lambda m, net: m.DiscretizedLogisticDecoder(net, initial_log_scale=LOG),
        discretised(stats.logistic),
    ),
    "DiscretizedNormalDecoder": (
        "levels",
        lambda m, net: m.DiscretizedNormalDecoder(net, initial_log_scale=LOG),
        discretised(stats.norm),
    ),
    "ContinuousBernoulliDecoder": (
        "unit",
        lambda m, net: m.ContinuousBernoulliDecoder(net),
        lambda x, logits: x * logits + np.log(logits / np.expm1(logits)),
    ),
    "GammaDecoder": (
        "positive",
        lambda m, net: m.GammaDecoder(net, initial_log_concentration=LOG),
        lambda x, log_mean: stats.gamma.logpdf(x, SCALE, scale=np.exp(log_mean) / SCALE),
    ),
    "LaplaceDecoder": (
        "real",
        lambda m, net: m.LaplaceDecoder(net, initial_log_scale=LOG),
        lambda x, loc: stats.laplace.logpdf(x, loc, SCALE),
    ),
}


class Raw(linen.Module):
    """A net whose output is its input, in another shape: the host asks for a parameter."""

    shape: tuple[int, ...]

    @linen.compact
    def __call__(self, z):
        zero = self.param("zero", linen.initializers.zeros, ())
        return z.reshape(-1, *self.shape) + zero


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("package", [pyro_entropy, numpyro_entropy])
def test_the_table_has_every_decoder(package):
    names = {name for name in package.__all__ if name.endswith("Decoder")}
    assert names - {"Decoder"} == DECODERS.keys()


@pytest.mark.parametrize("name", DECODERS)
def test_the_density_is_that_of_the_raw_output(name, double):
    kind, make, log_prob = DECODERS[name]
    heads = getattr(pyro_entropy, name).heads
    shape = (D, CLASSES) if kind == "one-hot" else (D,)
    out = np.random.default_rng(7).standard_normal((heads, B, *shape))
    z = np.concatenate(list(out), 1).reshape(B, -1)
    x, net_shape = observations(kind), (heads * D, *shape[1:])
    with seed(rng_seed=0):
        twin = make(numpyro_entropy, Raw(net_shape))(jnp.asarray(z))
    found = {
        "pyro": make(pyro_entropy, torch.nn.Unflatten(1, net_shape))(torch.tensor(z))
        .log_prob(torch.tensor(x))
        .detach(),
        "numpyro": twin.log_prob(jnp.asarray(x)),
    }
    expected = log_prob(x, *out).reshape(B, -1).sum(1)
    for side, values in found.items():
        np.testing.assert_allclose(values, expected, rtol=PARITY, err_msg=side)
