"""Models in bfloat16, and models looked at under autocast, which NumPy has no type for."""

import numpy as np
import pytest
import torch

from pyro_entropy import VAE1, EntropySumDiagnostic, fit, log_likelihood, to_datatree

X = torch.linspace(0.0, 1.0, 192).reshape(32, 6)
OPTIONS = {"num_epochs": 1, "batch_size": 16, "progress_bar": False}


def half():
    torch.manual_seed(0)
    return VAE1(6, 2, hidden=(8,), dtype=torch.bfloat16)


def test_every_door_takes_bfloat16():
    vae, x = half(), X.bfloat16()
    assert np.isfinite(fit(vae.model, vae.guide, x, **OPTIONS).losses).all()
    report = EntropySumDiagnostic(vae.model, vae.guide).run(x)
    assert np.isfinite(report["gap"])
    assert np.isfinite(log_likelihood(vae.model, vae.guide, x, num_particles=20).mean)
    assert to_datatree(vae.model, vae.guide, x, num_draws=2)["posterior"]["z"].shape[-1] == 2


def test_weights_come_back_as_they_were(tmp_path):
    vae = half()
    vae.save_weights(tmp_path / "w")
    twin = VAE1(6, 2, hidden=(8,), dtype=torch.bfloat16).load_weights(tmp_path / "w")
    for left, right in zip(vae.parameters(), twin.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_report_under_autocast():
    torch.manual_seed(0)
    vae = VAE1(6, 2, hidden=(8,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = EntropySumDiagnostic(vae.model, vae.guide).run(X)
    plain = EntropySumDiagnostic(vae.model, vae.guide).run(X)
    assert report["elbo"] == pytest.approx(plain["elbo"], rel=0.05)
