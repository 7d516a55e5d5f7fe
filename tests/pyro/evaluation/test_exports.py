"""ArviZ's groups of models with masks, without plates, with other names, of other batches."""

import warnings

import arviz_stats
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.autoname import scope
from pyro.infer.autoguide import AutoNormal

from entropy_core.report import EntropyReport
from pyro_entropy import EntropySumDiagnostic, to_datatree
from tests.support.helpers import D, data

N = 30
X = torch.tensor(data(N))
FIRST = X[:, 0]
SEEN = np.arange(N) % 3 > 0


def draw(model, guide, batches, **kwargs):
    return to_datatree(model, guide, batches, **{"num_draws": 5, **kwargs})


def loo(tree, name):
    """Leave-one-out over the rows that have a log-likelihood, as the documentation has it."""
    rows = tree["log_likelihood"][name][0, 0].notnull()
    (dim,) = rows.dims
    return arviz_stats.loo(tree.isel({dim: rows.values}), var_name=name, reff=1.0)


def global_guide(x, *_):
    pyro.sample("mu", dist.Normal(x.new_tensor(0.2), 0.1))


def masked_model(x, mask):
    mu = pyro.sample("mu", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("data", len(x)), poutine.mask(mask=mask):
        pyro.sample("x", dist.Normal(mu, 1.0), obs=x)


def test_what_a_mask_hides_is_no_data():
    mask = torch.tensor(SEEN)
    placeholders = torch.where(mask, FIRST, torch.tensor(-100.0, dtype=X.dtype))
    pyro.set_rng_seed(0)
    tree = draw(masked_model, global_guide, [(placeholders, mask)], num_draws=200)
    x = tree["observed_data"]["x"].values
    np.testing.assert_array_equal(x[SEEN], FIRST[mask])
    assert np.isnan(x[~SEEN]).all()
    np.testing.assert_array_equal(np.isnan(tree["log_likelihood"]["x"]), [[~SEEN] * 200])
    # The rows that are there, alone, have the same draws of the latent.
    alone = torch.ones(int(SEEN.sum()), dtype=torch.bool)
    pyro.set_rng_seed(0)
    same = draw(masked_model, global_guide, [(FIRST[mask], alone)], num_draws=200)
    found, wanted = loo(tree, "x"), arviz_stats.loo(same, var_name="x", reff=1.0)
    assert found.n_data_points == SEEN.sum()
    assert (found.elpd, found.se) == pytest.approx((wanted.elpd, wanted.se))
    drawn = draw(masked_model, global_guide, [(placeholders, mask)], posterior_predictive=True)
    assert np.isfinite(drawn["posterior_predictive"]["x"]).all()


def test_hidden_counts_are_floats_and_shown_ones_as_they_are():
    def model(x, mask):
        with pyro.plate("data", len(x)), poutine.mask(mask=mask):
            pyro.sample("x", dist.Poisson(x.new_tensor(2.0, dtype=X.dtype)), obs=x)

    counts = torch.arange(N) % 4
    for mask, dtype in ((torch.tensor(SEEN), np.float64), (torch.tensor(True), np.int64)):
        x = draw(model, lambda *_: None, [(counts, mask)])["observed_data"]["x"]
        assert x.dtype == dtype
        np.testing.assert_array_equal(x[SEEN], counts[SEEN])


def test_masks_inside_of_a_data_point():
    mask = torch.tensor(data(N, seed=1) > 0)
    mask[:2] = False

    def model(x, mask):
        mu = pyro.sample("mu", dist.Normal(x.new_tensor(0.0), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mu, 1.0).expand(x.shape).mask(mask).to_event(1), obs=x)

    # In some batches alone.
    shown = torch.ones(N, D, dtype=torch.bool)
    for batches in ([(X, mask), (X, shown)], [(X, shown), (X, mask)]):
        tree = draw(model, global_guide, batches)
        both = np.concatenate([batch[1] for batch in batches])
        np.testing.assert_array_equal(np.isnan(tree["observed_data"]["x"]), ~both)
        mu = tree["posterior"]["mu"].values[0, :, None, None]
        terms = -0.5 * (np.concatenate([X, X]) - mu) ** 2 - 0.5 * np.log(2 * np.pi)
        wanted = np.where(both.any(1), (terms * both).sum(-1), np.nan)
        np.testing.assert_allclose(tree["log_likelihood"]["x"].values[0], wanted)


def test_rows_that_the_host_imputes_are_latent():
    def model(x, mask):
        mu = pyro.sample("mu", dist.Normal(x.new_tensor(0.0), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x, obs_mask=mask)

    args = FIRST, torch.tensor(SEEN)
    guide = AutoNormal(model)
    guide(*args)
    tree = draw(model, guide, [args])
    np.testing.assert_array_equal(np.isnan(tree["observed_data"]["x_observed"]), ~SEEN)
    assert tree["posterior"]["x_unobserved"].shape == (1, 5, N)


@pytest.mark.parametrize("predict", [True, False])
def test_models_without_a_plate(predict):
    def model(x):
        mu = pyro.sample("mu", dist.Normal(x.new_tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    with pyro.validation_enabled(False):
        tree = draw(model, global_guide, [FIRST], posterior_predictive=predict)
    assert tree["posterior"]["mu"].dims == ("chain", "draw")
    assert tree["observed_data"]["x"].dims == ("x_dim_0",)
    mu = tree["posterior"]["mu"].values[0]
    wanted = -0.5 * (FIRST.numpy() - mu[:, None]) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(tree["log_likelihood"]["x"].values[0], wanted)
    assert ("posterior_predictive" in tree.children) is predict
    if predict:
        drawn = tree["posterior_predictive"]["x"]
        assert drawn.dims == ("chain", "draw", "x_dim_0")
        assert len(np.unique(drawn)) == 5 * N


def scoped_model(x):
    with scope(prefix="trend"):
        mu = pyro.sample("mu", dist.Normal(x.new_tensor(0.0), 1.0))
    step = pyro.sample("draw", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("sample", len(x)):
        pyro.sample("x", dist.Normal(mu + step, 1.0), obs=x)


def test_names_that_a_file_cannot_have_are_kept_beside_the_variables(tmp_path):
    guide = AutoNormal(scoped_model)
    guide(FIRST)
    tree = draw(scoped_model, guide, [FIRST])
    posterior = tree["posterior"].data_vars
    assert {n: a.attrs for n, a in posterior.items()} == {
        "trend::mu": {"site_name": "trend/mu"},
        "draw_site": {"site_name": "draw"},
    }
    x = tree["observed_data"]["x"]
    assert x.dims == ("sample_plate",)
    assert x["sample_plate"].attrs == {"plate_name": "sample"}
    report = EntropySumDiagnostic(scoped_model, guide).run([FIRST]).with_groups(tree)
    report.save(tmp_path / "report.nc")
    loaded = EntropyReport.load(tmp_path / "report.nc").to_datatree()
    assert loaded.identical(report.to_datatree())


def labelled_model(x, y=None):
    if y is not None:
        weight = pyro.sample("weight", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        if y is not None:
            pyro.sample("y", dist.Normal(weight * z, 1.0), obs=y)


def labelled_guide(x, y=None):
    if y is not None:
        pyro.sample("weight", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 1e-3))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
def test_batches_with_and_without_labels(order):
    y = FIRST[:10] + 1
    parts = [(FIRST[:10], y), (FIRST[10:20],), (FIRST[20:], y)]
    tree = draw(labelled_model, labelled_guide, [parts[i] for i in order])
    x = torch.cat([parts[i][0] for i in order]).numpy()
    labels = np.concatenate([np.full(10, np.nan) if i == 1 else y.numpy() for i in order])
    np.testing.assert_array_equal(tree["observed_data"]["x"], x)
    np.testing.assert_array_equal(tree["observed_data"]["y"], labels)
    np.testing.assert_allclose(tree["posterior"]["z"].values[0], [x / 2] * 5, atol=1e-2)
    # It is drawn once for all batches, also where the first one lacks it.
    weight, z = tree["posterior"]["weight"], tree["posterior"]["z"]
    assert weight.dims == ("chain", "draw")
    wanted = -0.5 * (labels - weight * z) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(tree["log_likelihood"]["y"], wanted, rtol=1e-9)


def test_a_label_is_drawn_where_it_is_not_observed():
    def model(x, y=None):
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Normal(x.new_tensor(0.0), 1.0), obs=y)
            pyro.sample("x", dist.Normal(y, 1.0), obs=x)

    def guide(x, y=None):
        if y is None:
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Normal(x, 1e-3))

    batches = [(FIRST[:10],), (FIRST[10:], 2 * FIRST[10:])]
    for order in (batches, batches[::-1]):
        tree = draw(model, guide, order)
        start = 0 if order is batches else N - 10
        drawn = np.isin(np.arange(N), np.arange(start, start + 10))
        np.testing.assert_array_equal(np.isnan(tree["posterior"]["y"]), [[~drawn] * 5])
        for group in ("observed_data", "log_likelihood"):
            missing = np.isnan(tree[group]["y"].values.reshape(-1, N))
            assert (missing == drawn).all()
        x = tree["observed_data"]["x"].values
        np.testing.assert_array_equal(tree["observed_data"]["y"].values[~drawn], 2 * x[~drawn])


def sequences_model(x):
    with pyro.plate("data", len(x)):
        for t in range(x.shape[1]):
            z = pyro.sample(f"z_{t}", dist.Normal(x.new_tensor(0.0), 1.0))
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])
        means = z[:, None].expand(x.shape)
        pyro.sample("whole", dist.Normal(means, 1.0).to_event(1), obs=x)


def sequences_guide(x):
    with pyro.plate("data", len(x)):
        for t in range(x.shape[1]):
            pyro.sample(f"z_{t}", dist.Normal(x[:, t] / 2, 1.0))


def test_sequences_of_other_lengths():
    short, long = X[:10, :2], X[10:, :3]
    for batches, start in (([short, long], 10), ([long, short], 0), ([long, short, long], 0)):
        tree = draw(sequences_model, sequences_guide, batches, num_draws=50)
        rows = np.concatenate([np.full(len(batch), batch.shape[1] == 3) for batch in batches])
        data_, posterior = tree["observed_data"], tree["posterior"]
        assert data_["whole"].sizes == {"data": len(rows), "whole_dim_0": 3}
        for values in (data_["x_2"], data_["whole"][:, 2], posterior["z_2"][0, 0]):
            np.testing.assert_array_equal(np.isnan(values), ~rows)
        assert not np.isnan(data_["whole"][:, :2]).any()
        assert not np.isnan(tree["log_likelihood"]["whole"]).any()
        np.testing.assert_array_equal(data_["x_2"][start : start + 20], long[:, 2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert loo(tree, "x_2").n_data_points == rows.sum()


def test_batches_that_cannot_be_padded_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(x, 1.0).to_event(x.ndim - 1), obs=x)

    match = r"dimensions \['data', 'x_dim_0'\] of 'x' in every batch for `batches`; got \['data'\]"
    with pytest.raises(ValueError, match=match):
        draw(model, lambda _: None, [X, FIRST])
