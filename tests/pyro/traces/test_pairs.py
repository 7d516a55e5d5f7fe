"""A pair is run in one place: guides that are messengers, rows that a guide draws, held draws."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormalMessenger
from torch.testing import assert_close

from pyro_entropy import IWAE_ELBO, EntropySumDiagnostic, Standard_ELBO, log_likelihood
from pyro_entropy.traces.pairs import (
    holding,
    run_pair,
    trace_guide,
    trace_model,
    trace_pair,
)
from tests.support.helpers import IDENTITY, STANDARD_ERRORS

X = torch.linspace(-1.0, 1.5, 6, dtype=torch.float64)
EXACT = dist.Normal(0.0, (1 + 0.7**2) ** 0.5).log_prob(X)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
        pyro.sample("x", dist.Normal(z, 0.7), obs=x)


@pytest.fixture
def messenger():
    guide = AutoNormalMessenger(model, init_scale=0.5)
    guide(X)
    return guide


def loss_of(elbo, guide, seed=0):
    pyro.set_rng_seed(seed)
    return elbo.loss(model, guide, X)


@pytest.mark.parametrize("elbo", [IWAE_ELBO(1), Standard_ELBO(closed_form=False)])
def test_a_guide_that_is_a_messenger_has_the_hosts_loss(elbo, messenger):
    assert loss_of(elbo, messenger) == pytest.approx(loss_of(Trace_ELBO(), messenger), rel=IDENTITY)


@pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])
@pytest.mark.parametrize("chunk_size", [2, 5])
def test_gradients_of_a_messenger_are_those_of_the_same_guide_as_a_function(
    gradient, chunk_size, messenger
):
    def guide(x):
        loc, scale = (pyro.param(n, torch.tensor(v)) for n, v in (("loc", 0.3), ("scale", 0.5)))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale))

    class Twin(AutoNormalMessenger):
        def get_posterior(self, name, prior):
            loc, scale = (pyro.param(n, torch.tensor(v)) for n, v in (("loc", 0.3), ("scale", 0.5)))
            return dist.Normal(loc, scale).expand(prior.batch_shape)

    def grads(guide):
        elbo = IWAE_ELBO(5, gradient=gradient, chunk_size=chunk_size, max_plate_nesting=1)
        pyro.set_rng_seed(1)
        loss = elbo.loss_and_grads(model, guide, X)
        params = [pyro.param(name).unconstrained() for name in ("loc", "scale")]
        found = [loss, *(p.grad.item() for p in params)]
        for p in params:
            p.grad = None
        return found

    assert grads(Twin(model)) == pytest.approx(grads(guide), rel=1e-5)


def test_log_likelihoods_under_a_messenger_are_exact(messenger):
    # The exact posterior, so that every weight is the evidence.
    precision = 1 + 1 / 0.7**2
    messenger.locs.z.data = X / 0.7**2 / precision
    messenger.scales.z = torch.full_like(X, precision**-0.5)
    found = log_likelihood(model, messenger, X, num_particles=20)
    assert_close(torch.tensor(found.values), EXACT, rtol=1e-6, atol=1e-6)


def test_a_report_of_a_messenger_has_the_hosts_elbo(messenger):
    report = EntropySumDiagnostic(model, messenger, num_particles=50).run(X)
    host = torch.tensor([loss_of(Trace_ELBO(), messenger, seed) for seed in range(50)])
    error = (host.std() ** 2 / 50).sqrt().item() / len(X)
    assert abs(report["elbo"] + host.mean().item() / len(X)) < 2 * STANDARD_ERRORS * error


def subsampled(where):
    """A pair of which the model, the guide or both draw three of the data points by themselves."""

    def plate(x, by):
        size = 3 if by in where else None
        return pyro.plate("data", len(x), subsample_size=size)

    def own_model(x):
        with plate(x, "model") as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            pyro.sample("x", dist.Normal(z, 0.7), obs=x[rows])

    def own_guide(x):
        with plate(x, "guide") as rows:
            pyro.sample("z", dist.Normal(x[rows], 0.5))

    return own_model, own_guide


def test_rows_that_a_guide_draws_by_itself_are_kept():
    pair = trace_pair(*subsampled(["model", "guide"]), (X,))
    rows = pair.rows["data"]
    assert len(rows) == 3
    assert_close(pair.model["x"].value, X[rows])
    # The host's own traces drop them; held, all later draws are of the same data points.
    for _ in range(5):
        again = trace_pair(*subsampled(["model", "guide"]), (X,), values=pair.rows)
        assert_close(again.model["x"].value, X[rows])
        assert not torch.equal(again.guide["z"].value, pair.guide["z"].value)
    assert_close(run_pair(*subsampled(["model", "guide"]), (X,)).rows["data"].shape, rows.shape)


@pytest.mark.parametrize("chunk_size", [1, 2, 4])
def test_all_particles_see_the_rows_that_the_guide_has_drawn(chunk_size):
    own_model, own_guide = subsampled(["model", "guide"])
    seen = []

    def watched(x):
        with poutine.trace() as capture:
            own_model(x)
        seen.append(capture.trace.nodes["x"]["value"].flatten())

    elbo = IWAE_ELBO(4, chunk_size=chunk_size, max_plate_nesting=1)
    # The first call compares two particles with single ones.
    elbo.loss(own_model, own_guide, X)
    elbo.loss(watched, own_guide, X)
    assert len(seen) == 4 // chunk_size
    for value in seen:
        assert_close(value, seen[0])


def test_the_model_alone_runs_at_held_draws():
    drawn = trace_guide(subsampled([])[1], (X,))
    sites = trace_model(model, (X,), values={"z": torch.ones_like(X)})
    assert_close(sites["x"].fn.mean, torch.ones_like(X))
    sites = trace_model(model, (X,), values=drawn.sites)
    assert_close(sites["x"].fn.mean, drawn.sites["z"].value)
    assert holding(model, {}) is model


def nested(x, latents, guide=False):
    """Pupils in schools, in the host's own dimensions: the outer plate has the last one."""
    with pyro.plate("schools", 5):
        a = pyro.sample("a", dist.Normal(x.mean(0) if guide else 0.0, 1.0)) if latents else 0.0
        with pyro.plate("pupils", 7):
            z = pyro.sample("z", dist.Normal(x / 2 if guide else a + torch.zeros(7, 5), 1.0))
            if not guide:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("latents", [True, False])
