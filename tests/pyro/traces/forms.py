"""Every style in which Pyro's users write a pair."""

from functools import partial

import pyro
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.nn import PyroModule
from pyro.poutine.guide import GuideMessenger
from torch import nn
from torch.utils.data import DataLoader

from tests.pyro.traces.styled import (
    number,
    posterior,
    posterior_of_shared,
    run_guide,
    run_model,
)
from tests.support.styles import as_said


def registered(run, graph, net, *args, **kwargs):
    if net is not None:
        pyro.module("net", net)
    run(graph, net, *args, **kwargs)


def as_functions(graph, net):
    # Neither a method nor a closure: the net is seen only where it is called.
    nets = {"net": net}

    def model(*args, **kwargs):
        registered(run_model, graph, nets["net"], *args, **kwargs)

    def guide(*args, **kwargs):
        registered(run_guide, graph, nets["net"], *args, **kwargs)

    return model, guide


def as_closures(graph, net):
    def model(x, noise, y=None, mask=None):
        registered(run_model, graph, net, x, noise, y, mask)

    def guide(x, noise, y=None, mask=None):
        registered(run_guide, graph, net, x, noise, y, mask)

    return model, guide


def as_partials(graph, net):
    return tuple(partial(registered, run, graph, net) for run in (run_model, run_guide))


def as_named_partials(graph, net):
    def call(run, *args, graph, net, **kwargs):
        registered(run, graph, net, *args, **kwargs)

    return tuple(partial(call, run, graph=graph, net=net) for run in (run_model, run_guide))


class Methods(nn.Module):
    def __init__(self, graph, net):
        super().__init__()
        self.graph, self.net = graph, net

    def model(self, x, noise, y=None, mask=None):
        pyro.module("pair", self)
        run_model(self.graph, self.net, x, noise, y, mask)

    def guide(self, x, noise, y=None, mask=None):
        pyro.module("pair", self)
        run_guide(self.graph, self.net, x, noise, y, mask)


def as_methods(graph, net):
    pair = Methods(graph, net)
    return pair.model, pair.guide


class Holder:
    """A class of a user's own, which is no module and has one."""

    def __init__(self, graph, net):
        self.graph, self.net = graph, net

    def model(self, *args, **kwargs):
        registered(run_model, self.graph, self.net, *args, **kwargs)

    def __call__(self, *args, **kwargs):
        registered(run_guide, self.graph, self.net, *args, **kwargs)


def as_objects(graph, net):
    pair = Holder(graph, net)
    return pair.model, pair


class Module(PyroModule):
    def __init__(self, run, graph, net):
        super().__init__()
        self.run, self.graph, self.net = run, graph, net

    def forward(self, x, noise, y=None, mask=None):
        self.run(self.graph, self.net, x, noise, y, mask)


def as_pyro_modules(graph, net):
    return Module(run_model, graph, net), Module(run_guide, graph, net)


def as_handled(graph, net):
    model, guide = as_methods(graph, net)
    return poutine.scale(model, scale=1.0), poutine.block(guide, hide_fn=lambda msg: False)


def as_conditioned(graph, net):
    model, guide = as_closures(graph, net)
    return poutine.condition(model, data={}), poutine.infer_config(guide, lambda site: {})


def as_configured(graph, net):
    # Nothing that is drawn has values to enumerate.
    model, guide = as_closures(graph, net)
    return config_enumerate(model), config_enumerate(guide)


class Messenger(GuideMessenger):
    def __init__(self, model, graph, net):
        super().__init__(model)
        self.graph, self.net = graph, net

    def get_posterior(self, name, prior):
        if name == "w":
            return posterior_of_shared()
        (args, kwargs), i = self.args_kwargs, int(name[1:])
        latents = [
            number(latent, self.upstream_value(f"z{j}"))
            for j, latent in enumerate(self.graph.latents[:i])
        ]
        x, noise = (args[j] if len(args) > j else kwargs[n] for j, n in enumerate(("x", "noise")))
        return posterior(self.graph, i, self.net, latents, x, noise)


def as_messengers(graph, net):
    model = as_methods(graph, net)[0]
    return model, Messenger(model, graph, net)


def as_handled_messengers(graph, net):
    model, guide = as_messengers(graph, net)
    return model, poutine.scale(guide, scale=1.0)


FORMS = {
    "function": as_functions,
    "closure": as_closures,
    "partial": as_partials,
    "partial by name": as_named_partials,
    "methods": as_methods,
    "objects": as_objects,
    "PyroModule": as_pyro_modules,
    "handlers": as_handled,
    "other handlers": as_conditioned,
    "config_enumerate": as_configured,
    "messenger": as_messengers,
    "handled messenger": as_handled_messengers,
}


def loader(batches, arguments):
    """A `DataLoader` of batches that differ in their sites."""
    return DataLoader(
        batches,
        batch_size=None,
        generator=torch.Generator(),
        collate_fn=partial(as_said, arguments=arguments),
    )
