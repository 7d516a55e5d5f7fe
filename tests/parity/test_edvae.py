"""The entropy-decomposed bound: what its critics and its floor do, in both backends."""

import warnings

import numpy as np
import pytest

from entropy_core.elbos.edvae import EDVAEWeights
from tests.support.helpers import IDENTITY, PARITY, B, data, mostly, random_weights
from tests.support.objective_table import moved, without_limit
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
    for key, grad in wanted_grads.items():
        np.testing.assert_allclose(grads[key], grad, rtol=PARITY, atol=PARITY)


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
