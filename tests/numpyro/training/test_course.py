"""`fit` takes data in any form; it ends by itself, by the user, or goes on where it was killed."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import torch
from jax import random
from numpy.testing import assert_allclose, assert_array_equal
from torch.utils.data import DataLoader, TensorDataset

from entropy_core.training import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Interrupted,
    NotFiniteLoss,
    TheoremStop,
)
from numpyro_entropy import EntropySumDiagnostic, LinearVAE, fit, fit_seeds
from numpyro_entropy.training.data import Data
from numpyro_entropy.vaes.data import data_plate
from tests.support.helpers import mostly

KEY = random.key(0)


def model(x, total=None):
    with data_plate(x, total):
        numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Exponential(jnp.exp(numpyro.param("rate", 0.0))), obs=x)


def guide(x, total=None):
    with data_plate(x, total):
        numpyro.sample("z", dist.Normal(numpyro.param("loc", 0.0), 1.0))


GLANCE = EntropySumDiagnostic(model, guide, num_particles=1)
OPTIONS = {
    "num_epochs": 2,
    "batch_size": 2,
    "diagnose_every": 2,
    "progress_bar": False,
    "diagnostic": GLANCE,
    "optim": optax.sgd(0.0),
}


def train(data, *, key=KEY, pair=(model, guide), **options):
    return fit(key, *pair, data, **OPTIONS | options)


# Row n adds 2^n to the loss, so that a loss in binary shows the rows of its batch.
X = 2.0 ** np.arange(7)
LABELS = np.arange(7.0) % 3


def unscaled(x, label=None):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Exponential(1.0), obs=x)


UNSCALED = unscaled, lambda x, label=None: guide(x)
UNSCALED_GLANCE = EntropySumDiagnostic(*UNSCALED, num_particles=1)


def on_disk(folder):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def pairs(folder):
    both = TensorDataset(torch.tensor(X), torch.tensor(LABELS))
    return DataLoader(both, batch_size=2, shuffle=True)


FORMS = {
    "on a disk": on_disk,
    "tuple": lambda folder: (X, LABELS),
    "dictionary": lambda folder: {"x": X, "label": LABELS},
    "pairs": pairs,
    "dictionaries": lambda folder: [{"x": X[:2]}, {"x": X[2:4]}, {"x": X[4:]}],
    "function": lambda folder: lambda epoch: (X[i : i + 2] for i in range(0, 7, 2)),
}


@pytest.mark.parametrize("form", mostly(FORMS, ["on a disk", "tuple", "pairs"]))
def test_each_epoch_has_each_data_point_once(form, tmp_path):
    losses = train(FORMS[form](tmp_path), pair=UNSCALED, diagnostic=UNSCALED_GLANCE).losses
    # Without `total` a loss is the mean over its batch.
    sizes = [2, 2, 2, 1] if form != "dictionaries" else [2, 2, 3]
    rows = np.rint(losses.reshape(2, -1) * sizes).astype(int)
    assert [[int(row).bit_count() for row in epoch] for epoch in rows] == [sizes] * 2
    assert rows.sum(1).tolist() == [2**7 - 1] * 2


def test_arrays_beside_each_other_are_shuffled_alike():
    data = Data((X, LABELS, 5), 2)
    rows = list(data.epoch(KEY, 1))
    assert [len(part) for part in rows] == [2, 2, 2, 1]
    calls = [data.rows(KEY, part, data.arrays) for part in rows]
    for call in calls:
        assert_array_equal(np.log2(call.args[0]) % 3, call.args[1])
        assert call.args[2] == 5
    assert sum(float(call.args[0].sum()) for call in calls) == 2**7 - 1


def test_total_weighs_a_small_batch_as_all_the_data_and_a_transform_is_done_to_each():
    # All data points are alike: whatever the size of a batch, its loss is that of all of them.
    result = train(np.full(7, 3.0), batch_size=3, transform=lambda key, x: 2 * x)
    assert_allclose(result.losses, -result.report["elbo"], rtol=1e-12)
    assert result.report["elbo"] == pytest.approx(-6.0)
    assert len(result.losses) == 6


def test_a_model_without_total_may_have_its_own_subsampling():
    def subsampled(x):
        with numpyro.plate("data", len(x), subsample_size=2) as rows:
            numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Exponential(1.0), obs=x[rows])

    def its_guide(x):
        with numpyro.plate("data", len(x), subsample_size=2):
            numpyro.sample("z", dist.Normal(numpyro.param("loc", 0.0), 1.0))

    glance = EntropySumDiagnostic(subsampled, its_guide, num_particles=1)
    pair, data = (subsampled, its_guide), np.full(7, 3.0)
    result = train(data, pair=pair, batch_size=7, diagnostic=glance)
    assert_allclose(result.losses, -result.report["elbo"], rtol=1e-12)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ((X, LABELS[:5]), ValueError, r"as many rows in each array for `data`; got \[5, 7\]"),
        (iter([X]), TypeError, "batches to go through again"),
        ([], ValueError, "at least one batch for `data`; got none"),
        ([X, X * np.nan], ValueError, "finite values for `data`"),
        ([X, -X], ValueError, "support"),
        (3, TypeError, "for `data`; got int"),
    ],
)
def test_bad_data_are_refused(data, error, match):
    with pytest.raises(error, match=match):
        train(data, pair=UNSCALED)


Y = np.random.default_rng(0).exponential(size=12)


class Params(Callback):
    """Keeps the parameters of each step and each epoch."""

    def __init__(self, press=0):
        self.steps, self.epochs, self.press = [], [], press

    def step(self, progress):
        self.steps.append(progress.state)
        if progress.step == self.press:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, progress):
        self.epochs.append(progress.state)


def test_the_best_weights_are_put_back():
    params = Params()
    result = train(
        Y,
        optim=optax.sgd(0.3),
        batch_size=12,
        num_epochs=40,
        diagnose_every=1,
        validation=3 * Y[:6],
        stop=EarlyStopping(patience=2),
        callbacks=[params],
    )
    history = result.report.to_datatree()["history"]
    best = int(np.argmax(history["validation_elbo"].values))
    assert result.stopped.best_epoch == best + 1 == result.stopped.epoch - 2
    assert result.params == params.epochs[best] != params.epochs[-1]


def test_a_training_that_diverges_carries_the_last_good_parameters():
    params = Params()
    # The third step spoils them.
    optim = optax.sgd(lambda count: jnp.where(count < 2, 1e-3, jnp.nan))
    with pytest.raises(NotFiniteLoss, match="got nan at step 4, from the site 'z'") as caught:
        train(Y, optim=optim, callbacks=[params])
    error = caught.value
    assert (error.step, error.epoch, error.site, len(error.losses)) == (4, 0, "z", 3)
    assert error.params == params.steps[1]


def test_ctrl_c_carries_the_parameters_of_the_last_step_and_leaves_a_file(tmp_path):
    params = Params(press=8)
    options = {"optim": numpyro.optim.Adam(0.1), "num_epochs": 3}
    with pytest.raises(Interrupted) as caught:
        train(Y, callbacks=[params], checkpoints=Checkpoints(tmp_path, every=9), **options)
    assert (caught.value.step, caught.value.epoch) == (8, 1)
    assert caught.value.params == params.steps[-1]
    # Bit for bit where the steps are taken in the same way: one at a time, for a callback.
    whole = train(Y, callbacks=[Params()], **options)
    assert_array_equal(whole.losses[:8], caught.value.losses)
    # It goes on in the middle of an epoch.
    again = {"callbacks": [Params()], "checkpoints": Checkpoints(tmp_path, resume=True)}
    found = train(Y, **again, **options)
    assert_array_equal(found.losses, whole.losses)
    assert found.params == whole.params
    histories = [r.report.to_datatree()["history"].dataset for r in (found, whole)]
    assert histories[0].equals(histories[1])
    # Another key is another training, and another optimiser has another state.
    resumed = {**options, "checkpoints": Checkpoints(tmp_path, resume=True)}
    with pytest.raises(ValueError, match=r"a checkpoint of this training .* one with rng_key"):
        train(Y, key=random.key(1), **resumed)
    with pytest.raises(ValueError, match=r"a checkpoint of this training .* another optimiser"):
        train(Y, **resumed | {"optim": optax.sgd(0.1)})


def test_seeds_train_at_once_each_as_alone():
    options = {name: value for name, value in OPTIONS.items() if name != "diagnostic"}
    options |= {"optim": optax.adam(0.1), "diagnostic": GLANCE}
    result = fit_seeds(model, guide, Y, seeds=[3, 4], **options)
    alone = train(Y, key=random.key(4), **options)
    assert_allclose(result.losses[1], alone.losses, rtol=1e-12)
    jax.tree.map(lambda a, b: assert_allclose(a[1], b), result.params, alone.params)
    history = result.report["history"]
    assert history["elbo"].dims == ("seed", "epoch")
    assert history["seed"].values.tolist() == [3, 4]
    assert history["elbo"].values[1] == pytest.approx(
        alone.report.to_datatree()["history"]["elbo"].values
    )
    assert history.attrs["seeds"] == "at once"
    with pytest.raises(ValueError, match="none for a batch of keys for `stop`"):
        fit_seeds(model, guide, Y, seeds=[3], stop=TheoremStop(), **options)


@pytest.mark.slow
def test_a_stop_by_the_theorem():
    vae = LinearVAE(4, 1)
    x = np.random.default_rng(0).standard_normal((30, 4))
    result = fit(
        KEY,
        vae.model,
        vae.guide,
        x,
        optim=optax.adam(0.02),
        stop=TheoremStop(tol=0.1, patience=2, window=5, num_draws=20),
        num_epochs=500,
        batch_size=30,
        diagnose_every=10,
        progress_bar=False,
    )
    assert result.stopped.rule == "theorem"
    assert 40 <= result.stopped.epoch < 500
    history = result.report.to_datatree()["history"].dataset
    assert set(history["claim"].values) == {"x", "z"}
    assert (np.abs(history["residual"][-2:]) < 0.1).all()


def test_variances_in_closed_form_and_a_certificate():
    vae, keys = LinearVAE(4, 1), random.split(random.key(1))
    x = random.normal(keys[0], (60, 1)) + 0.5 * random.normal(keys[1], (60, 4))
    result = fit(
        keys[0],
        vae.model,
        vae.guide,
        x,
        num_epochs=3,
        diagnose_every=3,
        closed_form_variances=True,
        certify=True,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=1),
        progress_bar=False,
    )
    # At a single draw, which is not that of the pass.
    sites = result.report.sites().set_index(["role", "site_name"])
    assert abs(sites.loc[("decoder", "x"), "residual"]) < 0.2
    certificate = result.certificate
    assert certificate.is_stationary
    assert certificate.sites["residual"].abs().max() < 1e-6
    # The parameters stay those of the training.
    both = zip(*map(jax.tree.leaves, (result.params, dict(certificate.params))), strict=True)
    assert any(not np.allclose(left, right, atol=1e-3) for left, right in both)
    with pytest.raises(ValueError, match="none for a batch of keys for `certify`"):
        fit(keys, vae.model, vae.guide, x, certify=True)
