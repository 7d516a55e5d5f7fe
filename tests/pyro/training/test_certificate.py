"""The certificate: at held draws the residuals vanish where the theorem says so."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.effect import AutoNormalMessenger

import pyro_entropy
from entropy_core.training.optimum.certificate import TOLERANCE
from pyro_entropy import EntropySumDiagnostic, certify
from tests.pyro.diagnostic import test_claims as claims
from tests.support.helpers import STANDARD_ERRORS, mostly
from tests.support.stationary import CASES, NO_CLAIM, observations

D, H, X = claims.D, claims.H, claims.X


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
KINKS = {"Laplace"}


@pytest.mark.parametrize("name", mostly(claims.MODELS, ["learned variance"]))
def test_models_by_hand(name):
    model, wanted = claims.MODELS[name]
    pyro.set_rng_seed(0)
    certificate = certify(model, claims.guide, X)
    check(certificate, wanted)
    assert str(certificate).startswith("Certificate · at a stat") == certificate.is_stationary
    assert certificate.is_stationary or name in KINKS
    assert (certificate.num_kinks > 0) == (name in KINKS)


@pytest.mark.parametrize("name", mostly(CASES, []))
def test_vaes(name):
    case = CASES[name]
    # With a variance for each dimension some starts lead to a perfect fit of one of them.
    pyro.set_rng_seed(1)
    vae, x = case.make(pyro_entropy, torch.float64), torch.tensor(observations(case.kind))
    certificate = certify(vae.model, vae.guide, x)
    check(certificate, {site: site not in case.no_claim for site in ("z", "x")})
    assert certificate.is_stationary
    for site in case.no_claim:
        assert abs(certificate.sites.loc[site, "residual"]) > NO_CLAIM


OTHERS = {
    "shared scale": (claims.model_of(claims.shared_scale), claims.guide, {"z"}),
    "joint mixture": (claims.joint_mixture, claims.guide, set()),
    "classes in the guide": (claims.by_class, claims.class_guide, set()),
    "AutoNormal": (claims.regression, AutoNormal(claims.regression), set()),
}


@pytest.mark.parametrize("name", mostly(OTHERS, []))
def test_other_models(name):
    model, guide, no_claim = OTHERS[name]
    pyro.set_rng_seed(0)
    certificate = certify(model, guide, X)
    sites = certificate.sites.index
    check(certificate, {site: site not in no_claim for site in sites})
    assert certificate.is_stationary


@pytest.mark.slow
def test_a_guide_that_is_a_messenger():
    # Its terms are taken at the draws: at one held draw a wide guide is ever better.
    guide = AutoNormalMessenger(claims.regression)
    certificate = certify(claims.regression, guide, X, max_evaluations=200)
    assert not certificate.is_stationary
    assert certificate.sites.loc["slopes", "verdict"] != "holds"


def test_everything_is_as_it_was():
    pyro.set_rng_seed(0)
    vae = pyro_entropy.VAE1(D, H, hidden=())
    x = X.float()
    loss = pyro_entropy.Standard_ELBO().differentiable_loss(vae.model, vae.guide, x)
    loss.backward()
    held = {name: (t, t.clone()) for name, t in vae.state_dict(keep_vars=True).items()}
    grads = {name: p.grad.clone() for name, p in vae.named_parameters()}
    certificate = certify(vae.model, vae.guide, x, num_fresh=20)
    assert torch.get_default_dtype() == torch.float32
    for name, (tensor, before) in held.items():
        assert dict(vae.state_dict(keep_vars=True))[name] is tensor
        assert tensor.dtype == before.dtype
        assert torch.equal(tensor, before)
    for name, p in vae.named_parameters():
        assert torch.equal(p.grad, grads[name])
    # In float32 they are the same numbers, rounded.
    assert certificate.is_stationary
    with torch.no_grad():
        for name, value in certificate.params.items():
            assert value.dtype == torch.float64
            pyro.param(name).unconstrained().copy_(value)
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=20).run(x)
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
    pyro.set_rng_seed(0)
    one = certify(model, claims.guide, [X[:70], X[70:]])
    check(one, {"z": True, "x": True})
    four = certify(model, claims.guide, X, num_particles=4)
    check(four, {"z": True, "x": True})
    # The more draws are held, the less can be fitted to them.
    assert 0 < four.sites.loc["x", "fitted"] < one.sites.loc["x", "fitted"]
    with pytest.raises(ValueError, match="`num_particles`"):
        certify(claims.regression, AutoNormal(claims.regression), X, num_particles=2)


def test_print():
    model = claims.MODELS["fixed variance"][0]
    stopped = certify(model, claims.guide, X, max_evaluations=5, num_fresh=2)
    text = str(stopped)
    assert "not at a stationary point of the ELBO at 1 frozen draw for each data point" in text
    assert f"ELBO {stopped.elbo:.4f} at the frozen draws" in text
    assert "z: the ELBO has a gradient along the site's direction" in text
    assert "x: no direction" in text


def guide_of(draw):
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", draw(x).to_event(1))

    return guide


def rate():
    return pyro.param("rate", torch.ones(H, dtype=torch.float64))


def shifted(x):
    with pyro.plate("data", len(x)):
        loc = x @ claims.param("encoder", D, H)
        loc = loc + torch.as_tensor(np.random.default_rng().standard_normal())
        pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


def positive(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Gamma(x.new_ones(H), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(claims.mean(z), 1.0).to_event(1), obs=x)


def noisy_scale(x):
    with pyro.plate("data", len(x)):
        loc = x @ claims.param("encoder", D, H)
        # Which scale it is depends on the draws, so that the ELBO jumps.
        first = pyro.sample("first", dist.Normal(loc, 1.0).to_event(1))
        steps = torch.floor(1e7 * first)
        scale = 1.0 + 0.5 * torch.sin(steps)
        pyro.sample("z", dist.Normal(loc, scale).to_event(1))


def with_first(x):
    with pyro.plate("data", len(x)):
        standard = dist.Normal(x.new_zeros(H), 1.0).to_event(1)
        z = pyro.sample("first", standard) + pyro.sample("z", standard)
        pyro.sample("x", dist.Normal(claims.mean(z), claims.learned(z)).to_event(1), obs=x)


def test_what_cannot_be_frozen():
    model = claims.MODELS["learned variance"][0]
    with pytest.raises(NotImplementedError, match="smooth functions"):
        certify(positive, guide_of(lambda x: dist.Gamma(rate().exp().expand(len(x), H), 1.0)), X)
    with pytest.raises(NotImplementedError, match="smooth functions"):
        certify(model, shifted, X)
    with pytest.raises(NotImplementedError, match="smooth functions"):
        certify(with_first, noisy_scale, X)
    discrete = guide_of(lambda x: dist.Poisson(rate().exp().expand(len(x), H)))
    with pytest.raises(NotImplementedError, match="reparameterised draws"):
        certify(model, discrete, X)


def test_bad_input_is_refused():
    model = claims.MODELS["learned variance"][0]

    def fixed(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(x.new_zeros(D), 1.0).to_event(1), obs=x)

    def rows(x):
        with pyro.plate("data", len(x), subsample_size=10) as ind:
            claims.param("log sigma")
            pyro.sample("x", dist.Normal(x.new_zeros(D), 1.0).to_event(1), obs=x[ind])

    with pytest.raises(ValueError, match="parameters that can be trained"):
        certify(fixed, lambda x: None, X)
    with pytest.raises(ValueError, match="plates of all rows"):
        certify(rows, lambda x: None, X)
    with pytest.raises(ValueError, match="at least one batch"):
        certify(model, claims.guide, [])
    with pytest.raises(ValueError, match="finite values"):
        certify(model, claims.guide, X * np.nan)
    for name in ("num_particles", "num_fresh", "max_evaluations"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            certify(model, claims.guide, X, **{name: 0})
    for name in ("tolerance", "gradient_tolerance"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            certify(model, claims.guide, X, **{name: 0.0})
