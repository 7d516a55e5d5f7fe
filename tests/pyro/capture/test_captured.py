"""What a graph belongs to: nothing that changes is taken for what it was."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import optim, poutine
from pyro.infer import SVI, RenyiELBO, ReweightedWakeSleep, Trace_ELBO, TraceGraph_ELBO
from torch import nn

from entropy_core.training import Checkpoints
from pyro_entropy import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE,
    EDVAE_ELBO,
    IWAE_ELBO,
    VAE1,
    VAE3,
    CapturedLoss,
    CapturedSVI,
    ConstantVarianceVAE,
    Profiled_ELBO,
    SigmaVAE,
    Standard_ELBO,
    fit,
)

D, H, B = 5, 2, 8
ROUNDING = 1e-5


def losses_of(kind, make, *, num_steps=5, **options):
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    (model, guide), loss = make()
    svi = kind(model, guide, optim.Adam({"lr": 1e-2}), loss, **options)
    x = torch.rand(B, D)
    return svi, [svi.step(x) for _ in range(num_steps)]


def of_vae(kind, loss):
    def make():
        vae = kind(D, H, hidden=(4,))
        return (vae.model, vae.guide), loss()

    return make


OBJECTIVES = {
    "Standard": of_vae(VAE1, Standard_ELBO),
    "heteroscedastic": of_vae(VAE3, lambda: Standard_ELBO(3)),
    "full covariance": of_vae(SigmaVAE, Standard_ELBO),
    "free bits": of_vae(VAE1, lambda: Standard_ELBO(free_bits=0.5)),
    "IWAE": of_vae(VAE1, lambda: IWAE_ELBO(4, max_plate_nesting=1)),
    "IWAE, dreg": of_vae(VAE1, lambda: IWAE_ELBO(4, gradient="dreg", max_plate_nesting=1)),
    "BILBO": of_vae(ConstantVarianceVAE, BILBO_ELBO),
    "BAGGINS": of_vae(ConstantVarianceVAE, BAGGINS_ELBO),
    "Profiled": of_vae(VAE1, Profiled_ELBO),
    "ED-VAE": of_vae(EDVAE, EDVAE_ELBO),
}
HOSTS = {
    "Renyi": of_vae(VAE1, lambda: RenyiELBO(0.5, num_particles=3)),
    "TraceGraph": of_vae(VAE1, TraceGraph_ELBO),
    "particles": of_vae(VAE1, lambda: Trace_ELBO(3)),
    "wake-sleep": of_vae(VAE1, lambda: ReweightedWakeSleep(num_particles=2)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_of_this_package_differ_by_rounding(name):
    _, expected = losses_of(SVI, OBJECTIVES[name])
    svi, found = losses_of(CapturedSVI, OBJECTIVES[name], check_every=1)
    assert found == pytest.approx(expected, rel=ROUNDING)
    assert (svi.captures.num_replayed, svi.captures.reasons) == (4, [])


@pytest.mark.parametrize("name", HOSTS)
def test_objectives_of_the_host_are_the_same_bit_for_bit(name):
    _, expected = losses_of(SVI, HOSTS[name])
    svi, found = losses_of(CapturedSVI, HOSTS[name], check_every=1)
    assert found[:2] == expected[:2]
    assert np.allclose(found, expected, rtol=ROUNDING)
    assert (svi.captures.num_replayed, svi.captures.reasons) == (4, [])


def test_chunks_of_particles_are_not_captured():
    svi, _ = losses_of(CapturedSVI, of_vae(VAE1, lambda: IWAE_ELBO(4, chunk_size=2)), num_steps=3)
    assert svi.captures.reasons == ["particles in chunks are held one chunk at a time"]


class Net(nn.Module):
    """A model and guide of one net, in a user's own style."""

    def __init__(self, decide=None, draw=None):
        super().__init__()
        self.beta, self.decide, self.draw = 1.0, decide, draw
        self.options = {"power": 2}
        layers = nn.Linear(D, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)
        self.layers = nn.Sequential(*layers)

    def model(self, x, weight=1.0, options=None):
        pyro.module("net", self)
        with pyro.plate("data", len(x)), poutine.scale(scale=self.beta):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = z[:, None] ** self.options["power"] * weight
            if self.decide is not None:
                loc = loc + self.decide(x)
            if self.draw is not None:
                loc = loc + float(self.draw())
            pyro.sample("x", dist.Normal(loc, 1.0).expand([len(x), D]).to_event(1), obs=x)

    def guide(self, x, weight=1.0, options=None):
        pyro.module("net", self)
        with pyro.plate("data", len(x)):
            loc, log_scale = self.layers(x).unbind(-1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))


def pair_of_losses(net, calls, prepare=lambda i, net: None):
    """Losses of calls, replayed and plain, from the same weights and draws."""
    captured = CapturedLoss(Trace_ELBO(), net.model, net.guide)
    found, expected = [], []
    for i, (args, kwargs) in enumerate(calls):
        prepare(i, net)
        pyro.set_rng_seed(i)
        state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        found.append(captured(*args, **kwargs)[0])
        moved = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net.load_state_dict(state)
        pyro.set_rng_seed(i)
        expected.append(Trace_ELBO().loss_and_grads(net.model, net.guide, *args, **kwargs))
        # Running statistics move once a step, as they do without a graph.
        assert all(torch.equal(moved[name], tensor) for name, tensor in net.state_dict().items())
    return captured.captures, found, expected


