"""How draws of batches become ArviZ's groups."""

import arviz_stats
import numpy as np
import pytest
import xarray as xr

from entropy_core.evaluation.draws import check_own_rows, to_datatree
from entropy_core.evaluation.shapes import BatchDraws, SiteShape, is_outside
from entropy_core.traces.records import Plate

DATA = Plate("data", -2, 3, 3)
INNER = Plate("inner", -1, 4, 4)
S = 5


def batch(seed, rows=3):
    """A latent in the outer plate, data in both, and a latent of the whole data set."""
    rng, data = np.random.default_rng(seed), DATA._replace(size=rows, full_size=rows)
    shapes = {
        "z": SiteShape(False, (data,), 2),
        "x": SiteShape(True, (data, INNER), 2),
        "w": SiteShape(False, (), 0),
    }
    groups = {
        "posterior": {"z": rng.random((S, rows, 1, 2)), "w": np.arange(S * 6.0).reshape(S, 2, 3)},
        "log_likelihood": {"x": rng.random((S, rows, 4))},
        "observed_data": {"x": rng.random((rows, 4))},
    }
    return BatchDraws(shapes, groups)


def test_batches_follow_each_other_along_the_data_plate():
    first, second = batch(0), batch(1, rows=2)
    tree = to_datatree([first, second], "data", library=np)
    z, w = tree["posterior"]["z"], tree["posterior"]["w"]
    assert z.dims == ("chain", "draw", "data", "z_dim_0")
    wanted = np.concatenate([b.groups["posterior"]["z"][:, :, 0] for b in (first, second)], 1)
    np.testing.assert_array_equal(z.values[0], wanted)
    assert w.dims == ("chain", "draw", "w_dim_0", "w_dim_1")
    np.testing.assert_array_equal(w.values[0], first.groups["posterior"]["w"])
    x = tree["observed_data"]["x"]
    assert (x.dims, x.shape) == (("data", "inner"), (5, 4))
    assert tree["log_likelihood"]["x"].dims == ("chain", "draw", "data", "inner")
    assert "posterior_predictive" not in tree.children


def test_a_plate_with_the_name_of_a_site_is_another_dimension():
    named = Plate("x", -1, 3, 3)
    one = BatchDraws(
        {"x": SiteShape(True, (named,), 1)}, {"observed_data": {"x": np.zeros((3, 2))}}
    )
    tree = to_datatree([one], None, library=np)
    assert tree["observed_data"]["x"].dims == ("x_plate", "x_dim_0")


def test_bad_batches_are_refused():
    with pytest.raises(ValueError, match="at least one batch for `batches`; got none"):
        to_datatree([], None, library=np)
    bare = BatchDraws({"x": SiteShape(True, (), 0)}, {"observed_data": {"x": np.zeros(3)}})
    with pytest.raises(ValueError, match="no plate of the model holds"):
        to_datatree([bare, bare], None, library=np)
    check_own_rows([])
    with pytest.raises(ValueError, match=r"got \['a', 'b'\], which draw rows"):
        check_own_rows(["b", "a"])


def one_site(site, values, plates=(), batch_ndim=1, group="observed_data", **kwargs):
    """A batch of one site."""
    shape = SiteShape(group == "observed_data", plates, batch_ndim)
    return BatchDraws({site: shape}, {group: {site: values}}, **kwargs)


ROWS = Plate("data", -1, 3, 3)


def test_masks_hide_elements_and_the_placeholders_in_them():
    shown = np.array([[[True, True], [True, False], [False, False]]] * 2)
    shown[1, 2, 0] = True  # A mask may depend on the draw.
    x = np.arange(6).reshape(3, 2)
    batch = BatchDraws(
        {"x": SiteShape(True, (ROWS,), 1)},
        {
            "observed_data": {"x": x},
            "log_likelihood": {"x": np.ones((2, 3))},
            "posterior_predictive": {"x": np.ones((2, 3, 2))},
        },
        {"x": shown},
    )
    tree = to_datatree([batch], None, library=np)
    np.testing.assert_array_equal(tree["observed_data"]["x"], [[0, 1], [2, np.nan], [4, np.nan]])
    np.testing.assert_array_equal(tree["log_likelihood"]["x"], [[[1, 1, np.nan], [1, 1, 1]]])
    assert not np.isnan(tree["posterior_predictive"]["x"]).any()
    everything = batch._replace(shown={"x": np.ones_like(shown)})
    whole = to_datatree([everything], None, library=np)["observed_data"]["x"]
    assert whole.dtype == x.dtype


def test_rows_of_batches_without_a_site_are_not_a_number():
    first, second = batch(0), batch(1, rows=2)
    x = {"x": SiteShape(True, second.shapes["x"].plates, 2), "y": SiteShape(True, (DATA,), 2)}
    y = np.arange(3)[:, None]
    labelled = BatchDraws(x, {"observed_data": {"x": np.zeros((2, 6)), "y": y[:2]}})
    labelled.shapes["y"] = SiteShape(True, (second.shapes["z"].plates[0],), 2)
    for order in ([first, labelled], [labelled, first]):
        tree = to_datatree(order, None, library=np)
        found = tree["observed_data"]
        start = 0 if order[0] is labelled else 3
        wanted = np.full(5, np.nan)
        wanted[start : start + 2] = [0, 1]
        np.testing.assert_array_equal(found["y"], wanted)
        assert found["y"].dims == ("data",)
        # The inner plate is longer in one of them.
        assert found["x"].shape == (5, 6)
        assert np.isnan(found["x"]).sum() == 3 * 2
        assert tree["posterior"]["z"].shape == (1, S, 5, 2)
        np.testing.assert_array_equal(
            np.isnan(tree["posterior"]["z"][0, 0, :, 0]), ~np.isnan(wanted)
        )
        np.testing.assert_array_equal(tree["posterior"]["w"][0], first.groups["posterior"]["w"])


