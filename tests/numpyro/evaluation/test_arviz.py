"""A trained guide as ArviZ's groups, and ArviZ's functions on them."""

import warnings

import arviz_base
import arviz_stats
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from matplotlib import pyplot as plt
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.svi import SVIRunResult

from entropy_core.report import EntropyReport
from numpyro_entropy import VAE1, EntropySumDiagnostic
from numpyro_entropy.evaluation.arviz import to_datatree
from tests.numpyro.models import (
    initial_params,
    nested_guide,
    nested_model,
    subsampled_guide,
    subsampled_model,
)
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, D, H, data

N, S = 30, 200
X = jnp.asarray(data(N))
VAE_1 = VAE1(D, H, hidden=HIDDEN)
MODEL, GUIDE = VAE_1.model, VAE_1.guide
KEY = random.key(0)
PARAMS = jax.jit(VAE_1.init)(KEY)


def draw(model, guide, batches, **kwargs):
    params = PARAMS if model == MODEL else initial_params(model, guide, X)
    return to_datatree(KEY, params, model, guide, batches, **kwargs)


def encoded():
    q = VAE_1.encode(PARAMS, X).base_dist
    return np.asarray(q.loc), np.asarray(q.scale)


def decoded(z):
    p = VAE_1.decode(PARAMS, jnp.asarray(z)).base_dist
    return np.asarray(p.loc), np.asarray(p.scale)


@pytest.fixture(name="tree", scope="module")
def _tree():
    return draw(MODEL, GUIDE, X, num_draws=S, posterior_predictive=True)


def test_groups_and_dimensions(tree):
    shapes = {
        name: {site: (a.dims, a.shape) for site, a in group.dataset.data_vars.items()}
        for name, group in tree.children.items()
    }
    sample = ("chain", "draw", "data")
    assert shapes == {
        "posterior": {"z": ((*sample, "z_dim_0"), (1, S, N, H))},
        "posterior_predictive": {"x": ((*sample, "x_dim_0"), (1, S, N, D))},
        "log_likelihood": {"x": (sample, (1, S, N))},
        "observed_data": {"x": (("data", "x_dim_0"), (N, D))},
    }
    assert tree["posterior"].attrs["inference_library"] == "numpyro"
    assert "posterior_predictive" not in draw(MODEL, GUIDE, X, num_draws=2).children


def test_latents_are_draws_of_the_guide(tree):
    loc, scale = encoded()
    z = tree["posterior"]["z"].values[0]
    # Standard errors of a mean, and of a standard deviation, over S draws of 90 values.
    assert (np.abs(z.mean(0) - loc) < STANDARD_ERRORS * scale / S**0.5).all()
    assert (np.abs(z.std(0) / scale - 1) < STANDARD_ERRORS / (2 * S) ** 0.5).all()


def test_log_likelihood_is_that_of_the_draws(tree):
    z, x = tree["posterior"]["z"].values[0], tree["observed_data"]["x"].values
    np.testing.assert_array_equal(x, np.asarray(X))
    mean, scale = decoded(z)
    wanted = -0.5 * ((x - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(tree["log_likelihood"]["x"].values[0], wanted.sum(-1), rtol=1e-9)
    noise = (tree["posterior_predictive"]["x"].values[0] - mean) / scale
    assert abs(noise.mean()) < STANDARD_ERRORS / noise.size**0.5
    assert abs(noise.std() - 1) < STANDARD_ERRORS / (2 * noise.size) ** 0.5


def test_batches_are_put_one_after_another(tree):
    for batches, options in ((X, {"batch_size": 20}), ([X[:20], (X[20:],)], {})):
        parts = draw(MODEL, GUIDE, batches, num_draws=3, **options)
        assert parts["posterior"]["z"].shape == (1, 3, N, H)
        assert parts["observed_data"].dataset.equals(tree["observed_data"].dataset)
        z = parts["posterior"]["z"].values[0]
        assert (np.abs(z - encoded()[0]) < STANDARD_ERRORS * encoded()[1]).all()


def global_model(x):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(mean, 1.0))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=x[:, 0])


def global_guide(x):
    mean = numpyro.sample("mean", dist.Normal(0.0 + 0.2, 0.5))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", dist.Normal(mean, 1e-3))


def bare_model(x):
    z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(z, 1.0).expand((len(x),)).to_event(1), obs=x[:, 0])


def bare_guide(x):
    numpyro.sample("z", dist.Normal(0.0, 0.5))


