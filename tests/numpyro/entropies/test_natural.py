"""Natural parameters are those of the density: its logarithm is linear in the statistics."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from numpyro_entropy.entropies.natural import natural_parameters

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
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_is_linear_in_the_statistics(name):
    fn, (first, second), statistics = FAMILIES[name]
    left, right = jnp.asarray(first), jnp.asarray(second)
    change = fn.log_prob(left) - fn.log_prob(right)
    found = natural_parameters(fn).scaled
    pairs = zip(found, statistics(left), statistics(right), strict=True)
    assert sum(eta * (a - b) for eta, a, b in pairs).item() == pytest.approx(change.item())
