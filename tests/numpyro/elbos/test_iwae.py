"""The importance weighted bound on a model whose evidence is known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import lax, random
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.optim import Adam

import numpyro_entropy
from numpyro_entropy import IWAE_ELBO, VAE1
from numpyro_entropy.params import from_weights, to_weights
from tests.support.cases import CASES, observations
from tests.support.conjugate import LOG_EVIDENCE, SCALE, SHIFT, SLOPE, N, X, weight_variance
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, D, H, data, mostly, random_weights

KEY = random.key(0)
XJ = jnp.asarray(X)
PARAMS = {"slope": jnp.array(SLOPE), "shift": jnp.array(SHIFT), "scale": jnp.array(SCALE)}
POSTERIOR = {"slope": jnp.array(0.5), "shift": jnp.array(0.0), "scale": jnp.array(0.5**0.5)}
SIZES = pytest.mark.parametrize("size", mostly([100, 50, 10, 1], [10]))
GRADIENTS = pytest.mark.parametrize("gradient", ["plain", "dreg", "stl"])


def model(size=N):
    """The conjugate model; its plate subsamples by itself."""
    with numpyro.plate("data", N, subsample_size=size) as rows:
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=XJ[rows])


def guide(size=N):
    slope, shift, scale = (numpyro.param(name) for name in ("slope", "shift", "scale"))
    with numpyro.plate("data", N, subsample_size=size) as rows:
        numpyro.sample("z", dist.Normal(slope * XJ[rows] + shift, scale))


def bounds(elbo, size, num, handler_scale=1.0):
    scaled = [handlers.scale(fn, handler_scale) for fn in (model, guide)]

    def bound(key):
        return -elbo.loss(key, PARAMS, *scaled, size) / handler_scale

    return np.asarray(jax.jit(jax.vmap(bound))(random.split(KEY, num)))


def close(left, right):
    """The means of two samples agree within four standard errors."""
    error = np.hypot(left.std(0) / len(left) ** 0.5, right.std(0) / len(right) ** 0.5)
    return np.abs(left.mean(0) - right.mean(0)) < STANDARD_ERRORS * error


@SIZES
def test_the_mean_over_subsamples_is_that_of_all_data(size):
    full = bounds(IWAE_ELBO(20), N, 500)
    assert close(bounds(IWAE_ELBO(20), size, 1000), full)


@pytest.mark.parametrize("size", mostly([100, 10], [10]))
def test_chunks_change_nothing(size):
    whole = bounds(IWAE_ELBO(20), size, 5)
    for chunk_size in (1, 7):
        chunked = bounds(IWAE_ELBO(20, chunk_size=chunk_size), size, 5)
        np.testing.assert_allclose(chunked, whole, rtol=1e-12)


def test_the_weights_average_to_the_evidence_for_each_data_point():
    def log_means(key):
        log_weights = IWAE_ELBO(5).log_weights(key, PARAMS, model, guide)
        return jax.nn.logsumexp(log_weights, 0) - jnp.log(5)

    found = np.asarray(jax.jit(jax.vmap(log_means))(random.split(KEY, 2000)))
    ratios = np.exp(found - LOG_EVIDENCE)
    errors = ratios.std(0) / len(ratios) ** 0.5
    assert (np.abs(ratios.mean(0) - 1) < STANDARD_ERRORS * errors).all()


BIAS = [(100, 1.0), (10, 1 / N), (1, 3.0), (1, 1.0)]


@pytest.mark.parametrize(("size", "handler_scale"), mostly(BIAS, [(1, 3.0)]))
def test_the_bias_at_many_particles(size, handler_scale):
    num, num_particles = 50, 1000
    found = bounds(IWAE_ELBO(num_particles), size, num, handler_scale)
    keys = random.split(KEY, num)

    def rows(key):
        _, guide_key = random.split(random.split(key, num_particles)[0])
        seeded = handlers.seed(handlers.substitute(guide, PARAMS), guide_key)
        return handlers.trace(seeded).get_trace(size)["data"]["value"]

    evidence = LOG_EVIDENCE[np.asarray(jax.vmap(rows)(keys))].sum(1) * N / size
    bias = found - evidence
    error = bias.std() / len(bias) ** 0.5
    limit = 2 * weight_variance().sum() / (2 * num_particles)
    assert -limit - STANDARD_ERRORS * error < bias.mean() < STANDARD_ERRORS * error


@SIZES
def test_one_particle_is_the_hosts_elbo(size):
    @jax.jit
    def losses(params):
        return [e.loss(KEY, params, model, guide, size) for e in (IWAE_ELBO(1), Trace_ELBO())]

    ours, hosts = losses(PARAMS)
    assert ours.item() == pytest.approx(hosts.item(), rel=1e-12)


@pytest.mark.parametrize("gradient", mostly(["plain", "dreg", "stl"], ["dreg"]))
@pytest.mark.parametrize("name", mostly(["VAE1", "SigmaVAE", "VampPrior"], ["VAE1"]))
def test_chunks_do_not_change_the_gradients(name, gradient):
    vae, x = CASES[name].make(numpyro_entropy, jnp.float64), observations(CASES[name].kind)
    shapes = jax.eval_shape(vae.init, KEY)
    params = from_weights(random_weights(to_weights(shapes)), shapes)
    found = []
    for chunk_size in (None, 3):
        elbo = IWAE_ELBO(7, gradient=gradient, chunk_size=chunk_size)
        loss = jax.jit(jax.value_and_grad(elbo.loss, argnums=1), static_argnums=(2, 3))
        found.append(loss(KEY, params, vae.model, vae.guide, x))
    for left, right in zip(*map(jax.tree.leaves, found), strict=True):
        assert np.abs(left).max() > 0
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("num_particles", mostly([1, 2, 5, 20], [5]))
def test_dreg_gradients_are_those_of_the_bound_in_expectation(num_particles):
    def gradients(gradient):
        elbo = IWAE_ELBO(num_particles, gradient=gradient)
        grad = jax.jit(jax.vmap(lambda key: jax.grad(elbo.loss, 1)(key, PARAMS, model, guide)))
        found = grad(random.split(KEY, 3000))
        return np.stack([found[name] for name in PARAMS], -1)

    plain, dreg, stl = (gradients(name) for name in ("plain", "dreg", "stl"))
    assert close(plain, dreg).all()
    assert (dreg.std(0) < plain.std(0)).all()
    # Sticking the landing is the same at one particle, and biased beyond.
    assert close(plain, stl).all() == (num_particles == 1)


@pytest.mark.parametrize("gradient", ["dreg", "stl"])
def test_at_the_exact_posterior_the_gradient_is_zero(gradient):
    elbos = [IWAE_ELBO(num_particles, gradient=gradient) for num_particles in (1, 5)]

    @jax.jit
    def gradients(params):
        return [jax.grad(elbo.loss, 1)(KEY, params, model, guide) for elbo in elbos]

    for found in gradients(POSTERIOR):
        np.testing.assert_allclose(list(found.values()), 0, atol=1e-11)
    assert all(abs(value) > 1e-3 for found in gradients(PARAMS) for value in found.values())


def test_trains_through_all_of_the_hosts_ways():
    vae, x = VAE1(D, H, hidden=HIDDEN), jnp.asarray(data())
    svi = SVI(vae.model, vae.guide, Adam(1e-2), IWAE_ELBO(5, gradient="dreg"), total=80)
    state = jax.jit(svi.init)(KEY, x)
    _, losses = jax.jit(lambda state: lax.scan(lambda s, _: svi.update(s, x), state, length=60))(
        state
    )
    assert losses[-5:].mean() < losses[:5].mean()
    result = svi.run(KEY, 5, x, progress_bar=False, init_state=state)
    np.testing.assert_allclose(result.losses, losses[:5], rtol=1e-6)
    terms = jax.jit(IWAE_ELBO(50).terms, static_argnums=(2, 3))
    terms = terms(KEY, result.params, vae.model, vae.guide, x)
    assert terms.elbo < terms.bound
    assert 1 < terms.effective_sample_size < 50


def global_latent():
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", 4):
        numpyro.sample("x", dist.Normal(mean, 1.0), obs=jnp.zeros(4))


def global_guide():
    numpyro.sample("mean", dist.Normal(0.0, 1.0))


def no_plate():
    numpyro.sample("x", dist.Normal(0.0, 1.0), obs=jnp.zeros(()))


def half_scaled():
    with numpyro.plate("data", 4):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        with handlers.scale(scale=0.5):
            numpyro.sample("x", dist.Normal(z, 1.0), obs=jnp.zeros(4))


def local_guide():
    with numpyro.plate("data", 4):
        numpyro.sample("z", dist.Normal(0.0, 1.0))


def binary():
    with numpyro.plate("data", 4):
        z = numpyro.sample("z", dist.Bernoulli(0.5))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=jnp.zeros(4))


def binary_guide():
    with numpyro.plate("data", 4):
        numpyro.sample("z", dist.Bernoulli(0.5))


@pytest.mark.parametrize(
    ("model", "guide", "error", "match"),
    [
        (global_latent, global_guide, ValueError, "'data' for `model`; got site 'mean' outside"),
        (no_plate, lambda: None, ValueError, "a plate that holds all observed sites"),
        (half_scaled, local_guide, ValueError, "the same `scale` handler around all sites"),
        (binary, binary_guide, NotImplementedError, "reparameterised draws for `guide`"),
    ],
)
def test_what_has_no_weights_per_data_point_is_refused(model, guide, error, match):
    with pytest.raises(error, match=match):
        jax.eval_shape(lambda key: IWAE_ELBO(3).loss(key, {}, model, guide), KEY)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_particles": 0}, "`num_particles`"),
        ({"chunk_size": -1}, "`chunk_size`"),
        ({"chunk_size": 0}, "`chunk_size`"),
        ({"gradient": "vimco"}, "`gradient`; got 'vimco'"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        IWAE_ELBO(**arguments)