def batch(i, size=B):
    return torch.rand(size, D, generator=torch.Generator().manual_seed(i)) + i


def test_modes_numbers_and_shapes_are_told_apart():
    def prepare(i, net):
        net.train(i % 6 != 5)
        net.beta = 1.0 if i < 8 else 0.5
        net.options["power"] = 2 if i < 10 else 3

    calls = [((batch(i, 8 if i % 2 else 5),), {}) for i in range(14)]
    captures, found, expected = pair_of_losses(Net(), calls, prepare)
    assert found == expected
    assert captures.reasons == []
    assert captures.num_replayed == 12


def test_a_tensor_may_change_and_a_number_is_a_form():
    calls = [((batch(i), torch.tensor(0.1 * i)), {}) for i in range(5)]
    captures, found, expected = pair_of_losses(Net(), calls)
    assert found == expected
    assert captures.num_replayed == 4
    calls = [((batch(i),), {"weight": 0.1 * (i % 2)}) for i in range(6)]
    captures, found, expected = pair_of_losses(Net(), calls)
    assert found == expected
    assert captures.num_replayed == 4


def test_numbers_without_end_are_refused():
    calls = [((batch(i),), {"weight": 0.01 * i}) for i in range(34)]
    captures, found, expected = pair_of_losses(Net(), calls)
    assert found == expected
    assert captures.num_replayed == 0
    assert "a number that changes has to be a tensor" in captures.reasons[0]


def test_an_attribute_that_changes_at_each_step():
    def prepare(i, net):
        net.beta = 1.0 + i

    captures, found, expected = pair_of_losses(Net(), [((batch(0),), {})] * 11, prepare)
    assert found == expected
    assert captures.reasons == ["`beta` changes again and again"]


def test_other_tensors_and_nets_in_the_place_of_those_before():
    class Own(Net):
        def __init__(self):
            super().__init__(decide=lambda x: self.shift)
            self.shift = torch.tensor(0.5)

        def guide(self, x, weight=1.0, options=None):
            super().guide(x)
            # A result that is kept is no other model.
            self.seen = x.mean()

    def prepare(i, net):
        if i == 4:
            net.shift = torch.tensor(2.5)
        if i == 6:
            pyro.clear_param_store()
            net.layers = Net().layers

    captures, found, expected = pair_of_losses(
        Own(), [((batch(i),), {}) for i in range(9)], prepare
    )
    assert found == expected
    assert captures.reasons == []
    assert captures.num_replayed == 8


def test_a_value_that_decides_holds_for_one_side():
    net = Net(decide=lambda x: x if x.mean() > 3 else -x)
    captures, found, expected = pair_of_losses(net, [((batch(i),), {}) for i in range(8)])
    assert found == expected
    # The graph is of the first side; the other one is run as it is.
    assert (captures.num_replayed, captures.num_plain) == (2, 6)


def test_draws_of_other_generators_are_seen():
    def draw():
        return np.random.normal()  # noqa: NPY002 - the global one, as a user may

    captures, found, expected = pair_of_losses(
        Net(draw=draw), [((batch(i),), {}) for i in range(5)]
    )
    assert found == expected
    (reason,) = captures.reasons
    assert reason.startswith("the graph differs from the loss at call")


def test_gradients_are_those_of_the_loss_where_the_graph_differs():
    def draw():
        return np.random.normal()  # noqa: NPY002 - the global one, as a user may

    net = Net(draw=draw)
    captured, x = CapturedLoss(Trace_ELBO(), net.model, net.guide), batch(0)
    for i in range(4):
        pyro.set_rng_seed(i)
        _, params = captured(x)
        found = {name: param.grad.clone() for name, param in params.items()}
        captured.drop_grads(params.values())
        pyro.set_rng_seed(i)
        Trace_ELBO().loss_and_grads(net.model, net.guide, x)
        assert all(torch.equal(found[name], param.grad) for name, param in params.items())
        for param in params.values():
            param.grad = None
    assert captured.captures.num_replayed <= 1


def shared_model(x):
    """Parameters whose gradients are one array, that of the data, or one number for all."""
    one, two, three = (pyro.param(name, torch.zeros(D)) for name in ("one", "two", "three"))
    pyro.factor("f", (x * (one + two)).sum() + three.sum())


def shared_guide(x):
    """Nothing is latent."""


def test_nothing_is_written_into_what_gradients_share():
    def run(kind, **options):
        pyro.clear_param_store()
        made = optim.SGD({"lr": 0.1}, {"clip_norm": 0.5})
        svi, x = kind(shared_model, shared_guide, made, Standard_ELBO(), **options), batch(0, 1)[0]
        before = x.clone()
        for _ in range(4):
            svi.step(x)
        assert torch.equal(x, before)
        return svi, torch.stack([pyro.param(name).detach() for name in ("one", "two", "three")])

    _, expected = run(SVI)
    svi, found = run(CapturedSVI)
    assert torch.allclose(found, expected, rtol=ROUNDING)
    assert svi.captures.num_replayed == 3


