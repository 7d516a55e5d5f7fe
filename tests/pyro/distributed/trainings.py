"""Trainings, reports and gradients that ranks and one process have alike."""

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from pyro.infer import SVI
from torch import nn
from torch.distributions import constraints

import pyro_entropy as m
from tests.support.helpers import D, H, data, random_weights
from tests.support.objective_table import ALL_CASES
from tests.support.pyro_noise import PyroNoise

FIT_ROWS = 31


def with_noise_of_data(guide):
    """A guide whose draws have noise of the data: the same in any order, on any rank."""
    directions = torch.tensor(np.random.default_rng(2).standard_normal((D, H)))

    def noisy(x, total=None):
        with PyroNoise({"z": torch.sin(x @ directions)}):
            return guide(x, total)

    return noisy


def trained(loss, rank, num, seed, how):
    """The losses of a training from the weights of this seed, and a report or the weights."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    vae = ALL_CASES["VAE1"].make(m, torch.float64)
    x = torch.tensor(data(FIT_ROWS))
    guide, adam = with_noise_of_data(vae.guide), pyro.optim.Adam({"lr": 0.01})
    if how == "fit":
        options = {"num_epochs": 2, "batch_size": 12, "validation": x[:5] + 1}
        fitted = m.fit(vae.model, guide, x, loss=loss, optim=adam, progress_bar=False, **options)
        report = [
            *fitted.report.summary()["mean"],
            *fitted.report.group("history")["validation_elbo"].values,
        ]
        losses = fitted.losses
    else:
        rows = slice(FIT_ROWS * rank // num, FIT_ROWS * (rank + 1) // num)
        if how == "captured":
            svi = m.CapturedSVI(vae.model, guide, adam, loss)
        else:
            svi = SVI(vae.model, guide, adam, loss)
        losses = [svi.step(x[rows], total=100) for _ in range(3)]
        assert how == "loop" or svi.captures.num_plain == (3 if num > 1 else 1)
        losses.append(svi.evaluate_loss(x[rows]))
        report = []
    weights = [w.reshape(-1) for _, w in sorted(vae.get_weights().items())]
    return torch.tensor(np.concatenate([losses, report, *weights]))


def reports(x, rows):
    """The numbers of the diagnostic over all of the data, and merged over the ranks' rows."""
    vae = ALL_CASES["VAE3"].make(m, torch.float64)
    vae.set_weights(random_weights(vae.get_weights()))
    diagnostic = m.EntropySumDiagnostic(vae.model, with_noise_of_data(vae.guide), num_particles=2)
    both = diagnostic.run(x), diagnostic.run(x[rows], batch_size=3, distributed=True)
    assert both[0].size == both[1].size
    return [torch.tensor(numbers_of(report)) for report in both]


def numbers_of(report):
    """The numbers of a report's summary and of its latents."""
    latents = report.latents().select_dtypes(["number", "bool"]).to_numpy(float)
    return np.concatenate([report.summary()["mean"], latents.ravel()])


class SharedMean(nn.Module):
    """A model with a latent site outside the data plate, which all data points share."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def model(self, x):
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(self, x):
        pyro.module("shared", self)
        with PyroNoise({"mean": torch.tensor(0.7, dtype=x.dtype)}):
            pyro.sample("mean", dist.Normal(self.loc, 0.5))


def shared_site(x, elbo):
    """The loss of that model and the gradient of its one parameter."""
    pyro.clear_param_store()
    pair = SharedMean()
    loss = elbo.loss_and_grads(pair.model, pair.guide, x)
    elbo_now = elbo.terms(pair.model, pair.guide, x).elbo.item()
    return torch.tensor([loss, pair.loc.grad, elbo_now])


def late_parameter(x, seed, elbo):
    """The losses of a training in which a constrained parameter first comes with the second step.

    Its first value is drawn, and differs between ranks; the same loss has trained another pair.
    """
    pyro.clear_param_store()
    torch.manual_seed(seed)

    def model(x, wide):
        drawn = torch.rand((), dtype=x.dtype)
        scale = pyro.param("scale", 0.5 + drawn, constraint=constraints.positive) if wide else 1.0
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    svi = SVI(model, lambda x, wide: None, pyro.optim.Adam({"lr": 0.1}), elbo)
    losses = [svi.step(x, wide) for wide in (False, True, True, False, True)]
    return torch.tensor([*losses, pyro.param("scale")])


def by_torch(x, elbo, *, wrapped):
    """The gradients that torch's own wrapper of a module averages."""
    vae = ALL_CASES["VAE1"].make(m, torch.float64)
    vae.set_weights(random_weights(vae.get_weights()))
    module = elbo(vae.model, with_noise_of_data(vae.guide))
    module.encoder = vae.guide
    if wrapped:
        module = nn.parallel.DistributedDataParallel(module)
    module(x).backward()
    return torch.cat([p.grad.reshape(-1) for p in vae.parameters()])
