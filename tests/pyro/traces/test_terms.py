"""The terms of a VAE: the identity, and that each entropy and residual is what its name says."""

import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_entropy import VAE1, LinearVAE, Standard_ELBO
from pyro_entropy.traces.sites import sample_sites
from tests.pyro.models import USER_MODELS
from tests.support.helpers import (
    HIDDEN,
    IDENTITY,
    B,
    D,
    H,
    assert_identity,
    assert_within_errors,
    data,
    random_weights,
)

X = torch.tensor(data())


def make(name, seed=0):
    kwargs = {"dtype": torch.float64} | ({"hidden": HIDDEN} if name == "VAE1" else {})
    vae = {"VAE1": VAE1, "LinearVAE": LinearVAE}[name](D, H, **kwargs)
    return vae.set_weights(random_weights(vae.get_weights(), seed))


VAES = pytest.mark.parametrize("name", ["VAE1", "LinearVAE"])
CLOSED = pytest.mark.parametrize("closed_form", [True, False])


@VAES
@settings(deadline=None, max_examples=40)
@given(
    num=st.integers(1, 33),
    seed=st.integers(0, 99),
    particles=st.integers(1, 3),
    extra=st.booleans(),
)
def test_identity_of_vaes(name, num, seed, particles, extra):
    vae, x = make(name, seed), torch.tensor(data(num, seed=seed))
    for closed_form in (True, False):
        elbo = Standard_ELBO(particles, closed_form=closed_form)
        assert_identity(elbo.terms(vae.model, vae.guide, x, total=num + 7 if extra else None))


@CLOSED
@pytest.mark.parametrize("name", USER_MODELS)
def test_identity_of_user_models(name, closed_form):
    assert_identity(Standard_ELBO(5, closed_form=closed_form).terms(*USER_MODELS[name], X))


@VAES
def test_terms_are_those_of_vectorised_particles(name):
    vae, draws = make(name), 2000
    terms = Standard_ELBO(draws, vectorize_particles=True, max_plate_nesting=1).terms(
        vae.model, vae.guide, X
    )
    assert_identity(terms)
    singles = [Standard_ELBO().terms(vae.model, vae.guide, X).elbo.item() for _ in range(300)]
    assert_within_errors(singles, terms.elbo.item())


@VAES
def test_each_entropy_is_that_of_fresh_draws(name):
    vae = make(name)
    terms = Standard_ELBO().terms(vae.model, vae.guide, X)
    with torch.no_grad():
        q, p = vae.encode(X), vae.prior()
        estimates = {"encoder_entropy": [], "prior_entropy": [], "decoder_entropy": []}
        for _ in range(2000):
            z = q.sample()
            likelihood = vae.decode(z)
            draws = {"encoder_entropy": (q, z), "prior_entropy": (p, p.sample((B,)))}
            draws["decoder_entropy"] = (likelihood, likelihood.sample())
            for key, (fn, value) in draws.items():
                estimates[key].append(-fn.log_prob(value).mean().item())
    for key, values in estimates.items():
        assert_within_errors(values, getattr(terms, key).item())


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


def test_trace_elbo_is_the_standard_one_plus_what_the_draws_add():
    # HOSTS, 13: Trace_ELBO = F + sum (sampled - closed), on the same draws.
    vae, results = make("VAE1"), []
    for closed_form in (True, False):
        pyro.set_rng_seed(0)
        results.append(Standard_ELBO(closed_form=closed_form).terms(vae.model, vae.guide, X))
    closed, sampled = results
    differences = sum(
        getattr(sampled, name) - getattr(closed, name)
        for name in ("prior_term", "reconstruction_term", "encoder_entropy")
    )
    assert (sampled.elbo - closed.elbo).item() == pytest.approx(differences.item(), rel=IDENTITY)
    assert sampled.prior_entropy.item() == closed.prior_entropy.item()
    assert sampled.decoder_entropy.item() == closed.decoder_entropy.item()


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

    estimates = [Standard_ELBO().terms(model, guide, X).prior_entropy.item() for _ in range(200)]
    assert_within_errors(estimates, 0.5 * torch.log(torch.tensor(2 * torch.pi * torch.e)).item())


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

    terms = Standard_ELBO().terms(model, guide, X)
    assert terms.encoder_entropy.item() == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.25))
    assert terms.residuals["f"].item() == pytest.approx(5.0)
    assert terms.residuals["f (guide)"].item() == pytest.approx(-5.0)
    assert_identity(terms)
