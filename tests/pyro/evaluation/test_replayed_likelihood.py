"""Log-likelihoods whose chunks are replayed from a graph are those of chunks run as they are."""

from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.testing import assert_allclose

import pyro_entropy
import pyro_entropy.evaluation.likelihood
from pyro_entropy.capture.weights import CapturedWeights
from pyro_entropy.evaluation.likelihood import log_likelihood
from tests.support.cases import CASES, observations
from tests.support.conjugate import X

XT = torch.tensor(X[:12])


@pytest.fixture
def both_ways(monkeypatch):
    """The estimates with no graph and with graphs, and what has become of their chunks."""

    def run(model, guide, batches, **options):
        found, captures = [], []

        def remembered(worth, *args):
            captured = CapturedWeights(*args, worth=worth)
            captures.append(captured.captures)
            return captured

        for worth in (None, 0):
            make = partial(remembered, worth)
            monkeypatch.setattr(pyro_entropy.evaluation.likelihood, "CapturedWeights", make)
            pyro.set_rng_seed(0)
            data = batches() if callable(batches) else batches
            options = {"num_particles": 30, "chunk_size": 5, **options}
            found.append((log_likelihood(model, guide, data, **options), torch.rand(1)))
        (plain, state), (replayed, other_state) = found
        assert torch.equal(state, other_state)
        return plain, replayed, captures[-1]

    return run


@pytest.mark.parametrize("name", ["VAE1", "BernoulliVAE"])
def test_vaes(name, both_ways):
    vae = CASES[name].make(pyro_entropy, torch.float64)
    x = torch.tensor(observations(CASES[name].kind))
    batches = [x, x.flip(0), 0 * x, x[:3]]
    plain, replayed, captures = both_ways(vae.model, vae.guide, batches)
    # The first chunk of each form is run as it is.
    assert (captures.num_replayed, captures.num_plain) == (22, 2), str(captures)
    assert_allclose(replayed.values, plain.values, rtol=1e-12)
    assert_allclose(replayed.standard_errors, plain.standard_errors, rtol=1e-9)
    assert_allclose(replayed.pareto_k, plain.pareto_k, rtol=1e-6)


def test_parameters_that_change_between_batches(both_ways):
    vae, x = CASES["VAE1"].make(pyro_entropy, torch.float64), torch.tensor(observations("real"))
    parameters = {name: value.clone() for name, value in vae.state_dict().items()}

    def batches():
        vae.load_state_dict(parameters)
        for factor in (1.0, 1.1, 1.2):
            with torch.no_grad():
                for parameter in vae.parameters():
                    parameter.mul_(factor)
            yield x

    plain, replayed, captures = both_ways(vae.model, vae.guide, batches)
    assert captures.num_plain == 1
    assert_allclose(replayed.values, plain.values, rtol=1e-12)


def test_drawn_rows(both_ways):
    def model(is_guide=False):
        with pyro.plate("data", len(XT), subsample_size=5) as rows:
            x = XT[rows]
            z = pyro.sample("z", dist.Normal(0.4 * x if is_guide else 0 * x, 1.0))
            if not is_guide:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    plain, replayed, captures = both_ways(model, lambda: model(is_guide=True), [(), ()])
    assert captures.num_plain == 1, str(captures)
    assert_allclose(replayed.values, plain.values, rtol=1e-12)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.4 * x, 1.0))


def conjugate_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def by_sign(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        # Python chooses by the data.
        loc = z if x.mean() > 0 else 2 * z
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def by_all(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        loc = z if torch.equal(x, x.abs()) else 2 * z
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def by_numpy(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        # No trace of it in a graph.
        pyro.sample("x", dist.Normal(z, float(np.abs(x.numpy()).mean())), obs=x)


@pytest.mark.parametrize("model", [by_sign, by_all, by_numpy])
def test_models_that_no_graph_stands_for(model, both_ways):
    plain, replayed, captures = both_ways(
        model, guide, [XT.abs(), -XT.abs() / 2], num_particles=100
    )
    assert_allclose(replayed.values, plain.values, rtol=1e-12)
    assert_allclose(replayed.standard_errors, plain.standard_errors, rtol=1e-9)
    assert captures.reasons or model is by_sign, str(captures)
    assert captures.num_plain > 2


def test_few_numbers_are_not_worth_a_graph(monkeypatch):
    made = []

    def remembered(*args):
        made.append(CapturedWeights(*args))
        return made[-1]

    monkeypatch.setattr(pyro_entropy.evaluation.likelihood, "CapturedWeights", remembered)
    log_likelihood(conjugate_model, guide, XT, num_particles=30, chunk_size=5)
    assert (made[0].captures.num_replayed, made[0].captures.num_plain) == (0, 6)


def test_particles_one_by_one(both_ways):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.reshape(len(x)), 1.0), obs=x)

    with pytest.warns(UserWarning, match="drawn one by one"):
        plain, replayed, captures = both_ways(model, guide, [XT], num_particles=20)
    assert (captures.num_replayed, captures.num_plain) == (0, 4)
    assert (plain.values == replayed.values).all()
