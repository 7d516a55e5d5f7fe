"""The certificate: at held draws the residuals vanish where the theorem says so."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.infer.autoguide import AutoNormal

import numpyro_entropy
from entropy_core.training.optimum.certificate import TOLERANCE
from numpyro_entropy import EntropySumDiagnostic, certify
from tests.numpyro.diagnostic import test_claims as claims
from tests.numpyro.models import initial_params
from tests.support.helpers import STANDARD_ERRORS, mostly
from tests.support.stationary import CASES, NO_CLAIM, observations

KEY, D, H, X = claims.KEY, claims.D, claims.H, claims.X


def check(certificate, wanted):
    """The residuals of sites with a claim are zero, those of others are not."""
    for claim in certificate.claims:
        holds = all(wanted[site] for site in claim.sites)
        rows = certificate.sites.loc[list(claim.sites)]
        assert set(rows["verdict"]) == {"holds" if holds else "no claim"}
        if holds:
            assert abs(rows["residual"].sum()) <= TOLERANCE
            assert abs(claim.residual) <= TOLERANCE


# Where the deviations have kinks the gradient does not vanish, and the residuals do.
KINKS = {"Laplace", "Laplace prior about a centre"}


def certified(model, guide, x=X, **options):
    """A certificate from the initial values."""
    return certify(KEY, initial_params(model, guide, x), model, guide, x, **options)


@pytest.mark.parametrize("name", mostly(claims.MODELS, ["learned variance"]))
def test_models_by_hand(name):
    model, wanted = claims.MODELS[name]
    certificate = certified(model, claims.guide)
    check(certificate, wanted)
    assert str(certificate).startswith("Certificate · at a stat") == certificate.is_stationary
    assert certificate.is_stationary or name in KINKS
    assert (certificate.num_kinks > 0) == (name in KINKS)


@pytest.mark.parametrize("name", mostly(CASES, []))
def test_vaes(name):
    case = CASES[name]
    vae, x = case.make(numpyro_entropy, jnp.float64), observations(case.kind)
    certificate = certify(KEY, vae.init(KEY), vae.model, vae.guide, x)
    check(certificate, {site: site not in case.no_claim for site in ("z", "x")})
    assert certificate.is_stationary
    for site in case.no_claim:
        assert abs(certificate.sites.loc[site, "residual"]) > NO_CLAIM


OTHERS = {
    "shared scale": (claims.model_of(claims.shared_scale), claims.guide, {"z"}),
    **{name: (*pair, set()) for name, pair in claims.PAIRS.items()},
}


@pytest.mark.filterwarnings("ignore:Currently, SVI with Trace_ELBO loss")
@pytest.mark.parametrize("name", mostly(OTHERS, []))
def test_other_models(name):
    model, guide, no_claim = OTHERS[name]
    certificate = certified(model, guide)
    sites = certificate.sites.index
    check(certificate, {site: site not in no_claim for site in sites})
    assert certificate.is_stationary


@pytest.mark.slow
def test_float32_without_x64():
    vae = numpyro_entropy.VAE1(D, H, hidden=(), dtype=jnp.float32)
    x = np.asarray(X, np.float32)
    with jax.enable_x64(False):
        params = vae.init(random.key(0))
        before = jax.tree.map(np.array, params)
        certificate = certify(random.key(0), params, vae.model, vae.guide, x, num_fresh=20)
        assert jnp.zeros(1).dtype == jnp.float32
    assert jax.tree.all(jax.tree.map(np.array_equal, before, params))
    assert certificate.is_stationary
    assert {leaf.dtype for leaf in jax.tree.leaves(certificate.params)} == {np.dtype(float)}
    diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=20)
    report = diagnostic.run(random.key(1), certificate.params, x)
    sites = report.sites().set_index(["role", "site_name"])
    for role, site in (("prior", "z"), ("decoder", "x")):
        row, own = sites.loc[role, site], certificate.sites.loc[site]
        error = np.hypot(row["residual_mcse"], own["fresh_mcse"])
        assert abs(row["residual"] - own["fresh"]) <= STANDARD_ERRORS * error + 1e-5
    elbo, error = certificate.fresh_elbo
    assert abs(report["elbo"] - elbo) <= STANDARD_ERRORS * error * 2**0.5 + 1e-5
    # Held draws are fitted.
    assert certificate.elbo > elbo + STANDARD_ERRORS * error


@pytest.mark.slow
def test_batches_and_several_held_draws():
    model = claims.MODELS["learned variance"][0]
    params = initial_params(model, claims.guide, X)
    one = certify(KEY, params, model, claims.guide, [X[:70], X[70:]])
    check(one, {"z": True, "x": True})
    four = certify(KEY, params, model, claims.guide, X, num_particles=4)
    check(four, {"z": True, "x": True})
    # The more draws are held, the less can be fitted to them.
    assert 0 < four.sites.loc["x", "fitted"] < one.sites.loc["x", "fitted"]
    with pytest.raises(ValueError, match="`num_particles`"):
        certified(claims.regression, AutoNormal(claims.regression), num_particles=2)


@pytest.mark.slow
def test_parameters_with_constraints():
    def model(x):
        scale = numpyro.param("scale", 3.0, constraint=dist.constraints.positive)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
            numpyro.sample("x", dist.Normal(claims.mean(z), scale).to_event(1), obs=x)

    certificate = certified(model, claims.guide)
    check(certificate, {"z": True, "x": True})
    assert certificate.is_stationary
    assert certificate.params["scale"] > 0


def guide_of(draw):
    def guide(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", draw(x).to_event(1))

    return guide


def rate(x):
    return jnp.broadcast_to(jnp.exp(claims.param("rate", H)), (len(x), H))


def branching(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
        scale = 1.0 if z.mean() > claims.param("log sigma") else 3.0
        numpyro.sample("x", dist.Normal(claims.mean(z), scale).to_event(1), obs=x)


def positive(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Gamma(jnp.ones(H), 1.0).to_event(1))
        numpyro.sample("x", dist.Normal(claims.mean(z), 1.0).to_event(1), obs=x)


def test_what_cannot_be_frozen():
    params = {name: claims_value(name) for name in ("decoder", "bias", "log sigma", "rate")}
    call = partial(certify, KEY, params)
    with pytest.raises(NotImplementedError, match="smooth functions"):
        call(positive, guide_of(lambda x: dist.Gamma(rate(x), 1.0)), X)
    with pytest.raises(NotImplementedError, match="looks at draws or parameters"):
        call(branching, guide_of(lambda x: dist.Normal(rate(x), 1.0)), X)
    with pytest.raises(NotImplementedError, match="reparameterised draws"):
        call(claims.MODELS["learned variance"][0], guide_of(lambda x: dist.Poisson(rate(x))), X)


def claims_value(name):
    """The initial value of a parameter of the models by hand."""
    shapes = {"decoder": (H, D), "bias": (D,), "log sigma": (), "rate": (H,)}
    with numpyro.handlers.seed(rng_seed=0):
        return claims.param(name, *shapes[name])


def test_bad_input_is_refused():
    model = claims.MODELS["learned variance"][0]
    call = partial(certify, KEY, initial_params(model, claims.guide, X), model, claims.guide)

    def fixed(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(jnp.zeros(D), 1.0).to_event(1), obs=x)

    def rows(x):
        with numpyro.plate("data", len(x), subsample_size=10) as ind:
            loc = jnp.zeros(D)
            numpyro.sample("x", dist.Normal(loc, claims.learned(x)).to_event(1), obs=x[ind])

    with pytest.raises(ValueError, match="parameters that can be trained"):
        certify(KEY, {}, fixed, lambda x: None, X)
    with pytest.raises(ValueError, match="plates of all rows"):
        certify(KEY, {"log sigma": 0.0}, rows, lambda x: None, X)
    with pytest.raises(ValueError, match="the parameters"):
        certify(KEY, {}, model, claims.guide, X)
    with pytest.raises(ValueError, match="at least one batch"):
        call([])
    with pytest.raises(ValueError, match="finite values"):
        call(X * np.nan)
    for name in ("num_particles", "num_fresh", "max_evaluations"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            call(X, **{name: 0})
    for name in ("tolerance", "gradient_tolerance"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            call(X, **{name: 0.0})
