"""At a stationary point the residuals vanish at the sites that the theorem speaks of."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pyro_entropy
from pyro_entropy.diagnostic.claims import explain_residuals
from tests.support.helpers import mostly
from tests.support.pyro_noise import PyroNoise
from tests.support.stationary import CASES, HOLDS, NO_CLAIM, NOISE, NUM, minimise, observations


def stationary_terms(vae, guide, x):
    """The terms of the ELBO where its gradient vanishes."""
    elbo = pyro_entropy.Standard_ELBO()

    def loss_and_gradient(vector):
        vector_to_parameters(torch.from_numpy(vector), vae.parameters())
        loss = elbo.differentiable_loss(vae.model, guide, x) / NUM
        gradients = torch.autograd.grad(loss, list(vae.parameters()))
        return loss.item(), torch.cat([g.reshape(-1) for g in gradients]).numpy()

    start = parameters_to_vector(vae.parameters()).detach().numpy()
    solution = minimise(loss_and_gradient, start)
    vector_to_parameters(torch.from_numpy(solution), vae.parameters())
    with torch.no_grad():
        return elbo.terms(vae.model, guide, x)


# The other side has the rest of the table.
FEW = ["LinearVAE", "VAE3", "SigmaVAE", "ConstantVarianceVAE"]


@pytest.mark.parametrize("name", mostly(CASES, FEW))
def test_residuals_at_a_stationary_point(name):
    case = CASES[name]
    vae, x = case.make(pyro_entropy, torch.float64), torch.tensor(observations(case.kind))
    guide = PyroNoise(NOISE)(vae.guide)
    terms = stationary_terms(vae, guide, x)
    claims = explain_residuals(vae.model, guide, x, tolerance=HOLDS)
    assert [claim.sites for claim in claims] == [("z",), ("x",)]
    for claim in claims:
        (site,) = claim.sites
        residual = terms.residuals[site].item()
        assert claim.residual == pytest.approx(residual, abs=HOLDS)
        if site in case.no_claim:
            assert abs(residual) > NO_CLAIM
            assert claim.verdict == "no claim"
        else:
            assert abs(residual) < HOLDS
            assert claim.verdict == "holds"


def test_the_residual_of_a_laplace_decoder_vanishes_with_the_gradient_of_its_scale():
    # The absolute deviation has no gradient that vanishes: the scale alone is at its optimum.
    vae = pyro_entropy.VAE(
        pyro_entropy.StandardNormalPrior(2, dtype=torch.float64),
        pyro_entropy.NormalEncoder(pyro_entropy.MLP(4, 4, (8,), dtype=torch.float64)),
        pyro_entropy.LaplaceDecoder(
            pyro_entropy.MLP(2, 4, (8,), dtype=torch.float64), dtype=torch.float64
        ),
        (4,),
    )
    x, guide = torch.tensor(observations("real")), PyroNoise(NOISE)(vae.guide)
    before = pyro_entropy.Standard_ELBO().terms(vae.model, guide, x)
    assert abs(before.residuals["x"]) > NO_CLAIM
    with torch.no_grad():
        z = vae.encode(x).mean + vae.encode(x).stddev * torch.tensor(NOISE["z"])
        deviation = (x - vae.decode(z).mean).abs().mean()
        vae.decoder.log_scale.copy_(torch.log(deviation))
    after = pyro_entropy.Standard_ELBO().terms(vae.model, guide, x)
    assert abs(after.residuals["x"]) < HOLDS
    assert np.isclose(after.decoder_entropy.item(), 4 * (1 + np.log(2 * deviation.item())))
