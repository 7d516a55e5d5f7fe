"""How draws of batches become ArviZ's groups."""

import numpy as np
import pytest

from entropy_core.evaluation.draws import check_own_rows, to_datatree
from entropy_core.evaluation.shapes import BatchDraws, SiteShape
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