def test_a_latent_of_the_whole_data_set_is_the_same_in_every_batch():
    tree = draw(global_model, global_guide, X, num_draws=5, batch_size=7)
    mean, z = (tree["posterior"][name] for name in ("mean", "z"))
    assert (mean.dims, z.dims) == (("chain", "draw"), ("chain", "draw", "rows"))
    assert len(np.unique(mean)) == 5
    # The guide's draws are around those of the mean.
    np.testing.assert_allclose(z - mean, 0.0, atol=STANDARD_ERRORS * 1e-3)
    wanted = -0.5 * (np.asarray(X)[:, 0] - z) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(tree["log_likelihood"]["y"], wanted, rtol=1e-9)


def test_other_plates_are_dimensions():
    tree = draw(nested_model, nested_guide, [X], num_draws=2)
    assert {name: a.dims[2:] for name, a in tree["posterior"].data_vars.items()} == {
        "mean": ("groups",),
        "noise": ("groups", "members"),
    }
    assert tree["log_likelihood"]["y"].shape == (1, 2, N, D)


def test_arviz_works_on_the_groups(tree):
    summary = arviz_stats.summary(tree.isel(data=slice(0, 2)), round_to=3)
    assert list(summary.index[:2]) == ["z[0, 0]", "z[0, 1]"]
    np.testing.assert_allclose(
        summary["mean"], tree["posterior"]["z"].values[0, :, :2].mean(0).ravel(), atol=1e-3
    )
    with warnings.catch_warnings():
        # A latent of its own for each data point: large Pareto k are what the docstring says.
        warnings.simplefilter("ignore", UserWarning)
        loo = arviz_stats.loo(tree, var_name="x", reff=1.0)
    assert loo.n_data_points == N
    assert loo.elpd < tree["log_likelihood"]["x"].mean(("chain", "draw")).sum()
    mpl.use("agg")
    plots = pytest.importorskip("arviz_plots")
    figure = plots.plot_forest(tree.isel(data=slice(0, 2)), var_names=["z"])
    assert figure.get_viz("figure") is not None
    plt.close("all")


def test_a_report_takes_the_groups_and_saves_them(tree, tmp_path):
    report = EntropySumDiagnostic(MODEL, GUIDE).run(KEY, PARAMS, X)
    both = report.with_groups(tree)
    groups = both.to_datatree()
    own = list(report.to_datatree().children)
    assert list(groups.children) == [*own, *tree.children]
    assert groups["posterior"].dataset.identical(tree["posterior"].dataset)
    assert str(both) == str(report)
    both.save(tmp_path / "report.nc")
    assert EntropyReport.load(tmp_path / "report.nc").to_datatree().identical(groups)
    with arviz_base.convert_to_datatree(str(tmp_path / "report.nc")) as read:
        assert read["log_likelihood"].dataset.identical(tree["log_likelihood"].dataset)
    with pytest.raises(ValueError, match=r"not the report's own for `tree`; got \['entropy_sum'"):
        report.with_groups(report.to_datatree())


def test_posterior_is_that_of_arviz_converter(tree):
    svi = SVI(MODEL, GUIDE, numpyro.optim.Adam(1e-3), Trace_ELBO())
    result = SVIRunResult(PARAMS, None, None)
    other = arviz_base.from_numpyro_svi(
        svi, svi_result=result, model_args=(X,), num_samples=S, log_likelihood=False
    )
    ours, theirs = tree["posterior"]["z"].values[0], other["posterior"]["z"].values
    assert ours.shape == theirs.shape
    error = encoded()[1] * (2 / S) ** 0.5
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < STANDARD_ERRORS * error).all()


def test_the_key_decides_the_draws(tree):
    again = draw(MODEL, GUIDE, X, num_draws=S, posterior_predictive=True)
    for group in tree.children:
        assert again[group].dataset.equals(tree[group].dataset)


def test_plates_that_draw_rows_are_refused():
    with pytest.raises(
        ValueError, match=r"the rows of a batch as they are for `model`; got \['rows"
    ):
        draw(subsampled_model, subsampled_guide, [X])


@pytest.mark.parametrize(
    ("batches", "options", "match"),
    [
        ([], {}, "at least one batch for `batches`"),
        (X[:0], {}, "at least one data point for `batches`"),
        (X / 0, {}, "finite values for `batches`"),
        (X, {"num_draws": 0}, "positive integer for `num_draws`"),
        (X, {"data_plate": "rows"}, "plates around all data"),
    ],
)
def test_bad_arguments_are_refused(batches, options, match):
    with pytest.raises(ValueError, match=match):
        draw(MODEL, GUIDE, batches, **options)


def test_several_batches_need_a_plate():
    with pytest.raises(ValueError, match="one batch of all the data, which no plate"):
        draw(bare_model, bare_guide, [X, X])
