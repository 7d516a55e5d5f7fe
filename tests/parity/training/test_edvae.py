"""Trainings by the entropy-decomposed bound, beside those by the ELBO."""

import pytest

from tests.parity.training.test_history_terms import SIDES


@pytest.mark.parametrize("side", SIDES)
def test_with_the_defaults_the_elbo_is_that_of_a_training_by_the_elbo(side):
    # By the paper's critic and without a floor the ELBO falls below -4000 here.
    module, train = SIDES[side]
    options = {"lr": 0.05, "num_epochs": 40, "diagnose_every": 40}
    elbo = train(module.Standard_ELBO(), **options).report["elbo"]
    report = train(module.EDVAE_ELBO(), **options).report
    assert report["elbo"] > elbo - 0.5
    assert report.no_claim is not None
