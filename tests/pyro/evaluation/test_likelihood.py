"""Log-likelihoods on a model whose evidence is known, and through VAEs."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.testing import assert_allclose
from pyro import poutine
from scipy.special import logsumexp
from torch import nn

import pyro_entropy
import pyro_entropy.evaluation.likelihood
from entropy_core.evaluation.weights.sums import WeightSums
from pyro_entropy import VAE1
from pyro_entropy.evaluation.likelihood import log_likelihood
from tests.pyro.models import nested_guide, nested_model
from tests.support.cases import CASES
from tests.support.conjugate import LOG_EVIDENCE, SCALE, SHIFT, SLOPE, N, X, weight_variance
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, B, D, H, data

XT = torch.tensor(X)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide(x, slope=SLOPE, shift=SHIFT, scale=SCALE):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(slope * x + shift, scale))


def posterior(x):
    guide(x, slope=0.5, shift=0.0, scale=0.5**0.5)


def test_values_and_errors_on_a_known_evidence():
    scores = []
    for _ in range(4):
        found = log_likelihood(model, guide, XT, num_particles=2000, chunk_size=600)
        bias = weight_variance() / (2 * 2000)
        error = STANDARD_ERRORS * found.standard_errors
        assert (np.abs(found.values - LOG_EVIDENCE) < error + bias).all()
        assert abs(found.mean - LOG_EVIDENCE.mean()) < 4 * found.standard_error + bias.mean()
        scores.append((found.values + bias - LOG_EVIDENCE) / found.standard_errors)
    assert 0.85 < np.std(scores) < 1.15
    assert found.num_particles == 2000
    assert (found.pareto_k < 0.7).all()


def test_at_the_exact_posterior_the_values_are_exact():
    found = log_likelihood(model, posterior, XT, num_particles=30, chunk_size=7, batch_size=33)
    assert_allclose(found.values, LOG_EVIDENCE, rtol=1e-12)
    assert found.standard_error < 1e-8
    assert np.isnan(found.pareto_k).all()


@pytest.mark.parametrize("chunk_size", [64, 1000, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_chunks_give_what_all_weights_at_once_give(chunk_size, dtype, monkeypatch):
    seen = []

    class Recorded(WeightSums):
        def add(self, log_weights):
            seen.append(log_weights)
            super().add(log_weights)

    monkeypatch.setattr(pyro_entropy.evaluation.likelihood, "WeightSums", Recorded)
    found = log_likelihood(model, guide, XT[:10].to(dtype), chunk_size=chunk_size)
    assert [len(weights) for weights in seen[:-1]] == [chunk_size] * (len(seen) - 1)
    weights = np.concatenate(seen).astype(np.float64)
    assert weights.shape == (5000, 10)
    # Each particle has draws of its own, in every chunk.
    assert len(np.unique(weights[:, 0])) > (4990 if dtype == torch.float64 else 4000)
    assert_allclose(found.values, logsumexp(weights, 0) - np.log(5000), rtol=1e-12)


def test_a_guide_that_is_too_narrow_is_found_out():
    # Beside the posterior's variance v, a guide of variance s has k = 1 - s / v.
    def narrow(x):
        guide(x, slope=0.5, shift=0.0, scale=0.05**0.5)

    found = log_likelihood(model, narrow, XT, chunk_size=2500)
    assert 0.7 < np.median(found.pareto_k) < 0.95
    assert "Pareto k > 0.7" in str(found)


def test_order_and_batches_of_the_data_do_not_matter():
    order = torch.randperm(N)
    ways = [
        (XT[order], {"batch_size": 7}),
        (XT[order].split(40), {}),
        ([(batch,) for batch in XT[order].split(50)], {}),
        (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(XT[order]), 30), {}),
    ]
    for batches, options in ways:
        exact = log_likelihood(model, posterior, batches, num_particles=2, **options)
        assert_allclose(exact.values, LOG_EVIDENCE[order], rtol=1e-12)


def test_a_batch_is_all_arguments():
    def shifted(x, shift):
        model(x - shift)

    def shifted_guide(x, shift):
        posterior(x - shift)

    batches = [(XT[:60] + 3, 3), (XT[60:] - 1, -1)]
    found = log_likelihood(shifted, shifted_guide, batches, num_particles=2)
    assert_allclose(found.values, LOG_EVIDENCE, rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 10])
def test_all_chunks_see_the_same_subsample(chunk_size):
    def subsampled(fn):
        def call():
            with pyro.plate("data", N, subsample_size=5) as rows:
                x = XT[rows]
                z = dist.Normal(x.new_zeros(()), 1.0) if fn is model else None
                z = pyro.sample("z", z or dist.Normal(0.5 * x, 0.5**0.5))
                if fn is model:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        return call

    found = log_likelihood(
        subsampled(model), subsampled(guide), [()], num_particles=20, chunk_size=chunk_size
    )
    assert found.standard_error < 1e-8
    assert all(np.isclose(LOG_EVIDENCE, value, rtol=1e-12).any() for value in found.values)


def test_no_scale_enters():
    vae, x = VAE1(D, H, hidden=HIDDEN, dtype=torch.float64), torch.tensor(data())
    found = []
    for fns, batches in (
        ((vae.model, vae.guide), x),
        ((vae.model, vae.guide), [(x, 1000)]),
        ([poutine.scale(fn, scale=0.1) for fn in (vae.model, vae.guide)], x),
    ):
        pyro.set_rng_seed(0)
        found.append(log_likelihood(*fns, batches, num_particles=30).values)
    assert_allclose(found[1:], [found[0]] * 2, rtol=1e-12)
    assert found[0].std() > 0.1


def test_inner_plates_are_summed_over():
    x = torch.tensor(data(5, 4))
    found = log_likelihood(
        nested_model, nested_guide, [x], num_particles=40, chunk_size=16, data_plate="groups"
    )
    assert found.values.shape == (5,)
    assert np.isfinite(found.values).all()


def test_parameters_and_modes_are_left_alone():
    layers = nn.Linear(D, 2 * H), nn.BatchNorm1d(2 * H), nn.Dropout(0.5)
    parts = VAE1(D, H, hidden=HIDDEN)
    encoder = pyro_entropy.NormalEncoder(nn.Sequential(*layers))
    vae = pyro_entropy.VAE(parts.prior, encoder, parts.decoder, (D,))
    before = layers[1].running_mean.clone()
    log_likelihood(vae.model, vae.guide, torch.rand(B, D), num_particles=3)
    assert torch.equal(layers[1].running_mean, before)
    assert all(layer.training for layer in layers)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_one_particle_has_no_error():
    found = log_likelihood(model, guide, XT, num_particles=1)
    assert np.isfinite(found.values).all()
    assert np.isnan(found.standard_errors).all()


def global_model(x):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def global_guide(x):
    pyro.sample("mean", dist.Normal(0.0, 1.0))


def no_guide(x):
    pass


def far_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.0 * x + float("inf"), 1.0, validate_args=False))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((model, guide, XT[:0]), {}, "at least one data point for `batches`"),
        ((model, guide, []), {}, "at least one data point for `batches`"),
        ((model, guide, torch.tensor([1.0, np.nan])), {}, "finite values for `batches`; got 1"),
        ((model, guide, [XT, XT / 0]), {}, "finite values for `batches`; got 100"),
        ((global_model, global_guide, XT), {}, "'data' for `model`; got site 'mean' outside"),
        ((model, no_guide, XT), {}, "a sample site 'z' for `guide`"),
        ((model, far_guide, XT), {}, "finite log-weights for `model` and `guide`"),
        ((model, guide, XT), {"num_particles": 0}, "`num_particles`"),
        ((model, guide, XT), {"chunk_size": 1.5}, "`chunk_size`"),
        ((model, guide, XT), {"batch_size": -1}, "`batch_size`"),
        ((model, guide, XT), {"data_plate": "rows"}, "rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:two particles at once")  # of weights that are not finite
def test_what_has_no_likelihood_is_refused(arguments, options, match):
    with pyro.validation_enabled(False), pytest.raises(ValueError, match=match):
        log_likelihood(*arguments, **{"num_particles": 3, **options})


@pytest.mark.parametrize("validation", [True, False])
def test_data_outside_the_support_are_refused(validation):
    vae = CASES["BernoulliVAE"].make(pyro_entropy, torch.float32)
    batches = [torch.zeros(B, D), torch.full((B, D), 0.5)]
    with (
        pyro.validation_enabled(validation),
        pytest.raises(ValueError, match=f"support of their distribution for `x`; got {B} "),
    ):
        log_likelihood(vae.model, vae.guide, batches, num_particles=3)
