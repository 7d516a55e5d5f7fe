"""The terms of the ELBO: each entropy and residual is what its name says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import random
from numpyro.handlers import block, reparam, replay, seed, trace
from numpyro.infer import Trace_ELBO
from numpyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoGuideList, AutoNormal
from numpyro.infer.reparam import LocScaleReparam

from numpyro_entropy import VAE, VAE1, EntropySumDiagnostic, LinearVAE, Standard_ELBO
from numpyro_entropy.traces.pairs import pair_of
from numpyro_entropy.traces.sites import sample_sites
from numpyro_entropy.traces.terms import site_terms
from tests.numpyro.models import USER_MODELS, initial_params
from tests.support.helpers import (
    HIDDEN,
    IDENTITY,
    B,
    D,
    H,
    assert_within_errors,
    data,
    mostly,
    normal_entropy,
    random_weights,
)
from tests.support.user_models import ENTROPIES, PARTICLES

KEY = random.key(0)
X = jnp.asarray(data())
VAES = {"VAE1": VAE1(D, H, hidden=HIDDEN), "LinearVAE": LinearVAE(D, H)}
TABLE = pytest.mark.parametrize("name", VAES)


@functools.cache
def example_weights(name):
    return VAES[name].get_weights(jax.jit(VAES[name].init)(KEY))


def make(name, seed=0):
    vae = VAES[name]
    return vae, vae.set_weights(random_weights(example_weights(name), seed))


@functools.cache
def compiled(name, particles, total):
    vae = VAES[name]
    elbos = [Standard_ELBO(particles, closed_form=closed) for closed in (True, False)]

    @jax.jit
    def terms_and_variance(key, params, x):
        terms = [elbo.terms(key, params, vae.model, vae.guide, x, total=total) for elbo in elbos]
        return terms, vae.encode(params, x).variance

    return terms_and_variance


def decoder_of(params):
    """The logarithm of the decoder's variance."""
    return params["decoder.log_variance"]


# Few sizes, since each is compiled once: draws, weights and data are what varies.
SIZES = [(1, 1, 8), (33, 3, 40)]


@TABLE
@settings(deadline=None, max_examples=25)
@given(sizes=st.sampled_from(SIZES), seed=st.integers(0, 99))
def test_entropies_of_vaes_are_those_by_hand(name, sizes, seed):
    num, particles, total = sizes
    _, params = make(name, seed)
    x = data(num, seed=seed)
    terms, encoder_variance = compiled(name, particles, total)(random.key(seed), params, x)
    encoder = normal_entropy(encoder_variance, axis=-1).mean()
    prior, decoder = H * normal_entropy(1.0), D * normal_entropy(np.exp(decoder_of(params)))
    closed, sampled = terms
    assert closed.encoder_entropy.item() == pytest.approx(encoder, rel=IDENTITY)
    assert closed.entropy_sum.item() == pytest.approx(encoder - prior - decoder, rel=IDENTITY)
    # The way in which the ELBO is found changes its terms alone.
    for each in terms:
        assert each.prior_entropy.item() == pytest.approx(prior, rel=IDENTITY)
        assert each.decoder_entropy.item() == pytest.approx(decoder, rel=IDENTITY)
    assert sampled.elbo != closed.elbo


@pytest.mark.parametrize("name", USER_MODELS)
def test_entropies_of_user_models_are_those_by_hand(name):
    model, guide = USER_MODELS[name]
    params = initial_params(model, guide, X)
    terms = jax.jit(Standard_ELBO(PARTICLES).terms, static_argnums=(2, 3))
    terms = terms(KEY, params, model, guide, X)
    encoder, prior, decoder, tolerance = ENTROPIES[name]
    assert terms.encoder_entropy.item() == pytest.approx(encoder, rel=IDENTITY)
    assert terms.prior_entropy.item() == pytest.approx(prior, rel=IDENTITY)
    assert terms.decoder_entropy.item() == pytest.approx(decoder, abs=tolerance)


@pytest.mark.parametrize("name", mostly(VAES, ["VAE1"]))
@pytest.mark.parametrize("vectorize", [True, False])
def test_terms_of_particles_are_the_mean_of_single_ones(name, vectorize):
    vae, params = make(name)

    @jax.jit
    def both(params):
        def terms(elbo, key):
            return elbo.terms(key, params, vae.model, vae.guide, X)

        singles = [terms(Standard_ELBO(), key) for key in random.split(KEY, 3)]
        return terms(Standard_ELBO(3, vectorize_particles=vectorize), KEY), singles

    terms, singles = both(params)
    assert len({single.elbo.item() for single in singles}) == 3
    for leaf, *leaves in zip(*map(jax.tree.leaves, (terms, *singles)), strict=True):
        assert leaf.item() == pytest.approx(np.mean(leaves), rel=IDENTITY)


