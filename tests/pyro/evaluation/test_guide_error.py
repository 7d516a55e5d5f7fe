"""`guide_error` on models whose posterior is known, in users' own styles, and what it refuses."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.testing import assert_allclose
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoNormal, AutoNormalMessenger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from entropy_core.theory.closed_form import ppca_optimum
from pyro_entropy import BernoulliVAE, LinearVAE
from pyro_entropy.evaluation.guide_error import guide_error
from tests.support.conjugate_pairs import PAIRS, VARIANCE
from tests.support.guide_errors import (
    FAST_PAIRS,
    check_calibration,
    check_flags,
    check_pair,
    check_right,
)
from tests.support.helpers import H, data, mostly

X = torch.zeros(100, dtype=torch.float64)


def gaussian(pair, dtype=torch.float64):
    def tensor(array):
        return torch.tensor(array, dtype=dtype)

    weight, slope, shift, root = map(tensor, pair)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ weight.T, VARIANCE**0.5).to_event(1), obs=x)

    def guide(x):
        loc = x @ slope.T + shift
        with pyro.plate("data", len(x)):
            if root.count_nonzero() == 2:
                pyro.sample("z", dist.Normal(loc, root.diagonal()).to_event(1))
            else:
                pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=root))

    return model, guide, torch.zeros(1000, 3, dtype=dtype)


@pytest.mark.parametrize("name", mostly(PAIRS, FAST_PAIRS))
def test_gaussian_pairs(name):
    check_pair(PAIRS[name], guide_error(*gaussian(PAIRS[name])))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scale 1.10, diagonal", "shifted, full", "diagonal for full"])
def test_errors_are_calibrated(name):
    found = [guide_error(*gaussian(PAIRS[name]), num_simulations=2000) for _ in range(200)]
    check_calibration(PAIRS[name], found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("right, diagonal", torch.float64),
        ("right, diagonal", torch.float32),
        ("right, full", torch.float32),
        ("scale 1.10, diagonal", torch.float32),
        ("scale 0.90, diagonal", torch.float64),
        ("scale 1.10, full", torch.float64),
    ],
)
def test_what_is_flagged(name, dtype):
    check_flags(name, [guide_error(*gaussian(PAIRS[name], dtype)) for _ in range(200)])


def model(x, labels=None):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z if labels is None else z + labels, 1.0), obs=x)


def guide(x, labels=None, scale=1.0):
    loc = (x if labels is None else x - labels) / 2
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, scale * 0.5**0.5))


LABELS = torch.arange(100.0, dtype=torch.float64)
LABELLED = {
    "positional": [(X, LABELS)],
    "by name": [((X,), {"labels": LABELS})],
    "a dictionary": [{"labels": LABELS, "x": X}],
    "a loader": DataLoader(TensorDataset(X, LABELS), 30, shuffle=True),
    "a generator": iter([(X[:70], LABELS[:70]), (X[70:], LABELS[70:])]),
}


@pytest.mark.parametrize("style", LABELLED)
def test_arguments_that_are_not_observed_stay_as_they_are(style):
    # Labels up to 99 would show: with others in their place the guide is far off.
    found = guide_error(model, guide, LABELLED[style], num_simulations=1001)
    check_right(found)
    assert found.num_simulations == 1001


def test_arrays_of_numpy_that_model_and_guide_make_tensors_of():
    pair = lambda x: model(torch.as_tensor(x)), lambda x: guide(torch.as_tensor(x))
    check_right(guide_error(*pair, [(np.zeros(100),)], num_simulations=200))


class Net(nn.Module):
    """Model and guide as methods of one module, of images that the model flattens."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Tanh())
        self.decoder = nn.Linear(2, 6)

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=self.decoder(z)).to_event(1)
            pyro.sample("x", likelihood, obs=x.reshape(-1, 6).float())

    def guide(self, x):
        pyro.module("net", self)
        loc, log_scale = self.encoder(x.reshape(-1, 6).float()).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def test_methods_of_one_module_in_evaluation_mode():
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = torch.zeros(50, 1, 2, 3, dtype=torch.uint8)
    found = guide_error(net.model, net.guide, images, num_simulations=200)
    assert found.latents == ("z[0]", "z[1]")
    assert net.training
    assert all(part.training for part in net.encoder)
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


