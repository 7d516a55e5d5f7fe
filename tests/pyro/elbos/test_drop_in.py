"""What the host's objectives take, ours take too: any arguments, any pair, any way of drawing."""

import warnings

import pyro
import pyro.distributions as dist
import pyro.ops.jit
import pytest
import torch
from pyro.infer import RenyiELBO, TraceMeanField_ELBO
from torch import nn

from pyro_entropy import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    IWAE_ELBO,
    MLP,
    VAE,
    ConstantVariance_ELBO,
    NormalDecoder,
    NormalEncoder,
    Profiled_ELBO,
    Standard_ELBO,
    StandardNormalPrior,
    log_likelihood,
)

Y = torch.linspace(-1.0, 2.0, 6)[:, None]
POSTERIOR = (0.49 / 1.49) ** 0.5
EXACT = dist.Normal(0.0, 1.49**0.5).log_prob(Y).sum().item()
NOT_WRITTEN = pytest.warns(UserWarning, match="two particles at once have other log-weights")


def model(y):
    """Fine one draw at a time, and not written for a dimension in front."""
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z[:, None], 0.7).to_event(1), obs=y)


def guide(y):
    # The posterior itself, so that every weight is the evidence.
    with pyro.plate("data", len(y)):
        pyro.sample("z", dist.Normal(y[:, 0] / 1.49, POSTERIOR))


def test_particles_are_drawn_one_by_one_where_they_must():
    pyro.set_rng_seed(0)
    elbo = IWAE_ELBO(5)
    with NOT_WRITTEN:
        assert elbo.loss(model, guide, Y) == pytest.approx(-EXACT, rel=1e-5)
    assert not elbo.vectorize_particles
    # Once said, it is not said again.
    assert elbo.loss(model, guide, Y) == pytest.approx(-EXACT, rel=1e-5)


@pytest.mark.parametrize(
    "kind", [Standard_ELBO, IWAE_ELBO, EDVAE_ELBO, BILBO_ELBO, ConstantVariance_ELBO, Profiled_ELBO]
)
def test_positional_arguments_are_the_hosts(kind):
    elbo = kind(2, 1)
    # Particles at once are a plate more.
    host = TraceMeanField_ELBO(2, 1, vectorize_particles=elbo.vectorize_particles)
    assert elbo.num_particles == host.num_particles == 2
    assert elbo.max_plate_nesting == host.max_plate_nesting
    assert BAGGINS_ELBO(0.2, 2, 1).max_plate_nesting == 1
    with pytest.raises(TypeError, match="multi_sample_guide"):
        kind(2, multi_sample_guide=True)


def test_vectorize_particles_is_obeyed():
    elbo = IWAE_ELBO(5, vectorize_particles=False)
    host = RenyiELBO(alpha=0, num_particles=5)
    assert elbo.loss(model, guide, Y) == pytest.approx(host.loss(model, guide, Y), rel=1e-5)
    assert elbo.chunk_size == 1


def test_log_likelihoods_of_a_model_that_was_not_written_for_it():
    with NOT_WRITTEN:
        found = log_likelihood(model, guide, Y, num_particles=20)
    assert found.values.sum() == pytest.approx(EXACT, rel=1e-5)


def test_batch_normalisation_does_not_take_data_points_for_features():
    """In a batch as wide as the layer nothing fails: the numbers alone are wrong."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(16)
    norm.running_mean.normal_()
    net = nn.Sequential(nn.Linear(2, 16), norm, nn.ReLU(), nn.Linear(16, 4))
    prior, encoder = StandardNormalPrior(2), NormalEncoder(MLP(4, 4))
    vae = VAE(prior, encoder, NormalDecoder(net), data_shape=(4,)).eval()
    x = torch.randn(16, 4)
    single = IWAE_ELBO(200, vectorize_particles=False).loss(vae.model, vae.guide, x)
    with NOT_WRITTEN:
        found = IWAE_ELBO(200).loss(vae.model, vae.guide, x)
    assert found == pytest.approx(single, rel=0.02)


def test_the_comparison_moves_no_draw():
    def wide(y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z[..., None], 0.7).to_event(1), obs=y)

    elbo = IWAE_ELBO(3, max_plate_nesting=1)
    losses = []
    for _ in range(2):
        pyro.set_rng_seed(0)
        losses.append(elbo.loss(wide, lambda y: guide_of(y, 0.9), Y))
    assert losses[0] == losses[1]
    assert elbo.vectorize_particles


def guide_of(y, scale):
    with pyro.plate("data", len(y)):
        pyro.sample("z", dist.Normal(y[:, 0] / 1.49, scale))


@pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_a_pair_without_parameters_has_a_loss(gradient, chunk_size):
    elbo = IWAE_ELBO(2, gradient=gradient, chunk_size=chunk_size, vectorize_particles=False)
    assert elbo.loss_and_grads(model, guide, Y) == pytest.approx(-EXACT, rel=1e-5)


def test_a_pair_without_sites_has_the_hosts_loss(unchecked):
    for elbo in (TraceMeanField_ELBO(), Standard_ELBO(), Standard_ELBO(2)):
        assert elbo.loss(lambda: None, lambda: None) == 0
        assert elbo.loss_and_grads(lambda: None, lambda: None) == 0
        assert float(elbo.differentiable_loss(lambda: None, lambda: None)) == 0


@pytest.mark.parametrize("num_particles", [1, 4])
@pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])
def test_the_gradient_of_a_point_is_exact(gradient, num_particles):
    """All weights are equal: the loss is -log p(y, z) at the point, whatever the estimator."""
    point = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    y = Y.double()

    def own_model(y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(y.new_zeros(()), 1.0))
            pyro.sample("y", dist.Normal(z[..., None], 0.7).to_event(1), obs=y)

    def own_guide(y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Delta(point * y[:, 0]))

    elbo = IWAE_ELBO(num_particles, gradient=gradient, max_plate_nesting=1)
    elbo.loss_and_grads(own_model, own_guide, y)
    z = point * y[:, 0]
    exact = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z, 0.7).log_prob(y[:, 0])
    (wanted,) = torch.autograd.grad(-exact.sum(), point)
    assert point.grad.item() == pytest.approx(wanted.item(), rel=1e-9)


@pytest.mark.parametrize(
    "elbo",
    [IWAE_ELBO(1), IWAE_ELBO(3, gradient="dreg"), Standard_ELBO(free_bits=0.1), BAGGINS_ELBO()],
    ids=["IWAE", "DReG", "free bits", "BAGGINS"],
)
def test_objectives_work_under_the_hosts_jit(elbo, unchecked):
    def own_model(y):
        with pyro.plate("data", y.shape[0]):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z[..., None].expand(*z.shape, 2), 0.7).to_event(1), obs=y)

    def own_guide(y):
        a = pyro.param("a", torch.tensor(0.3))
        with pyro.plate("data", y.shape[0]):
            pyro.sample("z", dist.Normal(a * y.mean(-1), torch.tensor(0.6)))

    def loss(y):
        return elbo.differentiable_loss(own_model, own_guide, y)

    y = Y * torch.tensor([1.0, 2.0])
    elbo.loss(own_model, own_guide, y)
    compiled = pyro.ops.jit.trace(loss, ignore_warnings=True)
    with warnings.catch_warnings():
        # Of torch's own: its JIT is to be replaced.
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled(y)
    found = []
    for fn in (compiled, loss):
        pyro.set_rng_seed(1)
        found.append(fn(y).item())
    assert found[0] == pytest.approx(found[1], rel=1e-6)
