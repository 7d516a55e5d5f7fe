"""`fit` takes data in any form, each data point once an epoch, and weighs them alike."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_entropy import EntropySumDiagnostic, fit
from pyro_entropy.training.data import Data

# Row n adds 2^n to the loss, so that a loss in binary shows the rows of its batch.
X = 2.0 ** torch.arange(7)
LABELS = torch.arange(7) % 3


def model(x, label=None, total=None):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Exponential(1.0), obs=x)
        if label is not None:
            # Every row has its own label beside it.
            assert torch.equal(label, (torch.log2(x).round().long()) % 3)


def guide(x, label=None, total=None):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))


QUIET = {"num_epochs": 3, "diagnose_every": 3, "progress_bar": False}
GLANCE = EntropySumDiagnostic(model, guide, num_particles=1)
STILL = {"optim": pyro.optim.SGD({"lr": 0.0}), "diagnostic": GLANCE, **QUIET}


def on_disk(folder):
    np.save(folder / "x.npy", X.numpy())
    return np.load(folder / "x.npy", mmap_mode="r")


FORMS = {
    "tensor": lambda folder: X,
    "array": lambda folder: X.numpy(),
    "on a disk": on_disk,
    "tuple": lambda folder: (X, LABELS),
    "dictionary": lambda folder: {"x": X, "label": LABELS},
    "both": lambda folder: ((X,), {"label": LABELS}),
    "pairs": lambda folder: DataLoader(TensorDataset(X, LABELS), batch_size=2, shuffle=True),
    "dictionaries": lambda folder: [{"x": X[:4], "label": LABELS[:4]}, {"x": X[4:]}],
    "function": lambda folder: lambda epoch: (x for x in X.split(2 + epoch % 2)),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_epoch_has_each_data_point_once(form, tmp_path):
    losses = fit(model, guide, FORMS[form](tmp_path), batch_size=2, **STILL).losses
    rows = np.rint(7 * losses).astype(int)
    assert rows.sum() == 3 * (2**7 - 1)
    largest = {"dictionaries": 4, "function": 3}.get(form, 2)
    assert max(int(row).bit_count() for row in rows) == largest
    if form in ("tensor", "array", "on a disk", "tuple", "dictionary", "both"):
        sizes = [[int(row).bit_count() for row in epoch] for epoch in rows.reshape(3, 4)]
        assert sizes == [[2, 2, 2, 1]] * 3
        assert len({tuple(epoch) for epoch in rows.reshape(3, 4).tolist()}) == 3


def test_total_weighs_a_small_batch_as_all_the_data():
    def scaled(x, total=None):
        subsample = None if total is None else torch.arange(len(x))
        with pyro.plate("data", len(x) if total is None else total, subsample=subsample):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Exponential(1.0), obs=x)

    def its_guide(x, total=None):
        subsample = None if total is None else torch.arange(len(x))
        with pyro.plate("data", len(x) if total is None else total, subsample=subsample):
            pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))

    # All data points are alike: whatever the size of a batch, its loss is that of all of them.
    still = {name: value for name, value in STILL.items() if name != "diagnostic"}
    losses, report = fit(scaled, its_guide, torch.full((7,), 3.0), batch_size=3, **still)
    np.testing.assert_allclose(losses, -report["elbo"], rtol=1e-6)
    assert len(losses) == 9


def test_a_model_without_total_may_have_its_own_subsampling():
    def subsampled(x):
        with pyro.plate("data", len(x), subsample_size=2) as rows:
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Exponential(1.0), obs=x[rows])

    def its_guide(x):
        with pyro.plate("data", len(x), subsample_size=2):
            pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))

    still = {name: value for name, value in STILL.items() if name != "diagnostic"}
    losses, report = fit(subsampled, its_guide, torch.full((7,), 3.0), batch_size=7, **still)
    np.testing.assert_allclose(losses, -report["elbo"], rtol=1e-6)


def test_a_transform_is_done_to_each_batch_and_to_what_is_looked_at():
    doubled = fit(model, guide, X, transform=lambda x: 2 * x, batch_size=7, **STILL)
    plain = fit(model, guide, 2 * X, batch_size=7, **STILL)
    np.testing.assert_array_equal(doubled.losses, plain.losses)
    assert doubled.report["elbo"] == plain.report["elbo"]


def test_binarised_anew_in_each_epoch():
    def bernoulli(x, total=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Bernoulli(torch.tensor(0.25)), obs=x)

    grey = torch.full((1000,), 0.4)
    options = STILL | {"diagnostic": None, "batch_size": 1000, "num_epochs": 20}
    losses = fit(bernoulli, guide, grey, transform=torch.bernoulli, **options).losses
    # The number of ones is that of a binomial distribution, and another one in each epoch.
    ones = (losses + np.log(0.75)) / np.log(3)
    assert np.std(ones) == pytest.approx(np.sqrt(0.4 * 0.6 / 1000), rel=0.6)
    assert ones.mean() == pytest.approx(0.4, abs=0.015)
    with pytest.raises(ValueError, match="support"):
        fit(bernoulli, guide, grey, **options)


def test_a_data_set_beyond_memory_is_read_batch_by_batch():
    made = [0]

    class Rows:
        """Twenty thousand rows that are made when they are asked for."""

        def __iter__(self):
            for seed in range(20):
                made[0] += 1
                yield torch.full((1000,), 1.0 + seed)

    fit(model, guide, Rows(), batch_size=1000, **STILL | {"num_epochs": 2})
    # One pass to check, two to train, one look on the way and one at the end; a first look twice.
    assert made[0] <= 5 * 20 + 2


def test_memory_of_a_file_is_not_all_read(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (5000,))
    rows[:] = 1.0
    data = Data(np.load(tmp_path / "x.npy", mmap_mode="r"), 100)
    batch = next(data.epoch(1))
    assert isinstance(batch, torch.Tensor)
    assert len(batch) == 100
    # A step may write to its batch, and not to the file.
    batch[:] = 0.0
    assert (np.load(tmp_path / "x.npy") == 1.0).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ((X, LABELS[:5]), ValueError, r"as many rows in each array for `data`; got \[5, 7\]"),
        (iter([X]), TypeError, "batches to go through again"),
        ([], ValueError, "at least one batch for `data`; got none"),
        (lambda epoch: [X] if epoch == 0 else [], ValueError, "one batch in each epoch"),
        ([X, X / 0], ValueError, "finite values for `data`"),
        ([X, -X], ValueError, "support"),
        ([[1.0]], TypeError, "batches that have a torch.Tensor for `data`; got list"),
        (3, TypeError, "for `data`; got int"),
    ],
)
def test_bad_data_are_refused(data, error, match):
    with pytest.raises(error, match=match):
        fit(model, guide, data, **STILL)


def test_batches_of_an_epoch_are_of_nearly_one_size():
    # The 129th data point alone would stop batch normalisation, and weigh as much as 128.
    assert [len(x) for x in Data(torch.zeros(129, 4), 128).epoch(1)] == [65, 64]