@TABLE
def test_the_decoders_residual_is_a_gradient(name):
    # EQUATIONS, section 2: for one shared variance r_x = -dF / dlog sigma^2.
    vae, params = make(name)

    @jax.jit
    @jax.grad
    def gradient(log_variance):
        changed = {**params, "decoder.log_variance": log_variance}
        return Standard_ELBO(3).terms(KEY, changed, vae.model, vae.guide, X).elbo

    terms = jax.jit(lambda p: Standard_ELBO(3).terms(KEY, p, vae.model, vae.guide, X))(params)
    expected = -gradient(params["decoder.log_variance"]).item()
    assert terms.residuals["x"].item() == pytest.approx(expected, rel=IDENTITY)


@TABLE
def test_the_priors_residual_is_a_gradient(name):
    # The standard normal has no parameter: give it the scale s; r_z = -1/2 dF / dlog s at s = 1.
    vae, params = make(name)

    def elbo_and_terms(scale):
        changed = VAE(
            lambda: dist.Normal(jnp.zeros(H), scale).to_event(1), vae.encoder, vae.decoder, (D,)
        )
        terms = Standard_ELBO(3).terms(KEY, params, changed.model, changed.guide, X)
        return terms.elbo, terms

    value_and_grad = jax.jit(jax.value_and_grad(elbo_and_terms, has_aux=True))
    (_, terms), gradient = value_and_grad(jnp.ones(H))
    # d/dlog s = s d/ds, s = 1; two scales a variance.
    assert terms.residuals["z"].item() == pytest.approx(-gradient.sum().item() / 2, rel=IDENTITY)


def mixture():
    """A standard normal distribution, of which nothing says so."""
    return dist.MixtureSameFamily(dist.Categorical(jnp.full(2, 0.5)), dist.Normal(jnp.zeros(2), 1))


def mixture_model(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", mixture())
        w = numpyro.sample("w", mixture())
        numpyro.sample("x", dist.Normal(z + w, 1.0), obs=x[:, 0])


def mixture_guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(10.0, 0.1))
        numpyro.sample("w", dist.Normal(10.0, 0.1))


def test_a_distribution_without_entropy_is_sampled_from_itself():
    # The draws of the trace come from the guide, far from this prior: read off them, each of the
    # two H[p] would be 50.
    @jax.jit
    @jax.vmap
    def entropies(key):
        return Standard_ELBO().terms(key, {}, mixture_model, mixture_guide, X).prior_entropy

    assert_within_errors(entropies(random.split(KEY, 200)), 2 * normal_entropy(1.0))


def mixture_terms(**kwargs):
    guide_trace = trace(seed(mixture_guide, KEY)).get_trace(X)
    model_trace = trace(replay(seed(mixture_model, KEY), guide_trace)).get_trace(X)
    pair = site_terms(pair_of(model_trace, guide_trace), **kwargs)
    return {(record.name, record.role): record for record in pair.records}


def test_each_site_without_entropy_has_its_own_draws():
    records = jax.jit(lambda key: mixture_terms(rng_key=key))(KEY)
    z, w = records["z", "prior"], records["w", "prior"]
    assert z.entropy_method == w.entropy_method == "sampled"
    assert np.all(z.entropy != w.entropy)


def test_a_sampled_entropy_needs_a_key():
    with pytest.raises(ValueError, match=r"a key to sample H\['z'\] for `rng_key`; got None"):
        jax.eval_shape(mixture_terms)
    records = jax.eval_shape(lambda: mixture_terms(entropies=False))
    assert records["z", "prior"].entropy is None


@TABLE
def test_terms_carry_the_gradients_of_the_loss(name):
    vae, params = make(name)
    elbo, args = Standard_ELBO(), (vae.model, vae.guide, X)

    @jax.jit
    def both(params):
        terms = jax.grad(lambda params: -B * elbo.terms(KEY, params, *args).elbo)(params)
        return terms, jax.grad(lambda params: elbo.loss(KEY, params, *args))(params)

    for left, right in zip(*map(jax.tree.leaves, both(params)), strict=True):
        np.testing.assert_allclose(left, right, rtol=IDENTITY, atol=IDENTITY * np.abs(right).max())


