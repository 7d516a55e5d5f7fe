"""`fit`: the linear VAE reaches probabilistic PCA; what a training loop must refuse."""

import numpy as np
import pyro
import pytest
import torch
from torch import nn

from entropy_core.theory.closed_form import optimal_decoder_variance
from pyro_entropy import VAE1, EntropySumDiagnostic, LinearVAE, Standard_ELBO, fit
from tests.support.helpers import HIDDEN, IDENTITY, STANDARD_ERRORS, D, H, data
from tests.support.ppca_oracle import PPCA, likelihood, optimum_weights


def test_at_the_optimum_the_entropy_sum_is_the_log_likelihood():
    vae = LinearVAE(10, 2, dtype=torch.float64).set_weights(optimum_weights())
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=100).run(torch.tensor(PPCA))
    expected = likelihood(optimum_weights())
    assert report["entropy_sum"] == pytest.approx(expected, abs=IDENTITY)
    summary = report.summary()
    assert abs(summary.loc["residual of z", "mean"]) < IDENTITY  # closed: no draws, no error
    mean, mcse = summary.loc["residual of x"]
    assert 0 < mcse < 0.01
    assert abs(mean) < STANDARD_ERRORS * mcse


def test_a_trained_linear_vae_has_the_log_likelihood_of_ppca():
    pyro.set_rng_seed(0)
    start = float(np.log(optimal_decoder_variance(PPCA, PPCA.mean(0))))
    vae = LinearVAE(10, 2, initial_log_variance=start, dtype=torch.float64)
    optim = pyro.optim.CosineAnnealingLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "T_max": 400, "eta_min": 5e-4}
    )
    report = fit(
        vae.model,
        vae.guide,
        torch.tensor(PPCA),
        optim=optim,
        num_epochs=400,
        batch_size=1000,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=200),
        diagnose_every=400,
        progress_bar=False,
    ).report
    expected = likelihood(vae.get_weights())
    assert report["elbo"] == pytest.approx(expected, abs=0.01)
    assert report["entropy_sum"] == pytest.approx(expected, abs=0.01)
    # And the model is a good one: nearly that of the closed form, which nothing exceeds.
    assert expected == pytest.approx(likelihood(optimum_weights()), abs=0.01)


@pytest.fixture
def vae():
    return VAE1(D, H, hidden=HIDDEN)


X = torch.tensor(data(50), dtype=torch.float32)


def test_losses_history_and_report(vae):
    result = fit(
        vae.model, vae.guide, X, num_epochs=5, batch_size=16, diagnose_every=2, progress_bar=False
    )
    assert len(result.losses) == 5 * 4
    history = result.report.to_datatree()["history"]
    assert history["epoch"].values.tolist() == [2, 4, 5]
    np.testing.assert_allclose(
        history["loss"].values, result.losses.reshape(5, -1).mean(1)[[1, 3, 4]]
    )
    assert history["latent_encoder_entropy"].shape == (3, H)
    # The loss is the negative ELBO in nats per data point, whatever the size of the batch.
    assert result.losses[-1] == pytest.approx(-result.report["elbo"], rel=0.3)


def test_a_batch_size_beyond_the_data_takes_all_of_it(vae):
    losses, _ = fit(vae.model, vae.guide, X, num_epochs=3, batch_size=64, progress_bar=False)
    assert len(losses) == 3


def test_a_scheduler_steps_once_an_epoch(vae):
    optim = pyro.optim.StepLR(
        {"optimizer": torch.optim.SGD, "optim_args": {"lr": 1e-5}, "step_size": 1, "gamma": 0.5}
    )
    fit(vae.model, vae.guide, X, optim=optim, num_epochs=3, batch_size=10, progress_bar=False)
    rates = {s.optimizer.param_groups[0]["lr"] for s in optim.optim_objs.values()}
    assert rates == {1e-5 / 8}


def test_a_loss_that_is_not_finite_stops_the_training(vae):
    class Broken(Standard_ELBO):
        steps = 0

        def bound(self, pair, **options):
            self.steps += 1
            return super().bound(pair, **options) * (1.0 if self.steps < 4 else float("nan"))

    with (
        pytest.warns(UserWarning, match="NaN"),
        pytest.raises(FloatingPointError, match="finite value for `loss`; got nan at step 4"),
    ):
        fit(vae.model, vae.guide, X, loss=Broken(), num_epochs=3, batch_size=25, progress_bar=False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"data": X[:0]}, ValueError, "at least one data point for `data`"),
        ({"data": X / 0}, ValueError, "finite values for `data`"),
        ({"data": X.tolist()}, TypeError, "a torch.Tensor for `data`; got list"),
        ({"data": X[:, 1:]}, ValueError, r"shape \(B, 6\) for `x`"),
        ({"data": (9 * X).to(torch.int64)}, TypeError, "for `x`; got torch.int64"),
        ({"num_epochs": 0}, ValueError, "`num_epochs`"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"diagnose_every": 2.5}, ValueError, "`diagnose_every`"),
    ],
)
def test_bad_arguments_are_refused_before_training(vae, kwargs, error, match):
    before = [parameter.clone() for parameter in vae.parameters()]
    with pytest.raises(error, match=match):
        fit(vae.model, vae.guide, **{"data": X, "progress_bar": False} | kwargs)
    assert all(torch.equal(p, q) for p, q in zip(vae.parameters(), before, strict=True))


def test_frozen_parameters_stay(vae):
    vae.decoder.log_variance.requires_grad_(False)
    with pytest.warns(UserWarning, match="requires_grad=False"):  # Pyro's own
        fit(vae.model, vae.guide, X, num_epochs=1, progress_bar=False)
    assert vae.decoder.log_variance.item() == 0.0


@pytest.mark.filterwarnings("ignore:.* was not registered in the param store")  # Pyro's own
def test_what_may_not_move_is_said_once_and_not_refused(vae):
    vae.decoder.log_variance.requires_grad_(False)
    vae.model.spare = nn.Linear(2, 1)
    with pytest.warns(UserWarning, match="parameters that may stay as they are") as said:
        losses, _ = fit(vae.model, vae.guide, X, num_epochs=2, progress_bar=False)
    (message,) = [str(w.message) for w in said if "may stay" in str(w.message)]
    assert "frozen (requires_grad=False): decoder.log_variance;" in message
    assert message.endswith("not used by the first batch: spare.bias, spare.weight")
    assert len(losses) == 2


def test_modules_that_share_a_name_in_the_param_store_are_refused():
    # As any two root modules of Pyro's do, which are both called "".
    first, second = VAE1(D, H, hidden=HIDDEN), VAE1(D, H, hidden=HIDDEN)
    for vae in (first, second):
        vae.model._pyro_name, vae.guide._pyro_name = "model", "guide"
    fit(first.model, first.guide, X, num_epochs=1, progress_bar=False)
    with pytest.raises(ValueError, match=r"each under a name of its own.* would not move: decoder"):
        fit(second.model, second.guide, X, num_epochs=1, progress_bar=False)
