"""`Standard_ELBO` is a drop-in for the host's objectives, by every route into NumPyro's SVI."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import lax, random
from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO

from numpyro_entropy import VAE1, LinearVAE, Standard_ELBO
from tests.numpyro.models import USER_MODELS, initial_params
from tests.support.helpers import DROP_IN, HIDDEN, IDENTITY, B, D, H, data, mostly, normal_entropy

KEY = random.key(2)
X = jnp.asarray(data())
VAES = {"VAE1": VAE1(D, H, hidden=HIDDEN), "LinearVAE": LinearVAE(D, H)}
PAIRS = {name: (vae.model, vae.guide) for name, vae in VAES.items()} | USER_MODELS
HOSTS = [
    pytest.param(Standard_ELBO, TraceMeanField_ELBO, id="closed"),
    pytest.param(partial(Standard_ELBO, closed_form=False), Trace_ELBO, id="sampled"),
]
PARTICLES = [
    pytest.param({"num_particles": 1}, id="1", marks=pytest.mark.slow),
    pytest.param(
        {"num_particles": 3, "vectorize_particles": False}, id="3", marks=pytest.mark.slow
    ),
    pytest.param({"num_particles": 3}, id="3 at once"),
]


@functools.cache
def params_of(name):
    return initial_params(*PAIRS[name], X)


def losses(elbos, model, guide, params, **kwargs):
    """The loss of each objective, on the same draws."""

    @jax.jit
    def all_of_them(params):
        return [elbo.loss(KEY, params, model, guide, X, **kwargs) for elbo in elbos]

    return [loss.item() for loss in all_of_them(params)]


@pytest.mark.parametrize("particles", PARTICLES)
@pytest.mark.parametrize(("ours", "host"), HOSTS)
@pytest.mark.parametrize("name", mostly(PAIRS, ["VAE1", "nested plates", "subsampled plate"]))
def test_equals_the_host(name, ours, host, particles):
    model, guide = PAIRS[name]

    @jax.jit
    def values_and_grads(params):
        return [
            jax.value_and_grad(elbo(**particles).loss, argnums=1)(KEY, params, model, guide, X)
            for elbo in (ours, host)
        ]

    (value, grads), (host_value, host_grads) = values_and_grads(params_of(name))
    assert value.item() == pytest.approx(host_value.item(), rel=DROP_IN)
    assert jax.tree.structure(grads) == jax.tree.structure(host_grads)
    for grad, host_grad in zip(jax.tree.leaves(grads), jax.tree.leaves(host_grads), strict=True):
        largest = np.abs(grad).max()
        assert largest > 0
        np.testing.assert_allclose(grad, host_grad, rtol=DROP_IN, atol=DROP_IN * largest)


def by_update(svi, state, num_steps):
    update, losses = jax.jit(svi.update), []
    for _ in range(num_steps):
        state, loss = update(state, X)
        losses.append(loss)
    return losses


def by_run(svi, state, num_steps):
    return svi.run(KEY, num_steps, X, init_state=state, progress_bar=False).losses


def by_scan(svi, state, num_steps):
    batches = jnp.broadcast_to(X, (num_steps, *X.shape))
    return jax.jit(partial(lax.scan, svi.update))(state, batches)[1]


@functools.cache
def trained(name, kind):
    """An SVI with one of the objectives, and its first state."""
    svi = SVI(*PAIRS[name], optax.adam(1e-2), kind(), total=100)
    return svi, jax.jit(svi.init)(KEY, X, init_params=params_of(name))


@pytest.mark.parametrize("route", [by_update, by_run, by_scan])
@pytest.mark.parametrize("name", mostly(VAES, ["VAE1"]))
def test_svi_trains_as_with_the_host(name, route):
    kinds = Standard_ELBO, TraceMeanField_ELBO
    losses = {kind: np.asarray(route(*trained(name, kind), 5)) for kind in kinds}
    assert losses[Standard_ELBO].shape == (5,)
    assert losses[Standard_ELBO] == pytest.approx(losses[TraceMeanField_ELBO], rel=DROP_IN)


def test_total_scales_the_loss_and_leaves_the_terms():
    model, guide = PAIRS["VAE1"]
    elbo = Standard_ELBO()

    @jax.jit
    def loss_and_terms(params):
        return [
            call(KEY, params, model, guide, X, total=total)
            for total in (None, 10 * B)
            for call in (elbo.loss, elbo.terms)
        ]

    loss, terms, scaled_loss, scaled_terms = loss_and_terms(params_of("VAE1"))
    assert scaled_loss.item() == pytest.approx(10 * loss.item(), rel=IDENTITY)
    for term, scaled in zip(jax.tree.leaves(terms), jax.tree.leaves(scaled_terms), strict=True):
        assert scaled.item() == pytest.approx(term.item(), rel=IDENTITY)
    assert loss.item() == pytest.approx(-B * terms.elbo.item(), rel=IDENTITY)


def test_total_may_be_given_to_svi():
    model, guide = PAIRS["LinearVAE"]
    results = []
    for static in ({}, {"total": 10 * B}):
        svi = SVI(model, guide, optax.adam(1e-2), Standard_ELBO(), **static)
        results.append(jax.jit(svi.evaluate)(jax.jit(svi.init)(KEY, X), X).item())
    assert results[1] == pytest.approx(10 * results[0], rel=IDENTITY)


@pytest.mark.parametrize("scale", [0.1, np.linspace(0.5, 2.0, B)], ids=["number", "array"])
def test_a_scale_handler_is_part_of_the_loss_and_not_of_the_terms(scale):
    model, guide = PAIRS["LinearVAE"]
    scaled = [numpyro.handlers.scale(fn, scale=scale) for fn in (model, guide)]
    params = params_of("LinearVAE")
    ours, host = losses((Standard_ELBO(), TraceMeanField_ELBO()), *scaled, params, total=80)
    (plain,) = losses((Standard_ELBO(),), model, guide, params, total=80)
    assert ours == pytest.approx(host, rel=DROP_IN)
    assert ours != pytest.approx(plain, rel=0.01)

    @jax.jit
    def terms(params):
        return [Standard_ELBO().terms(KEY, params, *pair, X) for pair in ((model, guide), scaled)]

    for term, other in zip(*map(jax.tree.leaves, terms(params)), strict=True):
        assert other.item() == pytest.approx(term.item(), rel=IDENTITY)


MASK = jnp.arange(B) < B // 2


@pytest.mark.parametrize("where", ["inside the plate", "around the plate"])
@pytest.mark.parametrize("masked", ["model", "both"])
def test_masks_where_the_host_is_right(masked, where):
    def rows(mask):
        handlers = [numpyro.plate("data", B), numpyro.handlers.mask(mask=mask)]
        return handlers if where == "inside the plate" else handlers[::-1]

    def model(x):
        outer, inner = rows(MASK)
        with outer, inner:
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        loc = numpyro.param("loc", 0.3)
        outer, inner = rows(MASK if masked == "both" else True)
        with outer, inner:
            numpyro.sample("z", dist.Normal(loc, 0.5))

    # Where only the model masks, the host puts the guide's mask on the KL: its Trace_ELBO is right.
    host = TraceMeanField_ELBO() if masked == "both" else Trace_ELBO()
    ours = Standard_ELBO(closed_form=masked == "both")
    loss, host_loss = losses((ours, host), model, guide, {"loc": 0.3})
    assert loss == pytest.approx(host_loss, rel=IDENTITY)
    terms = jax.jit(lambda loc: Standard_ELBO().terms(KEY, {"loc": loc}, model, guide, X))(0.3)
    # Half of the rows are there.
    unit, encoder = normal_entropy(1.0) / 2, normal_entropy(0.25)
    expected = encoder / 2 if masked == "both" else encoder, unit, unit
    assert terms[3:6] == pytest.approx(expected, rel=IDENTITY)


def in_mask(fn, weights):
    with numpyro.handlers.mask(mask=weights > 0):
        numpyro.sample("z", fn.to_event(1))


def of_masked(fn, weights):
    numpyro.sample("z", fn.mask(weights > 0).to_event(1))


def in_scale(fn, weights):
    with numpyro.handlers.scale(scale=weights):
        numpyro.sample("z", fn.to_event(1))


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("sample", "weights"),
    [
        (in_mask, RNG.integers(0, 2, (2, B))),
        (of_masked, RNG.integers(0, 2, (2, B, H))),
        (in_scale, RNG.uniform(0.5, 2.0, (2, B))),
    ],
)
def test_model_and_guide_keep_their_own_masks_and_scales(sample, weights):
    # HOSTS: the cross-entropy carries those of the model, the entropy those of the guide.
    of_guide, of_model = weights
    q, p = dist.Normal(jnp.full((B, H), 0.3), 0.5), dist.Normal(jnp.zeros((B, H)), 1.0)

    def model():
        with numpyro.plate("data", B):
            sample(p, jnp.asarray(of_model))

    def guide():
        with numpyro.plate("data", B):
            sample(q, jnp.asarray(of_guide))

    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.5**2)
    cross_entropy = -0.5 * (np.log(2 * np.pi) + 0.3**2 + 0.5**2)
    per_entry = of_model.reshape(B, -1) * np.full((B, H), cross_entropy)
    per_entry = per_entry + of_guide.reshape(B, -1) * np.full((B, H), entropy)
    loss = jax.jit(lambda key: Standard_ELBO().loss(key, {}, model, guide))(KEY)
    assert loss.item() == pytest.approx(-per_entry.sum(), rel=IDENTITY)


def test_a_guide_in_another_order_than_the_model_is_sampled_where_it_must():
    def model(x):
        with numpyro.plate("data", len(x)):
            a = numpyro.sample("a", dist.Normal(0.0, 1.0))
            b = numpyro.sample("b", dist.Normal(a, 1.0))
            numpyro.sample("x", dist.Normal(b, 1.0), obs=x[:, 0])

    def guide(x):
        with numpyro.plate("data", len(x)):
            b = numpyro.sample("b", dist.Normal(x[:, 0], 0.5))
            numpyro.sample("a", dist.Normal(0.5 * b, 0.5))

    # 4,000 draws for each of 8 points: the standard error is below 0.05 nat.
    ours, host = losses((Standard_ELBO(4000), Trace_ELBO(4000)), model, guide, {})
    assert ours == pytest.approx(host, abs=0.3)


def test_a_guide_without_the_models_site_is_refused():
    model, _ = PAIRS["LinearVAE"]

    def guide(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("w", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    for call in (Standard_ELBO().loss, Standard_ELBO().terms):
        with (
            pytest.warns(UserWarning, match="in model but not guide"),
            pytest.raises(ValueError, match=r"expected a sample site 'z' for `guide`; got .*'w'"),
        ):
            call(KEY, params_of("LinearVAE"), model, guide, X)


def test_a_guide_without_reparameterised_draws_is_refused():
    def model(x):
        with numpyro.plate("data", len(x)):
            k = numpyro.sample("k", dist.Bernoulli(0.5))
            numpyro.sample("x", dist.Normal(k, 1.0), obs=x[:, 0])

    def guide(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("k", dist.Bernoulli(0.3))

    with pytest.raises(
        NotImplementedError, match="reparameterised draws for `guide`; got site 'k'"
    ):
        Standard_ELBO().loss(KEY, {}, model, guide, X)