def test_parts_of_sites_add_up_and_no_scale_enters():
    vae = BernoulliVAE(6, 2)
    batch = [((torch.zeros(50, 6),), {"total": 1000})]
    for fn in (vae.model, poutine.scale(vae.model, 1e-3)):
        pyro.set_rng_seed(0)
        found = guide_error(fn, vae.guide, batch, num_simulations=200)
        assert_allclose(sum(e.mean for e in found.sites.values()), found.divergence)
        assert list(found.sites) == ["z", "x"]
        assert 0.01 < found.divergence < 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_vae_at_its_optimum_has_the_posterior(dtype):
    dim = 40
    mixed = data(500, H) @ data(H, dim, seed=1) + 5 + 0.1 * data(500, dim, seed=2)
    optimum = ppca_optimum(mixed, latent_dim=H)
    weights = {
        "decoder.net.weight": optimum.weight,
        "decoder.net.bias": optimum.mean,
        "decoder.log_variance": np.log(optimum.variance),
        "encoder.net.weight": optimum.encoder_weight,
        "encoder.net.bias": -optimum.encoder_weight @ optimum.mean,
        "encoder.log_variance": np.log(optimum.encoder_variance),
    }
    vae, kind = LinearVAE(dim, H, dtype=dtype), np.float32 if dtype == torch.float32 else float
    vae.set_weights({name: np.asarray(weight, kind) for name, weight in weights.items()})
    # The densities are sums of large terms, which single precision rounds.
    check_right(guide_error(vae.model, vae.guide, torch.zeros(1000, dim, dtype=dtype)))


def test_latents_that_depend_on_each_other():
    def chain(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def backwards(x, slope=0.5):
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Normal(2 * x / 3, (2 / 3) ** 0.5))
            pyro.sample("a", dist.Normal(slope * b, 0.5**0.5))

    check_right(guide_error(chain, backwards, X, num_simulations=1000))
    wrong = guide_error(chain, lambda x: backwards(x, 0.3), X)
    # a given b has the variance 1/2, and its mean is off by 0.2 b, where b has the variance 2.
    assert abs(wrong.divergence - 0.16) < 3 * wrong.std_error
    assert "a[0]" in "".join(wrong.findings())
    assert "b[0]" not in "".join(wrong.findings())


def test_counts_nested_plates_and_draws_where_there_is_no_distribution_function():
    def counts(x):
        with pyro.plate("rows", x.shape[0], dim=-2):
            share = pyro.sample("share", dist.Beta(x.new_tensor(2.0), 3.0))
            with pyro.plate("columns", x.shape[1], dim=-1):
                pyro.sample("x", dist.Binomial(10, share), obs=x)

    def conjugate(x, factor=1.0):
        total = x.sum(-1, keepdim=True)
        rest = 10 * x.shape[1] - total
        with pyro.plate("rows", x.shape[0], dim=-2):
            pyro.sample("share", dist.Beta(factor * (2 + total), factor * (3 + rest)))

    x = torch.zeros(100, 4, dtype=torch.float64)
    check_right(guide_error(counts, conjugate, x, num_simulations=1000))
    narrow = guide_error(counts, lambda x: conjugate(x, 2.0), x, num_simulations=1000)
    assert narrow.differs
    assert narrow.summary().loc["share[0]", "90 %"] < 0.8


def test_discrete_latents_have_a_divergence_and_no_ranks():
    def mixture(x):
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Categorical(x.new_ones(3)))
            pyro.sample("x", dist.Normal(2.0 * c, 1.0), obs=x)

    def classes(x, factor=1.0):
        logits = -((x[:, None] - 2.0 * torch.arange(3)) ** 2) / 2
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.Categorical(logits=factor * logits))

    found = guide_error(mixture, classes, X)
    check_right(found)
    assert found.untreated == (("c", "discrete"),)
    assert guide_error(mixture, lambda x: classes(x, 0.8), X).differs


def steps(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        for t in range(2):
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def steps_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.sum(1) / 3, 3**-0.5))


