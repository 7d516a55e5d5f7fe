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
from tests.support.objective_table import without_limit

X = np.random.default_rng(0).standard_normal((45, 4)).astype(np.float32)
NUM_EPOCHS = 12
OPTIONS = {"num_epochs": NUM_EPOCHS, "batch_size": 8, "diagnose_every": 4, "progress_bar": False}
# The loss is the estimate itself.
INFORMATION = {"weights": EDVAEWeights(0.0, 1.0, 0.0, 0.0), "critic": "dot", "positives": 0.5}


class EachStep(Callback):
    """Looks at each step; stops a training by force after some of them."""

    def __init__(self, most=10_000):
        self.most = most

    def step(self, progress):
        if progress.step == self.most:
            raise KeyboardInterrupt


def in_pyro(loss, **options):
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    vae = pyro_entropy.LinearVAE(4, 2)
    optim = pyro.optim.Adam({"lr": 0.02})
    return pyro_entropy.fit(
        vae.model, vae.guide, torch.tensor(X), loss=loss, optim=optim, **OPTIONS | options
    )


def in_numpyro(loss, key=jax.random.key(0), **options):
    vae = numpyro_entropy.LinearVAE(4, 2)
    optim = numpyro_entropy.training.fit.Adam(0.02)
    return numpyro_entropy.fit(
        key, vae.model, vae.guide, X, loss=loss, optim=optim, **OPTIONS | options
    )


SIDES = {"pyro": (pyro_entropy, in_pyro), "numpyro": (numpyro_entropy, in_numpyro)}
WAYS = {
    "pyro, captured": ("pyro", {}),
    "pyro, plain": ("pyro", {"capture": False}),
    "numpyro, loops": ("numpyro", {}),
    "numpyro, single steps": ("numpyro", {"callbacks": [EachStep()]}),
}


def check(history, losses):
    rows = slice(3, None, 4)
    steps = losses.reshape(NUM_EPOCHS, -1)[rows]
    for name in NOTED:
        assert history[name].shape == (3,)
    np.testing.assert_allclose(history["mutual_information"], steps.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history["floor_active"], (steps == 0).mean(1), atol=1e-7)
    return history


@pytest.mark.parametrize("way", WAYS)
def test_the_history_has_the_means_over_the_steps_of_an_epoch(way):
    side, options = WAYS[way]
    module, train = SIDES[side]
    result = train(module.EDVAE_ELBO(2, temperature=0.2, **INFORMATION), **options)
    if way == "pyro, captured":
        assert (result.captures.num_replayed, result.captures.reasons) == (22, [])
    history = check(result.report.to_datatree()["history"], result.losses)
    # With two draws the floor may be active at one of them.
    assert float(history["mutual_information"].max()) > 0


def test_several_seeds_at_once_have_a_history_each():
    loss = numpyro_entropy.EDVAE_ELBO(temperature=0.2, **INFORMATION)
    keys = jax.random.split(jax.random.key(0), 2)
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
        files = Checkpoints(tmp_path, every_steps=3)
        train(loss, checkpoints=files, callbacks=[EachStep(22)])
    result = train(loss, checkpoints=Checkpoints(tmp_path, every_steps=3), callbacks=[EachStep()])
    history = result.report.to_datatree()["history"]
    for name in ("loss", *NOTED):
        np.testing.assert_array_equal(history[name], wanted[name])


@pytest.mark.parametrize("side", SIDES)
def test_other_objectives_note_nothing(side):
    module, train = SIDES[side]
    history = train(module.Standard_ELBO(), num_epochs=1).report.to_datatree()["history"]
    assert not set(NOTED) & set(history.data_vars)


@pytest.mark.parametrize("side", SIDES)
def test_a_flight_of_the_objective_is_warned_of(side):
    module, train = SIDES[side]
    loss = without_limit(module, critic="dot", floor=False)
    with pytest.warns(UserWarning, match="the ELBO falls while the objective rises: from epoch"):
        result = train(loss, num_epochs=25, diagnose_every=1)
    assert result.report["elbo"] < -50
