"""What is read off a site under masks, and why some sites have no weights."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from scipy.stats import norm

from numpyro_entropy import EntropySumDiagnostic
from numpyro_entropy.traces.enumerated import IN_A_SCAN, trace_enumerated
from numpyro_entropy.traces.pairs import trace_pair
from numpyro_entropy.traces.terms import all_terms
from tests.support.helpers import IDENTITY, normal_entropy

KEY = jax.random.key(0)
X = np.array([0.3, -0.4, 1.2, 0.8])
SHOWN = np.array([True, False, True, True])
ENTRIES = np.array([[True, True, False], [True] * 3, [False] * 3, [False, True, True]])


def nothing():
    """A guide of a model without latent sites."""


def entries_under_a_mask(handler):
    def model():
        with numpyro.plate("data", 4), handlers.mask(mask=SHOWN if handler else True):
            fn = dist.Normal(0.0, jnp.ones((4, 3))).mask(ENTRIES).to_event(1)
            numpyro.sample("x", fn, obs=jnp.zeros((4, 3)))

    return model


@pytest.mark.parametrize("handler", [False, True])
def test_entries_that_no_mask_hides_are_counted(handler):
    (record,) = all_terms(trace_pair(KEY, {}, entries_under_a_mask(handler), nothing)).records
    shown = ENTRIES & SHOWN[:, None] if handler else ENTRIES
    assert record.num_elements == 12
    assert record.num_observed == shown.sum()
    np.testing.assert_allclose(record.entropy, (shown * normal_entropy(1.0)).sum(1))


def mixture_under_a_mask():
    parts = dist.Categorical(jnp.ones(2) / 2), dist.Normal(jnp.array([-1.0, 1.0]), 1.0)
    with numpyro.plate("data", 4), handlers.mask(mask=SHOWN):
        numpyro.sample("x", dist.MixtureSameFamily(*parts), obs=jnp.zeros(4))


def test_sampled_entropies_are_zero_where_a_handlers_mask_hides_them():
    methods = []

    @jax.jit
    def entropy(key):
        pair = trace_pair(key, {}, mixture_under_a_mask, nothing)
        (record,) = all_terms(pair, rng_key=key).records
        methods.append(record.entropy_method)
        return record.entropy

    np.testing.assert_array_equal(entropy(KEY) != 0, SHOWN)
    assert methods == ["sampled"]


def label_under_a_mask():
    with numpyro.plate("data", 4), handlers.mask(mask=SHOWN):
        z = numpyro.sample("z", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        numpyro.sample("x", dist.Normal(z, 1.0), obs=X)


def test_a_hidden_label_is_summed_over():
    # As Pyro's TraceEnum_ELBO does: NumPyro's needs funsor.
    report = EntropySumDiagnostic(label_under_a_mask, nothing, num_particles=1).run(KEY, {}, [()])
    density = 0.7 * norm.pdf(X) + 0.3 * norm.pdf(X - 1)
    assert 4 * report["elbo"] == pytest.approx(np.log(density)[SHOWN].sum(), rel=IDENTITY)


def hidden_in_a_scan():
    def step(state, y):
        every = {"enumerate": "parallel"}
        state = numpyro.sample("z", dist.Bernoulli(0.3 + 0.4 * state), infer=every)
        numpyro.sample("x", dist.Normal(state, 1.0), obs=y)
        return state, None

    scan(step, jnp.zeros((), int), jnp.zeros(3))


def test_what_a_scan_hides_is_left_out_with_the_reason():
    pair = all_terms(trace_enumerated(KEY, {}, hidden_in_a_scan, nothing, ()))
    assert dict(pair.untreated)["z"] == IN_A_SCAN
