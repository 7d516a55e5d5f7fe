"""Natural parameters are those of the density: its logarithm is linear in the statistics."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.distributions.one_hot import OneHotCategorical
from numpyro_entropy.entropies.base_measures import log_base_measure
from numpyro_entropy.entropies.natural import natural_parameters
from tests.support.helpers import IDENTITY

LOGITS = jnp.array([0.8, 0.1, 0.4])

# A distribution, two values, and the sufficient statistics of a value.
FAMILIES = {
    "Normal": (dist.Normal(0.3, 0.7), (0.1, 1.2), lambda v: (v, v**2)),
    "LogNormal": (
        dist.LogNormal(0.3, 0.7),
        (0.4, 2.1),
        lambda v: (jnp.log(v), jnp.log(v) ** 2),
    ),
    "HalfNormal": (dist.HalfNormal(0.7), (0.4, 2.1), lambda v: (v**2,)),
    "Gamma": (dist.Gamma(2.5, 1.5), (0.4, 2.1), lambda v: (jnp.log(v), v)),
    "InverseGamma": (dist.InverseGamma(2.5, 1.5), (0.4, 2.1), lambda v: (jnp.log(v), 1 / v)),
    "Exponential": (dist.Exponential(1.5), (0.4, 2.1), lambda v: (v,)),
    "Beta": (dist.Beta(2.5, 1.5), (0.2, 0.9), lambda v: (jnp.log(v), jnp.log(1 - v))),
    "Laplace": (dist.Laplace(0.3, 0.7), (0.1, 1.2), lambda v: (abs(v - 0.3),)),
    "VonMises": (dist.VonMises(0.3, 2.0), (0.1, 1.2), lambda v: (jnp.cos(v), jnp.sin(v))),
    "Bernoulli": (dist.BernoulliLogits(0.8), (0, 1), lambda v: (v,)),
    "Geometric": (dist.GeometricProbs(0.6), (0, 3), lambda v: (v,)),
    "ContinuousBernoulli": (ContinuousBernoulli(0.8), (0.2, 0.9), lambda v: (v,)),
    "Poisson": (dist.Poisson(1.7), (0, 3), lambda v: (v,)),
    "Binomial": (dist.BinomialLogits(0.8, 5), (0, 3), lambda v: (v,)),
    "NegativeBinomial": (dist.NegativeBinomialLogits(4.0, 0.8), (0, 3), lambda v: (v,)),
    "NegativeBinomialProbs": (dist.NegativeBinomialProbs(4.0, 0.6), (0, 3), lambda v: (v,)),
    "Categorical": (dist.CategoricalLogits(LOGITS), (0, 2), lambda v: (jnp.eye(3)[v],)),
    "OneHotCategorical": (OneHotCategorical(LOGITS), ((1, 0, 0), (0, 0, 1)), lambda v: (v,)),
    "Dirichlet": (
        dist.Dirichlet(jnp.array([2.5, 1.5, 0.7])),
        ((0.2, 0.3, 0.5), (0.6, 0.3, 0.1)),
        lambda v: (jnp.log(v),),
    ),
    # A location of the shape of one number goes for all dimensions.
    "MultivariateNormal about one number": (
        dist.MultivariateNormal(0.3, jnp.array([[2.0, 0.5], [0.5, 1.0]])),
        ((0.1, 1.2), (-0.4, 0.3)),
        lambda v: (v, -0.5 * v[:, None] * v),
    ),
    "MultivariateNormal": (
        dist.MultivariateNormal(jnp.array([0.3, -0.2]), jnp.array([[1.0, 0.3], [0.3, 0.5]])),
        ((0.1, 1.2), (0.4, -0.6)),
        lambda v: (v, -0.5 * v[:, None] * v),
    ),
}


def log_density(fn, value):
    """Without a base measure that is not constant."""
    measure = log_base_measure(fn, value)
    return fn.log_prob(value) - (0.0 if measure is None else measure)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_is_linear_in_the_statistics(name):
    fn, (first, second), statistics = FAMILIES[name]
    left, right = jnp.asarray(first), jnp.asarray(second)
    change = log_density(fn, left) - log_density(fn, right)
    found = natural_parameters(fn).scaled
    pairs = zip(found, statistics(left), statistics(right), strict=True)
    assert sum((eta * (a - b)).sum() for eta, a, b in pairs).item() == pytest.approx(change.item())


@pytest.mark.parametrize("name", ["Categorical", "OneHotCategorical"])
def test_of_classes_they_are_those_whose_sum_is_zero(name):
    (found,) = natural_parameters(FAMILIES[name][0]).scaled
    assert found.sum().item() == pytest.approx(0, abs=IDENTITY)
