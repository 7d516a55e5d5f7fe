"""The terms of the ELBO: each entropy and residual is what its name says."""

import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoGuideList, AutoNormal

from pyro_entropy import VAE1, EntropySumDiagnostic, LinearVAE, Standard_ELBO
from pyro_entropy.traces.sites import sample_sites
from tests.pyro.models import USER_MODELS
from tests.support.helpers import (
    HIDDEN,
    IDENTITY,
    B,
    D,
    H,
    assert_within_errors,
    data,
    normal_entropy,
    random_weights,
)
from tests.support.pyro_noise import PyroNoise
from tests.support.user_models import ENTROPIES, PARTICLES

X = torch.tensor(data())


def make(name, seed=0):
    kwargs = {"dtype": torch.float64} | ({"hidden": HIDDEN} if name == "VAE1" else {})
    vae = {"VAE1": VAE1, "LinearVAE": LinearVAE}[name](D, H, **kwargs)
    return vae.set_weights(random_weights(vae.get_weights(), seed))


VAES = pytest.mark.parametrize("name", ["VAE1", "LinearVAE"])


@VAES
@settings(deadline=None, max_examples=25)
@given(
    num=st.integers(1, 33),
    seed=st.integers(0, 99),
    particles=st.integers(1, 3),
    extra=st.booleans(),
)
def test_entropies_of_vaes_are_those_by_hand(name, num, seed, particles, extra):
    vae, x = make(name, seed), torch.tensor(data(num, seed=seed))
    with torch.no_grad():
        encoder = normal_entropy(vae.encode(x).variance, axis=-1).mean()
        decoder = D * normal_entropy(vae.decoder.log_variance.exp())
    prior = H * normal_entropy(1.0)
    closed, sampled = (
        Standard_ELBO(particles, closed_form=closed_form).terms(
            vae.model, vae.guide, x, total=num + 7 if extra else None
        )
        for closed_form in (True, False)
    )
    assert closed.encoder_entropy.item() == pytest.approx(encoder, rel=IDENTITY)
    assert closed.entropy_sum.item() == pytest.approx(encoder - prior - decoder, rel=IDENTITY)
    # The way in which the ELBO is found changes its terms alone.
    for terms in (closed, sampled):
        assert terms.prior_entropy.item() == pytest.approx(prior, rel=IDENTITY)
        assert terms.decoder_entropy.item() == pytest.approx(decoder, rel=IDENTITY)


@pytest.mark.parametrize("name", USER_MODELS)
def test_entropies_of_user_models_are_those_by_hand(name):
    nesting = 1 if name == "subsampled plate" else 2
    elbo = Standard_ELBO(PARTICLES, vectorize_particles=True, max_plate_nesting=nesting)
    terms = elbo.terms(*USER_MODELS[name], X)
    encoder, prior, decoder, tolerance = ENTROPIES[name]
    assert terms.encoder_entropy.item() == pytest.approx(encoder, rel=IDENTITY)
    assert terms.prior_entropy.item() == pytest.approx(prior, rel=IDENTITY)
    assert terms.decoder_entropy.item() == pytest.approx(decoder, abs=tolerance)


@VAES
def test_terms_of_particles_are_the_mean_of_single_ones(name):
    vae, draws = make(name), 3
    noise = np.random.default_rng(1).standard_normal((draws, B, H))
    guide = PyroNoise({"z": noise})(vae.guide)
    at_once = Standard_ELBO(draws, vectorize_particles=True, max_plate_nesting=1)
    terms = at_once.terms(vae.model, guide, X)
    singles = [
        Standard_ELBO().terms(vae.model, PyroNoise({"z": each})(vae.guide), X) for each in noise
    ]
    assert len({single.elbo.item() for single in singles}) == draws
    for field in set(terms._fields) - {"residuals"}:
        mean = np.mean([getattr(single, field).item() for single in singles])
        assert getattr(terms, field).item() == pytest.approx(mean, rel=IDENTITY)
    for site, residual in terms.residuals.items():
        mean = np.mean([single.residuals[site].item() for single in singles])
        assert residual.item() == pytest.approx(mean, rel=IDENTITY)


@VAES
def test_the_decoders_residual_is_a_gradient(name):
    # EQUATIONS, section 2: for one shared variance r_x = -dF / dlog sigma^2.
    vae = make(name)
    terms = Standard_ELBO(3).terms(vae.model, vae.guide, X)
    (gradient,) = torch.autograd.grad(terms.elbo, vae.decoder.log_variance, retain_graph=True)
    assert terms.residuals["x"].item() == pytest.approx(-gradient.item(), rel=IDENTITY)


