"""Every style in which NumPyro's users write a pair."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flax import nnx
from numpyro import handlers

from tests.numpyro.traces.styled import run_guide, run_model
from tests.support.styles import Graph


def as_functions(graph, net):
    def model(*args, **kwargs):
        run_model(graph, net, *args, **kwargs)

    def guide(*args, **kwargs):
        run_guide(graph, net, *args, **kwargs)

    return model, guide


NOTEBOOK = """
def encode(*args, **kwargs):
    run_guide(graph, net, *args, **kwargs)

def model(x, noise, y=None, mask=None):
    run_model(graph, net, x, noise, y, mask)

def guide(x, noise, y=None, mask=None):
    encode(x, noise, y, mask)
"""


def as_globals(graph, net):
    """Functions whose net is a global one, as in a notebook."""
    names = {"graph": graph, "net": net, "run_model": run_model, "run_guide": run_guide}
    exec(NOTEBOOK, names)
    return names["model"], names["guide"]


def as_containers(graph, net):
    nets = {"nets": [net]}

    def model(x, noise, y=None, mask=None):
        run_model(graph, nets["nets"][0], x, noise, y, mask)

    def guide(x, noise, y=None, mask=None):
        run_guide(graph, nets["nets"][0], x, noise, y, mask)

    return model, guide


def as_partials(graph, net):
    return partial(run_model, graph, net), partial(run_guide, graph, net)


def as_named_partials(graph, net):
    def call(run, *args, graph, net, **kwargs):
        run(graph, net, *args, **kwargs)

    return tuple(partial(call, run, graph=graph, net=net) for run in (run_model, run_guide))


class Holder:
    """A class of a user's own, which is no module and has one."""

    def __init__(self, graph, net):
        self.graph, self.net = graph, net

    def model(self, x, noise, y=None, mask=None):
        run_model(self.graph, self.net, x, noise, y, mask)

    def guide(self, x, noise, y=None, mask=None):
        run_guide(self.graph, self.net, x, noise, y, mask)


def as_methods(graph, net):
    pair = Holder(graph, net)
    return pair.model, pair.guide


@dataclass(frozen=True)
class Called:
    """An object that is called, as the library's own parts are."""

    run: Callable
    graph: Graph
    net: Any

    def __call__(self, *args, **kwargs):
        self.run(self.graph, self.net, *args, **kwargs)


def as_objects(graph, net):
    return Called(run_model, graph, net), Called(run_guide, graph, net)


class Module(nnx.Module):
    """A module of NNX that has the net, and of which both are methods."""

    def __init__(self, graph, net):
        self.pair = nnx.static(Holder(graph, None))
        self.net = net if isinstance(net, nnx.Module) else nnx.static(net)

    def model(self, *args, **kwargs):
        run_model(self.pair.graph, self.net, *args, **kwargs)

    def guide(self, *args, **kwargs):
        run_guide(self.pair.graph, self.net, *args, **kwargs)


def as_modules(graph, net):
    pair = Module(graph, net)
    return pair.model, pair.guide


def as_handled(graph, net):
    model, guide = as_methods(graph, net)
    return handlers.scale(model, scale=1.0), handlers.block(guide, hide_fn=lambda msg: False)


def as_substituted(graph, net):
    model, guide = as_functions(graph, net)
    return handlers.condition(model, data={}), handlers.substitute(guide, data={})


FORMS = {
    "function": as_functions,
    "globals": as_globals,
    "containers": as_containers,
    "partial": as_partials,
    "partial by name": as_named_partials,
    "methods": as_methods,
    "objects": as_objects,
    "NNX module": as_modules,
    "handlers": as_handled,
    "other handlers": as_substituted,
}