def test_gradients_are_added_up_as_by_the_host():
    net, calls = Net(), 5
    captured = CapturedLoss(Trace_ELBO(), net.model, net.guide)
    pyro.set_rng_seed(0)
    for i in range(calls):
        _, params = captured(batch(i))
    found = {name: param.grad.clone() for name, param in params.items()}
    captured.drop_grads(params.values())
    pyro.set_rng_seed(0)
    for i in range(calls):
        Trace_ELBO().loss_and_grads(net.model, net.guide, batch(i))
    for name, param in params.items():
        assert torch.allclose(found[name], param.grad, rtol=1e-4, atol=1e-5), name
    assert captured.captures.num_replayed == calls - 1


def test_rows_by_a_mask_make_a_shape():
    net = Net(decide=lambda x: x[x > 0.5].sum())
    captures, _, _ = pair_of_losses(net, [((batch(i),), {}) for i in range(3)])
    (reason,) = captures.reasons
    assert reason.startswith("the values of a tensor make a shape (")


def test_options_of_plain_values_and_objects_with_numbers():
    options = SimpleNamespace(size=3, name="x")
    captures, found, expected = pair_of_losses(Net(), [((batch(0), 1.0, options), {})] * 3)
    assert found == expected
    assert captures.num_replayed == 2
    held = SimpleNamespace(values=np.ones(3))
    captures, _, _ = pair_of_losses(Net(), [((batch(0), 1.0, held), {})] * 3)
    assert captures.reasons == ["an argument is a SimpleNamespace, which may hold numbers"]


def test_handlers_and_gradients_of_arguments_keep_the_loss_as_it_is():
    net = Net()
    captured = CapturedLoss(Trace_ELBO(), net.model, net.guide)
    x = batch(0)
    for _ in range(3):
        with poutine.scale(scale=2.0):
            captured(x)
    captured(x.clone().requires_grad_())
    assert captured.captures.num_replayed == 0
    assert captured.captures.reasons == [
        "handlers of Pyro stand around the step",
        "an argument asks for gradients",
    ]


def test_new_parameters_have_a_new_graph():
    net = Net()
    captured = CapturedLoss(Trace_ELBO(), net.model, net.guide)
    for _ in range(3):
        captured(batch(0))
    pyro.clear_param_store()
    other = Net()
    net.layers = other.layers
    _, params = captured(batch(0))
    _, params = captured(batch(0))
    weight = dict(other.layers.named_parameters())["0.weight"]
    assert any(param is weight for param in params.values())
    assert captured.captures.reasons == []


def test_what_is_wrong_is_refused():
    net = Net()
    with pytest.raises(TypeError, match="loss"):
        CapturedSVI(net.model, net.guide, optim.Adam({"lr": 1e-3}), lambda *args: 0.0)
    with pytest.raises(ValueError, match="after"):
        CapturedLoss(Trace_ELBO(), net.model, net.guide, after=0)


def test_an_exact_reconstruction_is_refused_in_a_graph_too():
    vae = ConstantVarianceVAE(D, H, hidden=(4,))
    captured = CapturedLoss(BAGGINS_ELBO(), vae.model, vae.guide)
    x = torch.zeros(B, D)
    captured(torch.rand(B, D))
    captured(torch.rand(B, D))
    with torch.no_grad():
        for param in vae.parameters():
            param.zero_()
    with pytest.raises(ValueError, match="residuals that are not zero under BAGGINS"):
        captured(x)


@pytest.mark.parametrize(
    "annealed", [pytest.param(False, marks=pytest.mark.slow), True], ids=["plain", "annealed"]
)
def test_fit_with_and_without_graphs(annealed):
    x = torch.rand(40, D)
    options = {"num_epochs": 60, "batch_size": 20, "diagnose_every": 60, "progress_bar": False}
    if annealed:
        options["kl_weight"] = lambda step: min(1.0, step / 90)
    results = []
    for capture in (True, False):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = VAE1(D, H, hidden=(4,))
        results.append(fit(vae.model, vae.guide, x, capture=capture, **options))
    one, other = results
    assert np.allclose(one.losses, other.losses, rtol=1e-4)
    assert (one.captures.num_replayed, one.captures.num_plain) == (70, 50)
    assert other.captures.num_replayed == 0


def test_fit_goes_on_after_a_restart_bit_for_bit_where_graphs_are_made(tmp_path):
    x = torch.rand(40, D)

    def run(num_epochs, folder):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = VAE1(D, H, hidden=(4,))
        options = {"batch_size": 20, "diagnose_every": 40, "progress_bar": False}
        options["checkpoints"] = Checkpoints(folder, resume=True)
        return fit(vae.model, vae.guide, x, num_epochs=num_epochs, **options)

    whole = run(40, tmp_path / "whole")
    for num_epochs in (15, 31):
        run(num_epochs, tmp_path / "parts")
    assert np.array_equal(run(40, tmp_path / "parts").losses, whole.losses)
