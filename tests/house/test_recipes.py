"""The recipes of `docs/training.md`, with stand-ins for packages that are no dependencies."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from entropy_core.training import Callback
from pyro_entropy import VAE1, EntropySumDiagnostic, fit

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
X = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
NAMES = ("elbo", "entropy_sum", "gap")


def recipe(name):
    (block,) = [block for block in BLOCKS if name in block]
    names = {"Callback": Callback, "torch": torch}
    exec(compile(block, "training.md", "exec"), names)
    return names


def stand_in(monkeypatch, name, **attributes):
    module = ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def vae():
    return VAE1(4, 2, hidden=())


def trained(vae, callback):
    glance = EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    options = {"num_epochs": 2, "diagnose_every": 2, "progress_bar": False, "diagnostic": glance}
    return fit(vae.model, vae.guide, X, callbacks=[callback], **options).report


def test_tensorboard(vae, monkeypatch):
    written, closed = [], []

    class SummaryWriter:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, float(value), step))

        def close(self):
            closed.append(True)

    stand_in(monkeypatch, "torch.utils.tensorboard", SummaryWriter=SummaryWriter)
    report = trained(vae, recipe("SummaryWriter")["TensorBoard"]("runs"))
    history = report.to_datatree()["history"]
    assert written[0] == "runs"
    assert [line[0] for line in written[1:]] == ["loss", "loss", *NAMES]
    assert written[3:] == [(name, history[name][0].item(), 2) for name in NAMES]
    assert closed == [True]


def test_wandb(vae, monkeypatch):
    logged, given = [], {}
    run = SimpleNamespace(
        log=lambda numbers, step: logged.append((step, numbers)),
        finish=lambda: logged.append("end"),
    )

    def init(**options):
        given.update(options)
        return run

    stand_in(monkeypatch, "wandb", init=init)
    report = trained(vae, recipe("SummaryWriter")["WandB"]("mine"))
    history = report.to_datatree()["history"]
    assert given == {"project": "mine", "mode": "offline"}
    assert [step for step, _ in logged[:2]] == [1, 2]
    assert logged[0][1].keys() == {"loss"}
    assert logged[1][1]["elbo"] == history["elbo"][0].item()
    assert logged[2] == "end"


def test_lightning(vae, monkeypatch):
    logged = {}

    class LightningModule(torch.nn.Module):
        def log_dict(self, numbers):
            logged.update(numbers)

    stand_in(monkeypatch, "lightning", LightningModule=LightningModule)
    module = recipe("LightningModule")["lightning_module"](vae, len(X), X)
    before = [parameter.clone() for parameter in vae.parameters()]
    optimizer = module.configure_optimizers()
    for i, batch in enumerate(X.split(10)):
        optimizer.zero_grad()
        module.training_step(batch, i).backward()
        optimizer.step()
    module.on_train_epoch_end()
    assert not any(torch.equal(p, q) for p, q in zip(vae.parameters(), before, strict=True))
    assert logged.keys() == set(NAMES)
