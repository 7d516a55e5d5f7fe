"""What the theorem claims for the sites of models by hand: which direction is there, which is not.

The identity `residual = gradient part + rest` holds everywhere, so that most tests are not at a
stationary point: the rest is zero where the direction exists.
"""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pyro_entropy
from pyro_entropy import EntropySumDiagnostic, Standard_ELBO
from pyro_entropy.diagnostic.claims import explain_residuals
from tests.pyro.models import crossed_model
from tests.support.cases import CASES, observations
from tests.support.helpers import IDENTITY, STANDARD_ERRORS, mostly
from tests.support.pyro_noise import PyroNoise
from tests.support.stationary import minimise

N, D, H = 120, 3, 2
RNG = np.random.default_rng(0)
X = torch.tensor(RNG.standard_normal((N, D)))
FIXED = torch.tensor(RNG.standard_normal(D))


def param(name, *shape):
    """A parameter with random values that are the same in each run."""
    values = np.random.default_rng(sum(map(ord, name))).standard_normal(shape)
    return pyro.param(name, torch.tensor(0.5 * values))


def guide(x, scale=None):
    with pyro.plate("data", len(x)):
        loc = x @ param("encoder", D, H) + param("shift", H)
        log_scale = x @ param("spread", D, H) + param("spread shift", H)
        pyro.sample("z", dist.Normal(loc, scale or log_scale.exp()).to_event(1))


def model_of(likelihood, prior=None):
    def model(x):
        with pyro.plate("data", len(x)):
            standard = dist.Normal(x.new_zeros(H), 1.0).to_event(1)
            z = pyro.sample("z", prior() if prior else standard)
            likelihood(x, z)

    return model


def mean(z):
    return z @ param("decoder", H, D) + param("bias", D)


def normal(scale):
    def likelihood(x, z):
        pyro.sample("x", dist.Normal(mean(z), scale(z)).to_event(1), obs=x)

    return likelihood


def observed(fn, data):
    def likelihood(x, z):
        pyro.sample("x", fn(z).to_event(1), obs=data(x))

    return likelihood


def shared_scale(x, z):
    scale = param("log sigma").exp()
    pyro.sample("x", dist.Normal(mean(z), scale).to_event(1), obs=x)
    pyro.sample("y", dist.Normal(z.sum(-1), scale), obs=x[:, 0])


def bent(z):
    return torch.tanh(z) @ param("decoder", H, D) + param("bias", D)


def learned(z):
    return param("log sigma").exp()


def spread(z):
    return z @ param("variances", H, D) + param("variance bias", D)


def mixture():
    components = dist.Normal(param("means", 3, H), 1.0).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=param("weights", 3)), components)


