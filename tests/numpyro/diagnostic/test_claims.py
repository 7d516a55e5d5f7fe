"""What the theorem claims for the sites of models by hand: which direction is there, which is not.

The identity `residual = gradient part + rest` holds everywhere, so that most tests are not at a
stationary point: the rest is zero where the direction exists.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import nn, random
from numpyro.infer.autoguide import AutoNormal

import numpyro_entropy
from numpyro_entropy import EntropySumDiagnostic
from numpyro_entropy.diagnostic.claims import explain_residuals
from numpyro_entropy.params import from_weights, to_weights
from tests.numpyro.models import crossed_model, initial_params
from tests.support.cases import CASES, observations
from tests.support.helpers import IDENTITY, STANDARD_ERRORS, mostly, random_weights

N, D, H = 120, 3, 2
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.standard_normal((N, D)))
FIXED = jnp.asarray(RNG.standard_normal(D))


KEY = random.key(0)


def claims_of(model, guide, **options):
    """The claims at the initial values."""
    params = initial_params(model, guide, X)
    return explain_residuals(KEY, params, model, guide, X, **options)


def param(name, *shape):
    """A parameter with random values that are the same in each run."""
    values = np.random.default_rng(sum(map(ord, name))).standard_normal(shape)
    return numpyro.param(name, jnp.asarray(0.5 * values))


def guide(x, scale=None):
    with numpyro.plate("data", len(x)):
        loc = x @ param("encoder", D, H) + param("shift", H)
        log_scale = x @ param("spread", D, H) + param("spread shift", H)
        numpyro.sample("z", dist.Normal(loc, scale or jnp.exp(log_scale)).to_event(1))


def model_of(likelihood, prior=None):
    def model(x):
        with numpyro.plate("data", len(x)):
            standard = dist.Normal(jnp.zeros(H), 1.0).to_event(1)
            z = numpyro.sample("z", prior() if prior else standard)
            likelihood(x, z)

    return model


def mean(z):
    return z @ param("decoder", H, D) + param("bias", D)


def normal(scale):
    def likelihood(x, z):
        numpyro.sample("x", dist.Normal(mean(z), scale(z)).to_event(1), obs=x)

    return likelihood


def observed(fn, data):
    def likelihood(x, z):
        numpyro.sample("x", fn(z).to_event(1), obs=data(x))

    return likelihood


def shared_scale(x, z):
    scale = jnp.exp(param("log sigma"))
    numpyro.sample("x", dist.Normal(mean(z), scale).to_event(1), obs=x)
    numpyro.sample("y", dist.Normal(z.sum(-1), scale), obs=x[:, 0])


def bent(z):
    return jnp.tanh(z) @ param("decoder", H, D) + param("bias", D)


def learned(z):
    return jnp.exp(param("log sigma"))


def spread(z):
    return z @ param("variances", H, D) + param("variance bias", D)


def mixture():
    components = dist.Normal(param("means", 3, H), 1.0).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=param("weights", 3)), components)


# By name: the model, and for each site whether the theorem makes a claim.
MODELS = {
    "learned variance": (model_of(normal(learned)), {"z": True, "x": True}),
    "fixed variance": (model_of(normal(lambda z: 0.7)), {"z": True, "x": False}),
    "exp head": (model_of(normal(lambda z: jnp.exp(spread(z)))), {"z": True, "x": True}),
    "softplus head": (
        model_of(normal(lambda z: nn.softplus(spread(z)))),
        {"z": True, "x": False},
    ),
    "a bent first layer": (
        model_of(observed(lambda z: dist.Normal(bent(z), learned(z)), lambda x: x)),
        {"z": False, "x": True},
    ),
    "learned prior": (
        model_of(
            normal(learned),
            lambda: dist.Normal(jnp.zeros(H), jnp.exp(param("log alpha", H))).to_event(1),
        ),
        {"z": True, "x": True},
    ),
    "mixture prior": (model_of(normal(learned), mixture), {"z": False, "x": True}),
    "Student-t prior": (
        model_of(normal(learned), lambda: dist.StudentT(5.0, jnp.zeros(H), 1.0).to_event(1)),
        {"z": False, "x": True},
    ),
    "Laplace prior about a centre": (
        model_of(normal(learned), lambda: dist.Laplace(jnp.ones(H), 0.5).to_event(1)),
        {"z": True, "x": True},
    ),
    "Bernoulli": (
        model_of(observed(lambda z: dist.Bernoulli(logits=mean(z)), lambda x: 1.0 * (x > 0))),
        {"z": True, "x": True},
    ),
    "Bernoulli with a fixed offset": (
        model_of(
            observed(
                lambda z: dist.Bernoulli(logits=z @ param("decoder", H, D) + FIXED),
                lambda x: 1.0 * (x > 0),
            )
        ),
        {"z": True, "x": False},
    ),
    "Laplace": (
        model_of(observed(lambda z: dist.Laplace(mean(z), learned(z)), lambda x: x)),
        {"z": True, "x": True},
    ),
    "Gamma": (
        model_of(
            observed(lambda z: dist.Gamma(jnp.exp(param("log shape")), jnp.exp(mean(z))), jnp.exp)
        ),
        {"z": True, "x": True},
    ),
}


# The search for directions is the core's, and the other side has the whole table.
@pytest.mark.parametrize("name", mostly(MODELS, ["softplus head", "mixture prior"]))
def test_where_the_theorem_makes_a_claim(name):
    model, wanted = MODELS[name]
    claims = claims_of(model, guide, tolerance=1e-6)
    assert [claim.sites for claim in claims] == [("z",), ("x",)]
    for claim in claims:
        (site,) = claim.sites
        assert claim.residual == pytest.approx(claim.gradient_part + claim.rest, rel=IDENTITY)
        assert abs(claim.residual) > 1e-3
        if wanted[site]:
            assert claim.misfit < IDENTITY
            # At other draws than those of the search.
            assert abs(claim.rest) < 1e-6
            assert claim.verdict == "not converged"
        else:
            assert not claim.misfit < 1e-5
            assert abs(claim.rest) > 1e-5
            assert claim.verdict == "no claim"


def test_a_base_measure_that_is_not_constant():
    likelihood = observed(lambda z: dist.Poisson(jnp.exp(mean(z))), lambda x: jnp.floor(3 * abs(x)))
    _, claim = claims_of(model_of(likelihood), guide)
    # But for its part, the direction explains the residual.
    assert abs(claim.rest) < 1e-9
    assert abs(claim.base_measure) > 1e-2
    # What the direction explains is a gradient still.
    assert claim.verdict == "not converged"


def test_a_guide_that_cannot_rescale_its_latents():
    claims = claims_of(MODELS["learned variance"][0], lambda x: guide(x, 0.4))
    assert [claim.verdict for claim in claims] == ["no claim", "not converged"]
    assert claims[0].misfit > 0.01


@pytest.mark.slow
def test_sites_that_share_a_parameter_are_judged_together():
    claims = claims_of(model_of(shared_scale), guide, tolerance=1e-6)
    # `y` has no weights of its own that could undo a scaling of the latents.
    assert [claim.sites for claim in claims] == [("z",), ("x", "y")]
    z, together = claims
    assert z.verdict == "no claim"
    assert together.misfit < IDENTITY
    assert abs(together.rest) < IDENTITY
    assert together.verdict == "not converged"


@pytest.mark.slow
def test_a_hierarchy():
    def deep(x):
        with numpyro.plate("data", len(x)):
            top = numpyro.sample("top", dist.Normal(0.0, 1.0))
            scale = jnp.exp(param("log tau"))
            z = numpyro.sample("z", dist.Normal(top[:, None] * param("link", H), scale).to_event(1))
            numpyro.sample("x", dist.Normal(mean(z), learned(z)).to_event(1), obs=x)

    def deep_guide(x):
        with numpyro.plate("data", len(x)):
            loc, log_scale = x @ param("q top", D) + param("q shift"), param("q spread")
            top = numpyro.sample("top", dist.Normal(loc, jnp.exp(log_scale)))
            loc = x @ param("encoder", D, H) + top[:, None] * param("q link", H) + param("b", H)
            numpyro.sample("z", dist.Normal(loc, jnp.exp(param("spread shift", H))).to_event(1))

    claims = claims_of(deep, deep_guide, tolerance=1e-6)
    # The prior of `z` has a variance of its own; that of `top` is undone in `link` and `q link`.
    for claim in claims:
        assert claim.misfit < IDENTITY
        assert abs(claim.rest) < IDENTITY
    assert [claim.sites for claim in claims] == [("top",), ("z",), ("x",)]


def joint_mixture(x):
    with numpyro.plate("data", len(x)):
        logits, every = param("weights", 3), {"enumerate": "parallel"}
        c = numpyro.sample("c", dist.Categorical(logits=logits), infer=every)
        component = dist.Normal(param("means", 3, H)[c], jnp.exp(param("log tau")))
        z = numpyro.sample("z", component.to_event(1))
        numpyro.sample("x", dist.Normal(mean(z), learned(z)).to_event(1), obs=x)


def by_class(x):
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.Categorical(logits=param("weights", 3)))
        z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
        loc = mean(z) + param("class means", 3, D)[c]
        numpyro.sample("x", dist.Normal(loc, learned(z)).to_event(1), obs=x)


def class_guide(x):
    with numpyro.plate("data", len(x)):
        logits, every = x @ param("classes", D, 3), {"enumerate": "parallel"}
        c = numpyro.sample("c", dist.Categorical(logits=logits), infer=every)
        loc = x @ param("encoder", D, H) + param("class shifts", 3, H)[c]
        numpyro.sample("z", dist.Normal(loc, jnp.exp(param("spread shift", H))).to_event(1))


def regression(x):
    slopes = numpyro.sample("slopes", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
    with numpyro.plate("data", len(x)):
        loc = (x[:, :H] * param("units", H)) @ slopes
        numpyro.sample("x", dist.Normal(loc, learned(x)), obs=x[:, H])


PAIRS = {
    "joint mixture": (joint_mixture, guide),
    "classes in the guide": (by_class, class_guide),
    "AutoNormal": (regression, AutoNormal(regression)),
}


@pytest.mark.filterwarnings("ignore:Currently, SVI with Trace_ELBO loss")
@pytest.mark.parametrize("name", mostly(PAIRS, ["joint mixture", "AutoNormal"]))
def test_enumerated_and_automatic(name):
    model, guide = PAIRS[name]
    claims = claims_of(model, guide, tolerance=1e-6)
    assert [claim.sites[0] for claim in claims][-1] == "x"
    for claim in claims:
        assert abs(claim.residual) > 1e-4
        assert claim.misfit < IDENTITY
        assert abs(claim.rest) < IDENTITY
        assert claim.verdict == "not converged"


@pytest.mark.filterwarnings("ignore:Currently, SVI with Trace_ELBO loss")
def test_without_a_site_there_is_no_claim():
    claims = {
        claim.sites[0]: claim
        for claim in claims_of(crossed_model, lambda x: None, data_plate="rows")
    }
    assert {claim.verdict for claim in claims.values()} == {"no claim"}
    assert "cannot be summed over in turn" in claims["a"].reason
    assert np.isnan(claims["a"].residual)
    assert claims["y"].reason == "the ELBO leaves out a, b, x"
    assert np.isfinite(claims["y"].residual)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VAE1", "SigmaVAE"])
def test_the_variants_with_deep_nets(name):
    vae = CASES[name].make(numpyro_entropy, jnp.float64)
    x = np.concatenate([observations(CASES[name].kind)] * 60)
    x = x + 0.1 * np.random.default_rng(1).standard_normal(x.shape)
    shapes = jax.eval_shape(vae.init, KEY)
    params = from_weights(random_weights(to_weights(shapes)), shapes)
    claims = explain_residuals(KEY, params, vae.model, vae.guide, x, batch_size=len(x))
    for claim in claims:
        assert claim.misfit < 1e-8
        assert claim.verdict == "not converged"


@pytest.mark.slow
def test_batches_and_draws_are_averaged():
    model = MODELS["learned variance"][0]
    params = initial_params(model, guide, X)
    whole, parts = (
        explain_residuals(KEY, params, model, guide, x, num_particles=50)
        for x in (X, [X[:60], X[60:]])
    )
    # That of the prior is in closed form, and that of the decoder a mean over draws.
    for left, right, tolerance in zip(whole, parts, (1e-9, 0.3), strict=True):
        assert left.residual == pytest.approx(right.residual, abs=tolerance)
        assert left.gradient_part == pytest.approx(right.gradient_part, abs=tolerance)


def test_a_report_with_claims():
    model = MODELS["fixed variance"][0]
    params = initial_params(model, guide, X)
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=40)
    report = diagnostic.run(KEY, params, X, explain=True)
    claims, sites = report.claims(), report.sites().set_index(["role", "site_name"])
    assert list(claims["verdict"]) == ["not converged", "no claim"]
    for name, role in (("z", "prior"), ("x", "decoder")):
        row = sites.loc[role, name]
        error = np.hypot(row["residual_mcse"], claims["mcse"][name])
        assert (error > 1e-3) == (name == "x")
        assert abs(row["residual"] - claims["residual"][name]) <= STANDARD_ERRORS * error + IDENTITY
    with pytest.raises(ValueError, match="`tolerance`"):
        diagnostic.run(KEY, params, X, explain=True, tolerance=0.0)


def test_bad_input_is_refused():
    model = MODELS["learned variance"][0]
    params = initial_params(model, guide, X)
    call = partial(explain_residuals, KEY, params, model, guide)
    with pytest.raises(ValueError, match="`tolerance`"):
        call(X, tolerance=0.0)
    with pytest.raises(ValueError, match="`num_particles`"):
        call(X, num_particles=0)
    with pytest.raises(ValueError, match="at least one batch"):
        call([])
    with pytest.raises(ValueError, match="finite values"):
        call(X * np.nan)
    with pytest.raises(ValueError, match="the parameters"):
        explain_residuals(KEY, {}, model, guide, X)

    def fixed(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(jnp.zeros(D), 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match="parameters that can be trained"):
        explain_residuals(KEY, {}, fixed, lambda x: None, X)

    def binary(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Bernoulli(0.5))
            numpyro.sample("x", dist.Normal(z[:, None], learned(z)).to_event(1), obs=x)

    def binary_guide(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Bernoulli(0.5))

    with pytest.raises(NotImplementedError, match="reparameterised draws"):
        explain_residuals(KEY, {"log sigma": 0.0}, binary, binary_guide, X)
