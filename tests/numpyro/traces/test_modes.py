"""Nets are in evaluation mode in every look, and as they were afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from flax import nnx
from jax import random
from numpyro.contrib.module import nnx_module

from numpyro_entropy import (
    MLP,
    VAE,
    EntropySumDiagnostic,
    NormalDecoder,
    NormalEncoder,
    StandardNormalPrior,
    log_likelihood,
)
from numpyro_entropy.params import params_of
from numpyro_entropy.traces.modes import evaluating

KEY = random.key(0)
# In float64 the running averages of NNX stay float32, of which JAX warns.
X = 3.0 + jnp.asarray(np.random.default_rng(0).standard_normal((12, 3)), jnp.float32)


def normed_net():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(3, 4, rngs=rngs),
        nnx.BatchNorm(4, rngs=rngs),
        nnx.Dropout(0.5, rngs=rngs),
    )


def flags(net):
    return [
        getattr(module, flag)
        for _, module in nnx.iter_modules(net)
        for flag in ("deterministic", "use_running_average")
        if hasattr(module, flag)
    ]


def vae_of(net):
    prior = StandardNormalPrior(2, dtype=jnp.float32)
    decoder = NormalDecoder(MLP(2, 3, hidden=(4,), dtype=jnp.float32))
    return VAE(prior, NormalEncoder(net), decoder, data_shape=(3,))


def init(vae):
    with evaluating(vae.guide):
        return vae.init(KEY)


@pytest.fixture
def net():
    return normed_net()


@pytest.fixture
def vae(net):
    return vae_of(net)


def test_what_is_said_of_a_point_does_not_depend_on_its_batch(vae, net):
    params = init(vae)
    alone, together = (vae.encode(params, X[:n]).mean[0] for n in (1, 12))
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    # The user's own net is as it was, and says the same in evaluation mode.
    assert flags(net) == [False, False]
    net.eval()
    np.testing.assert_array_equal(vae.encode(params, X).mean[0], together)


@pytest.mark.parametrize("batch_size", [12, 4])
def test_a_report_is_that_of_evaluation_mode(vae, net, batch_size):
    def elbo():
        diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
        return diagnostic.run(KEY, init(vae), X, batch_size=batch_size)["elbo"]

    found = elbo()
    net.eval()
    assert found == elbo()


def test_equinox_nets_have_no_dropout_in_a_look():
    class Dropped(equinox.Module):
        linear: equinox.nn.Linear
        dropout: equinox.nn.Dropout

        def __call__(self, x):
            return self.dropout(self.linear(x))

    net = Dropped(equinox.nn.Linear(3, 4, key=KEY, dtype=X.dtype), equinox.nn.Dropout(0.5))
    vae = vae_of(net)
    # In training mode it asks for a key, which a part has none of.
    params = init(vae)
    loc = jax.vmap(net.linear)(X)[:, :2]
    np.testing.assert_allclose(vae.encode(params, X).mean, loc, rtol=1e-5)
    found = log_likelihood(KEY, params, vae.model, vae.guide, X, num_particles=4)
    assert np.isfinite(found.values).all()


class Own:
    """A model of a user's own, which calls the host's `nnx_module` by itself."""

    def __init__(self, net):
        self.net = net

    def model(self, x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(jnp.zeros(4, x.dtype), 1.0).to_event(1))
            numpyro.sample("x", dist.Normal(jnp.zeros(3, x.dtype), 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc = nnx_module("net", self.net)(x)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


def as_methods(own):
    return own.model, own.guide


def as_closures(own):
    net = own.net

    def guide(x):
        Own.guide(Own(net), x)

    return own.model, guide


def as_partials(own):
    return partial(own.model), partial(own.guide)


def as_named_partials(own):
    # Only the guide has the net, here and below.
    def guide(x, *, net):
        Own.guide(Own(net), x)

    return partial(Own.model, None), partial(guide, net=own.net)


def as_handled(own):
    return numpyro.handlers.scale(own.model, scale=1.0), numpyro.handlers.mask(own.guide, mask=True)


class Called:
    def __init__(self, own):
        self.own = own

    def __call__(self, x):
        self.own.guide(x)


def as_objects(own):
    return partial(Own.model, None), Called(own)


STYLES = [as_methods, as_closures, as_partials, as_named_partials, as_handled, as_objects]


@pytest.mark.parametrize("style", STYLES)
def test_nets_in_reach_of_a_users_own_model(style, net):
    model, guide = style(Own(net))
    seen = []
    with evaluating(model, guide):
        seen.append(flags(net))
        trace = numpyro.handlers.trace(numpyro.handlers.seed(guide, KEY)).get_trace(X)
    assert seen == [[True, True]]
    assert flags(net) == [False, False]
    params = {**params_of(trace), "net$state": trace["net$state"]["value"]}

    def elbo(batch_size):
        diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
        return diagnostic.run(KEY, params, X, batch_size=batch_size)["encoder_entropy"]

    assert elbo(12) == pytest.approx(elbo(4), rel=1e-5)


def slow_pair(latent, observed, centre):
    """Each site of it gives other threads the time to run, while it is traced."""

    def model(x):
        with numpyro.plate("data", len(x)):
            time.sleep(0.01)
            z = numpyro.sample(latent, dist.Normal(centre, 1.0))
            time.sleep(0.01)
            numpyro.sample(observed, dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with numpyro.plate("data", len(x)):
            time.sleep(0.01)
            numpyro.sample(latent, dist.Normal(x / 2, 0.5))

    return model, guide


def test_two_threads_look_at_their_own_pairs():
    """The host has one stack of handlers for all threads."""
    pairs, x = [slow_pair("a", "x", 0.0), slow_pair("b", "y", 1.0)], jnp.arange(3.0)

    def look(pair):
        report = EntropySumDiagnostic(*pair, num_particles=1).run(random.key(0), {}, x)
        return list(report.sites().index), report["prior_term"]

    wanted = [look(pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(look, pairs * 2))
    assert found == wanted * 2
