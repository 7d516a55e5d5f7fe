"""The history has what an objective notes of each step, however the steps are taken."""

import jax
import numpy as np
import pyro
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from entropy_core.elbos.edvae import NOTED, EDVAEWeights
from entropy_core.training import Callback, Checkpoints
from entropy_core.training.parting import WINDOWS

X = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
NUM_EPOCHS, EVERY = 10, 5
OPTIONS = {
    "num_epochs": NUM_EPOCHS,
    "batch_size": 4,
    "diagnose_every": EVERY,
    "progress_bar": False,
}
KEY = jax.random.key(0)
# The loss is the negative estimate itself, which rises.
INFORMATION = {"weights": EDVAEWeights(0.0, -1.0, 0.0, 0.0), "critic": "dot", "positives": 0.5}


class EachStep(Callback):
    """Looks at each step; stops a training by force after some of them."""

    def __init__(self, most=10_000):
        self.most = most

    def step(self, progress):
        if progress.step == self.most:
            raise KeyboardInterrupt


def in_pyro(loss, lr=0.02, x=X, **options):
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    vae = pyro_entropy.LinearVAE(4, 2)
    optim = pyro.optim.Adam({"lr": lr})
    return pyro_entropy.fit(
        vae.model, vae.guide, torch.tensor(x), loss=loss, optim=optim, **OPTIONS | options
    )


def in_numpyro(loss, key=KEY, lr=0.02, x=X, **options):
    vae = numpyro_entropy.LinearVAE(4, 2)
    optim = numpyro_entropy.training.fit.Adam(lr)
    return numpyro_entropy.fit(
        key, vae.model, vae.guide, x, loss=loss, optim=optim, **OPTIONS | options
    )


SIDES = {"pyro": (pyro_entropy, in_pyro), "numpyro": (numpyro_entropy, in_numpyro)}
WAYS = {
    "pyro, captured after fifty": ("pyro", {}),
    "numpyro, loops": ("numpyro", {}),
    "numpyro, single steps": ("numpyro", {"callbacks": [EachStep()]}),
}


def check(history, losses):
    steps = losses.reshape(NUM_EPOCHS, -1)[EVERY - 1 :: EVERY]
    for name in NOTED:
        assert history[name].shape == (len(steps),)
    np.testing.assert_allclose(history["mutual_information"], -steps.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history["floor_active"], (steps == 0).mean(1), atol=1e-7)
    return history


@pytest.mark.parametrize("way", WAYS)
def test_the_history_has_the_means_over_the_steps_of_an_epoch(way):
    side, options = WAYS[way]
    module, train = SIDES[side]
    result = train(module.EDVAE_ELBO(**INFORMATION), **options)
    if side == "pyro":
        assert (result.captures.num_replayed, result.captures.reasons) == (10, [])
    history = check(result.report.to_datatree()["history"], result.losses)
    # With two draws the floor may be active at one of them.
    assert float(history["mutual_information"].max()) > 0


def test_several_seeds_at_once_have_a_history_each():
    loss = numpyro_entropy.EDVAE_ELBO(**INFORMATION)
    keys = jax.random.split(KEY, 2)
    result = in_numpyro(loss, keys)
    for seed in range(2):
        history = check(result.report["history"].isel(seed=seed), result.losses[seed])
        assert 0 < float(history["floor_active"].mean()) < 1


@pytest.mark.parametrize("side", SIDES)
def test_a_training_that_was_stopped_within_an_epoch_has_the_same_history(side, tmp_path):
    module, train = SIDES[side]
    loss = module.EDVAE_ELBO(**INFORMATION)
    wanted = train(loss, callbacks=[EachStep()]).report.to_datatree()["history"]
    with pytest.raises(KeyboardInterrupt):
        train(loss, checkpoints=Checkpoints(tmp_path, every_steps=5), callbacks=[EachStep(22)])
    files = Checkpoints(tmp_path, every_steps=5, resume=True)
    result = train(loss, checkpoints=files, callbacks=[EachStep()])
    history = result.report.to_datatree()["history"]
    for name in ("loss", *NOTED):
        np.testing.assert_array_equal(history[name], wanted[name])


@pytest.mark.parametrize("side", SIDES)
def test_other_objectives_note_nothing(side):
    module, train = SIDES[side]
    history = train(module.Standard_ELBO(), num_epochs=1).report.to_datatree()["history"]
    assert not set(NOTED) & set(history.data_vars)


@pytest.mark.parametrize("side", SIDES)
def test_an_objective_that_rises_while_the_elbo_falls_is_warned_of(side):
    module, train = SIDES[side]

    class Downhill(module.Standard_ELBO):
        def bound(self, pair, **options):
            return -super().bound(pair, **options)

    # So many data points that the draws of a look add little to its error.
    x = np.tile(X, (20, 1))
    options = {"num_epochs": min(WINDOWS), "diagnose_every": 1, "batch_size": 80, "x": x}
    with pytest.warns(UserWarning, match="the ELBO falls while the objective rises: from epoch 1 "):
        train(Downhill(), **options)
    # Where it is not of the model as it is, nothing is said.
    Downhill.replaces_variances = True
    train(Downhill(), **options)
