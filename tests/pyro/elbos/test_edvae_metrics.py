"""The metrics of the ED-VAE against the squared error and the divergence themselves."""

import math

import pyro
import pytest
import torch

from entropy_core.elbos.edvae_metrics import edvae_metrics
from pyro_entropy import EDVAE_ELBO, VAE0


def test_the_squared_error_and_the_divergence_of_the_guide():
    variance = 2.0
    pyro.set_rng_seed(0)
    vae, x = VAE0(4, 2, variance=variance, hidden=(8,), dtype=torch.float64), torch.randn(9, 4)
    x = x.double()
    q = vae.encoder(x)
    objective = EDVAE_ELBO(30, mutual_information="aggregate")
    with torch.no_grad():
        terms = objective.terms(vae.model, vae.guide, x)
    found = edvae_metrics(terms, 4, variance=variance)
    prior = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), 1.0)
    with torch.no_grad():
        kl = torch.distributions.kl_divergence(q.base_dist, prior).sum(-1).mean()
        error = ((vae.decoder(q.sample((500,))).mean - x) ** 2).sum(-1).mean()
    assert float(found.kl) == pytest.approx(float(kl), abs=0.05)
    assert float(found.mse) == pytest.approx(float(error), rel=0.1)
    assert found.elbo == -found.mse - found.kl
    # The aggregate is nearer to the prior than the guide by what a latent says of its data point.
    assert float(found.kl - found.marginal_kl) == pytest.approx(float(terms.aggregate_information))
    bound = -found.mse / (2 * variance) - 2 * math.log(2 * math.pi * variance) - found.kl
    assert float(bound) == pytest.approx(float(terms.elbo))
