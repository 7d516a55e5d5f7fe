"""The entropy-decomposed bound: what its critics and its floor do, in both backends."""

import warnings

import numpy as np
import pytest

from entropy_core.elbos.edvae import EDVAEWeights
from tests.support.helpers import (
    IDENTITY,
    PARITY,
    STANDARD_ERRORS,
    B,
    data,
    mostly,
    random_weights,
)
from tests.support.objective_table import NOISE, moved, without_limit
from tests.support.objectives import SIDES

X = data()
side = pytest.mark.parametrize("side", SIDES)
# The formulas stand once.
one_side = pytest.mark.parametrize("side", mostly(SIDES, ["pyro"]))
TOTAL = 20
# What the bound may be above the ELBO, with the entropies at the draws.
LIMITS = {
    "minibatch": np.log(B),
    "stratified": np.log(TOTAL),
    "weighted": np.log(B) + np.log(TOTAL),
}


def same(*args):
    """Positives that are the data; NumPyro hands over a random key, too."""
    return (args[-1],)


@side
def test_with_the_data_as_positives_the_density_critic_gives_the_elbo_at_the_draws(side):
    here = SIDES[side]("EDVAE")
    m = here.module
    elbo = m.EDVAE_ELBO(positives=same)
    assert here.terms(elbo, X).floor_active == 0
    loss, grads = here.value_and_grads(elbo, X)
    wanted, wanted_grads = here.value_and_grads(m.Standard_ELBO(closed_form=False), X)
    assert loss == pytest.approx(wanted, rel=IDENTITY)
    # The gradients of model and prior are the same draw by draw, those of the guide are not.
    for key, grad in wanted_grads.items():
        if not key.startswith("encoder"):
            np.testing.assert_allclose(grads[key], grad, rtol=PARITY, atol=PARITY)


def test_gradients_through_the_draws_alone_are_unbiased():
    here = SIDES["pyro"]("VAE1")
    m = here.module
    ours, standard = m.EDVAE_ELBO(positives=same), m.Standard_ELBO()
    rng, differences = np.random.default_rng(0), []
    for _ in range(40):
        noise = rng.standard_normal(NOISE.shape)
        (_, grads), (_, wanted) = (here.value_and_grads(e, X, noise) for e in (ours, standard))
        encoder = [key for key in wanted if key.startswith("encoder")]
        differences.append(np.concatenate([(grads[k] - wanted[k]).ravel() for k in encoder]))
    found = np.array(differences)
    error = found.std(0, ddof=1) / len(found) ** 0.5
    assert error.max() > 0
    assert (np.abs(found.mean(0)) <= STANDARD_ERRORS * error + 1e-9).all()


@side
def test_the_density_critic_is_held_as_it_is(side):
    # Its gradient does not see how the guide treats the positives; that of products does.
    here = SIDES[side]("VAE1")
    m = here.module

    def gradient(critic):
        only = EDVAEWeights(0.0, 1.0, 0.0, 0.0)
        options = {"critic": critic, "positives": moved, "weights": only, "floor": False}
        _, grads = here.value_and_grads(without_limit(m, **options), X)
        return grads

    found = gradient("density")
    assert max(np.abs(grad).max() for key, grad in found.items() if "encoder" in key) > 0
    # By differences in the densities' place: the draws move, the critic does not.
    held = here.terms(without_limit(m, positives=moved, floor=False), X).mutual_information
    key = max(key for key in here.weights if key.startswith("encoder.net") and "bias" in key)
    step, place = 1e-6, 0
    weights = {name: w.copy() for name, w in here.weights.items()}
    weights[key][place] += step
    other = type(here)("VAE1", weights)
    total = (
        other.terms(without_limit(m, positives=moved, floor=False), X).mutual_information - held
    ) / step
    # Where the mean of all draws and of all densities moves, the estimate does not.
    assert abs(total) < 1e-4
    assert abs(found[key][place]) > 1e-3


@side
def test_at_the_floor_mutual_information_costs_nothing(side):
    here = SIDES[side]("EDVAE")
    options = {"critic": "dot", "temperature": 0.1, "positives": moved}
    free = here.module.EDVAE_ELBO(weights=EDVAEWeights(mutual_information=0.0), positives=moved)
    wanted, wanted_grads = here.value_and_grads(free, X)
    elbo = here.module.EDVAE_ELBO(**options)
    terms = here.terms(elbo, X)
    assert (terms.mutual_information, terms.floor_active) == (0, 1)
    assert terms.aggregate_information > 0.5
    loss, grads = here.value_and_grads(elbo, X)
    assert loss == pytest.approx(wanted, rel=IDENTITY)
    for key, grad in wanted_grads.items():
        np.testing.assert_allclose(grads[key], grad, rtol=PARITY, atol=PARITY)
    terms = here.terms(without_limit(here.module, floor=False, **options), X)
    assert terms.mutual_information < -5
    assert terms.floor_active == 0


@one_side
@pytest.mark.parametrize("critic", ["density", "dot"])
@pytest.mark.parametrize("estimator", LIMITS)
def test_with_the_floor_the_bound_is_above_the_elbo_by_so_much_at_most(side, critic, estimator):
    weights = random_weights(SIDES[side]("VAE1").weights)
    above = []
    for scale in (0.1, 1.0, 10.0, -10.0):
        here = SIDES[side]("VAE1", {key: scale * w for key, w in weights.items()})
        elbo = here.module.EDVAE_ELBO(
            critic=critic, aggregate_entropy=estimator, positives=moved, closed_form=False
        )
        terms = here.terms(elbo, X, total=TOTAL)
        above.append(float(terms.bound - terms.elbo))
    assert max(above) <= LIMITS[estimator] + IDENTITY
    # The limit is one that is come near to.
    if critic == "dot":
        assert max(above) > 0.5 * LIMITS[estimator]


def narrow(here, log_variance):
    """The same pair with a guide of small variances."""
    weights = {key: w.copy() for key, w in here.weights.items()}
    last = max(key for key in weights if key.startswith("encoder.net") and key.endswith("bias"))
    bias = weights[last]
    bias[len(bias) // 2 :] = log_variance
    return type(here)("VAE1", weights)


@one_side
def test_moments_let_the_elbo_fall_without_limit(side):
    here = SIDES[side]("VAE1")
    elbo = without_limit(here.module, aggregate_entropy="moment", positives=moved)
    found = []
    for log_variance in (-10.0, -100.0):
        terms = narrow(here, log_variance).terms(elbo, X)
        found.append((float(terms.bound), float(terms.elbo)))
    (bound, above), (other, below) = found
    assert below < above - 100
    assert other > bound - 1


@side
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"floor": False}, "without a floor"),
        ({"aggregate_entropy": "moment"}, "loses entropy"),
    ],
)
def test_a_bound_without_a_limit_warns(side, options, match):
    m = SIDES[side].module
    with pytest.warns(UserWarning, match=f"without limit: .*{match}"):
        m.EDVAE_ELBO(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m.EDVAE_ELBO(mutual_information="aggregate", **options)
        m.EDVAE_ELBO(critic="dot", aggregate_entropy="stratified")


@side
@pytest.mark.parametrize(
    ("options", "match"),
    [({"critic": "cosine"}, "`critic`; got 'cosine'"), ({"floor": 0.0}, "True or False")],
)
@pytest.mark.usefixtures("unchecked")
def test_options_that_are_not_known_are_refused(side, options, match):
    with pytest.raises(ValueError, match=match):
        SIDES[side].module.EDVAE_ELBO(**options)