def test_a_batch_without_observations_has_the_plate_of_the_others():
    latent = one_site("z", np.ones((2, 3)), (ROWS,), group="posterior")
    data = one_site("x", np.ones(3), (ROWS,))
    for order in ([latent, data], [data, latent]):
        tree = to_datatree(order, None, library=np)
        assert tree["posterior"]["z"].sizes == {"chain": 1, "draw": 2, "data": 6}
        assert np.isnan(tree["observed_data"]["x"]).sum() == 3
    assert is_outside((), latent.shapes, None)
    assert not is_outside((ROWS,), latent.shapes, None)


def test_dimensions_that_no_plate_names_are_counted():
    tree = to_datatree([one_site("x", np.zeros((1, 4, 3)), (), 2)], None, library=np)
    assert tree["observed_data"]["x"].sizes == {"x_dim_0": 1, "x_dim_1": 4, "x_dim_2": 3}
    # A site with the name of another one's dimension.
    both = BatchDraws(
        {"x": SiteShape(True, (), 1), "x_dim_0": SiteShape(True, (), 0)},
        {"observed_data": {"x": np.zeros(3), "x_dim_0": np.zeros(())}},
    )
    assert to_datatree([both], None, library=np)["observed_data"]["x"].dims == ("x_dim_0_",)


def test_names_that_netcdf_refuses_are_told_beside_the_variables(tmp_path):
    names = ["a/b", ".", "draw", "tab\t", "chain", "sample"]
    plates = [Plate(name, -1, 3, 3) for name in ("p/q", "a::b", "chain", "x", "draw", "s")]
    batch = BatchDraws(
        {n: SiteShape(True, (p,), 1) for n, p in zip(names, plates, strict=True)},
        {"observed_data": {n: np.full(3, i) for i, n in enumerate(names)}},
    )
    tree = to_datatree([batch], None, library=np)
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as loaded:
        assert loaded.identical(tree)
        for i, (name, plate) in enumerate(zip(names, plates, strict=True)):
            found = [
                a
                for n, a in loaded["observed_data"].data_vars.items()
                if a.attrs.get("site_name", n) == name
            ]
            assert len(found) == 1
            np.testing.assert_array_equal(found[0], np.full(3, i))
            (dim,) = found[0].dims
            assert found[0][dim].attrs.get("plate_name", dim) == plate.name


def test_names_that_would_become_one_are_refused():
    for sites in (["a/b", "a::b"], ["draw", "draw_site"]):
        batch = BatchDraws({name: SiteShape(True, (), 0) for name in sites}, {})
        with pytest.raises(ValueError, match=r"stay apart .* for `model`; got \['"):
            to_datatree([batch], None, library=np)


def test_batches_that_do_not_fit_are_refused():
    first = one_site("x", np.zeros((3, 2)), (ROWS,))
    for other in (
        one_site("x", np.zeros(3), (ROWS,)),
        one_site("x", np.zeros((3, 2)), (ROWS, Plate("time", -2, 3, 3)), 2),
    ):
        with pytest.raises(ValueError, match="of 'x' in every batch for `batches`; got"):
            to_datatree([first, other], "data", library=np)
    other = one_site("x", np.zeros((3, 2)), (ROWS._replace(name="rows"),))
    with pytest.raises(ValueError, match=r"one plate .* for `model`; got data and rows"):
        to_datatree([first, other], None, library=np)
    weights = [
        BatchDraws(
            {"x": SiteShape(True, (ROWS,), 1), "w": SiteShape(False, (), 0)},
            {"posterior": {"w": np.zeros((2, size))}},
        )
        for size in (3, 4)
    ]
    with pytest.raises(ValueError, match=r"shape \(3,\) of 'w', which no data plate holds,"):
        to_datatree(weights, None, library=np)


# Few draws, which say nothing of the tail.
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_loo_takes_the_elements_of_two_plates_that_are_there():
    rng = np.random.default_rng(0)
    inner = [Plate("steps", -1, steps, steps) for steps in (4, 2)]
    outer = Plate("data", -2, 3, 3)
    values = [rng.normal(-1, 0.1, (50, 3, plate.size)) for plate in inner]
    batches = [
        BatchDraws({"x": SiteShape(True, (outer, plate), 2)}, {"log_likelihood": {"x": v}})
        for plate, v in zip(inner, values, strict=True)
    ]
    group = to_datatree(batches, None, library=np)["log_likelihood"].to_dataset()
    points = group[["x"]].stack(point=["data", "steps"], create_index=False).dropna("point")
    flat = np.concatenate([v.reshape(1, 50, -1) for v in values], -1)
    wanted = xr.Dataset({"x": (("chain", "draw", "point"), flat)})
    found, by_hand = (
        arviz_stats.loo(xr.DataTree.from_dict({"log_likelihood": g}), var_name="x", reff=1.0)
        for g in (points, wanted)
    )
    assert found.n_data_points == 3 * (4 + 2)
    assert (found.elpd, found.se) == pytest.approx((by_hand.elpd, by_hand.se))