@VAES
def test_the_priors_residual_is_a_gradient(name):
    # The standard normal has no parameter. Give it the scale s: r_z = -1/2 dF / dlog s at s = 1.
    vae = make(name)
    scale = vae.prior.scale.clone().requires_grad_()
    vae.prior.scale = scale
    terms = Standard_ELBO(3).terms(vae.model, vae.guide, X)
    (gradient,) = torch.autograd.grad(terms.elbo, scale)
    # d/dlog s = s d/ds, s = 1; two scales a variance.
    assert terms.residuals["z"].item() == pytest.approx(-gradient.sum().item() / 2, rel=IDENTITY)


def test_a_distribution_without_entropy_is_sampled_from_itself():
    # The trace's draw comes from the guide, far from this prior: read off it, H[p] would be 50.
    def model(x):
        with pyro.plate("data", len(x)):
            weights = torch.tensor([0.5, 0.5], dtype=x.dtype)
            prior = pyro.distributions.MixtureSameFamily(
                pyro.distributions.Categorical(weights),
                pyro.distributions.Normal(x.new_tensor([0.0, 0.0]), 1.0),
            )
            z = pyro.sample("z", prior)
            pyro.sample("x", pyro.distributions.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", pyro.distributions.Normal(x.new_tensor(10.0), 0.1))

    x = torch.zeros(10 * B, 1, dtype=X.dtype)
    estimates = [Standard_ELBO().terms(model, guide, x).prior_entropy.item() for _ in range(20)]
    assert_within_errors(estimates, normal_entropy(1.0))


def test_deterministic_and_reparameterised_sites_are_no_sites():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(()), 1.0))
            pyro.deterministic("double", 2 * z)

    assert list(sample_sites(pyro.poutine.trace(model).get_trace(X))) == ["z"]


def test_factors_of_model_and_guide_are_no_entropies():
    # Of the same name, in a plate that expands them, and under a mask that wraps them.
    def model(x):
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=True):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(()), 1.0))
            pyro.factor("f", x.new_tensor(5.0))
            pyro.sample("x", pyro.distributions.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=True):
            pyro.sample("z", pyro.distributions.Normal(x.new_zeros(()), 0.5))
            pyro.factor("f", x.new_tensor(5.0), has_rsample=True)

    pyro.set_rng_seed(3)
    terms = Standard_ELBO(closed_form=False).terms(model, guide, X)
    pyro.set_rng_seed(3)
    host = Trace_ELBO().loss(model, guide, X)
    assert B * terms.elbo.item() == pytest.approx(-host, rel=IDENTITY)
    assert terms.prior_entropy.item() == pytest.approx(normal_entropy(1.0))
    assert terms.decoder_entropy.item() == pytest.approx(normal_entropy(1.0))
    assert terms.residuals["f"].item() == pytest.approx(5.0)
    assert terms.residuals["f (guide)"].item() == pytest.approx(-5.0)


def three_latents(x):
    mu = pyro.sample("mu", pyro.distributions.Normal(x.new_zeros(()), 3.0))
    s = pyro.sample("s", pyro.distributions.LogNormal(x.new_zeros(()), 0.5))
    with pyro.plate("groups", 2):
        w = pyro.sample("w", pyro.distributions.Gamma(x.new_ones(()), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", pyro.distributions.Normal(mu + w.sum(), s), obs=x[:, 0])


@pytest.mark.parametrize("kind", [AutoDiagonalNormal, AutoNormal])
@pytest.mark.parametrize("point_first", [True, False])
def test_a_point_beside_other_draws_is_a_point(kind, point_first):
    parts = [
        AutoDelta(pyro.poutine.block(three_latents, expose=["w"])),
        kind(pyro.poutine.block(three_latents, expose=["mu", "s"])),
    ]
    guide = AutoGuideList(three_latents)
    for part in parts if point_first else reversed(parts):
        guide.append(part)
    report = EntropySumDiagnostic(three_latents, guide).run([X])
    assert report.untreated["w"].startswith("a point: ")
    methods = report.sites().set_index(["role", "site_name"])["entropy_method"]["encoder"]
    assert methods["w"] == "none"
    if kind is AutoDiagonalNormal:
        assert "together with other sites, as _AutoGuideList" in report.untreated["mu"]
        assert methods["mu"] == "closed form"


def test_a_function_of_a_joint_draw_is_no_point():
    def model(x):
        a = pyro.sample("a", pyro.distributions.Normal(x.new_zeros(()), 1.0))
        b = pyro.sample("b", pyro.distributions.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", pyro.distributions.Normal(a + b, 1.0), obs=x[0, 0])

    def guide(x):
        scale = pyro.param("scale", x.new_ones(()))
        normal = pyro.distributions.Normal(x.new_zeros(2), 1.0).to_event(1)
        both = pyro.sample("both", normal, infer={"is_auxiliary": True})
        pyro.sample("a", pyro.distributions.Delta(scale * both[0]))
        pyro.sample("b", pyro.distributions.Delta(both[1]))

    untreated = EntropySumDiagnostic(model, guide).run([X]).untreated
    assert "as both" in untreated["a"]
    assert "as both" in untreated["b"]
