"""The log evidence by the decoder's Jacobian, in both backends."""

import functools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import numpyro_entropy.evaluation.laplace
import pyro_entropy.evaluation.laplace
from tests.support.cases import observations
from tests.support.helpers import IDENTITY, PARITY, D, H
from tests.support.objectives import SIDES

X = observations("real")
side = pytest.mark.parametrize("side", SIDES)


def call(side, name, here, x, **kwargs):
    """`laplace_log_evidence` or `constant_variance_penalty`, on weights of either side."""
    if side == "pyro":
        import torch

        function = getattr(pyro_entropy.evaluation.laplace, name)
        return function(*here.pair(), torch.tensor(x), **kwargs)
    return getattr(numpyro_entropy.evaluation.laplace, name)(here.params, *here.pair(), x, **kwargs)


@functools.cache
def posterior_weights(data_dim, latent_dim):
    """Weights whose encoder has the posterior's mean, and the covariance of the data."""
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((data_dim, latent_dim)), rng.standard_normal(data_dim)
    variance = 0.3
    inner = weight.T @ weight + variance * np.eye(latent_dim)
    encoder = np.linalg.solve(inner, weight.T)
    weights = {
        "decoder.net.weight": weight,
        "decoder.net.bias": bias,
        "decoder.log_variance": np.log(variance),
        "encoder.net.weight": encoder,
        "encoder.net.bias": -encoder @ bias,
        "encoder.log_variance": np.zeros(latent_dim),
    }
    return weights, weight @ weight.T + variance * np.eye(data_dim)


@side
@pytest.mark.parametrize(("case", "data_dim", "latent_dim"), [("LinearVAE", D, H), ("wide", 3, 5)])
def test_a_linear_decoder_has_the_evidence_of_ppca(side, case, data_dim, latent_dim):
    weights, covariance = posterior_weights(data_dim, latent_dim)
    here = SIDES[side](case, weights)
    x = np.random.default_rng(1).standard_normal((5, data_dim))
    # A last batch of one data point.
    found = call(side, "laplace_log_evidence", here, x, batch_size=2)
    expected = multivariate_normal.logpdf(x, weights["decoder.net.bias"], covariance)
    np.testing.assert_allclose(found, expected, rtol=PARITY)
    # All posteriors have the same covariance.
    penalty, constant = call(side, "constant_variance_penalty", here, x, batch_size=2)
    assert abs(penalty) < IDENTITY
    weight = weights["decoder.net.weight"]
    posterior = np.linalg.inv(weight.T @ weight / 0.3 + np.eye(latent_dim))
    np.testing.assert_allclose(constant, posterior, rtol=PARITY, atol=IDENTITY)


@pytest.mark.parametrize("name", ["VAE2", "VAE3", "SigmaVAE", "full floating prior"])
def test_both_backends_agree(name):
    ours = SIDES["pyro"](name)
    twin = SIDES["numpyro"](name, ours.weights)
    pairs = (("pyro", ours), ("numpyro", twin))
    found, twins = (call(side, "laplace_log_evidence", here, X) for side, here in pairs)
    np.testing.assert_allclose(found, twins, rtol=PARITY)
    found, twins = (call(side, "constant_variance_penalty", here, X) for side, here in pairs)
    assert found.penalty > 1e-3
    assert found.penalty == pytest.approx(twins.penalty, rel=PARITY)
    np.testing.assert_allclose(found.covariance, twins.covariance, rtol=PARITY, atol=IDENTITY)


def test_the_jacobian_is_that_of_finite_differences():
    # By hand, with another prior covariance and a decoder variance that depends on z.
    here = SIDES["pyro"]("VAE3")
    w = here.weights

    def net(name, x):
        hidden = np.tanh(x @ w[f"{name}.net.layer_0.weight"].T + w[f"{name}.net.layer_0.bias"])
        return hidden @ w[f"{name}.net.layer_1.weight"].T + w[f"{name}.net.layer_1.bias"]

    found = call("pyro", "laplace_log_evidence", here, X)
    for x, value in zip(X, found, strict=True):
        z = net("encoder", x)[:H]
        out, step = net("decoder", z), 1e-6
        jacobian = np.stack(
            [
                (net("decoder", z + d)[:D] - net("decoder", z - d)[:D]) / (2 * step)
                for d in step * np.eye(H)
            ],
            -1,
        )
        variance = np.diag(np.exp(out[D:]))
        # The determinant by the other form of the paper, log|J S^2 J^T + R|.
        expected = -0.5 * (
            D * np.log(2 * np.pi)
            + z @ z
            + (x - out[:D]) @ np.linalg.solve(variance, x - out[:D])
            + np.linalg.slogdet(jacobian @ jacobian.T + variance)[1]
        )
        assert value == pytest.approx(expected, rel=1e-6)


@side
def test_other_models_are_refused(side):
    for name, match in (
        ("EDVAE", "a normal distribution for `model`; got site 'z'"),
        ("BernoulliVAE", "a normal distribution for `model`; got site 'x'"),
    ):
        x = observations("binary")
        with pytest.raises(ValueError, match=match):
            call(side, "laplace_log_evidence", SIDES[side](name), x)
    here = SIDES[side]("VAE1")
    with pytest.raises(ValueError, match="finite values for `batches`"):
        call(side, "laplace_log_evidence", here, X * np.nan)
    with pytest.raises(ValueError, match="`batch_size`"):
        call(side, "laplace_log_evidence", here, X, batch_size=0)
