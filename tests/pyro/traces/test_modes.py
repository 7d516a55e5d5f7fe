"""Nets are in evaluation mode in every look and as they were afterwards; what would not move."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pyro import poutine
from pyro.infer import SVI
from torch import nn

from pyro_entropy import (
    EntropySumDiagnostic,
    Standard_ELBO,
    explain_residuals,
    fit,
    log_likelihood,
    mutual_information,
    to_datatree,
)
from pyro_entropy.traces.batches import check_observations
from pyro_entropy.traces.modes import evaluating

X = torch.linspace(-2.0, 3.0, 51).reshape(17, 3)


class Own:
    """A class of a user's own, whose net is called by a method."""

    def __init__(self, net):
        self.net = net

    def model(self, x):
        self.net.model(x)

    def guide(self, x):
        pyro.module("net", self.net)
        with pyro.plate("data", len(x)):
            h = F.dropout(x, 0.5, self.net.training)
            pyro.sample("z", dist.Normal(h[:, :2], 1.0).to_event(1))


class Net(nn.Module):
    """The style of Pyro's own examples: model and guide are methods of one module."""

    def __init__(self, name="net"):
        super().__init__()
        self.name = name
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.decoder = nn.Linear(2, 3)

    def model(self, x, total=None):
        pyro.module(self.name, self)
        with pyro.plate("data", total or len(x), subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module(self.name, self)
        with pyro.plate("data", total or len(x), subsample=torch.arange(len(x))):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def as_methods(net):
    return net.model, net.guide


def as_closures(net):
    return (lambda x, total=None: net.model(x, total)), (lambda x, total=None: net.guide(x, total))


def as_partials(net):
    return partial(Net.model, net), partial(Net.guide, net)


def as_handlers(net):
    return poutine.scale(net.model, scale=1.0), poutine.scale(net.guide, scale=1.0)


def out_of_reach(net):
    # Neither a method nor a closure: the net is seen only where it is called.
    nets = {"net": net}

    def model(x, total=None):
        nets["net"].model(x, total)

    def guide(x, total=None):
        nets["net"].guide(x, total)

    return model, guide


STYLES = [as_methods, as_closures, as_partials, as_handlers, out_of_reach]
LOOKS = {
    "diagnostic": lambda pair: EntropySumDiagnostic(*pair, num_particles=2).run(X, explain=True),
    "claims": lambda pair: explain_residuals(*pair, X),
    "likelihood": lambda pair: log_likelihood(*pair, X, num_particles=10),
    "information": lambda pair: mutual_information(*pair, X, num_particles=2),
    "groups": lambda pair: to_datatree(*pair, X, num_draws=2),
    "observations": lambda pair: check_observations(*pair, X, 16),
}


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("style", STYLES)
def test_no_look_moves_a_net(style, look):
    net = Net()
    net.decoder.eval()
    before = state(net)
    LOOKS[look](style(net))
    for name, value in state(net).items():
        assert torch.equal(value, before[name]), name
    assert [net.training, net.encoder.training, net.decoder.training] == [True, True, False]
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("style", STYLES)
def test_a_report_is_that_of_evaluation_mode(style):
    net = Net()

    def elbo(pair):
        pyro.set_rng_seed(0)
        return EntropySumDiagnostic(*pair, num_particles=2).run(X)["elbo"]

    found = elbo(style(net))
    assert found == elbo(as_methods(net.eval()))


def test_a_net_that_only_methods_are_called_of():
    """No hook sees it: it is in the reach of the model and the guide."""
    own = Own(Net())

    def guide(x):
        assert not own.net.training
        own.guide(x)

    for pair in [(own.model, own.guide), (lambda x: own.model(x), guide)]:
        with evaluating(*pair):
            value = poutine.trace(pair[1]).get_trace(X).nodes["z"]["fn"].mean
        torch.testing.assert_close(value, X[:, :2])
        assert own.net.training


def test_nets_are_as_they_were_after_an_error():
    net = Net()
    seen = []

    def broken():
        with evaluating(net.model):
            seen.append(net.training)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert seen == [False]
    assert net.training
    assert net.encoder.training


def test_fit_trains_where_a_single_point_is_left_over():
    net = Net()
    before = state(net)
    fit(*as_methods(net), X, num_epochs=2, batch_size=8, progress_bar=False)
    moved = {name for name, value in state(net).items() if not torch.equal(value, before[name])}
    assert moved == before.keys()
    assert net.encoder[1].num_batches_tracked == 6  # three steps in each epoch, and no look
    assert net.training


@pytest.mark.parametrize("style", STYLES)
def test_fit_refuses_what_would_not_move(style):
    fit(*as_methods(Net("same")), X, num_epochs=1, batch_size=8, progress_bar=False)
    second = Net("same")
    before = state(second)
    with pytest.raises(ValueError, match=r"which would not move: .*(encoder.0.weight|\(4, 3\))"):
        fit(*style(second), X, num_epochs=1, batch_size=8, progress_bar=False)
    assert all(torch.equal(value, before[name]) for name, value in state(second).items())


def test_fit_refuses_a_module_that_nothing_has_registered():
    scale = nn.Parameter(torch.tensor(0.0))
    net = Net()

    def model(x, total=None):
        with poutine.scale(scale=1.0):
            net.model(x, total)
        with pyro.plate("more", 1):
            pyro.sample("w", dist.Normal(0.0, scale.exp()))

    def guide(x, total=None):
        net.guide(x, total)
        with pyro.plate("more", 1):
            pyro.sample("w", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"which would not move: one of shape \(\)"):
        fit(model, guide, X, num_epochs=1, batch_size=8, progress_bar=False)
    # Frozen, it is a constant.
    scale.requires_grad_(False)
    fit(model, guide, X, num_epochs=1, batch_size=8, progress_bar=False)


def test_the_wrong_way_round_is_said():
    model, guide = as_methods(Net())
    wrong = EntropySumDiagnostic(guide, model)
    with (
        pytest.warns(UserWarning, match="in guide but not model"),
        pytest.raises(ValueError, match=r"observations in the model .* the wrong way round"),
    ):
        wrong.run(X)


def slow_pair(latent, observed, centre):
    """Each site of it gives other threads the time to run."""

    def model(x):
        with pyro.plate("data", len(x)):
            time.sleep(0.001)
            z = pyro.sample(latent, dist.Normal(centre, 1.0))
            time.sleep(0.001)
            pyro.sample(observed, dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            time.sleep(0.001)
            pyro.sample(latent, dist.Normal(x / 2, 0.5))

    return model, guide


def test_two_threads_look_at_their_own_pairs():
    """The host has one stack of handlers for all threads."""
    pairs = [slow_pair("a", "x", 0.0), slow_pair("b", "y", 1.0)]

    def look(pair):
        report = EntropySumDiagnostic(*pair, num_particles=3).run(X[:, 0])
        return list(report.sites().index), report["prior_term"]

    wanted = [look(pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(look, pairs * 6))
    assert found == wanted * 6


def test_looks_on_the_way_do_not_change_training():
    losses = []
    for every in (1, 4):
        pyro.set_rng_seed(0)
        pyro.clear_param_store()
        net = Net()
        result = fit(*as_methods(net), X, num_epochs=4, diagnose_every=every, progress_bar=False)
        losses.append(result.losses.tolist())
    assert losses[0] == losses[1]


def test_the_first_look_does_not_change_what_training_draws():
    """As in a loop of one's own, where nothing looks at the data before the first step."""
    losses = []
    for hand_written in (True, False):
        pyro.set_rng_seed(0)
        pyro.clear_param_store()
        net, optim = Net(), pyro.optim.Adam({"lr": 1e-3})
        if hand_written:
            net.train()
            svi = SVI(*as_methods(net), optim, Standard_ELBO())
            order = torch.randperm(len(X))
            losses.append(svi.step(X[order], total=len(X)) / len(X))
        else:
            options = {"num_epochs": 1, "batch_size": len(X), "progress_bar": False}
            losses += list(fit(*as_methods(net), X, optim=optim, **options).losses)
    assert losses[0] == losses[1]
