"""Several ranks of `torch.distributed` against one process, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
import torch.distributed as dist

from entropy_core.elbos.edvae import NOTED
from entropy_core.training.stopping import TheoremStop
from pyro_entropy import (
    BILBO_ELBO,
    EDVAE_ELBO,
    VAE1,
    ConstantVarianceVAE,
    Distributed_ELBO,
    EntropySumDiagnostic,
    Standard_ELBO,
    fit,
)
from tests.pyro.distributed.ranks import TABLE
from tests.support.helpers import PARITY, data

ROOT = Path(__file__).parents[3]
# Sums of some thousand float32 terms, in another order.
SINGLE = 1e-5


@pytest.mark.parametrize(
    ("num", "cases"),
    [
        (2, ["total", "float32"]),
        pytest.param(2, ["float64"], marks=pytest.mark.slow),
        pytest.param(4, ["float64", "total", "float32"], marks=pytest.mark.slow),
    ],
)
def test_ranks_give_the_numbers_of_one_process(num, cases, tmp_path):
    command = [sys.executable, "-m", "tests.pyro.distributed.ranks", str(num), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *cases], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for rank in range(num):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert {f"{name}, {case}" for name in TABLE for case in cases} < found.keys()
        assert {"fit", "loop", "captured", "report", "shared site"} < found.keys()
        assert {"late parameter", "by torch"} < found.keys()
        wrong = {
            name: differences
            for name, differences in found.items()
            for difference in differences.values()
            if not difference <= (SINGLE if "float32" in name else PARITY)
        }
        assert wrong == {}


@pytest.fixture
def one_rank():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_process_group_is_asked_for():
    vae = VAE1(4, 2)
    with pytest.raises(RuntimeError, match="expected a process group"):
        Distributed_ELBO(Standard_ELBO())
    with pytest.raises(RuntimeError, match="expected a process group"):
        EntropySumDiagnostic(vae.model, vae.guide).run(torch.rand(8, 4), distributed=True)


@pytest.mark.usefixtures("one_rank", "unchecked")
def test_what_is_no_objective_of_this_package():
    for loss in (pyro.infer.Trace_ELBO(), None, Distributed_ELBO(Standard_ELBO())):
        with pytest.raises(TypeError, match="expected an objective of this package"):
            Distributed_ELBO(loss)


@pytest.mark.usefixtures("one_rank")
def test_one_rank_is_one_process():
    x = torch.tensor(data(dim=4))
    vae = ConstantVarianceVAE(4, 2, dtype=torch.float64)
    losses = []
    for loss in (BILBO_ELBO(), Distributed_ELBO(BILBO_ELBO())):
        pyro.set_rng_seed(0)
        losses.append(loss.loss(vae.model, vae.guide, x))
    np.testing.assert_allclose(*losses, rtol=PARITY)


@pytest.mark.usefixtures("one_rank")
def test_options_are_those_of_the_objective():
    loss = Distributed_ELBO(Standard_ELBO(3, kl_weight=0.5))
    assert loss.no_claim == "KL weight 0.5"
    assert loss.kl_weight == 0.5
    assert loss.num_particles == 3
    with pytest.raises(AttributeError):
        loss.nothing  # noqa: B018


@pytest.mark.usefixtures("one_rank")
def test_the_objective_stays_as_it_is():
    loss = Standard_ELBO()
    Distributed_ELBO(loss)
    assert loss.ranks is None


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize(
    "option",
    [
        {"certify": True},
        {"closed_form_variances": True},
        {"checkpoints": "folder"},
        {"stop": TheoremStop()},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_ranks_do_not_do_together(option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae = VAE1(4, 2)
    with pytest.raises(ValueError, match="expected none with a Distributed_ELBO"):
        fit(
            vae.model, vae.guide, torch.rand(8, 4), loss=Distributed_ELBO(Standard_ELBO()), **option
        )


@pytest.mark.usefixtures("one_rank")
def test_parts_have_no_claims():
    vae = VAE1(4, 2)
    with pytest.raises(ValueError, match="expected False for the parts of several ranks"):
        EntropySumDiagnostic(vae.model, vae.guide).run(
            torch.rand(8, 4), explain=True, distributed=True
        )


@pytest.mark.usefixtures("one_rank")
def test_a_plate_that_holds_all_data_is_asked_for():
    def model():
        pyro.sample("x", pyro.distributions.Normal(0.0, 1.0), obs=torch.tensor(1.0))

    with pytest.raises(ValueError, match="expected a plate that holds all observed sites"):
        Distributed_ELBO(Standard_ELBO()).loss(model, lambda: None)


@pytest.mark.usefixtures("one_rank")
def test_the_history_has_what_the_objective_notes():
    loss = Distributed_ELBO(EDVAE_ELBO())
    assert loss.history_terms == NOTED
    assert Distributed_ELBO(BILBO_ELBO()).replaces_variances
    vae = VAE1(4, 2, hidden=(4,))
    options = {"num_epochs": 1, "batch_size": 4, "progress_bar": False}
    x = torch.tensor(data()[:, :4], dtype=torch.float32)
    history = fit(vae.model, vae.guide, x, loss=loss, **options).report.to_datatree()["history"]
    for name in NOTED:
        assert np.isfinite(history[name]).all()
