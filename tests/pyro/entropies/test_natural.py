"""Natural parameters are those of the density: its logarithm is linear in the statistics."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.entropies.base_measures import log_base_measure
from pyro_entropy.entropies.natural import natural_parameters
from tests.support.helpers import IDENTITY


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def one_hot(label):
    return (torch.eye(3)[label.long()],)


# A distribution, two values, and the sufficient statistics of a value.
FAMILIES = {
    "Normal": (dist.Normal(t(0.3), t(0.7)), (0.1, 1.2), lambda v: (v, v**2)),
    "LogNormal": (
        dist.LogNormal(t(0.3), t(0.7)),
        (0.4, 2.1),
        lambda v: (v.log(), v.log() ** 2),
    ),
    "HalfNormal": (dist.HalfNormal(t(0.7)), (0.4, 2.1), lambda v: (v**2,)),
    "Gamma": (dist.Gamma(t(2.5), t(1.5)), (0.4, 2.1), lambda v: (v.log(), v)),
    "InverseGamma": (dist.InverseGamma(t(2.5), t(1.5)), (0.4, 2.1), lambda v: (v.log(), 1 / v)),
    "Exponential": (dist.Exponential(t(1.5)), (0.4, 2.1), lambda v: (v,)),
    "Beta": (dist.Beta(t(2.5), t(1.5)), (0.2, 0.9), lambda v: (v.log(), (1 - v).log())),
    "Laplace": (dist.Laplace(t(0.3), t(0.7)), (0.1, 1.2), lambda v: ((v - 0.3).abs(),)),
    "VonMises": (dist.VonMises(t(0.3), t(2.0)), (0.1, 1.2), lambda v: (v.cos(), v.sin())),
    "Bernoulli": (dist.Bernoulli(logits=t(0.8)), (0.0, 1.0), lambda v: (v,)),
    "Geometric": (dist.Geometric(logits=t(0.8)), (0.0, 3.0), lambda v: (v,)),
    "ContinuousBernoulli": (ContinuousBernoulli(t(0.8)), (0.2, 0.9), lambda v: (v,)),
    "Poisson": (dist.Poisson(t(1.7)), (0.0, 3.0), lambda v: (v,)),
    "Binomial": (dist.Binomial(5, logits=t(0.8)), (0.0, 3.0), lambda v: (v,)),
    "NegativeBinomial": (dist.NegativeBinomial(4.0, logits=t(0.8)), (0.0, 3.0), lambda v: (v,)),
    "Categorical": (dist.Categorical(logits=t(0.8, 0.1, 0.4)), (0.0, 2.0), one_hot),
    "OneHotCategorical": (
        dist.OneHotCategorical(logits=t(0.8, 0.1, 0.4)),
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
        lambda v: (v,),
    ),
    "Dirichlet": (
        dist.Dirichlet(t(2.5, 1.5, 0.7)),
        ((0.2, 0.3, 0.5), (0.6, 0.3, 0.1)),
        lambda v: (v.log(),),
    ),
    "MultivariateNormal": (
        dist.MultivariateNormal(t(0.3, -0.2), torch.stack([t(1.0, 0.3), t(0.3, 0.5)])),
        ((0.1, 1.2), (0.4, -0.6)),
        lambda v: (v, -0.5 * v[:, None] * v),
    ),
}


def log_density(fn, value):
    """Without a base measure that is not constant."""
    measure = log_base_measure(fn, value)
    return (fn.log_prob(value) - (0.0 if measure is None else measure)).sum()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_is_linear_in_the_statistics(name):
    fn, (first, second), statistics = FAMILIES[name]
    left, right = (t(*np.atleast_1d(value)) for value in (first, second))
    change = log_density(fn, left) - log_density(fn, right)
    found = natural_parameters(fn).scaled
    pairs = zip(found, statistics(left), statistics(right), strict=True)
    assert sum((eta * (a - b)).sum() for eta, a, b in pairs).item() == pytest.approx(change.item())


@pytest.mark.parametrize("name", ["Categorical", "OneHotCategorical"])
def test_of_classes_they_are_those_whose_sum_is_zero(name):
    (found,) = natural_parameters(FAMILIES[name][0]).scaled
    assert found.sum().item() == pytest.approx(0, abs=IDENTITY)
