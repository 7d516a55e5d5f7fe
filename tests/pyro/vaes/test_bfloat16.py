"""Models in bfloat16, and models looked at under autocast, which NumPy has no type for."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

from pyro_entropy import (
    VAE1,
    CapturedSVI,
    EntropySumDiagnostic,
    Standard_ELBO,
    fit,
    log_likelihood,
    to_datatree,
)

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


def computing_in_half(net="mlp", shape=(6,), hidden=(8,)):
    torch.manual_seed(0)
    return VAE1(shape, 2, net=net, hidden=hidden, compute_dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("net", "shape", "hidden"), [("mlp", (6,), (8,)), ("conv", (1, 4, 4), (3,))]
)
def test_layers_compute_in_bfloat16_and_nothing_else(net, shape, hidden):
    x = torch.rand(5, *shape)
    vae = computing_in_half(net, shape, hidden)
    torch.manual_seed(0)
    plain = VAE1(shape, 2, net=net, hidden=hidden)
    found, wanted = vae.encode(x), plain.encode(x)
    assert found.mean.dtype == vae.decode(found.mean).mean.dtype == torch.float32
    assert not torch.equal(found.mean, wanted.mean)
    assert torch.allclose(found.mean, wanted.mean, atol=2e-2)
    # The last layer of each net rounds to eight bits.
    assert torch.equal(found.mean, found.mean.bfloat16().float())
    loss = Standard_ELBO().differentiable_loss(vae.model, vae.guide, x)
    loss.backward()
    assert loss.dtype == torch.float32
    assert {p.grad.dtype for p in vae.parameters()} == {torch.float32}


def test_other_types_to_compute_in_are_refused():
    with pytest.raises(ValueError, match=r"expected bfloat16 or None for `compute_dtype`"):
        VAE1(6, 2, compute_dtype=torch.float16)


@pytest.mark.parametrize("loss", [Standard_ELBO(), TraceMeanField_ELBO()])
def test_autocast_around_a_loop_trains_what_parameters_have_become(loss):
    losses = []
    for vae, around in ((computing_in_half(), False), (float_twin(), True)):
        pyro.set_rng_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            svi = CapturedSVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.05}), loss)
            losses.append([svi.step(X) for _ in range(6)])
        assert svi.captures.num_replayed == 5, str(svi.captures)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 1


def test_autocast_around_the_hosts_svi():
    losses = []
    for vae, around in ((computing_in_half(), False), (float_twin(), True)):
        pyro.set_rng_seed(0)
        svi = pyro.infer.SVI(
            vae.model, vae.guide, pyro.optim.Adam({"lr": 0.05}), loss=Standard_ELBO()
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            losses.append([svi.step(X) for _ in range(6)])
    assert losses[0] == losses[1]


def float_twin():
    torch.manual_seed(0)
    return VAE1(6, 2, hidden=(8,))
