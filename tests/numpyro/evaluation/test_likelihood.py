"""Log-likelihoods on a model whose evidence is known, and through VAEs."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpy.testing import assert_allclose
from numpyro import handlers
from scipy.special import logsumexp

import numpyro_entropy
import numpyro_entropy.evaluation.likelihood
from entropy_core.evaluation.weights.sums import WeightSums
from numpyro_entropy import VAE1
from numpyro_entropy.evaluation.likelihood import log_likelihood
from numpyro_entropy.traces.normals import lean_pair
from numpyro_entropy.traces.pairs import trace_pair
from tests.numpyro.models import nested_guide, nested_model
from tests.support.cases import CASES
from tests.support.conjugate import LOG_EVIDENCE, SCALE, SHIFT, SLOPE, N, X, weight_variance
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, B, D, H, data

KEY = random.key(0)
XJ = jnp.asarray(X)
PARAMS = {"slope": jnp.array(SLOPE), "shift": jnp.array(SHIFT), "scale": jnp.array(SCALE)}
POSTERIOR = {"slope": jnp.array(0.5), "shift": jnp.array(0.0), "scale": jnp.array(0.5**0.5)}


def model(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros((), x.dtype), 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide(x):
    slope, shift, scale = (numpyro.param(name, value) for name, value in PARAMS.items())
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(slope * x + shift, scale))


def test_values_and_errors_on_a_known_evidence():
    scores = []
    for seed in range(4):
        key = random.key(seed)
        found = log_likelihood(key, PARAMS, model, guide, XJ, num_particles=2000, chunk_size=1000)
        bias = weight_variance() / (2 * 2000)
        error = STANDARD_ERRORS * found.standard_errors
        assert (np.abs(found.values - LOG_EVIDENCE) < error + bias).all()
        assert abs(found.mean - LOG_EVIDENCE.mean()) < 4 * found.standard_error + bias.mean()
        scores.append((found.values + bias - LOG_EVIDENCE) / found.standard_errors)
    assert 0.85 < np.std(scores) < 1.15
    assert found.num_particles == 2000
    assert (found.pareto_k < 0.7).all()


def test_at_the_exact_posterior_the_values_are_exact():
    found = log_likelihood(
        KEY, POSTERIOR, model, guide, X, num_particles=30, chunk_size=15, batch_size=50
    )
    assert_allclose(found.values, LOG_EVIDENCE, rtol=1e-12)
    assert found.standard_error < 1e-8
    assert np.isnan(found.pareto_k).all()


@pytest.mark.parametrize("chunk_size", [300, 5000])
def test_any_chunks_give_what_all_weights_at_once_give(chunk_size, monkeypatch):
    seen = []

    class Recorded(WeightSums):
        def add(self, log_weights):
            seen.append(log_weights)
            super().add(log_weights)

    monkeypatch.setattr(numpyro_entropy.evaluation.likelihood, "WeightSums", Recorded)
    found = log_likelihood(KEY, PARAMS, model, guide, XJ[:10], chunk_size=chunk_size)
    assert [len(weights) for weights in seen[:-1]] == [chunk_size] * (len(seen) - 1)
    weights = np.concatenate(seen)
    assert weights.shape == (5000, 10)
    # Each particle has draws of its own, in every chunk.
    assert len(np.unique(weights[:, 0])) == 5000
    assert_allclose(found.values, logsumexp(weights, 0) - np.log(5000), rtol=1e-12)


def test_a_guide_that_is_too_narrow_is_found_out():
    # Beside the posterior's variance v, a guide of variance s has k = 1 - s / v.
    narrow = {**POSTERIOR, "scale": jnp.array(0.05**0.5)}
    found = log_likelihood(KEY, narrow, model, guide, XJ, chunk_size=2500)
    assert 0.7 < np.median(found.pareto_k) < 0.95
    assert "Pareto k > 0.7" in str(found)


def test_order_and_batches_of_the_data_do_not_matter():
    order = np.random.default_rng(0).permutation(N)
    ways = [
        (XJ[order], {"batch_size": 60}),
        (X[order], {}),
        ([X[order[:60]], X[order[60:]]], {}),
        (((XJ[rows],) for rows in np.split(order, 2)), {}),
    ]
    for batches, options in ways:
        exact = log_likelihood(KEY, POSTERIOR, model, guide, batches, num_particles=2, **options)
        assert_allclose(exact.values, LOG_EVIDENCE[order], rtol=1e-12)


def test_batches_and_chunks_have_draws_of_their_own():
    found = log_likelihood(KEY, PARAMS, model, guide, [XJ[:50]] * 2, num_particles=4)
    first, second = np.split(found.values, 2)
    assert not np.isclose(first, second).any()


def test_a_batch_is_all_arguments():
    def shifted(x, shift):
        model(x - shift)

    def shifted_guide(x, shift):
        guide(x - shift)

    batches = [(XJ[:50] + 3, 3), (XJ[50:] - 1, -1)]
    found = log_likelihood(KEY, POSTERIOR, shifted, shifted_guide, batches, num_particles=2)
    assert_allclose(found.values, LOG_EVIDENCE, rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 10])
def test_all_chunks_see_the_same_subsample(chunk_size):
    def subsampled():
        with numpyro.plate("data", N, subsample_size=5) as rows:
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=XJ[rows])

    def subsampled_guide():
        with numpyro.plate("data", N, subsample_size=5) as rows:
            numpyro.sample("z", dist.Normal(0.5 * XJ[rows], 0.5**0.5))

    found = log_likelihood(
        KEY, {}, subsampled, subsampled_guide, [()], num_particles=20, chunk_size=chunk_size
    )
    assert found.standard_error < 1e-8
    assert all(np.isclose(LOG_EVIDENCE, value, rtol=1e-12).any() for value in found.values)


def test_no_scale_enters():
    vae, x = VAE1(D, H, hidden=HIDDEN, dtype=jnp.float64), jnp.asarray(data())
    params = jax.jit(vae.init)(KEY)
    scaled = [handlers.scale(fn, 0.1) for fn in (vae.model, vae.guide)]
    subsampled = [lambda x, fn=fn: fn(x, 1000) for fn in (vae.model, vae.guide)]
    found = [
        log_likelihood(KEY, params, *fns, x, num_particles=30).values
        for fns in ((vae.model, vae.guide), subsampled, scaled)
    ]
    assert_allclose(found[1:], [found[0]] * 2, rtol=1e-12)
    assert found[0].std() > 0.1


def test_densities_that_divide_once_are_those_of_the_host():
    def several(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((len(x), D)), 2.0).to_event(1))
            numpyro.sample("one scale", dist.Normal(z, 0.3).to_event(1), obs=x)
            numpyro.sample("a scale a row", dist.Normal(z, z[:, :1] ** 2).to_event(1), obs=x)
            numpyro.sample("scales", dist.Normal(z, z**2).to_event(1), obs=x)
            masked = dist.Normal(z, 1.0).mask(x > 0).to_event(1)
            numpyro.sample("masked", masked, obs=x)

    def normal(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(x, 0.7).to_event(1))

    pair = trace_pair(random.key(3), {}, several, normal, (jnp.asarray(data()),))
    lean = lean_pair(pair)
    for name, site in pair.model.items():
        assert_allclose(lean.model[name].log_prob, site.log_prob, rtol=1e-13)
    assert_allclose(lean.guide["z"].log_prob, pair.guide["z"].log_prob, rtol=1e-13)
    found = {name for name, site in lean.model.items() if site.density is not None}
    assert found == {"z", "one scale", "a scale a row"}
    assert lean.guide["z"].holding(jnp.zeros((B, D))).density is None


def test_inner_plates_are_summed_over():
    x, params = data(5, 4), {"rate": 1.5, "weight": 0.4, "shape": 3.0}
    found = log_likelihood(
        KEY, params, nested_model, nested_guide, [x], num_particles=4, data_plate="groups"
    )
    assert found.values.shape == (5,)
    assert np.isfinite(found.values).all()


def test_one_particle_has_no_error():
    found = log_likelihood(KEY, PARAMS, model, guide, XJ, num_particles=1)
    assert np.isfinite(found.values).all()
    assert np.isnan(found.standard_errors).all()


def global_model(x):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def global_guide(x):
    numpyro.sample("mean", dist.Normal(0.0, 1.0))


def no_guide(x):
    pass


def far_guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(0.0 * x + jnp.inf, 1.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((PARAMS, model, guide, XJ[:0]), {}, "at least one data point for `batches`"),
        ((PARAMS, model, guide, []), {}, "at least one data point for `batches`"),
        ((PARAMS, model, guide, np.array([1, np.nan])), {}, "finite values for `batches`; got 1"),
        ((PARAMS, model, guide, [XJ, XJ / 0]), {}, "finite values for `batches`; got 100"),
        (({}, model, guide, XJ), {}, r"parameters \['scale', 'shift', 'slope'\] for `params`"),
        (({}, global_model, global_guide, XJ), {}, "got site 'mean' outside"),
        (({}, model, no_guide, XJ), {}, "a sample site 'z' for `guide`"),
        (({}, model, far_guide, XJ), {}, "finite log-weights for `model` and `guide`"),
        ((PARAMS, model, guide, XJ), {"num_particles": 0}, "`num_particles`"),
        ((PARAMS, model, guide, XJ), {"chunk_size": 1.5}, "`chunk_size`"),
        ((PARAMS, model, guide, XJ), {"batch_size": -1}, "`batch_size`"),
        ((PARAMS, model, guide, XJ), {"data_plate": "rows"}, "rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:Found vars in model but not guide")  # the host's own
def test_what_has_no_likelihood_is_refused(arguments, options, match):
    with pytest.raises(ValueError, match=match):
        log_likelihood(KEY, *arguments, **{"num_particles": 3, **options})


@pytest.mark.filterwarnings("ignore:Out-of-support values")
def test_data_outside_the_support_are_refused():
    vae = CASES["BernoulliVAE"].make(numpyro_entropy, jnp.float64)
    params = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(vae.init, KEY)
    )
    batches = [jnp.zeros((B, D)), jnp.full((B, D), 0.5)]
    with pytest.raises(ValueError, match=f"support of their distribution for `x`; got {B} "):
        log_likelihood(KEY, params, vae.model, vae.guide, batches, num_particles=3)
