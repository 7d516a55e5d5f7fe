"""The objectives over a batch in Pyro: the ways to train with them, and what they refuse."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from torch.fx.experimental.proxy_tensor import make_fx

import pyro_entropy
from pyro_entropy import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    VAE1,
    BernoulliVAE,
    ConstantVarianceVAE,
    Profiled_ELBO,
    SigmaVAE,
)
from tests.support.cases import observations
from tests.support.helpers import HIDDEN, IDENTITY, B, D, H, mostly
from tests.support.objective_table import OBJECTIVES
from tests.support.objectives import PyroSide
from tests.support.pyro_noise import PyroNoise

X = torch.tensor(observations("real"))
TABLE = pytest.mark.parametrize("name", OBJECTIVES)
SIZES = {"hidden": HIDDEN, "dtype": torch.float64}


def trained(step, num_steps=30):
    pyro.set_rng_seed(3)
    losses = [float(step()) for _ in range(num_steps)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.parametrize("name", mostly(OBJECTIVES, list(OBJECTIVES)[::3]))
def test_trains_through_both_of_the_hosts_ways(name):
    elbo = OBJECTIVES[name].make(pyro_entropy)
    vae = PyroSide(OBJECTIVES[name].vae).vae
    nets = {name: p for name, p in vae.named_parameters() if ".net." in name}
    before = {name: p.detach().clone() for name, p in nets.items()}
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 2e-2}), elbo)
    trained(lambda: svi.step(X, total=10 * B))
    assert all((p != before[name]).any() for name, p in nets.items())
    vae = PyroSide(OBJECTIVES[name].vae).vae
    module = elbo(vae.model, vae.guide)
    optim = torch.optim.Adam(module.parameters(), lr=2e-2)

    def step():
        optim.zero_grad()
        loss = module(X)
        loss.backward()
        optim.step()
        return loss.item()

    trained(step)


@TABLE
def test_captured_as_a_graph(name):
    here, elbo = PyroSide(OBJECTIVES[name].vae), OBJECTIVES[name].make(pyro_entropy)
    pair = here.pair()
    elbo.loss(*pair, X)

    def loss(x):
        pyro.set_rng_seed(1)
        return elbo.differentiable_loss(*pair, x)

    with pyro.validation_enabled(False):
        captured = make_fx(loss)(X)
        pyro.set_rng_seed(1)
        assert captured(X + 0.1).item() == pytest.approx(loss(X + 0.1).item(), rel=IDENTITY)


@TABLE
def test_a_scale_handler_multiplies_the_loss_and_leaves_the_terms(name):
    here, elbo = PyroSide(OBJECTIVES[name].vae), OBJECTIVES[name].make(pyro_entropy)
    found = []
    for scale in (1.0, 0.1):
        pair = [poutine.scale(fn, scale) for fn in here.pair()]
        pyro.set_rng_seed(0)
        loss = elbo.loss(*pair, X)
        pyro.set_rng_seed(0)
        found.append((loss, elbo.terms(*pair, X)))
    (loss, terms), (scaled, scaled_terms) = found
    assert scaled == pytest.approx(0.1 * loss, rel=IDENTITY)
    bound = "bound" if hasattr(terms, "bound") else "elbo"
    assert getattr(terms, bound).item() == pytest.approx(getattr(scaled_terms, bound).item())
    assert loss == pytest.approx(-B * getattr(terms, bound).item(), rel=IDENTITY)


@TABLE
def test_several_particles(name):
    here, objective = PyroSide(OBJECTIVES[name].vae), OBJECTIVES[name]
    make = objective.make(pyro_entropy)
    make.num_particles = 3
    pair = here.pair()
    pyro.set_rng_seed(5)
    three = make.loss(*pair, X)
    pyro.set_rng_seed(5)
    make.num_particles = 1
    singles = [make.loss(*pair, X) for _ in range(3)]
    if isinstance(make, Profiled_ELBO):
        # One optimum for all draws is below the mean of the optima of each.
        assert three >= np.mean(singles) - IDENTITY
    else:
        assert three == pytest.approx(np.mean(singles), rel=IDENTITY)


class OneByOne(dict):
    """The noise of one particle after another, at the site `z`."""

    def __init__(self, noise):
        super().__init__(z=None)
        self.noise = iter(noise)

    def __getitem__(self, name):
        return next(self.noise)


@pytest.mark.parametrize("name", ["full BILBO", "BAGGINS", "profiled", "profiled at the draws"])
def test_particles_at_once_are_those_one_by_one(name):
    here, objective = PyroSide(OBJECTIVES[name].vae), OBJECTIVES[name]
    noise, losses = np.random.default_rng(1).standard_normal((5, B, H)), {}
    for vectorize in (False, True):
        elbo = objective.make(pyro_entropy)
        elbo.num_particles, elbo.vectorize_particles = len(noise), vectorize
        elbo.max_plate_nesting = 1 + vectorize  # as the host counts
        draws = {"z": noise} if vectorize else OneByOne(noise)
        model, guide = here.pair()
        losses[vectorize] = elbo.loss(model, PyroNoise(draws)(guide), X)
    assert losses[True] == pytest.approx(losses[False], rel=IDENTITY)


def test_positives_are_the_data_with_noise():
    here = PyroSide("VAE1")
    seen = []
    guide = here.vae.guide

    def watched(x, total=None):
        seen.append(x)
        return guide(x, total)

    pyro.set_rng_seed(0)
    elbo = EDVAE_ELBO(positives=0.5)
    elbo.loss(here.vae.model, watched, X.repeat(200, 1))
    data, positive = seen
    noise = positive - data
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)
    assert abs(noise.mean().item()) < 0.03


def rows(num=4):
    return pyro.plate("data", num)


def model(mean=0.0, prior=None, likelihood=dist.Normal, num=4):
    def fn():
        with rows(num):
            z = pyro.sample("z", prior or dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", likelihood(mean * z.sum(-1), 1.0), obs=torch.zeros(num))

    return fn


def guide(fn=None, num=4):
    def call():
        with rows(num):
            pyro.sample("z", fn or dist.Normal(torch.ones(num, 2), 0.5).to_event(1))

    return call


def two_latents():
    with rows():
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("w", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4))


def two_latents_guide():
    with rows():
        pyro.sample("z", dist.Normal(torch.ones(4, 2), 0.5).to_event(1))
        pyro.sample("w", dist.Normal(0.0, 1.0))


def outside():
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with rows():
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4))


def outside_guide():
    pyro.sample("z", dist.Normal(torch.ones(2), 0.5).to_event(1))


def masked():
    with rows():
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with poutine.mask(mask=torch.arange(4) > 0):
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4))


def weighted():
    with rows(), poutine.scale(scale=0.5):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(4))


BINARY = dist.Bernoulli(torch.full((2,), 0.5)).to_event(1)
MIXTURE = dist.MixtureSameFamily(
    dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(2, 2), 1.0).to_event(1)
)
NONE = {"mutual_information": "aggregate"}


@pytest.mark.parametrize(
    ("elbo", "pair", "error", "match"),
    [
        (BILBO_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (BAGGINS_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (Profiled_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (EDVAE_ELBO(**NONE), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (BILBO_ELBO(), (two_latents, two_latents_guide), ValueError, "one latent site for `guide`"),
        (BILBO_ELBO(), (outside, outside_guide), ValueError, "'z' in the plate 'data' alone"),
        (BILBO_ELBO(), (model(prior=MIXTURE), guide()), ValueError, "normal .* for `model`; got"),
        (BILBO_ELBO(), (weighted, guide()), ValueError, "the same `scale` handler"),
        (BAGGINS_ELBO(), (model(mean=0.0), guide()), ValueError, "residuals that are not zero"),
        (
            BAGGINS_ELBO(),
            (model(1.0, likelihood=dist.Laplace), guide()),
            ValueError,
            "a normal distribution for `model`; got site 'x', Laplace",
        ),
        (Profiled_ELBO(), (masked, guide()), ValueError, "a normal distribution .* masked"),
        (
            Profiled_ELBO(prior="diagonal"),
            (model(prior=MIXTURE), guide()),
            ValueError,
            "a normal distribution for `model`; got site 'z'",
        ),
        (
            Profiled_ELBO(prior="diagonal", decoder=None),
            (outside, outside_guide),
            ValueError,
            "a site to profile in the data plate",
        ),
        (
            Profiled_ELBO(prior="full", decoder=None, closed_form=False),
            (model(1.0, num=2), guide(num=2)),
            ValueError,
            "more than 2 data points for a full covariance of 'z'",
        ),
        (EDVAE_ELBO(), (model(), guide()), TypeError, "a tensor of floats to add noise to"),
        *(
            (elbo, (model(prior=BINARY), guide(BINARY)), NotImplementedError, "reparameterised")
            for elbo in (BILBO_ELBO(), BAGGINS_ELBO(), Profiled_ELBO(), EDVAE_ELBO(**NONE))
        ),
    ],
)
def test_pairs_that_do_not_meet_the_conditions_are_refused(elbo, pair, error, match):
    for call in (elbo.loss, elbo.loss_and_grads):
        with pytest.raises(error, match=match):
            call(*pair)


@pytest.mark.parametrize("vae", [VAE1, SigmaVAE])
@pytest.mark.parametrize("elbo", [BILBO_ELBO(), BAGGINS_ELBO()])
def test_a_guide_whose_variance_depends_on_the_data_is_refused(vae, elbo):
    vae = vae(D, H, **SIZES)
    match = r"constant over the batch|a diagonal covariance"
    with pytest.raises(ValueError, match=match):
        elbo.loss_and_grads(vae.model, vae.guide, X)
    # Before any gradient is there.
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_a_zero_residual_leaves_no_gradient_behind():
    vae = ConstantVarianceVAE(D, H, **SIZES)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.zero_()
    with pytest.raises(ValueError, match="residuals that are not zero"):
        BAGGINS_ELBO().loss_and_grads(vae.model, vae.guide, 0 * X)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_baggins_refuses_a_bernoulli_decoder():
    vae = BernoulliVAE(D, H, **SIZES)
    with pytest.raises(ValueError, match="a normal distribution for `model`; got site 'x'"):
        BAGGINS_ELBO(prior="model").loss(vae.model, vae.guide, (X > 0).double())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BAGGINS_ELBO(0.0), "positive numbers for `information_factor`; got 0.0"),
        (lambda: BAGGINS_ELBO(prior="fixed"), "for `prior`; got 'fixed'"),
        (lambda: Profiled_ELBO(decoder=None), "a site to profile"),
        (lambda: Profiled_ELBO(prior="scalar"), "for `prior`; got 'scalar'"),
        (lambda: EDVAE_ELBO(mutual_information="mine"), "for `mutual_information`; got 'mine'"),
        (lambda: EDVAE_ELBO(aggregate_entropy="exact"), "for `aggregate_entropy`; got 'exact'"),
        (lambda: EDVAE_ELBO(temperature=0.0), "positive numbers for `temperature`"),
        (lambda: EDVAE_ELBO(positives=-1.0), "positive numbers for `positives`"),
        (lambda: EDVAE_ELBO(weights=(1.0, 1.0)), "four finite numbers for `weights`"),
    ],
)
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_the_entropy_decomposed_bound_takes_particles_one_by_one():
    with pytest.raises(NotImplementedError, match="particles one by one"):
        EDVAE_ELBO(2, vectorize_particles=True)
