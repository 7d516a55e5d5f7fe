"""What the host's objectives check and warn of, ours do too; points have exact gradients."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.infer import TraceMeanField_ELBO

from numpyro_entropy import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    IWAE_ELBO,
    ConstantVariance_ELBO,
    Profiled_ELBO,
    Standard_ELBO,
)
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
        jax.eval_shape(lambda key: elbo.loss(key, {}, model, guide, Y), KEY)


@pytest.mark.parametrize(
    "kind", [Standard_ELBO, IWAE_ELBO, EDVAE_ELBO, BILBO_ELBO, ConstantVariance_ELBO, Profiled_ELBO]
)
def test_positional_arguments_are_the_hosts(kind):
    elbo, host = kind(3, False), TraceMeanField_ELBO(3, False)
    assert (elbo.num_particles, elbo.vectorize_particles) == (3, False)
    assert (host.num_particles, host.vectorize_particles) == (3, False)
    assert BAGGINS_ELBO(0.2, 3, False).vectorize_particles is False
    for name in ("sum_sites", "multi_sample_guide"):
        with pytest.raises(TypeError, match=name):
            kind(3, **{name: True})
    with pytest.raises(ValueError, match="a boolean or a callable"):
        kind(3, "pmap")


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
def test_vectorize_particles_is_obeyed(gradient):
    calls = []

    def mapped(fn, keys):
        calls.append(keys)
        return jax.vmap(fn)(keys)

    def model(y):
        with numpyro.plate("data", 6):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(z, 0.7), obs=y)

    def guide(y):
        with numpyro.plate("data", 6):
            numpyro.sample("z", dist.Normal(0.5 * y, 0.6))

    def loss(vectorize_particles):
        elbo = IWAE_ELBO(3, vectorize_particles, gradient=gradient)
        return jax.jit(lambda key: elbo.loss(key, {}, model, guide, Y))(KEY).item()

    assert loss(True) == pytest.approx(loss(False), rel=IDENTITY)
    assert not calls
    assert loss(True) == pytest.approx(loss(mapped), rel=IDENTITY)
    assert calls
    assert IWAE_ELBO(3, False).chunk_size == 1


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
    found, wanted = jax.jit(lambda point: [jax.grad(fn)(point) for fn in (loss, exact)])(point)
    assert found.item() == pytest.approx(wanted.item(), rel=IDENTITY)
