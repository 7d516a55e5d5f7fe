"""The importance weighted bound on a model whose evidence is known."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import pyro_entropy
from pyro_entropy import IWAE_ELBO, VAE1
from tests.support.cases import CASES, observations
from tests.support.conjugate import LOG_EVIDENCE, SCALE, SHIFT, SLOPE, N, X, weight_variance
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, D, H, data, mostly

XT = torch.tensor(X)
SIZES = pytest.mark.parametrize("size", mostly([100, 50, 10, 1], [10, 1]))
GRADIENTS = pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])


class Model(nn.Module):
    """The conjugate model; its plate subsamples by itself."""

    def __init__(self, size=N):
        super().__init__()
        self.size = size

    def forward(self):
        with pyro.plate("data", N, subsample_size=self.size) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=XT.dtype), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=XT[rows])


class Guide(nn.Module):
    def __init__(self, size=N):
        super().__init__()
        self.size = size
        for name, value in (("slope", SLOPE), ("shift", SHIFT), ("log_scale", np.log(SCALE))):
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    def forward(self):
        with pyro.plate("data", N, subsample_size=self.size) as rows:
            loc = self.slope * XT[rows] + self.shift
            pyro.sample("z", dist.Normal(loc, self.log_scale.exp()))


class Copies(nn.Module):
    """All data many times, and parameters of the guide for each time: as many runs in one."""

    def __init__(self, num, slope=SLOPE, shift=SHIFT, scale=SCALE):
        super().__init__()
        self.num = num
        for name, value in (("slope", slope), ("shift", shift), ("log_scale", np.log(scale))):
            setattr(self, name, nn.Parameter(torch.full((num, 1), value, dtype=torch.float64)))

    def model(self):
        with pyro.plate("data", self.num * N):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=XT.dtype), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=XT.repeat(self.num))

    def forward(self):
        loc, scale = self.slope * XT + self.shift, self.log_scale.exp() + 0 * XT
        with pyro.plate("data", self.num * N):
            pyro.sample("z", dist.Normal(loc.reshape(-1), scale.reshape(-1)))

    def gradients(self, elbo):
        """The gradient of each run."""
        pyro.set_rng_seed(0)
        self.zero_grad()
        elbo.loss_and_grads(self.model, self)
        return torch.cat([parameter.grad for parameter in self.parameters()], -1).numpy()


def bounds(elbo, size, num, handler_scale=1.0):
    """Estimates of the bound, and the evidence of the rows that each has seen."""
    model, guide = (poutine.scale(fn(size), handler_scale) for fn in (Model, Guide))
    found, evidence = [], []
    elbo.loss(model, guide)  # the first time it guesses the plates, which draws too
    for seed in range(num):
        pyro.set_rng_seed(seed)
        found.append(-elbo.loss(model, guide) / handler_scale)
        pyro.set_rng_seed(seed)
        rows = poutine.trace(Guide(size)).get_trace().nodes["data"]["value"]
        evidence.append(LOG_EVIDENCE[rows].sum() * N / size)
    return np.array(found), np.array(evidence)


def close(left, right):
    """The means of two samples agree within four standard errors."""
    error = np.hypot(left.std(0) / len(left) ** 0.5, right.std(0) / len(right) ** 0.5)
    return np.abs(left.mean(0) - right.mean(0)) < STANDARD_ERRORS * error


CHUNKS = [(size, chunk) for size in (100, 50, 10, 1) for chunk in (None, 1, 7)]


@pytest.mark.parametrize(("size", "chunk_size"), mostly(CHUNKS, [(1, None), (10, 7)]))
def test_the_mean_over_subsamples_is_that_of_all_data(size, chunk_size):
    full, _ = bounds(IWAE_ELBO(20), N, 40)
    assert close(bounds(IWAE_ELBO(20, chunk_size=chunk_size), size, 60)[0], full)


def test_the_weights_average_to_the_evidence_for_each_data_point():
    copies = Copies(1000)
    values = IWAE_ELBO(5).log_weights(copies.model, copies)
    found = torch.logsumexp(values, 0).numpy().reshape(1000, N) - np.log(5)
    ratios = np.exp(found - LOG_EVIDENCE)
    errors = ratios.std(0) / len(ratios) ** 0.5
    assert (np.abs(ratios.mean(0) - 1) < STANDARD_ERRORS * errors).all()


BIAS = [(size, scale) for size in (100, 50, 10, 1) for scale in (1.0, 1 / N, 3.0)]


@pytest.mark.parametrize(("size", "handler_scale"), mostly(BIAS, [(10, 1 / N), (1, 3.0)]))
def test_the_bias_at_many_particles(size, handler_scale):
    found, evidence = bounds(IWAE_ELBO(1000, chunk_size=300), size, 40, handler_scale)
    bias = found - evidence
    error = bias.std() / len(bias) ** 0.5
    limit = 2 * weight_variance().sum() / (2 * 1000)
    # Each estimate is beside the evidence of the rows that it has seen.
    assert error < 0.005 * N / size**0.5
    assert -limit - STANDARD_ERRORS * error < bias.mean() < STANDARD_ERRORS * error


@SIZES
def test_one_particle_is_the_hosts_elbo(size):
    losses = []
    for elbo in (IWAE_ELBO(1), Trace_ELBO()):
        pyro.set_rng_seed(3)
        losses.append(elbo.loss(Model(size), Guide(size)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@GRADIENTS
@pytest.mark.parametrize("name", ["VAE1", "SigmaVAE", "VampPrior", "convolutional VAE3"])
def test_gradients_chunk_by_chunk_are_those_of_one_graph(name, gradient):
    vae = CASES[name].make(pyro_entropy, torch.float64)
    x = torch.tensor(observations(CASES[name].kind))
    # The last chunk is smaller.
    elbo = IWAE_ELBO(7, gradient=gradient, chunk_size=3)
    vae.zero_grad()
    first = elbo.loss(vae.model, vae.guide, x)  # it guesses the plates, which draws
    assert np.isfinite(first)
    pyro.set_rng_seed(1)
    loss = elbo.differentiable_loss(vae.model, vae.guide, x, total=100)
    expected = torch.autograd.grad(loss, list(vae.parameters()))
    pyro.set_rng_seed(1)
    assert elbo.loss_and_grads(vae.model, vae.guide, x, total=100) == pytest.approx(loss.item())
    for parameter, gradient in zip(vae.parameters(), expected, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("num_particles", mostly([1, 2, 5, 20], [5]))
def test_dreg_gradients_are_those_of_the_bound_in_expectation(num_particles):
    plain, dreg, stl = (
        Copies(1000).gradients(IWAE_ELBO(num_particles, gradient=g))
        for g in ("plain", "dreg", "stl")
    )
    assert close(plain, dreg).all()
    assert (dreg.std(0) < plain.std(0)).all()
    # Sticking the landing is the same at one particle, and biased beyond.
    assert close(plain, stl).all() == (num_particles == 1)


@pytest.mark.parametrize("gradient", ["dreg", "stl"])
@pytest.mark.parametrize("num_particles", [1, 5])
def test_at_the_exact_posterior_the_gradient_is_zero(gradient, num_particles):
    elbo = IWAE_ELBO(num_particles, gradient=gradient)
    at_posterior = Copies(5, slope=0.5, shift=0.0, scale=0.5**0.5).gradients(elbo)
    np.testing.assert_allclose(at_posterior, 0, atol=1e-11)
    assert (abs(Copies(5).gradients(elbo)) > 1e-6).all()


@pytest.mark.parametrize(
    ("chunk_size", "gradient"),
    mostly([(c, g) for c in (None, 2) for g in ("plain", "dreg", "stl")], [(2, "dreg")]),
)
def test_trains_through_both_of_the_hosts_ways(gradient, chunk_size):
    x = torch.tensor(data(), dtype=torch.float32)
    elbo = IWAE_ELBO(5, gradient=gradient, chunk_size=chunk_size)
    vae = VAE1(D, H, hidden=HIDDEN)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 3e-2}), elbo)
    losses = [svi.step(x) for _ in range(20)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    module = elbo(vae.model, vae.guide)
    optim = torch.optim.Adam(module.parameters(), lr=3e-2)
    losses = []
    for _ in range(20):
        optim.zero_grad()
        losses.append(module(x))
        losses[-1].backward()
        optim.step()
    assert torch.stack(losses[-5:]).mean() < torch.stack(losses[:5]).mean()


def test_terms():
    pyro.set_rng_seed(0)
    terms = IWAE_ELBO(50).terms(Model(), Guide())
    assert terms.elbo < terms.bound < LOG_EVIDENCE.mean() + 0.2
    assert 1 < terms.effective_sample_size < 50


def global_latent():
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 4):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=torch.zeros(4))


def global_guide():
    pyro.sample("mean", dist.Normal(0.0, 1.0))


def no_plate():
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.zeros(()))


def half_scaled():
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with poutine.scale(scale=0.5):
            pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(4))


def local_guide():
    with pyro.plate("data", 4):
        pyro.sample("z", dist.Normal(0.0, 1.0))


def binary():
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(4))


def binary_guide():
    with pyro.plate("data", 4):
        pyro.sample("z", dist.Bernoulli(0.5))


@pytest.mark.parametrize(
    ("model", "guide", "error", "match"),
    [
        (global_latent, global_guide, ValueError, "'data' for `model`; got site 'mean' outside"),
        (no_plate, lambda: None, ValueError, "a plate that holds all observed sites"),
        (half_scaled, local_guide, ValueError, "the same `scale` handler around all sites"),
        (binary, binary_guide, NotImplementedError, "reparameterised draws for `guide`"),
    ],
)
def test_what_has_no_weights_per_data_point_is_refused(model, guide, error, match):
    dreg = IWAE_ELBO(3, gradient="dreg")
    for call in (IWAE_ELBO(3).loss, IWAE_ELBO(3).differentiable_loss, dreg.loss_and_grads):
        with pytest.raises(error, match=match):
            call(model, guide)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_particles": 0}, "`num_particles`"),
        ({"chunk_size": -1}, "`chunk_size`"),
        ({"chunk_size": 0}, "`chunk_size`"),
        ({"gradient": "vimco"}, "`gradient`; got 'vimco'"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        IWAE_ELBO(**arguments)
