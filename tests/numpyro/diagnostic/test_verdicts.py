"""Verdicts on models by hand: none is false, whatever the draws and the batches."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import nn, random
from jax.flatten_util import ravel_pytree

from numpyro_entropy import EntropySumDiagnostic, Standard_ELBO, explain_residuals
from tests.numpyro.models import initial_params
from tests.parity.noise import NumPyroNoise
from tests.support import claim_models
from tests.support.claim_models import CASES, MEASURED, H, N, check_verdicts, data, initial
from tests.support.helpers import mostly
from tests.support.stationary import minimise

HOST = SimpleNamespace(
    dist=dist,
    transforms=dist.transforms,
    sample=numpyro.sample,
    plate=numpyro.plate,
    param=lambda name, *shape: numpyro.param(name, jnp.asarray(initial(name, *shape))),
    array=jnp.asarray,
    zeros=lambda *shape: jnp.zeros(shape),
    zeros_like=jnp.zeros_like,
    floats=lambda x: x.astype(float),
    exp=jnp.exp,
    tanh=jnp.tanh,
    sigmoid=nn.sigmoid,
    softplus=nn.softplus,
    clip=jnp.clip,
    tril=jnp.tril,
    diag=jnp.diag,
    negative_binomial=lambda total, log_p: dist.NegativeBinomialLogits(
        total, log_p - jnp.log(-jnp.expm1(log_p))
    ),
)
TOLERANCE = 1e-3


def pair(name):
    case = CASES[name]
    x = jnp.asarray(data(case.kind))
    model, guide = claim_models.model(HOST, case), claim_models.guide(HOST, case)
    return initial_params(model, guide, x), model, guide, x


def residuals_of(params, model, guide, x, num_particles=400):
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=num_particles)
    sites = diagnostic.run(random.key(11), params, x).sites()
    rows = sites[sites["role"] != "encoder"].set_index("site_name")
    return {n: (row["residual"], row["residual_mcse"]) for n, row in rows.iterrows()}


# Compiling takes long: Pyro's side has all of them.
QUICK = ["affine, learned scale", "sigmoid that binds", "Gumbel"]


@pytest.mark.parametrize("name", mostly(CASES, QUICK))
def test_at_random_weights(name):
    params, model, guide, x = pair(name)
    exact = residuals_of(params, model, guide, x, 50)
    claims = explain_residuals(random.key(0), params, model, guide, x)
    assert [claim.sites for claim in claims] == [("z",), ("x",)]
    check_verdicts(name, claims, exact, tolerance=TOLERANCE)


def split(x, num_batches):
    return [x[rows] for rows in np.array_split(np.arange(N), num_batches)]


# The number of draws, and that of batches.
RUNS = [(n, b) for n in (2, 3, 10) for b in (1, 7, N)] + [(100, 1), (100, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_whatever_the_draws_and_batches(name):
    params, model, guide, x = pair(name)
    exact = residuals_of(params, model, guide, x)
    missed = 0
    for seed, (num_particles, num_batches) in enumerate(RUNS):
        claims = explain_residuals(
            random.key(seed),
            params,
            model,
            guide,
            split(x, num_batches),
            num_particles=num_particles,
            max_particles=num_particles,
        )
        found = check_verdicts(name, claims, exact, tolerance=TOLERANCE)
        missed += found if num_particles >= 10 else 0
    # Two sites, and five runs with ten draws or more.
    assert missed <= 1


def at_a_stationary_point(name):
    """The model and guide of frozen noise, with the parameters at a stationary point."""
    params, model, guide, x = pair(name)
    noise = np.random.default_rng(1).standard_normal((N, H))
    frozen = NumPyroNoise(guide, {"z": noise})
    flat, unflatten = ravel_pytree(params)

    @jax.jit
    @jax.value_and_grad
    def loss(vector):
        return Standard_ELBO().loss(random.key(0), unflatten(vector), model, frozen, x) / N

    found = minimise(lambda v: jax.device_get(loss(v)), np.asarray(flat), 1e-7)
    return unflatten(jnp.asarray(found)), model, frozen, x


# At frozen noise some have no optimum, and two have kinks there.
NO_OPTIMUM = {"Laplace", "Laplace prior", "categorical", "Bernoulli", "Bernoulli, fixed offset"}
OPTIMA = [name for name in CASES if name not in NO_OPTIMUM]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMA)
def test_at_a_stationary_point(name):
    where = at_a_stationary_point(name)
    for claim in explain_residuals(random.key(0), *where, num_particles=2, tolerance=1e-6):
        (site,) = claim.sites
        exists = getattr(CASES[name], site) and not (site == "x" and name in MEASURED)
        if exists:
            assert claim.verdict == "holds"
        else:
            assert claim.verdict == ("holds" if abs(claim.residual) < 1e-6 else "no claim")


# Classes that Pyro does not have, whose parameters are no attributes.
HIDDEN = {
    "truncated normal": (lambda u: dist.TruncatedNormal(u, 0.7, low=0.0), "positive"),
    "negative binomial by its mean": (
        lambda u: dist.NegativeBinomial2(jnp.exp(u), 4.0),
        "counts",
    ),
}


@pytest.mark.parametrize("name", mostly(HIDDEN, ["truncated normal"]))
def test_parameters_that_a_class_hides(name):
    decode, kind = HIDDEN[name]
    case = claim_models.Claimed(lambda h, u, z: decode(u), kind=kind)
    model, guide = claim_models.model(HOST, case), claim_models.guide(HOST, case)
    x = jnp.asarray(data(kind))
    claims = explain_residuals(random.key(0), initial_params(model, guide, x), model, guide, x)
    assert claims[0].sites == ("z",)
    assert claims[0].verdict == "not converged"
    assert abs(claims[0].rest) < 1e-6
