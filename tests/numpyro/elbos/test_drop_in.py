"""What the host's objectives check and warn of, ours do too; points have exact gradients."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random

from numpyro_entropy import IWAE_ELBO, Standard_ELBO
from tests.support.helpers import IDENTITY

KEY = random.key(0)
Y = jnp.linspace(-1.0, 2.0, 6)


@pytest.mark.parametrize("elbo", [Standard_ELBO(), IWAE_ELBO(2)], ids=["standard", "IWAE"])
def test_a_missing_plate_is_warned_of(elbo):
    def model(y):
        with numpyro.plate("data", 6):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((2, 6)), 1.0))
            numpyro.sample("y", dist.Normal(z.sum(0), 0.7), obs=y)

    def guide(y):
        with numpyro.plate("data", 6):
            numpyro.sample("z", dist.Normal(jnp.stack([y, y]), 0.6))

    with pytest.warns(UserWarning, match="Missing a plate statement for batch dimension -2"):
        elbo.loss(KEY, {}, model, guide, Y)


@pytest.mark.parametrize("num_particles", [1, 4])
@pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])
def test_the_gradient_of_a_point_is_exact(gradient, num_particles):
    """All weights are equal: the loss is -log p(y, z) at the point, whatever the estimator."""

    def model(y):
        with numpyro.plate("data", 6):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(z, 0.7), obs=y)

    def guide(y):
        point = numpyro.param("point", 0.3)
        with numpyro.plate("data", 6):
            numpyro.sample("z", dist.Delta(point * y))

    def exact(point):
        z = point * Y
        return -(dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z, 0.7).log_prob(Y)).sum()

    def loss(point):
        elbo = IWAE_ELBO(num_particles, gradient=gradient)
        return elbo.loss(KEY, {"point": point}, model, guide, Y)

    point = jnp.asarray(0.3)
    wanted = jax.grad(exact)(point).item()
    assert jax.grad(loss)(point).item() == pytest.approx(wanted, rel=IDENTITY)
