"""Variances in closed form: right after, the residuals of their sites are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import random
from numpyro import handlers

import numpyro_entropy
from numpyro_entropy import EntropySumDiagnostic, clear_state, closed_form_variances
from tests.numpyro.models import initial_params
from tests.support.helpers import IDENTITY, data, mostly

N, D, H = 60, 4, 2
X, KEY = jnp.asarray(data(N, D)), random.key(0)


def residuals(params, model, guide, x, **options):
    """The residuals on the pass that has found the variances."""
    found = closed_form_variances(KEY, params, model, guide, x, batch_size=30, **options)
    diagnostic = EntropySumDiagnostic(model, guide, **{"num_particles": 1, **options})
    report = diagnostic.run(KEY, {**params, **found.params}, x, batch_size=30)
    sites = report.sites()
    return found, dict(sites[sites["role"] != "encoder"].set_index("site_name")["residual"])


def linear(out):
    return numpyro_entropy.MLP(H, out, (), dtype=jnp.float64)


def diagonal():
    decoder = numpyro_entropy.DiagonalNormalDecoder(linear(D), D, dtype=jnp.float64)
    net = numpyro_entropy.MLP(D, 2 * H, (), dtype=jnp.float64)
    prior = numpyro_entropy.StandardNormalPrior(H, dtype=jnp.float64)
    return numpyro_entropy.VAE(prior, numpyro_entropy.NormalEncoder(net), decoder, (D,))


SMALL = {"hidden": (), "dtype": jnp.float64}
VAES = {
    "VAE1": (lambda: numpyro_entropy.VAE1(D, H, **SMALL), {"x"}),
    "VAE2": (lambda: numpyro_entropy.VAE2(D, H, **SMALL), {"z", "x"}),
    "full covariance": (lambda: numpyro_entropy.SigmaVAE(D, H, **SMALL), {"x"}),
    "diagonal": (diagonal, {"x"}),
}


@pytest.mark.parametrize("name", mostly(VAES, ["VAE2"]))
def test_the_residual_is_zero_on_the_same_pass(name):
    make, wanted = VAES[name]
    vae = make()
    params = vae.init(KEY)
    found, left = residuals(params, vae.model, vae.guide, X, num_particles=2)
    assert {site for sites in found.sites.values() for site in sites} == wanted
    for site, residual in left.items():
        assert (abs(residual) < IDENTITY) == (site in wanted)
    assert found.params.keys() < params.keys()
    if "z" in wanted:
        # The moments of the guide, without draws.
        q = vae.encode(params, X)
        moments = (q.mean**2 + q.variance).mean(0)
        assert jnp.allclose(jnp.exp(found.params["prior.log_variance"]), moments, rtol=1e-12)


def masked(decoder):
    """A model of which a mask hides elements, and a handler rows."""

    def model(x, shown, rows):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
            own = decoder(z).base_dist
            with handlers.mask(mask=rows):
                # What is hidden is far off.
                numpyro.sample("x", own.mask(shown).to_event(1), obs=jnp.where(shown, x, 1e6))

    return model


def guide(x, *masks):
    with numpyro.plate("data", len(x)):
        loc = x[:, :H] * numpyro.param("units", 1.0)
        numpyro.sample("z", dist.Normal(loc, 0.5).to_event(1))


def test_hidden_elements_do_not_count():
    decoder = numpyro_entropy.DiagonalNormalDecoder(linear(D), D, dtype=jnp.float64)
    # One dimension is never seen: its variance stays.
    shown = jnp.asarray(data(N, D, 1) > -0.5).at[:, 3].set(False)
    rows = jnp.arange(N) < 40
    model = masked(decoder)
    params = initial_params(model, guide, X, shown, rows)
    batches = [(X[:30], shown[:30], rows[:30]), (X[30:], shown[30:], rows[30:])]
    found, left = residuals(params, model, guide, batches)
    assert found.sites == {"decoder.log_variance": ("x",)}
    assert abs(left["x"]) < IDENTITY
    variances = found.params["decoder.log_variance"]
    assert variances[3] == 0
    assert (variances[:3] != 0).all()


def two(x, y_scale=1.0):
    """Two sites with one decoder, whose variance they share."""
    decoder = numpyro_entropy.NormalDecoder(linear(D), dtype=jnp.float64)
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
        w = numpyro.sample("w", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
        fn = decoder(z)
        numpyro.sample("x", fn, obs=x)
        scale = y_scale * fn.base_dist.scale
        numpyro.sample("y", dist.Normal(w @ jnp.ones((H, D)), scale).to_event(1), obs=2 * x)


def two_guide(x, y_scale=1.0):
    with numpyro.plate("data", len(x)):
        loc = x[:, :H] * numpyro.param("units", 1.0)
        numpyro.sample("z", dist.Normal(loc, 0.5).to_event(1))
        numpyro.sample("w", dist.Normal(-loc, 0.3).to_event(1))


@pytest.mark.slow
def test_sites_that_share_a_variance():
    params = initial_params(two, two_guide, X)
    found, left = residuals(params, two, two_guide, X)
    assert found.sites == {"decoder.log_variance": ("x", "y")}
    assert abs(left["x"] + left["y"]) < IDENTITY
    assert abs(left["x"]) > 1e-3

    # What the variance does besides has no closed form of this kind.
    def twice(x):
        two(x, 2.0)

    with pytest.raises(ValueError, match="log-variance of a normal site"):
        closed_form_variances(KEY, params, twice, two_guide, X)


OPTIMISERS = {
    "Adam": lambda: numpyro.optim.Adam(0.01),
    "Adagrad": lambda: numpyro.optim.Adagrad(0.01),
    "optax": lambda: optax.chain(optax.clip(1.0), optax.adamw(0.01)),
    "labels": lambda: optax.multi_transform(
        {"slow": optax.adam(0.01), "fast": optax.rmsprop(0.1)},
        lambda params: {name: "slow" if "net" in name else "fast" for name in params},
    ),
}


@pytest.mark.parametrize("name", mostly(OPTIMISERS, ["optax"]))
def test_an_optimiser_forgets_these_alone(name):
    vae = numpyro_entropy.VAE2(D, H, **SMALL)
    elbo = numpyro_entropy.Standard_ELBO()
    svi = numpyro.infer.SVI(vae.model, vae.guide, OPTIMISERS[name](), elbo)
    state = jax.jit(svi.init)(KEY, X)
    update = jax.jit(svi.update)
    for _ in range(3):
        state, _ = update(state, X)
    params = svi.get_params(state)
    found = closed_form_variances(KEY, params, vae.model, vae.guide, X)
    new = clear_state(svi, state, found)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    for site, value in svi.get_params(new).items():
        wanted = found.params.get(site, params[site])
        assert jax.tree.all(jax.tree.map(np.array_equal, value, wanted))
    fresh = svi.optim.init({**params, **found.params})
    leaves = [jax.tree.leaves(s) for s in (state.optim_state[1], new.optim_state[1], fresh[1])]
    changed = [i for i, (a, b, _) in enumerate(zip(*leaves, strict=True)) if (a != b).any()]
    shapes = [leaves[0][i].shape for i in changed]
    # The value and what was learned of it, for each of the two, and as of the first step.
    assert len(changed) >= 2 * 2
    assert set(shapes) == {(), (H,)}
    for i in changed:
        assert np.array_equal(leaves[1][i], leaves[2][i])
    update(new, X)


def test_bad_input_is_refused():
    vae = numpyro_entropy.VAE1(D, H, **SMALL)
    params = vae.init(KEY)
    with pytest.raises(ValueError, match="`num_particles`"):
        closed_form_variances(KEY, params, vae.model, vae.guide, X, num_particles=0)
    with pytest.raises(ValueError, match="finite values"):
        closed_form_variances(KEY, params, vae.model, vae.guide, X * np.nan)
    with pytest.raises(ValueError, match="the parameters"):
        closed_form_variances(KEY, {}, vae.model, vae.guide, X)
    fixed = numpyro_entropy.VAE0(D, H, **SMALL)
    with pytest.raises(ValueError, match="log-variance of a normal site"):
        closed_form_variances(KEY, fixed.init(KEY), fixed.model, fixed.guide, X)


@pytest.mark.slow
def test_what_has_no_closed_form_is_refused():
    vae = numpyro_entropy.VAE1(D, H, **SMALL)
    params = vae.init(KEY)
    zero = jax.tree.map(jnp.zeros_like, params)
    # All data are where the decoder has them.
    with pytest.raises(ValueError, match="positive variances"):
        closed_form_variances(KEY, zero, vae.model, vae.guide, jnp.zeros_like(X))
    flat = numpyro.infer.SVI(
        vae.model, vae.guide, optax.flatten(optax.adam(0.1)), numpyro_entropy.Standard_ELBO()
    )
    found = closed_form_variances(KEY, params, vae.model, vae.guide, X)
    with pytest.raises(ValueError, match="a state for each parameter"):
        clear_state(flat, jax.jit(flat.init)(KEY, X), found)

    def classes(x):
        with numpyro.plate("data", len(x)):
            every = {"enumerate": "parallel"}
            c = numpyro.sample("c", dist.Categorical(jnp.ones(2) / 2), infer=every)
            loc = jnp.asarray(c, float)[..., None] * jnp.ones(D)
            numpyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    with pytest.raises(NotImplementedError, match="no enumerated sites"):
        closed_form_variances(KEY, {}, classes, lambda x: None, X)
