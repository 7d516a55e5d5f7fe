"""Nets that keep state beside their parameters, as batch normalisation does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from flax import linen as nn
from jax import random
from numpyro.contrib.module import flax_module
from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO

from numpyro_entropy import (
    IWAE_ELBO,
    VAE,
    EntropySumDiagnostic,
    Standard_ELBO,
    StandardNormalPrior,
    fit,
)
from tests.support.helpers import DROP_IN, IDENTITY, D, H, data

KEY = random.key(0)
X = jnp.asarray(data())
STATES = {"encoder.net$state", "decoder.net$state"}


class Normed(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.features, param_dtype=float)(x)
        return nn.BatchNorm(use_running_average=False, param_dtype=float)(x)


def encoder(x):
    net = flax_module("encoder.net", Normed(2 * H), x, mutable=["batch_stats"])
    loc, log_variance = jnp.split(net(x), 2, axis=-1)
    return dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)


def decoder(z):
    net = flax_module("decoder.net", Normed(D), z, mutable=["batch_stats"])
    return dist.Normal(net(z), 1.0).to_event(1)


VAE_WITH_STATE = VAE(StandardNormalPrior(H), encoder, decoder, (D,))
MODEL, GUIDE = VAE_WITH_STATE.model, VAE_WITH_STATE.guide


@pytest.fixture(scope="module")
def params():
    """Parameters and state, as the host has them after `init`."""
    svi = SVI(MODEL, GUIDE, optax.adam(1e-2), Trace_ELBO())
    state = jax.jit(svi.init)(KEY, X)
    return {**svi.get_params(state), **state.mutable_state}


@pytest.mark.parametrize(
    ("ours", "host"),
    [
        pytest.param(Standard_ELBO, TraceMeanField_ELBO, id="closed"),
        pytest.param(partial(Standard_ELBO, closed_form=False), Trace_ELBO, id="sampled"),
    ],
)
def test_loss_and_state_are_those_of_the_host(params, ours, host):
    @jax.jit
    def both(params):
        return [
            elbo().loss_with_mutable_state(KEY, params, MODEL, GUIDE, X) for elbo in (ours, host)
        ]

    result, host_result = both(params)
    assert result["loss"].item() == pytest.approx(host_result["loss"].item(), rel=DROP_IN)
    assert result["mutable_state"].keys() == host_result["mutable_state"].keys() == STATES
    before = {name: params[name] for name in STATES}
    trees = (before, result["mutable_state"], host_result["mutable_state"])
    for old, new, host_new in zip(*map(jax.tree.leaves, trees), strict=True):
        assert np.all(new != old)
        np.testing.assert_allclose(new, host_new, rtol=IDENTITY)


@pytest.mark.parametrize("elbo", [Standard_ELBO(2), IWAE_ELBO(2)], ids=["standard", "IWAE"])
def test_several_particles_leave_no_state_and_say_so(params, elbo):
    # As in the host: which of the particles' states should the next step use?
    with pytest.warns(UserWarning, match="mutable state is currently ignored"):
        result = jax.eval_shape(
            lambda params: elbo.loss_with_mutable_state(KEY, params, MODEL, GUIDE, X), params
        )
    assert result["mutable_state"] is None


def test_one_particle_of_the_weighted_bound_leaves_the_hosts_state(params):
    @jax.jit
    def states(params):
        elbos = IWAE_ELBO(1), Trace_ELBO()
        results = [e.loss_with_mutable_state(KEY, params, MODEL, GUIDE, X) for e in elbos]
        return [result["mutable_state"] for result in results]

    found, host = states(params)
    assert found.keys() == host.keys() == STATES
    for left, right in zip(*map(jax.tree.leaves, (found, host)), strict=True):
        np.testing.assert_allclose(left, right, rtol=IDENTITY)


def test_fit_trains_and_returns_the_state(params):
    result = fit(
        KEY,
        MODEL,
        GUIDE,
        X,
        init_params=params,
        optim=optax.adam(1e-2),
        num_epochs=3,
        batch_size=4,
        diagnose_every=3,
        progress_bar=False,
    )
    assert result.params.keys() == params.keys() >= STATES
    for old, new in zip(*map(jax.tree.leaves, (params, result.params)), strict=True):
        assert np.any(new != old)


@pytest.mark.parametrize(
    "call",
    [
        lambda params: VAE_WITH_STATE.encode(params, X),
        lambda params: EntropySumDiagnostic(MODEL, GUIDE).run(KEY, params, X),
        lambda params: fit(KEY, MODEL, GUIDE, X, init_params=params, progress_bar=False),
    ],
    ids=["encode", "run", "fit"],
)
def test_params_without_the_state_are_refused(params, call):
    without = {name: value for name, value in params.items() if name not in STATES}
    with pytest.raises(ValueError, match=r"net\$state.* for `params`"):
        call(without)
