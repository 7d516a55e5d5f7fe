"""One optimiser for all parameters takes the steps of Pyro's many."""

import pyro
import pytest
import torch
from pyro import optim

from pyro_entropy.capture.optimiser import OneOptimiser


def adam(lr=0.1):
    return optim.Adam({"lr": lr})


OPTIMISERS = {
    "Adam": adam,
    "AdamW": lambda: optim.AdamW({"lr": 0.1, "weight_decay": 0.1}),
    "SGD": lambda: optim.SGD({"lr": 0.1, "momentum": 0.9}),
    "RMSprop": lambda: optim.RMSprop({"lr": 0.1}),
    "clipped": lambda: optim.Adam({"lr": 0.1}, {"clip_norm": 0.1}),
    "ClippedAdam": lambda: optim.ClippedAdam({"lr": 0.1, "lrd": 0.9}),
    "schedule": lambda: optim.ExponentialLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.1}, "gamma": 0.5}
    ),
    "by name": lambda: optim.Adam(lambda name: {"lr": 0.1 if name == "a" else 0.01}),
}


def steps(made, optimiser):
    """Parameters after steps, one without a gradient, each with a step of the schedule."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    params = [pyro.param(name, torch.randn(3)).unconstrained() for name in "abc"]
    take = optimiser(made)
    for i in range(6):
        for param in params:
            param.grad = torch.randn(3)
        if i == 3:
            params[1].grad = None
        # Another name of the same parameter is no second step.
        take([*params, params[0]])
        if hasattr(made, "step"):
            made.step()
    return torch.stack([param.detach() for param in params])


class Host:
    """Pyro's own steps, each parameter once, as `SVI` takes them."""

    def __init__(self, made):
        self.made = made

    def __call__(self, params):
        self.made(list({id(param): param for param in params}.values()))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_the_host(name):
    expected = steps(OPTIMISERS[name](), Host)
    found = steps(OPTIMISERS[name](), OneOptimiser)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_state_stays_the_hosts():
    made = adam()
    params = steps(made, OneOptimiser)
    again = adam()
    again.set_state(made.get_state())
    pyro.clear_param_store()
    tensors = [pyro.param(name, params[i].clone()).unconstrained() for i, name in enumerate("abc")]
    for tensor in tensors:
        tensor.grad = torch.ones(3)
    again(tensors)
    counts = [int(again.optim_objs[tensor].state[tensor]["step"]) for tensor in tensors]
    assert counts == [7, 6, 7]
