"""The pairs of `tests.support.styles`: a model and a guide as functions of a graph and a net."""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro import poutine
from torch import nn

from tests.pyro.models import Tied
from tests.support.styles import COLUMNS, WIDTH, Graph

D64 = torch.float64


def tensor(value):
    return torch.tensor(value, dtype=D64)


FAMILIES = {
    "Normal": lambda a, b: dist.Normal(a, b),
    "Laplace": lambda a, b: dist.Laplace(a, b),
    "Gamma": lambda a, b: dist.Gamma((a / 4).exp(), b),
    "LogNormal": lambda a, b: dist.LogNormal(a, b),
    "Bernoulli": lambda a, b: dist.Bernoulli(logits=a * b),
}
DATA = {"Gamma": lambda x: x.exp(), "Bernoulli": lambda x: (x > 0).to(D64)}


class Net(nn.Module):
    """What moves in training mode: running statistics, and outputs by dropout."""

    def __init__(self, graph: Graph):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(graph.seed)
            self.layers = nn.Sequential(
                nn.Linear(COLUMNS, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, WIDTH)
            ).to(D64)
            self.layers[1].running_mean.normal_()
        self.by_method = graph.net == "method"

    def forward(self, x):
        return self.layers(x)

    def encode(self, x):
        return self.layers(F.dropout(x, 0.5, self.training))

    def of(self, x):
        return self.encode(x) if self.by_method else self(x)


def moved_by(latents, parents):
    return sum((0.3 * torch.tanh(latents[j]) for j in parents), tensor(0.0))


def over(loc, latent, x):
    """A location for each element of a site."""
    loc = loc.expand(len(x))
    return loc[:, None].expand(len(x), WIDTH) if latent.event else loc


def number(latent, value):
    """A latent site's value as one number for each data point."""
    return value.sum(-1) if latent.event else value


def run_model(graph, net, x, noise, y=None, mask=None):
    spread = pyro.param("spread", tensor(0.8), constraint=dist.constraints.positive)
    w = pyro.sample("w", dist.Normal(tensor(0.0), 2.0)) if graph.shared else tensor(0.0)
    with pyro.plate("data", len(x)), poutine.mask(mask=True if mask is None else mask):
        latents = []
        for i, latent in enumerate(graph.latents):
            a = over(moved_by(latents, latent.parents), latent, x)
            fn = FAMILIES[latent.family](a, tensor(1.2))
            value = pyro.sample(f"z{i}", fn.to_event(1) if latent.event else fn)
            latents.append(number(latent, value))
        loc = w + sum(torch.tanh(value) for value in latents)
        if net is not None and graph.nets == "both":
            loc = loc + torch.tanh(net.of(loc[:, None].expand(len(x), COLUMNS)))[:, 0]
        for i, family in enumerate(graph.observed):
            data = DATA.get(family, lambda x: x)(x[:, i])
            pyro.sample(f"x{i}", FAMILIES[family](loc, spread), obs=data)
        if y is not None:
            scale = pyro.param("label_scale", tensor(2.0), constraint=dist.constraints.positive)
            pyro.sample("y", dist.Normal(latents[0], scale), obs=y)


def posterior(graph, i, net, latents, x, noise):
    """The guide's distribution of a latent site."""
    latent = graph.latents[i]
    loc = pyro.param("slope", tensor(0.4)) * x[:, i % COLUMNS] + moved_by(latents, latent.parents)
    loc = over(loc, latent, x)
    if net is not None:
        h = net.of(x)
        loc = loc + (h if latent.event else h[:, 0])
    fn = Tied(loc, tensor(0.6).expand(loc.shape), noise[:, i] if latent.event else noise[:, i, 0])
    if latent.family in ("Gamma", "LogNormal"):
        fn = dist.TransformedDistribution(fn, [dist.transforms.ExpTransform()])
    return fn.to_event(1) if latent.event else fn


def posterior_of_shared():
    return Tied(tensor(1.0), tensor(0.5), tensor(0.3))


def run_guide(graph, net, x, noise, y=None, mask=None):
    if graph.shared:
        pyro.sample("w", posterior_of_shared())
    with pyro.plate("data", len(x)), poutine.mask(mask=True if mask is None else mask):
        latents = []
        for i, latent in enumerate(graph.latents):
            value = pyro.sample(f"z{i}", posterior(graph, i, net, latents, x, noise))
            latents.append(number(latent, value))
