"""`EntropySumDiagnostic.monitor` in a training loop of the user's own."""

import numpy as np
import pytest
import torch

from entropy_core.results.groups import CollapseThresholds
from entropy_core.training.history import COUNTS, HISTORY
from pyro_entropy import VAE1, EntropySumDiagnostic, fit
from tests.support.helpers import HIDDEN, IDENTITY, D, H, data

X = torch.tensor(data(50))
VAE_1 = VAE1(D, H, hidden=HIDDEN, dtype=torch.float64)
MODEL, GUIDE = VAE_1.model, VAE_1.guide


def test_a_row_for_each_update():
    monitor = EntropySumDiagnostic(MODEL, GUIDE, num_particles=2).monitor()
    made = [monitor.update(step, X, loss=-step) for step in (0, 5, 20)]
    history = monitor.history
    assert history["epoch"].values.tolist() == [0, 5, 20]
    assert history["loss"].values.tolist() == [0, -5, -20]
    for name in HISTORY:
        assert history[name].values.tolist() == [report[name] for report in made]
    assert monitor.report is made[-1]
    assert monitor.report.sites()["num_dims"].tolist() == [H, H, D]
    assert made[-1].to_datatree()["history"].dataset.equals(history)
    assert [len(report.to_datatree()["history"]["epoch"]) for report in made] == [1, 2, 3]


def test_the_history_has_the_variables_of_fit():
    monitor = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1).monitor()
    monitor.update(1, X)
    fitted = fit(
        MODEL, GUIDE, X, num_epochs=1, batch_size=25, progress_bar=False
    ).report.to_datatree()["history"]
    history = monitor.history
    assert {k: (v.dims, v.dtype) for k, v in history.variables.items()} == {
        k: (v.dims, v.dtype) for k, v in fitted.dataset.variables.items()
    }
    assert np.isnan(history["loss"]).all()
    assert (history.attrs["unit"], fitted.attrs["unit"]) == ("step", "epoch")


def test_fit_counts_latents_by_the_thresholds_of_its_diagnostic():
    thresholds = CollapseThresholds(entropy_delta=1e3, active_variance=1e3)
    diagnostic = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1, thresholds=thresholds)
    options = {"num_epochs": 1, "batch_size": 25, "progress_bar": False}
    report = fit(MODEL, GUIDE, X, diagnostic=diagnostic, **options).report
    history = report.to_datatree()["history"]
    assert [history[name].item() for name in COUNTS] == [0, H]


def test_batches_are_those_of_the_diagnostic():
    monitor = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1).monitor()
    whole = monitor.update(1, X)
    parts = monitor.update(2, [X[:25], X[25:]])
    cut = monitor.update(3, X, batch_size=25)
    assert parts["encoder_entropy"] == pytest.approx(whole["encoder_entropy"], rel=IDENTITY)
    assert cut["encoder_entropy"] == pytest.approx(whole["encoder_entropy"], rel=IDENTITY)


def test_a_failed_update_leaves_no_row():
    monitor = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1).monitor()
    with pytest.raises(ValueError, match="at least one call before for `update`; got none"):
        _ = monitor.report
    monitor.update(3, X)
    with pytest.raises(ValueError, match="an integer above 3 for `step`; got 3"):
        monitor.update(3, X)
    with pytest.raises(ValueError, match="at least one batch for `batches`"):
        monitor.update(4, [])
    assert monitor.history["epoch"].values.tolist() == [3]
    assert monitor.report.to_datatree()["history"]["epoch"].values.tolist() == [3]