def test_a_function_hands_simulated_data_over():
    def stacked(values, x):
        assert x.shape == (50, 2)
        return torch.stack([values["x_0"], values["x_1"]], 1)

    x = torch.zeros(50, 2, dtype=torch.float64)
    check_right(guide_error(steps, steps_guide, x, arguments=stacked))
    with pytest.raises(ValueError, match="an argument that has the values of 'x_0'"):
        guide_error(steps, steps_guide, x)
    with pytest.raises(ValueError, match="observes what was simulated for 'x_1'"):
        guide_error(steps, steps_guide, x, arguments=lambda v, x: v["x_0"][:, None].expand(-1, 2))


def test_a_guide_without_a_density_where_the_model_has_one():
    def uniform(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(x / 2 - 1, x / 2 + 1))

    found = guide_error(model, uniform, X, num_simulations=1000)
    assert found.divergence == found.sites["z"].mean == np.inf
    # Two standard deviations are 0.1573 of a normal distribution at 1 / 0.5^0.5 of them.
    assert abs(found.num_infinite / 1000 - 0.1573) < 0.05
    assert found.differs
    assert "the divergence is infinite" in str(found)


def global_model(x):
    loc = pyro.sample("loc", dist.Normal(x.new_zeros(()), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def global_guide(x):
    pyro.sample("loc", dist.Normal(x.mean(), 1.0))


def subsampled(x):
    with pyro.plate("data", len(x), subsample_size=10) as rows:
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])


def subsampled_guide(x):
    with pyro.plate("data", len(x), subsample_size=10) as rows:
        pyro.sample("z", dist.Normal(x[rows] / 2, 1.0))


def autoregressive(x):
    before = torch.cat([torch.zeros(len(x), 1), x[:, :-1]], 1)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z[:, None] + before, 1.0).to_event(1), obs=x)


def mean_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.mean(1), 1.0))


def with_factor(x):
    model(x)
    pyro.factor("f", x.sum())


def constant(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("loc", lambda: torch.zeros(len(x))), 1.0))


def two_of_one(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        for name in ("x", "again"):
            pyro.sample(name, dist.Normal(z, 1.0), obs=x)


DATA = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
REFUSED = {
    "a guide of one data set": (model, constant, X, "the same densities whatever the data"),
    "AutoNormal": (model, AutoNormal(model), X, "site 'z_unconstrained', auxiliary"),
    "AutoDelta": (model, AutoDelta(model), X, "site 'z', a point"),
    "a messenger": (model, AutoNormalMessenger(model), X, "the same densities whatever the data"),
    "a latent of all data": (global_model, global_guide, X, "site 'loc' outside of it"),
    "rows drawn": (subsampled, subsampled_guide, X, r"\['data'\], which draw rows"),
    "teacher forcing": (autoregressive, mean_guide, DATA, "'x' that depends on no observation"),
    "a factor": (with_factor, guide, X, "site 'f', a factor"),
    "a mask": (poutine.mask(model, mask=torch.tensor(True)), guide, X, "site 'z', masked"),
    "no latents": (model, lambda x: None, X, "a sample site 'z' for `guide`"),
    "the wrong way round": (guide, model, X, "the wrong way round"),
    "no observation": (guide, guide, X, "observed sites for `model`; got none"),
    "no argument": (lambda: model(X), lambda: guide(X), [()], "the values of 'x'"),
    "several arguments": (
        lambda x, y: model(x + 0.0),
        lambda x, y: guide(x),
        [(X, X.clone())],
        "one argument with the values of 'x'",
    ),
    "two sites of one argument": (two_of_one, guide, X, "one argument for each observed site"),
    "NaN": (model, guide, X * float("nan"), "finite values for `batches`"),
    "NaN of the guide": (model, lambda x: guide(x, scale=-x), X, "NaN at"),
    "no batch": (model, guide, [], "at least one batch for `batches`; got none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name):
    *call, why = REFUSED[name]
    with pytest.raises(ValueError, match=why):
        guide_error(*call, num_simulations=100)


@pytest.mark.parametrize("number", [0, 1])
def test_one_simulation_has_no_error(number):
    with pytest.raises(ValueError, match="num_simulations"):
        guide_error(model, guide, X, num_simulations=number)