# By name: the model, and for each site whether the theorem makes a claim.
MODELS = {
    "learned variance": (model_of(normal(learned)), {"z": True, "x": True}),
    "fixed variance": (model_of(normal(lambda z: 0.7)), {"z": True, "x": False}),
    "exp head": (model_of(normal(lambda z: spread(z).exp())), {"z": True, "x": True}),
    "softplus head": (
        model_of(normal(lambda z: nn.functional.softplus(spread(z)))),
        {"z": True, "x": False},
    ),
    "a bent first layer": (
        model_of(observed(lambda z: dist.Normal(bent(z), learned(z)), lambda x: x)),
        {"z": False, "x": True},
    ),
    "learned prior": (
        model_of(
            normal(learned),
            lambda: dist.Normal(X.new_zeros(H), param("log alpha", H).exp()).to_event(1),
        ),
        {"z": True, "x": True},
    ),
    "mixture prior": (model_of(normal(learned), mixture), {"z": False, "x": True}),
    "Student-t prior": (
        model_of(normal(learned), lambda: dist.StudentT(5.0, X.new_zeros(H), 1.0).to_event(1)),
        {"z": False, "x": True},
    ),
    "Laplace prior about a centre": (
        model_of(normal(learned), lambda: dist.Laplace(X.new_ones(H), 0.5).to_event(1)),
        {"z": True, "x": True},
    ),
    "Bernoulli": (
        model_of(observed(lambda z: dist.Bernoulli(logits=mean(z)), lambda x: (x > 0).double())),
        {"z": True, "x": True},
    ),
    "Bernoulli with a fixed offset": (
        model_of(
            observed(
                lambda z: dist.Bernoulli(logits=z @ param("decoder", H, D) + FIXED),
                lambda x: (x > 0).double(),
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
            observed(
                lambda z: dist.Gamma(param("log shape").exp(), mean(z).exp()), lambda x: x.exp()
            )
        ),
        {"z": True, "x": True},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_where_the_theorem_makes_a_claim(name):
    model, wanted = MODELS[name]
    pyro.set_rng_seed(0)
    claims = explain_residuals(model, guide, X, tolerance=1e-6)
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


@pytest.mark.parametrize(
    "name", ["softplus head", "Bernoulli with a fixed offset", "mixture prior", "Student-t prior"]
)
def test_at_a_stationary_point(name):
    model, wanted = MODELS[name]
    frozen = PyroNoise({"z": np.random.default_rng(1).standard_normal((N, H))})(guide)
    elbo = Standard_ELBO()
    elbo.loss(model, frozen, X)
    params = [p.unconstrained() for p in pyro.get_param_store().values()]

    def loss_and_gradient(vector):
        with torch.no_grad():
            vector_to_parameters(torch.tensor(vector), params)
        loss = elbo.differentiable_loss(model, frozen, X) / N
        grads = torch.autograd.grad(loss, params)
        return loss.item(), torch.cat([g.flatten() for g in grads]).numpy()

    start = parameters_to_vector(params).detach().numpy()
    loss_and_gradient(minimise(loss_and_gradient, start))
    for claim in explain_residuals(model, frozen, X, tolerance=1e-6):
        assert claim.verdict == ("holds" if wanted[claim.sites[0]] else "no claim")
        assert abs(claim.gradient_part) < 1e-6


def test_a_base_measure_that_is_not_constant():
    likelihood = observed(lambda z: dist.Poisson(mean(z).exp()), lambda x: (x.abs() * 3).floor())
    pyro.set_rng_seed(0)
    _, claim = explain_residuals(model_of(likelihood), guide, X)
    # But for its part, the direction explains the residual.
    assert abs(claim.rest) < 1e-9
    assert abs(claim.base_measure) > 1e-2
    # What the direction explains is a gradient still.
    assert claim.verdict == "not converged"


def test_a_guide_that_cannot_rescale_its_latents():
    pyro.set_rng_seed(0)
    claims = explain_residuals(MODELS["learned variance"][0], lambda x: guide(x, 0.4), X)
    assert [claim.verdict for claim in claims] == ["no claim", "not converged"]
    assert claims[0].misfit > 0.01


def test_sites_that_share_a_parameter_are_judged_together():
    pyro.set_rng_seed(0)
    claims = explain_residuals(model_of(shared_scale), guide, X, tolerance=1e-6)
    # `y` has no weights of its own that could undo a scaling of the latents.
    assert [claim.sites for claim in claims] == [("z",), ("x", "y")]
    z, together = claims
    assert z.verdict == "no claim"
    assert together.misfit < IDENTITY
    assert abs(together.rest) < IDENTITY
    assert together.verdict == "not converged"


def test_a_hierarchy():
    def deep(x):
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(x.new_zeros(()), 1.0))
            scale = param("log tau").exp()
            z = pyro.sample("z", dist.Normal(top[:, None] * param("link", H), scale).to_event(1))
            pyro.sample("x", dist.Normal(mean(z), learned(z)).to_event(1), obs=x)

    def deep_guide(x):
        with pyro.plate("data", len(x)):
            loc, log_scale = x @ param("q top", D) + param("q shift"), param("q spread")
            top = pyro.sample("top", dist.Normal(loc, log_scale.exp()))
            loc = x @ param("encoder", D, H) + top[:, None] * param("q link", H) + param("b", H)
            pyro.sample("z", dist.Normal(loc, param("spread shift", H).exp()).to_event(1))

    pyro.set_rng_seed(0)
    claims = explain_residuals(deep, deep_guide, X, tolerance=1e-6)
    # The prior of `z` has a variance of its own; that of `top` is undone in `link` and `q link`.
    for claim in claims:
        assert claim.misfit < IDENTITY
        assert abs(claim.rest) < IDENTITY
    assert [claim.sites for claim in claims] == [("top",), ("z",), ("x",)]


def joint_mixture(x):
    with pyro.plate("data", len(x)):
        logits, every = param("weights", 3), {"enumerate": "parallel"}
        c = pyro.sample("c", dist.Categorical(logits=logits), infer=every)
        component = dist.Normal(param("means", 3, H)[c], param("log tau").exp())
        z = pyro.sample("z", component.to_event(1))
        pyro.sample("x", dist.Normal(mean(z), learned(z)).to_event(1), obs=x)


def by_class(x):
    with pyro.plate("data", len(x)):
        c = pyro.sample("c", dist.Categorical(logits=param("weights", 3)))
        z = pyro.sample("z", dist.Normal(x.new_zeros(H), 1.0).to_event(1))
        loc = mean(z) + param("class means", 3, D)[c]
        pyro.sample("x", dist.Normal(loc, learned(z)).to_event(1), obs=x)


def class_guide(x):
    with pyro.plate("data", len(x)):
        logits, every = x @ param("classes", D, 3), {"enumerate": "parallel"}
        c = pyro.sample("c", dist.Categorical(logits=logits), infer=every)
        loc = x @ param("encoder", D, H) + param("class shifts", 3, H)[c]
        pyro.sample("z", dist.Normal(loc, param("spread shift", H).exp()).to_event(1))


def regression(x):
    slopes = pyro.sample("slopes", dist.Normal(x.new_zeros(H), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        loc = (x[:, :H] * param("units", H)) @ slopes
        pyro.sample("x", dist.Normal(loc, learned(x)), obs=x[:, H])


@pytest.mark.parametrize(
    ("model", "guide"),
    [(joint_mixture, guide), (by_class, class_guide), (regression, AutoNormal(regression))],
    ids=["joint mixture", "classes in the guide", "AutoNormal"],
)
def test_enumerated_and_automatic(model, guide):
    pyro.set_rng_seed(0)
    claims = explain_residuals(model, guide, X, tolerance=1e-6)
    assert [claim.sites[0] for claim in claims][-1] == "x"
    for claim in claims:
        assert abs(claim.residual) > 1e-4
        assert claim.misfit < IDENTITY
        assert abs(claim.rest) < IDENTITY
        assert claim.verdict == "not converged"


def test_without_a_site_there_is_no_claim():
    claims = {
        claim.sites[0]: claim
        for claim in explain_residuals(crossed_model, lambda x: None, X, data_plate="rows")
    }
    assert {claim.verdict for claim in claims.values()} == {"no claim"}
    assert "cannot be summed over in turn" in claims["a"].reason
    assert np.isnan(claims["a"].residual)
    assert claims["y"].reason == "the ELBO leaves out a, b, x"
    assert np.isfinite(claims["y"].residual)


DEEP = ["VAE1", "VAE2", "VAE3", "SigmaVAE", "convolutional VAE3"]


@pytest.mark.parametrize("name", mostly(DEEP, ["VAE2", "VAE3"]))
def test_the_variants_with_deep_nets(name):
    vae = CASES[name].make(pyro_entropy, torch.float64)
    x = torch.tensor(np.concatenate([observations(CASES[name].kind)] * 60))
    x = x + 0.1 * torch.tensor(np.random.default_rng(1).standard_normal(x.shape))
    pyro.set_rng_seed(0)
    claims = explain_residuals(vae.model, vae.guide, x, batch_size=len(x))
    for claim in claims:
        assert claim.misfit < 1e-8
        assert claim.verdict == "not converged"


def test_batches_and_draws_are_averaged():
    model = MODELS["learned variance"][0]
    pyro.set_rng_seed(0)
    whole = explain_residuals(model, guide, X, num_particles=20)
    parts = explain_residuals(model, guide, [X[:100], X[100:]], num_particles=20)
    # That of the prior is in closed form, and that of the decoder a mean over draws.
    for left, right in zip(whole, parts, strict=True):
        error = STANDARD_ERRORS * (left.mcse**2 + right.mcse**2) ** 0.5 + 1e-9
        assert left.residual == pytest.approx(right.residual, abs=error)
        assert left.gradient_part == pytest.approx(right.gradient_part, abs=error)


def test_float32():
    vae = pyro_entropy.VAE1(D, H, hidden=(16,))
    pyro.set_rng_seed(0)
    for claim in explain_residuals(vae.model, vae.guide, X.repeat(4, 1).float()):
        assert claim.misfit < 1e-3
        assert abs(claim.rest) < 1e-3
        assert claim.verdict == "not converged"


def test_a_report_with_claims():
    model = MODELS["fixed variance"][0]
    pyro.set_rng_seed(0)
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=40)
    report = diagnostic.run(X, explain=True)
    claims, sites = report.claims(), report.sites().set_index(["role", "site_name"])
    assert list(claims["verdict"]) == ["not converged", "no claim"]
    for name, role in (("z", "prior"), ("x", "decoder")):
        row = sites.loc[role, name]
        error = np.hypot(row["residual_mcse"], claims["mcse"][name])
        assert (error > 1e-3) == (name == "x")
        assert abs(row["residual"] - claims["residual"][name]) <= STANDARD_ERRORS * error + IDENTITY
    with pytest.raises(ValueError, match="`tolerance`"):
        diagnostic.run(X, explain=True, tolerance=0.0)


def test_bad_input_is_refused():
    model = MODELS["learned variance"][0]
    with pytest.raises(ValueError, match="`tolerance`"):
        explain_residuals(model, guide, X, tolerance=0.0)
    with pytest.raises(ValueError, match="`num_particles`"):
        explain_residuals(model, guide, X, num_particles=0)
    with pytest.raises(ValueError, match="at least one batch"):
        explain_residuals(model, guide, [])
    with pytest.raises(ValueError, match="finite values"):
        explain_residuals(model, guide, X * np.nan)

    def fixed(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(x.new_zeros(D), 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match="parameters that can be trained"):
        explain_residuals(fixed, lambda x: None, X)

    def binary(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(z[:, None], learned(z)).to_event(1), obs=x)

    def binary_guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(0.5))

    with pytest.raises(NotImplementedError, match="reparameterised draws"):
        explain_residuals(binary, binary_guide, X)