def test_deterministic_and_reparameterised_sites_are_no_sites():
    def model(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.deterministic("double", 2 * z)

    def sites(model):
        return list(sample_sites(trace(seed(model, KEY)).get_trace(X)))

    assert sites(model) == ["z"]
    assert sites(reparam(model, config={"z": LocScaleReparam(0)})) == ["z_decentered"]


def test_factors_of_model_and_guide_are_no_entropies():
    # Of the same name, in a plate that expands them, and under a mask that wraps them.
    def model(x):
        with numpyro.plate("data", len(x)), numpyro.handlers.mask(mask=jnp.array(True)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.factor("f", jnp.array(5.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        with numpyro.plate("data", len(x)), numpyro.handlers.mask(mask=jnp.array(True)):
            numpyro.sample("z", dist.Normal(0.0, 0.5))
            numpyro.factor("f", jnp.array(5.0))

    @jax.jit
    def terms_and_host(key):
        elbo = Standard_ELBO(closed_form=False)
        return elbo.terms(key, {}, model, guide, X), Trace_ELBO().loss(key, {}, model, guide, X)

    terms, host = terms_and_host(KEY)
    assert B * terms.elbo.item() == pytest.approx(-host.item(), rel=IDENTITY)
    assert terms.prior_entropy.item() == pytest.approx(normal_entropy(1.0))
    assert terms.decoder_entropy.item() == pytest.approx(normal_entropy(1.0))
    assert terms.residuals["f"].item() == pytest.approx(5.0)
    assert terms.residuals["f (guide)"].item() == pytest.approx(-5.0)


def test_data_wider_than_their_distribution():
    def model(x):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(mean, 1.0), obs=x[:, 0])

    def guide(x):
        numpyro.sample("mean", dist.Normal(0.0, 0.5))

    @jax.jit
    def terms_and_host(key):
        elbo = Standard_ELBO(closed_form=False)
        return elbo.terms(key, {}, model, guide, X), Trace_ELBO().loss(key, {}, model, guide, X)

    terms, host = terms_and_host(KEY)
    assert terms.elbo.item() == pytest.approx(-host.item(), rel=IDENTITY)
    assert terms.decoder_entropy.item() == pytest.approx(B * normal_entropy(1.0))


def three_latents(x):
    mu = numpyro.sample("mu", dist.Normal(0.0, 3.0))
    s = numpyro.sample("s", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("groups", 2):
        w = numpyro.sample("w", dist.Gamma(1.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(mu + w.sum(), s), obs=x[:, 0])


@pytest.mark.parametrize(
    ("kind", "point_first"),
    mostly(
        [(kind, first) for kind in (AutoDiagonalNormal, AutoNormal) for first in (True, False)],
        [(AutoDiagonalNormal, True), (AutoNormal, False)],
    ),
)
def test_a_point_beside_other_draws_is_a_point(kind, point_first):
    parts = [
        AutoDelta(block(three_latents, hide=["mu", "s", "x"]), prefix="point"),
        kind(block(three_latents, hide=["w", "x"]), prefix="drawn"),
    ]
    guide = AutoGuideList(three_latents)
    for part in parts if point_first else reversed(parts):
        guide.append(part)
    params = initial_params(three_latents, guide, X)
    report = EntropySumDiagnostic(three_latents, guide).run(random.key(0), params, [X])
    assert report.untreated["w"].startswith("a point: ")
    methods = report.sites().set_index(["role", "site_name"])["entropy_method"]["encoder"]
    assert methods["w"] == "none"
    if kind is AutoDiagonalNormal:
        assert "together with other sites, as _drawn_latent" in report.untreated["mu"]
        assert methods["mu"] == "closed form"


def test_a_function_of_a_joint_draw_is_no_point():
    def model(x):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(a + b, 1.0), obs=x[0, 0])

    def guide(x):
        scale = numpyro.param("scale", 1.0)
        normal = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
        both = numpyro.sample("both", normal, infer={"is_auxiliary": True})
        numpyro.sample("a", dist.Delta(scale * both[0]))
        numpyro.sample("b", dist.Delta(both[1]))

    params = initial_params(model, guide, X)
    untreated = EntropySumDiagnostic(model, guide).run(random.key(0), params, [X]).untreated
    assert "as both" in untreated["a"]
    assert "as both" in untreated["b"]
