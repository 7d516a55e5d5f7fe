"""How `fit` ends: by itself, by the user, by a loss that is not finite; and how it goes on."""

import os
import signal

import numpy as np
import pyro
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader, TensorDataset

from entropy_core.training import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Interrupted,
    NotFiniteLoss,
    TheoremStop,
)
from pyro_entropy import (
    VAE1,
    BernoulliVAE,
    EntropySumDiagnostic,
    LinearVAE,
    fit,
    fit_seeds,
)

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
OPTIONS = {"num_epochs": 3, "batch_size": 10, "diagnose_every": 3, "progress_bar": False}


def made(seed=0):
    pyro.set_rng_seed(seed)
    return VAE1(4, 2, hidden=(8,))


def adam(lr=0.01):
    return pyro.optim.Adam({"lr": lr})


def train(vae, data=X, **options):
    # One draw for each data point will do here.
    options["diagnostic"] = EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    return fit(vae.model, vae.guide, data, **OPTIONS | options)


class Weights(Callback):
    """Keeps the weights of each epoch."""

    def __init__(self):
        self.kept = []

    def epoch(self, progress):
        self.kept.append([value.clone() for value in progress.state.values()])


def test_the_best_weights_are_put_back():
    vae, weights = made(), Weights()
    options = {"num_epochs": 60, "diagnose_every": 1, "callbacks": [weights], "optim": adam(0.1)}
    result = train(vae, validation=2 * X[:10], stop=EarlyStopping(patience=2), **options)
    history = result.report.to_datatree()["history"]
    best = int(np.argmax(history["validation_elbo"].values))
    assert result.stopped.rule == "early stopping"
    assert result.stopped.best_epoch == best + 1 == result.stopped.epoch - 2
    assert len(weights.kept) == result.stopped.epoch
    found = [*vae.guide.parameters(), *vae.model.parameters()]
    assert all(any(torch.equal(p, q) for q in weights.kept[best]) for p in found)
    assert not all(any(torch.equal(p, q) for q in weights.kept[-1]) for p in found)


@pytest.mark.parametrize(("by", "steps"), [("epoch", 3), ("step", 9)])
def test_schedules_take_a_step_by_epoch_or_by_step(by, steps):
    vae = made()
    arguments = {"optimizer": torch.optim.SGD, "optim_args": {"lr": 1e-6}}
    optim = pyro.optim.ExponentialLR({**arguments, "gamma": 0.5})
    train(vae, optim=optim, schedule_by=by)
    rates = [s.optimizer.param_groups[0]["lr"] for s in optim.optim_objs.values()]
    assert rates == [1e-6 / 2**steps] * len(rates)


@pytest.mark.parametrize("validated", [True, False])
def test_a_plateau_is_one_of_the_held_out_loss_or_of_the_mean_loss(validated):
    vae, seen = made(), []

    class Spy(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics):
            seen.append(metrics)
            super().step(metrics)

    optim = pyro.optim.PyroLRScheduler(
        Spy, {"optimizer": torch.optim.SGD, "optim_args": {"lr": 1e-6}, "patience": 0}
    )
    validation = X[:10] if validated else None
    result = train(vae, optim=optim, validation=validation, diagnose_every=1)
    history = result.report.to_datatree()["history"]
    wanted = -history["validation_elbo"] if validated else history["loss"]
    num_parameters = len(optim.optim_objs)
    assert_array_equal(seen[::num_parameters], wanted)
    assert len(seen) == 3 * num_parameters


def test_a_training_that_diverges_leaves_the_last_good_weights():
    vae = made()
    with pytest.raises(NotFiniteLoss, match="at step 2, from the site 'z'") as caught:
        train(vae, optim=adam(1e30))
    error = caught.value
    assert len(error.losses) == 1
    same = made()
    for found, wanted in zip(vae.parameters(), same.parameters(), strict=True):
        assert torch.equal(found, wanted)
    assert all(not p.requires_grad or p.grad is None or not p.grad.any() for p in vae.parameters())


class Press(Callback):
    def step(self, progress):
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_leaves_the_weights_of_the_last_step_and_a_file(tmp_path):
    vae = made()
    with pytest.raises(Interrupted) as caught:
        train(vae, callbacks=[Press()], checkpoints=tmp_path)
    assert (caught.value.step, caught.value.epoch) == (4, 1)
    carried = {p.data_ptr() for p in caught.value.params.values()}
    assert carried == {p.data_ptr() for p in vae.parameters()}
    whole = made()
    losses = train(whole).losses
    again = made(7)
    went_on = Checkpoints(tmp_path, resume=True)
    assert_array_equal(train(again, checkpoints=went_on).losses, losses)
    assert_array_equal(losses[:4], caught.value.losses)


class Killed(BaseException):
    pass


class KillAt(Callback):
    def __init__(self, step):
        self.at = step

    def step(self, progress):
        if progress.step == self.at:
            raise Killed


def loader():
    return DataLoader(TensorDataset(X), batch_size=10, shuffle=True)


def scheduler():
    arguments = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.5}
    return pyro.optim.ExponentialLR(arguments)


OPTIMISERS = {
    "Adam": adam,
    "ClippedAdam": lambda: pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.9}),
    "scheduler": scheduler,
}


