"""A pair is run in one place: rows that a guide draws, held draws, the host's keys and checks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.contrib.module import flax_module
from numpyro.handlers import seed, trace
from numpyro.infer import Trace_ELBO

from numpyro_entropy import EntropySumDiagnostic, Standard_ELBO
from numpyro_entropy.params import params_of
from numpyro_entropy.traces.pairs import pair_shapes, trace_guide, trace_model, trace_pair
from tests.numpyro.traces.styled import LinenNet
from tests.support.helpers import IDENTITY

KEY = random.key(0)
X = jnp.linspace(-1.0, 1.5, 6)


def plate(x):
    return numpyro.plate("data", len(x), subsample_size=3)


def model(x):
    with plate(x) as rows:
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 0.7), obs=x[rows])


def guide(x):
    shift = numpyro.param("shift", jnp.zeros(()))
    with plate(x) as rows:
        numpyro.sample("z", dist.Normal(x[rows] + shift, 0.5))


PARAMS = {"shift": jnp.asarray(0.1)}


def test_rows_that_a_guide_draws_by_itself_are_kept():
    pair = trace_pair(KEY, PARAMS, model, guide, (X,))
    rows = pair.rows["data"]
    np.testing.assert_array_equal(pair.model["x"].value, X[rows])
    # Held, all later draws are of the same data points.
    for i in range(5):
        again = trace_pair(random.key(i + 1), PARAMS, model, guide, (X,), values=pair.rows)
        np.testing.assert_array_equal(again.model["x"].value, X[rows])
        assert np.all(again.guide["z"].value != pair.guide["z"].value)


def test_the_draws_are_those_of_the_hosts_objective():
    @jax.jit
    def losses(params):
        elbos = Standard_ELBO(closed_form=False), Trace_ELBO()
        return [elbo.loss(KEY, params, model, guide, X) for elbo in elbos]

    np.testing.assert_allclose(*losses(PARAMS), IDENTITY)


def test_a_net_of_both_has_the_state_that_the_guide_has_left():
    def counting(fn):
        state = numpyro.primitives.mutable("calls", {"number": 0})
        state["number"] += 1
        fn(X)

    pairs = partial(counting, model), partial(counting, guide)
    host = Trace_ELBO().loss_with_mutable_state(KEY, PARAMS, *pairs)["mutable_state"]
    assert trace_pair(KEY, PARAMS, *pairs).state == host == {"calls": {"number": 2}}


def test_the_model_alone_runs_at_held_draws():
    drawn = trace_guide(KEY, PARAMS, guide, (X,))
    held = {**drawn.rows, **drawn.sites}
    sites = trace_model(KEY, {}, model, (X,), values=held)
    np.testing.assert_array_equal(sites["x"].fn.mean, drawn.sites["z"].value)
    np.testing.assert_array_equal(sites["x"].value, X[drawn.rows["data"]])
    moved = drawn.sites["z"].holding(jnp.ones(3))
    sites = trace_model(KEY, {}, model, (X,), values={**drawn.rows, "z": moved})
    np.testing.assert_array_equal(sites["x"].fn.mean, jnp.ones(3))


def test_a_guide_with_a_site_that_the_model_lacks_is_warned_of_as_by_the_host():
    def more(x):
        guide(x)
        numpyro.sample("w", dist.Normal(0.0, 1.0))

    with pytest.warns(UserWarning, match="w"):
        trace_pair(KEY, PARAMS, model, more, (X,))


def test_shapes_of_parameters_need_no_parameters():
    assert pair_shapes(model, guide, (X,))["shift"].shape == ()


def nested(x, latents, guide=False):
    """Pupils in schools, in the host's own dimensions: the outer plate has the last one."""
    with numpyro.plate("schools", 5):
        loc = x.mean(0) if guide else 0.0
        a = numpyro.sample("a", dist.Normal(loc, 1.0)) if latents else 0.0
        with numpyro.plate("pupils", 7):
            z = numpyro.sample("z", dist.Normal(x / 2 if guide else a + jnp.zeros((7, 5)), 1.0))
            if not guide:
                numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("latents", [True, False])
def test_the_data_points_of_nested_plates_are_the_outer_ones(latents):
    x = jnp.arange(35.0).reshape(7, 5) / 10
    model = partial(nested, latents=latents)
    diagnostic = EntropySumDiagnostic(model, partial(model, guide=True), num_particles=1)
    assert diagnostic.run(KEY, {}, [x]).size == "5 data points"


def test_a_net_with_state_may_be_the_models_and_the_guides():
    """The host's `flax_module` asks for its parameters and its state, or for neither."""

    def net(x):
        called = flax_module("net", LinenNet(), input_shape=(1, 2), mutable=["batch_stats"])
        return called(jnp.stack([x, x], -1))[:, 0]

    def shared_model(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(net(z), 0.7), obs=x)

    def shared_guide(x):
        loc = net(x)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, 0.5))

    params = params_of(trace(seed(shared_guide, KEY)).get_trace(X))
    assert pair_shapes(shared_model, shared_guide, (X,)).keys() == params.keys()
    found = trace_pair(KEY, params, shared_model, shared_guide, (X,)).state
    np.testing.assert_array_equal(
        found["net$state"]["batch_stats"]["BatchNorm_0"]["mean"],
        params["net$state"]["batch_stats"]["BatchNorm_0"]["mean"],
    )
    report = EntropySumDiagnostic(shared_model, shared_guide).run(KEY, params, X)
    assert np.isfinite(report["elbo"])
