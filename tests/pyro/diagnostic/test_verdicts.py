"""Verdicts on models by hand: none is false, whatever the draws and the batches."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pyro_entropy import EntropySumDiagnostic, Standard_ELBO, explain_residuals
from tests.support import claim_models
from tests.support.claim_models import CASES, MEASURED, H, N, check_verdicts, data, initial
from tests.support.helpers import mostly
from tests.support.pyro_noise import PyroNoise
from tests.support.stationary import minimise

HOST = SimpleNamespace(
    dist=dist,
    transforms=dist.transforms,
    sample=pyro.sample,
    plate=pyro.plate,
    param=lambda name, *shape: pyro.param(name, torch.tensor(initial(name, *shape))),
    array=torch.tensor,
    zeros=lambda *shape: torch.zeros(shape, dtype=torch.float64),
    zeros_like=torch.zeros_like,
    floats=lambda x: x.double(),
    exp=torch.exp,
    tanh=torch.tanh,
    sigmoid=torch.sigmoid,
    softplus=torch.nn.functional.softplus,
    clip=torch.clamp,
    tril=torch.tril,
    diag=torch.diag,
    negative_binomial=lambda total, log_p: dist.NegativeBinomial(
        total, logits=log_p - torch.log(-torch.expm1(log_p))
    ),
)
TOLERANCE = 1e-3


def pair(name):
    case = CASES[name]
    x = torch.tensor(data(case.kind))
    return claim_models.model(HOST, case), claim_models.guide(HOST, case), x


def residuals_of(model, guide, x, num_particles=400):
    pyro.set_rng_seed(11)
    sites = EntropySumDiagnostic(model, guide, num_particles=num_particles).run(x).sites()
    rows = sites[sites["role"] != "encoder"].set_index("site_name")
    return {n: (row["residual"], row["residual_mcse"]) for n, row in rows.iterrows()}


# Of the rows without a trap of their own a few.
PLAIN = {"scales by dimension", "learned precision", "softplus scale", "log-normal", "exponential"}
PLAIN |= {"half-normal", "Bernoulli", "categorical", "hierarchical scale", "full guide", "Cauchy"}
PLAIN |= {"clip that does not bind", "affine, fixed scale", "sigmoid head", "Weibull", "geometric"}
PLAIN |= {"negative binomial", "Beta by its shapes", "uniform, moved", "Bernoulli, fixed offset"}
PLAIN |= {"Student-t", "bent latents", "Student-t prior", "von Mises", "Gamma", "Laplace"}


@pytest.mark.parametrize("name", mostly(CASES, set(CASES) - PLAIN))
def test_at_random_weights(name):
    model, guide, x = pair(name)
    exact = residuals_of(model, guide, x, 50)
    pyro.set_rng_seed(0)
    claims = explain_residuals(model, guide, x)
    assert [claim.sites for claim in claims] == [("z",), ("x",)]
    check_verdicts(name, claims, exact, tolerance=TOLERANCE)


def split(x, num_batches):
    return [x[rows] for rows in np.array_split(np.arange(N), num_batches)]


# The number of draws, and that of batches.
RUNS = [(n, b) for n in (2, 3, 10) for b in (1, 7, N)] + [(100, 1), (100, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_whatever_the_draws_and_batches(name):
    model, guide, x = pair(name)
    exact = residuals_of(model, guide, x)
    missed = 0
    for seed, (num_particles, num_batches) in enumerate(RUNS):
        pyro.set_rng_seed(seed)
        draws = {"num_particles": num_particles, "max_particles": num_particles}
        claims = explain_residuals(model, guide, split(x, num_batches), **draws)
        found = check_verdicts(name, claims, exact, tolerance=TOLERANCE)
        missed += found if num_particles >= 10 else 0
    # Two sites, and five runs with ten draws or more.
    assert missed <= 1


def at_a_stationary_point(name):
    """The model and guide of frozen noise, with the parameters at a stationary point."""
    model, guide, x = pair(name)
    noise = np.random.default_rng(1).standard_normal((N, H))
    frozen = PyroNoise({"z": noise})(guide)
    elbo = Standard_ELBO()
    elbo.loss(model, frozen, x)
    params = [p.unconstrained() for p in pyro.get_param_store().values()]

    def loss_and_gradient(vector):
        with torch.no_grad():
            vector_to_parameters(torch.tensor(vector), params)
        loss = elbo.differentiable_loss(model, frozen, x) / N
        grads = torch.autograd.grad(loss, params, allow_unused=True)
        found = [
            torch.zeros_like(p) if g is None else g for p, g in zip(params, grads, strict=True)
        ]
        return loss.item(), torch.cat([g.flatten() for g in found]).numpy()

    start = parameters_to_vector(params).detach().numpy()
    loss_and_gradient(minimise(loss_and_gradient, start, 1e-7))
    return model, frozen, x


# At frozen noise some have no optimum, and two have kinks there.
NO_OPTIMUM = {"Laplace", "Laplace prior", "categorical", "Bernoulli", "Bernoulli, fixed offset"}
OPTIMA = [name for name in CASES if name not in NO_OPTIMUM]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMA)
def test_at_a_stationary_point(name):
    model, frozen, x = at_a_stationary_point(name)
    for claim in explain_residuals(model, frozen, x, num_particles=2, tolerance=1e-6):
        (site,) = claim.sites
        exists = getattr(CASES[name], site) and not (site == "x" and name in MEASURED)
        if exists:
            assert claim.verdict == "holds"
        else:
            assert claim.verdict == ("holds" if abs(claim.residual) < 1e-6 else "no claim")