@pytest.mark.parametrize(
    ("at", "optim", "data"),
    [
        (5, "scheduler", loader),
        (6, "ClippedAdam", lambda: X),
        pytest.param(1, "Adam", lambda: X, marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_from_where_it_was_killed_bit_for_bit(tmp_path, at, optim, data):
    def run(vae, **more):
        options = {"optim": OPTIMISERS[optim](), "diagnose_every": 1, **more}
        rules = {"validation": X[:5], "stop": EarlyStopping(patience=50)}
        return train(vae, data(), **options, **rules)

    whole = made()
    wanted = run(whole)
    first = made()
    with pytest.raises(Killed):
        run(first, checkpoints=Checkpoints(tmp_path, every_steps=1), callbacks=[KillAt(at)])
    pyro.clear_param_store()
    # As in another process: other names in the store, other weights, another random state.
    made(5)
    vae = made(6)
    found = run(vae, checkpoints=Checkpoints(tmp_path, every_steps=1, resume=True))
    assert_array_equal(found.losses, wanted.losses)
    for key, array in whole.get_weights().items():
        assert_array_equal(vae.get_weights()[key], array)
    history, same = (r.report.to_datatree()["history"].dataset for r in (found, wanted))
    assert history.equals(same)
    assert found.report["elbo"] == wanted.report["elbo"]


def test_a_file_of_another_model_or_with_code_changes_nothing(tmp_path):
    vae, other = made(), VAE1(4, 3, hidden=(8,))
    train(vae, checkpoints=tmp_path)
    resumed = {"checkpoints": Checkpoints(tmp_path, resume=True), **OPTIONS}
    before = [p.clone() for p in other.parameters()]
    with pytest.raises(ValueError, match="a checkpoint of this training"):
        fit(other.model, other.guide, X, **resumed)
    with pytest.raises(ValueError, match="one with num_data 30 for 20"):
        fit(vae.model, vae.guide, X[:20], **resumed)

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made by the file"),)

    torch.save({"course": Code()}, Checkpoints(tmp_path).files()[-1])
    with pytest.raises(ValueError, match="a damaged file, or one of another kind"):
        fit(other.model, other.guide, X, **resumed)
    assert not (tmp_path / "made by the file").exists()
    assert all(torch.equal(p, q) for p, q in zip(other.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("rule", "diagnose_every"),
    [
        (TheoremStop(tol=2.0, patience=2, window=3, num_draws=4), 1),
        pytest.param(
            TheoremStop(tol=0.1, patience=2, window=5, num_draws=20), 10, marks=pytest.mark.slow
        ),
    ],
)
def test_a_stop_by_the_theorem(rule, diagnose_every):
    pyro.set_rng_seed(0)
    vae = LinearVAE(4, 1, dtype=torch.float64)
    options = {"num_epochs": 500, "batch_size": 30, "progress_bar": False}
    result = fit(
        vae.model,
        vae.guide,
        X.double(),
        optim=adam(0.02),
        stop=rule,
        diagnose_every=diagnose_every,
        **options,
    )
    assert result.stopped.rule == "theorem"
    assert 4 * diagnose_every <= result.stopped.epoch < 500
    history = result.report.to_datatree()["history"].dataset
    assert set(history["claim"].values) == {"x", "z"}
    assert (np.abs(history["residual"][-2:]) < rule.tol).all()


def test_seeds_run_one_after_the_other():
    def make():
        vae = VAE1(4, 2, hidden=(8,))
        return vae.model, vae.guide

    pyro.set_rng_seed(3)
    result = fit_seeds(make, X, seeds=[0, 4], **OPTIONS)
    after = torch.rand(())
    for i, seed in enumerate((0, 4)):
        pyro.set_rng_seed(seed)
        model, guide = make()
        alone = fit(model, guide, X, **OPTIONS)
        assert_array_equal(result.losses[i], alone.losses)
        assert result.reports[i]["elbo"] == alone.report["elbo"]
    history = result.report["history"]
    assert history["elbo"].dims == ("seed", "epoch")
    assert history["seed"].values.tolist() == [0, 4]
    assert history.attrs["seeds"] == "one after the other"
    pyro.set_rng_seed(3)
    assert torch.equal(torch.rand(()), after)
    with pytest.raises(ValueError, match="for `checkpoints`"):
        fit_seeds(make, X, seeds=[0], checkpoints="run", **OPTIONS)


def test_variances_in_closed_form_and_a_certificate():
    vae, noise = LinearVAE(4, 1), torch.Generator().manual_seed(1)
    x = torch.randn(60, 1, generator=noise) + 0.5 * torch.randn(60, 4, generator=noise)
    result = train(vae, x, closed_form_variances=True, certify=True, batch_size=60)
    # At a single draw, which is not that of the pass.
    sites = result.report.sites().set_index(["role", "site_name"])
    assert abs(sites.loc[("decoder", "x"), "residual"]) < 0.2
    certificate = result.certificate
    assert certificate.is_stationary
    assert certificate.sites["residual"].abs().max() < 1e-6
    # The weights stay those of the training.
    trained = {n: p.detach() for n, p in pyro.get_param_store().items()}
    moved = [not np.allclose(trained[n], v, atol=1e-3) for n, v in certificate.params.items()]
    assert any(moved)


def test_without_such_a_variance_there_is_an_error():
    vae = BernoulliVAE(4, 1)
    with pytest.raises(ValueError, match="log-variance of a normal site"):
        train(vae, (X > 0).float(), closed_form_variances=True)
