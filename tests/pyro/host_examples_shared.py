"""Pyro's own examples of latents that all data share, in their shape."""

import argparse
import functools

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import torch
from pyro.contrib.easyguide import EasyGuide
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoHierarchicalNormalMessenger,
    AutoNormalMessenger,
    AutoRegressiveMessenger,
)
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.distributions import constraints

from tests.pyro.host_examples import binary
from tests.pyro.tutorials import normal_data

# Latent Dirichlet allocation (examples/lda.py), on some documents at a time.

LDA_ARGS = argparse.Namespace(
    num_topics=3, num_words=10, num_docs=6, num_words_per_doc=4, batch_size=2
)


def lda_model(data=None, args=None, batch_size=None):
    with pyro.plate("topics", args.num_topics):
        topic_weights = pyro.sample("topic_weights", dist.Gamma(1.0 / args.num_topics, 1.0))
        topic_words = pyro.sample(
            "topic_words", dist.Dirichlet(torch.ones(args.num_words) / args.num_words)
        )
    with pyro.plate("documents", args.num_docs, batch_size) as ind:
        if data is not None:
            data = data[:, ind]
        doc_topics = pyro.sample("doc_topics", dist.Dirichlet(topic_weights))
        with pyro.plate("words", args.num_words_per_doc):
            word_topics = pyro.sample(
                "word_topics", dist.Categorical(doc_topics), infer={"enumerate": "parallel"}
            )
            pyro.sample("doc_words", dist.Categorical(topic_words[word_topics]), obs=data)


def parametrized_guide(predictor, data, args, batch_size=None):
    topic_weights_posterior = pyro.param(
        "topic_weights_posterior",
        lambda: torch.ones(args.num_topics),
        constraint=constraints.positive,
    )
    topic_words_posterior = pyro.param(
        "topic_words_posterior",
        lambda: torch.ones(args.num_topics, args.num_words),
        constraint=constraints.greater_than(0.5),
    )
    with pyro.plate("topics", args.num_topics):
        pyro.sample("topic_weights", dist.Gamma(topic_weights_posterior, 1.0))
        pyro.sample("topic_words", dist.Dirichlet(topic_words_posterior))
    pyro.module("predictor", predictor)
    with pyro.plate("documents", args.num_docs, batch_size) as ind:
        data = data[:, ind]
        counts = torch.zeros(args.num_words, ind.size(0)).scatter_add(
            0, data, torch.ones(data.shape)
        )
        doc_topics = predictor(counts.transpose(0, 1))
        pyro.sample("doc_topics", dist.Delta(doc_topics, event_dim=1))


def lda():
    predictor = nn.Sequential(nn.Linear(10, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.Softmax(dim=-1))
    return lda_model, functools.partial(parametrized_guide, predictor)


def words():
    return torch.randint(10, (4, 6), generator=torch.Generator().manual_seed(1))


# Bayesian regression (tutorial "bayesian_regression"), whose weights are PyroSamples.


class BayesianRegression(PyroModule):
    def __init__(self, in_features=2):
        super().__init__()
        self.linear = PyroModule[nn.Linear](in_features, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, in_features]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 10.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        sigma = pyro.sample("sigma", dist.Uniform(0.0, 10.0))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("obs", dist.Normal(mean, sigma), obs=y)
        return mean


def bayesian_regression():
    model = BayesianRegression()
    return model, AutoDiagonalNormal(model)


# Coin flips of which a sequential plate draws some (tutorial "svi_part_ii").


def coin_model(data):
    fairness = pyro.sample("latent_fairness", dist.Beta(10.0, 10.0))
    for i in pyro.plate("data_loop", len(data), subsample_size=5):
        pyro.sample(f"obs_{i}", dist.Bernoulli(fairness), obs=data[i])


def coin_guide(data):
    alpha = pyro.param("alpha_q", torch.tensor(15.0), constraint=constraints.positive)
    beta = pyro.param("beta_q", torch.tensor(15.0), constraint=constraints.positive)
    pyro.sample("latent_fairness", dist.Beta(alpha, beta))


# An EasyGuide as a class, of the example in its documentation.


def drift_model(batch, subsample, full_size):
    num_time_steps = batch.shape[0]
    drift = pyro.sample("drift", dist.LogNormal(-1.0, 0.5))
    with pyro.plate("data", full_size, subsample=subsample):
        z = 0.0
        for t in range(num_time_steps):
            z = pyro.sample(f"state_{t}", dist.Normal(z, drift))
            pyro.sample(f"obs_{t}", dist.Bernoulli(logits=z), obs=batch[t])


class DriftGuide(EasyGuide):
    def __init__(self, model):
        super().__init__(model)
        self.net = nn.Linear(3, 6)

    def guide(self, batch, subsample, full_size):
        self.map_estimate("drift")
        pyro.module("net", self.net)
        group = self.group(match="state_[0-9]*")
        with self.plate("data", full_size, subsample=subsample):
            loc, log_scale = self.net(batch.T).chunk(2, -1)
            group.sample("states", dist.Normal(loc, log_scale.exp()).to_event(1))


def easy_guide():
    return drift_model, DriftGuide(drift_model)


def time_series():
    return binary(3, 4), torch.tensor([1, 4, 6, 7]), 9


# A hierarchy of effects, whose guide is a messenger: it draws at the model's own sites.


def effects_model(x, total=None):
    level = pyro.sample("level", dist.Normal(0.0, 1.0))
    size = pyro.sample("size", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", total or len(x), subsample=torch.arange(len(x))):
        effect = pyro.sample("effect", dist.Normal(level, size))
        pyro.sample("x", dist.Normal(effect, 1.0), obs=x)


def messenger(kind):
    # All rows of a batch share what is drawn for each, whichever rows they are.
    options = {"amortized_plates": ("data",)}
    if kind is AutoHierarchicalNormalMessenger:
        options["hierarchical_sites"] = ["effect"]
    return effects_model, kind(effects_model, **options)


MESSENGERS = (AutoNormalMessenger, AutoHierarchicalNormalMessenger, AutoRegressiveMessenger)


# Gaussian processes (pyro.contrib.gp): a sparse one, and one whose inputs are latent. Both hold
# their data.


def sparse_gp():
    x = torch.linspace(-2.0, 2.0, 12)
    kernel = gp.kernels.RBF(1)
    return gp.models.VariationalSparseGP(
        x, x.sin(), kernel, x[::4].clone(), gp.likelihoods.Gaussian(), num_data=24, jitter=1e-4
    )


def gplvm():
    y = normal_data(3, 5)
    kernel = gp.kernels.RBF(2, lengthscale=torch.ones(2))
    model = gp.models.SparseGPRegression(
        normal_data(5, 2), y, kernel, normal_data(4, 2), noise=torch.tensor(0.1), jitter=1e-4
    )
    return gp.models.GPLVM(model)
