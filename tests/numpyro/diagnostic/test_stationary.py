"""At a stationary point the residuals vanish at the sites that the theorem speaks of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import numpyro_entropy
from numpyro_entropy.params import from_weights, to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import mostly, random_weights
from tests.support.stationary import CASES, HOLDS, NO_CLAIM, NOISE, NUM, minimise, observations

KEY = jax.random.key(0)


# The other side has the rest of the table.
FEW = ["VAE1", "VAE2", "BernoulliVAE", "continuous Bernoulli", "categorical", "Gamma"]


@pytest.mark.parametrize("name", mostly(CASES, [*FEW, "VAE0", "ConstantVarianceVAE"]))
def test_residuals_at_a_stationary_point(name):
    case = CASES[name]
    vae, x = case.make(numpyro_entropy, jnp.float64), observations(case.kind)
    elbo, guide = numpyro_entropy.Standard_ELBO(), NumPyroNoise(vae.guide, NOISE)
    shapes = jax.eval_shape(vae.init, KEY)
    weights = random_weights(to_weights(shapes))
    constants = {"prior.variance": np.ones(2)}
    start, unravel = ravel_pytree(from_weights({**weights, **constants}, shapes))

    @jax.jit
    def loss_gradient_and_terms(vector):
        def loss(vector):
            return elbo.loss(KEY, unravel(vector), vae.model, guide, x) / NUM

        terms = elbo.terms(KEY, unravel(vector), vae.model, guide, x)
        return jax.value_and_grad(loss)(vector), terms

    def loss_and_gradient(vector):
        (loss, gradient), _ = loss_gradient_and_terms(vector)
        return float(loss), np.asarray(gradient)

    _, terms = loss_gradient_and_terms(minimise(loss_and_gradient, np.asarray(start)))
    for site, residual in terms.residuals.items():
        if site in case.no_claim:
            assert abs(residual) > NO_CLAIM
        else:
            assert abs(residual) < HOLDS
