"""The objectives over a batch: the same in both backends, and the identities that they obey."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from entropy_core.elbos.edvae import EDVAEWeights
from tests.support.cases import observations
from tests.support.helpers import IDENTITY, PARITY, B, D, H, mostly
from tests.support.objective_table import NOISE, OBJECTIVES
from tests.support.objectives import SIDES

X = observations("real")
# The formulas are the core's, and the twins have the same values and gradients.
side = pytest.mark.parametrize("side", mostly(SIDES, ["pyro"]))
COVARIANCES = pytest.mark.parametrize("form", ["diagonal", "full"])


def assert_same(found, wanted, tolerance=PARITY):
    found, wanted = np.asarray(found), np.asarray(wanted)
    np.testing.assert_allclose(
        found, wanted, rtol=tolerance, atol=tolerance * max(np.abs(wanted).max(), 1e-3)
    )


def assert_same_losses(left, right, tolerance=IDENTITY, scales=None):
    """Two losses with their gradients agree."""
    (loss, grads), (other, other_grads) = left, right
    assert loss == pytest.approx(other, rel=tolerance)
    assert grads.keys() == other_grads.keys()
    assert any(np.abs(grad).max() > 0 for grad in grads.values())
    for name, grad in grads.items():
        assert_same(grad, other_grads[name] * (scales or {}).get(name, 1.0), 10 * tolerance)


FEW = OBJECTIVES.keys() - {
    "full constant variance",
    "BILBO, learned variance",
    "profiled prior",
    "fully profiled",
    "weighted ED-VAE",
    "moments ED-VAE",
    "profiled decoder",
}


@pytest.mark.parametrize("name", mostly(OBJECTIVES, FEW))
def test_loss_all_gradients_and_every_term(name):
    objective = OBJECTIVES[name]
    ours = SIDES["pyro"](objective.vae)
    twin = SIDES["numpyro"](objective.vae, ours.weights)
    elbo, twin_elbo = objective.make(ours.module), objective.make(twin.module)
    loss, grads = ours.value_and_grads(elbo, X, total=10 * B)
    twin_loss, twin_grads = twin.value_and_grads(twin_elbo, X, total=10 * B)
    assert loss == pytest.approx(twin_loss, rel=PARITY)
    for key, grad in grads.items():
        assert_same(grad, twin_grads[key])
    terms, twin_terms = (s.terms(e, X, total=10 * B) for s, e in ((ours, elbo), (twin, twin_elbo)))
    assert type(terms) is type(twin_terms)
    sampled = {"entropy_sum", "prior_entropy"} if "VAE" in objective.vae else set()
    for field in set(terms._fields) - sampled - {"residuals"}:
        assert_same(getattr(terms, field), getattr(twin_terms, field))
    bound = terms.bound if "bound" in terms._fields else terms.elbo
    assert loss == pytest.approx(-10 * B * bound, rel=PARITY)
    assert elbo.no_claim == twin_elbo.no_claim


@side
@COVARIANCES
def test_bilbo_is_the_objective_of_constant_variance_and_the_profiled_prior(side, form):
    here = SIDES[side]("ConstantVarianceVAE")
    m, full = here.module, form == "full"
    bilbo = here.value_and_grads(m.BILBO_ELBO(full_covariance=full), X)
    constant = m.ConstantVariance_ELBO(full_covariance=full)
    assert_same_losses(here.value_and_grads(constant, X), bilbo)
    profiled = m.Profiled_ELBO(prior=form, decoder=None)
    assert_same_losses(here.value_and_grads(profiled, X), bilbo)
    variances = here.terms(profiled, X, call="variances")["z"]
    terms = here.terms(m.BILBO_ELBO(full_covariance=full), X)
    assert_same(variances, terms.prior_variance, IDENTITY)


@side
def test_full_bilbo_does_not_change_under_rotations_of_an_isotropic_latent_space(side):
    here = SIDES[side]("ConstantVarianceVAE")
    m = here.module
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((H, H)))[0]
    weights = dict(here.weights)
    for key in ("weight", "bias"):
        weights[f"encoder.net.layer_1.{key}"] = rotation @ weights[f"encoder.net.layer_1.{key}"]
    weights["decoder.net.layer_0.weight"] = weights["decoder.net.layer_0.weight"] @ rotation.T
    rotated = SIDES[side]("ConstantVarianceVAE", weights)
    bounds = {}
    for full in (False, True):
        elbo = m.BILBO_ELBO(full_covariance=full)
        bounds[full] = [
            here.terms(elbo, X).bound,
            rotated.terms(elbo, X, NOISE @ rotation.T).bound,
        ]
    assert bounds[True][0] == pytest.approx(bounds[True][1], rel=IDENTITY)
    assert abs(bounds[False][0] - bounds[False][1]) > 1e-3
    # Hadamard's inequality.
    assert bounds[False][0] < bounds[True][0]


@side
@pytest.mark.parametrize("prior", ["floating", "model"])
@pytest.mark.parametrize("factor", [3.0, 0.01])
def test_baggins_changes_by_minus_d_log_lambda_when_the_data_are_scaled(side, prior, factor):
    here = SIDES[side]("ConstantVarianceVAE")
    elbo = here.module.BAGGINS_ELBO(0.2, prior=prior)
    first, last = "encoder.net.layer_0.weight", "decoder.net.layer_1"
    powers = {first: -1, f"{last}.weight": 1, f"{last}.bias": 1}
    weights = {key: w * factor ** powers.get(key, 0) for key, w in here.weights.items()}
    scaled = SIDES[side]("ConstantVarianceVAE", weights)
    loss, grads = here.value_and_grads(elbo, X)
    scaled_loss, scaled_grads = scaled.value_and_grads(elbo, factor * X)
    changed = scaled_loss - B * D * np.log(factor)
    assert_same_losses(
        (changed, scaled_grads),
        (loss, grads),
        scales={key: factor**-power for key, power in powers.items()},
    )


@side
def test_baggins_is_the_bound_of_its_likelihood(side):
    here = SIDES[side]("ConstantVarianceVAE")
    terms = here.terms(here.module.BAGGINS_ELBO(0.3), X)
    loc = np.tanh(
        X @ here.weights["encoder.net.layer_0.weight"].T + here.weights["encoder.net.layer_0.bias"]
    )
    loc = (
        loc @ here.weights["encoder.net.layer_1.weight"].T
        + here.weights["encoder.net.layer_1.bias"]
    )
    hidden = loc + 0.1**0.5 * NOISE
    hidden = np.tanh(
        hidden @ here.weights["decoder.net.layer_0.weight"].T
        + here.weights["decoder.net.layer_0.bias"]
    )
    mean = (
        hidden @ here.weights["decoder.net.layer_1.weight"].T
        + here.weights["decoder.net.layer_1.bias"]
    )
    s2 = 0.1 + (loc**2).mean(0)
    variance = 0.3 * ((X - mean) ** 2).sum(1) / (s2 / 0.1).sum()
    expected = -0.5 * np.log(s2 / 0.1).sum() + np.mean(
        [
            multivariate_normal.logpdf(x, mu, r * np.eye(D))
            for x, mu, r in zip(X, mean, variance, strict=True)
        ]
    )
    assert terms.bound == pytest.approx(expected, rel=IDENTITY)
    assert_same(terms.prior_variance, s2, IDENTITY)
    assert terms.decoder_variance == pytest.approx(variance.mean(), rel=IDENTITY)


@pytest.mark.parametrize(
    ("side", "num_particles"),
    mostly([(name, num) for name in SIDES for num in (1, 3)], [("pyro", 1), ("pyro", 3)]),
)
def test_the_profiled_elbo_is_the_largest_over_its_variances(side, num_particles):
    here = SIDES[side]("VAE2")
    m = here.module
    profiled = m.Profiled_ELBO(num_particles, prior="diagonal")
    standard = m.Standard_ELBO(num_particles)
    variances = here.terms(profiled, X, noise=None, call="variances")
    logs = {
        "prior.log_variance": np.log(variances["z"]),
        "decoder.log_variance": np.log(variances["x"][0]),
    }
    best = SIDES[side]("VAE2", {**here.weights, **logs})
    loss, grads = best.value_and_grads(standard, X, noise=None)
    profiled_loss, profiled_grads = here.value_and_grads(profiled, X, noise=None)
    assert profiled_loss == pytest.approx(loss, rel=IDENTITY)
    for key in logs:
        assert np.abs(grads[key]).max() < IDENTITY * B * D
        assert (profiled_grads[key] == 0).all()
    others = grads.keys() - logs.keys()
    assert_same_losses(
        (profiled_loss, {key: profiled_grads[key] for key in others}),
        (loss, {key: grads[key] for key in others}),
    )
    # It is a maximum: any other variances have a higher loss.
    for key, step in ((key, step) for key in logs for step in (-0.1, 0.1)):
        other = SIDES[side]("VAE2", {**best.weights, key: best.weights[key] + step})
        assert other.value_and_grads(standard, X, noise=None)[0] > loss + 1e-3
    # With these variances the model's own residuals are zero.
    terms = best.terms(standard, X, noise=None)
    assert max(abs(residual) for residual in terms.residuals.values()) < IDENTITY
    sums = here.terms(profiled, X, noise=None)
    assert sums.elbo == pytest.approx(sums.entropy_sum, rel=IDENTITY)
    assert sums.entropy_sum == pytest.approx(terms.entropy_sum, rel=IDENTITY)


@side
@pytest.mark.parametrize("estimator", ["minibatch", "weighted", "stratified", "moment"])
def test_by_the_aggregate_the_entropy_decomposed_bound_is_the_elbo(side, estimator):
    here = SIDES[side]("VAE1")
    m = here.module
    elbo = m.EDVAE_ELBO(mutual_information="aggregate", aggregate_entropy=estimator)
    standard = here.value_and_grads(m.Standard_ELBO(), X, total=20)
    assert_same_losses(here.value_and_grads(elbo, X, total=20), standard)
    terms = here.terms(elbo, X)
    assert terms.bound == pytest.approx(terms.elbo, rel=IDENTITY)
    assert elbo.no_claim is None
    assert m.EDVAE_ELBO().no_claim is not None


@side
def test_the_weights_of_the_four_terms(side):
    here = SIDES[side]("VAE1")
    weights = EDVAEWeights(2.0, 0.5, 3.0, 0.1)
    elbo = here.module.EDVAE_ELBO(
        mutual_information="aggregate", weights=weights, aggregate_entropy="stratified"
    )
    terms = here.terms(elbo, X)
    parts = terms[1:5]
    signs = (1, -1, 1, -1)
    expected = sum(w * s * part for w, s, part in zip(weights, signs, parts, strict=True))
    assert terms.bound == pytest.approx(expected, rel=IDENTITY)
    assert here.value_and_grads(elbo, X)[0] == pytest.approx(-B * expected, rel=IDENTITY)
