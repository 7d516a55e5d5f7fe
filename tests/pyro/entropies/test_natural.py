"""Natural parameters are those of the density: its logarithm is linear in the statistics."""

import pyro.distributions as dist
import pytest
import torch

from pyro_entropy.entropies.natural import natural_parameters


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


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
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_is_linear_in_the_statistics(name):
    fn, (first, second), statistics = FAMILIES[name]
    left, right = t(first), t(second)
    change = fn.log_prob(left) - fn.log_prob(right)
    found = natural_parameters(fn).scaled
    pairs = zip(found, statistics(left), statistics(right), strict=True)
    assert sum(eta * (a - b) for eta, a, b in pairs).item() == pytest.approx(change.item())