def test_the_data_points_of_nested_plates_are_the_outer_ones(latents):
    x = torch.arange(35.0).reshape(7, 5) / 10
    diagnostic = EntropySumDiagnostic(nested, partial(nested, guide=True))
    assert diagnostic.run([(x, latents)]).size == "5 data points"


def test_a_plate_inside_of_a_sequential_one_holds_no_data_points():
    def model(x):
        notes = pyro.plate("notes", x.shape[1])
        for i in pyro.plate("songs", len(x)):
            z = pyro.sample(f"z_{i}", dist.Normal(0.0, 1.0))
            with notes:
                pyro.sample(f"x_{i}", dist.Normal(z, 1.0), obs=x[i])

    def guide(x):
        for i in pyro.plate("songs", len(x)):
            pyro.sample(f"z_{i}", dist.Normal(x[i].mean(), 0.3))

    assert EntropySumDiagnostic(model, guide).run([torch.randn(3, 8)]).units == "nats"


@pytest.mark.parametrize("shape", [(), (1,), (5,)])
def test_a_plate_without_a_size_has_that_of_the_densities(shape):
    def model(x, size=None):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("data", size):
            pyro.sample("x", dist.Normal(mu.expand(shape), 1.0), obs=x)

    def guide(x, size=None):
        pyro.sample("mu", dist.Normal(0.2, 0.5))

    x = torch.linspace(-1.0, 1.0, 5)
    pyro.set_rng_seed(0)
    report = EntropySumDiagnostic(model, guide).run([(x,)])
    pyro.set_rng_seed(0)
    sized = EntropySumDiagnostic(model, guide).run([(x, 5)])
    assert report.size == sized.size == "5 data points"
    assert report["elbo"] == pytest.approx(sized["elbo"])
