"""Tables, files and text of a report against the numbers that it was made from."""

import os
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import arviz_base
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from entropy_core.report import EntropyReport, compare
from entropy_core.results.accumulate import Accumulator
from entropy_core.results.groups import CollapseThresholds
from entropy_core.traces.records import PARTICLES, LatentTerms, Plate
from tests.core.records import accumulated, draw, in_plates, report_of, site, trace, traces

DRAWS = draw()
REASONS = [("w", "not in the data plate alone"), ("v", "no closed form")]
DATA, DRAW = Plate("data", -1, 3, 3), Plate(PARTICLES, -2, 1, 1)


def report() -> EntropyReport:
    return report_of(traces(DRAWS, slice(0, 8), untreated=REASONS), traces(DRAWS, slice(8, 20)))


HISTORY = xr.Dataset({"loss": ("epoch", [2.0, 1.0])}, {"epoch": [1, 2], "latent": ["z[0]"]})


def with_history() -> EntropyReport:
    return report().with_history(HISTORY)


REASON = "KL weight 0.5"


def with_no_claim() -> EntropyReport:
    return report().with_no_claim(REASON)


def without_latents() -> EntropyReport:
    return report_of(traces(DRAWS, in_plate=False))


REPORTS = pytest.mark.parametrize(
    "make", [report, with_history, with_no_claim, without_latents], ids=lambda make: make.__name__
)


def test_summary_is_the_means_and_errors_over_particles():
    encoder, z, x = DRAWS.terms.mean(2).T
    _, prior, decoder = DRAWS.entropies.mean(2).T
    wanted = {
        "ELBO": z + x + encoder,
        "prior term": z,
        "reconstruction term": x,
        "encoder entropy": encoder,
        "prior entropy": prior,
        "decoder entropy": decoder,
        "entropy sum": encoder - prior - decoder,
        "gap": z + x + prior + decoder,
        "residual of z": z + prior,
        "residual of x": x + decoder,
    }
    summary = (made := report_of(traces(DRAWS))).summary()
    assert list(summary.index) == list(wanted)
    assert list(summary.columns) == ["mean", "mcse"]
    assert_allclose(summary["mean"], [v.mean() for v in wanted.values()])
    assert_allclose(summary["mcse"], [v.std(ddof=1) / 4**0.5 for v in wanted.values()])
    assert made["entropy_sum"] == summary["mean"]["entropy sum"]
    assert made.relative_gap == pytest.approx(abs(wanted["gap"].mean() / wanted["ELBO"].mean()))


def test_a_report_is_a_mapping_of_its_quantities():
    found = report()
    assert {"elbo", "entropy_sum", "gap"} <= set(found) == found.keys()
    assert len(found) == len(dict(found))
    assert dict(found)["gap"] == found["gap"] == found["elbo"] - found["entropy_sum"]
    assert "ELBO" not in found
    with pytest.raises(KeyError, match=r"expected one of \['elbo', .*'gap'\] for `quantity`"):
        found["ELBO"]
    # Reports are told apart as objects are, and can be keys.
    assert found != report()
    assert len({found, found}) == 1


def test_residuals_add_up_where_guide_and_model_have_a_factor_of_one_name():
    factors = [site("f", role, np.ones(()), np.zeros(())) for role in ("guide factor", "factor")]
    means = report_of([trace([*factors, in_plates("x", "decoder", DATA)])]).summary()["mean"]
    assert "residual of f, per data set" in means.index
    assert "residual of f (guide), per data set" in means.index
    of_sites = means[means.index.str.startswith("residual of")]
    # Three data points share what is outside of their plate.
    shared = of_sites.index.str.endswith("per data set")
    assert (of_sites / np.where(shared, 3, 1)).sum() == pytest.approx(means["gap"])


def test_sites_has_a_row_for_each():
    handlers = np.array([0.5, 1, 2])
    x = site("x", "decoder", np.ones(3), np.full(3, 4.0), [DATA, DRAW], handlers)
    z, p = in_plates("z", "encoder", DATA), in_plates("z", "prior", DATA)
    table = report_of([trace([z, p, x, site("f", "factor", np.array(6.0), np.zeros(()))])]).sites()
    assert list(table.index) == ["encoder z", "prior z", "decoder x", "factor f"]
    assert list(table["role"] + " " + table["site_name"]) == list(table.index)
    assert list(table["plates"]) == ["data", "data", f"data, {PARTICLES}", ""]
    assert list(table["handler_scale"]) == ["1.0", "1.0", str(handlers), "1.0"]
    assert list(table["term_method"]) == ["sampled"] * 4
    assert list(table["entropy_method"]) == ["closed form"] * 4
    # The factor is outside of the plate over three data points.
    assert list(table["per"]) == ["data point"] * 3 + ["data set"]
    assert_allclose(table["term"], [z.term.mean(), p.term.mean(), 1, 6])
    assert_allclose(table["entropy"], [z.entropy.mean(), p.entropy.mean(), 4, 0])
    assert_allclose(table["residual"], [np.nan, (p.term + p.entropy).mean(), 5, 6])


def test_sites_has_the_standard_errors():
    table = report_of(traces(DRAWS)).sites()
    terms, entropies = DRAWS.terms.mean(2), DRAWS.entropies.mean(2)
    residuals = terms + entropies * [np.nan, 1, 1]
    for name, values in (("term", terms), ("entropy", entropies), ("residual", residuals)):
        assert_allclose(table[f"{name}_mcse"], values.std(0, ddof=1) / 4**0.5)


def test_latents_has_a_row_for_each_dimension_and_three_criteria():
    """Of a hundred data points: entropies, divergences and means of four dimensions."""
    thresholds = CollapseThresholds(0.5, kl_epsilon=0.1, kl_delta=0.05, active_variance=0.25)
    values = np.ones((4, 100, 4))
    values[0] = [0.4, 0.6, 2.0, -3.0]
    values[2, :95, 0] = values[2, :94, 1] = 0.0
    values[3, ::2] = [1.0, 3.0, 1.9, 2.1]
    x = in_plates("x", "decoder", Plate("data", -1, 100, 100))
    latents = [LatentTerms("a", *values[..., :3]), LatentTerms("b", *values[..., 3:])]
    table = report_of([trace([x], latents)], thresholds=thresholds).latents()
    assert list(table.index) == ["a[0]", "a[1]", "a[2]", "b[0]"]
    assert_allclose(table["encoder_entropy"] / table["prior_entropy"], [0.4, 0.6, 2.0, -3.0])
    assert_allclose(table["kl"], [0.05, 0.06, 1, 1])
    assert_allclose(table["kl_below_epsilon"], [0.95, 0.94, 0, 0])
    assert_allclose(table["variance_of_mean"], [0, 1, 0.45**2, 0.55**2])
    assert list(table["collapsed"]) == [False, True, True, False]
    assert list(table["collapsed_by_kl"]) == [True, False, False, False]
    assert list(table["active"]) == [False, True, False, True]


def test_units_are_per_data_point_where_one_plate_holds_all_data():
    one, two = report_of(traces(DRAWS)), without_latents()
    assert (one.units, two.units) == ("nats per data point", "nats")
    assert two["elbo"] == pytest.approx(20 * one["elbo"])
    assert two.latents().to_dict() == {name: {} for name in one.latents()}


def test_untreated_are_listed_with_their_reason():
    assert report().untreated == dict(REASONS)
    assert {f"not treated   {name}: {why}" for name, why in REASONS} < {*str(report()).splitlines()}
    assert without_latents().untreated == {}


def test_a_report_needs_data():
    with pytest.raises(ValueError, match="expected at least one batch for `batches`; got none"):
        EntropyReport.from_accumulator(Accumulator(), CollapseThresholds(), library=np)


def test_attributes_are_those_of_arviz_and_say_what_was_done():
    thresholds = CollapseThresholds(0.1, 0.2, 0.3, 0.4)
    attrs = report_of(traces(DRAWS), thresholds=thresholds).to_datatree().attrs
    age = datetime.now(UTC) - datetime.fromisoformat(attrs.pop("created_at"))
    assert timedelta() <= age < timedelta(minutes=5)
    assert attrs == {
        "left_out": "{}",
        "inference_library": "numpy",
        "inference_library_version": np.__version__,
        "units": "nats per data point",
        "data_plate": "data",
        "num_data": 20,
        "data_set_size": 20,
        "num_particles": 4,
        "untreated": "{}",
        "no_claim": "",
        **asdict(thresholds),
    }


def test_a_reason_for_no_claim_makes_another_report():
    made = report()
    new = made.with_no_claim(REASON)
    assert (made.no_claim, new.no_claim) == (None, REASON)
    pd.testing.assert_frame_equal(new.summary(), made.summary())
    line = f"no claim      {REASON}: the theorem says nothing of this optimum"
    assert line in str(new).splitlines()
    assert "no claim" not in str(made)


def test_a_report_is_made_with_a_reason():
    sums = accumulated(traces(DRAWS))
    made = EntropyReport.from_accumulator(sums, CollapseThresholds(), library=np, no_claim=REASON)
    assert made.no_claim == REASON


def test_a_reason_is_saved_and_files_without_the_attribute_have_none(tmp_path):
    path = tmp_path / "report.nc"
    with_no_claim().save(path)
    assert EntropyReport.load(path).no_claim == REASON
    report().save(path)
    assert EntropyReport.load(path).no_claim is None
    tree = report().to_datatree()
    del tree.attrs["no_claim"]
    tree.to_netcdf(path, engine="h5netcdf")
    loaded = EntropyReport.load(path)
    assert loaded.no_claim is None
    assert str(loaded) == str(report())


@REPORTS
def test_a_saved_report_comes_back_identical_and_arviz_reads_it(make, tmp_path):
    made, path = make(), tmp_path / "report.nc"
    made.save(path)
    loaded = EntropyReport.load(str(path))
    assert loaded.to_datatree().identical(made.to_datatree())
    assert str(loaded) == str(made)
    with arviz_base.convert_to_datatree(str(path)) as tree:
        assert tree.identical(made.to_datatree())
    loaded.save(path)
    assert EntropyReport.load(path).to_datatree().identical(made.to_datatree())
    assert [file.name for file in tmp_path.iterdir()] == ["report.nc"]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    old, path = report(), tmp_path / "report.nc"
    old.save(path)

    def full(file):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        without_latents().save(path)
    assert EntropyReport.load(path).to_datatree().identical(old.to_datatree())
    assert [file.name for file in tmp_path.iterdir()] == ["report.nc"]


def other_netcdf(path):
    xr.DataTree.from_dict({"posterior": xr.Dataset({"z": 1})}).to_netcdf(path, engine="h5netcdf")


NO_REPORT = r"an entropy report for `path`; got .*other\.nc"


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda path: None, FileNotFoundError, r"other\.nc"),
        (other_netcdf, ValueError, NO_REPORT + r".*posterior"),
        (lambda path: path.write_text("text"), ValueError, NO_REPORT),
    ],
    ids=["missing", "netCDF", "text"],
)
def test_a_file_without_a_report_is_named(write, error, message, tmp_path):
    write(tmp_path / "other.nc")
    with pytest.raises(error, match=message):
        EntropyReport.load(tmp_path / "other.nc")


def test_the_tree_is_a_copy():
    tree = (made := report()).to_datatree()
    tree["entropy_sum"]["elbo"].values[:] = 0
    tree.attrs["units"] = "bits"
    pd.testing.assert_frame_equal(made.summary(), report().summary())
    assert made.units == "nats per data point"


def test_a_history_makes_another_report():
    made = report()
    new = made.with_history(HISTORY)
    groups = ["entropy_sum", "sites", "latents"]
    assert list(made.to_datatree().children) == groups
    assert repr(new) == f"<EntropyReport: {made.units}, groups {[*groups, 'history']}>"
    assert_array_equal(new.to_datatree()["history"]["loss"], [2, 1])
    pd.testing.assert_frame_equal(new.summary(), made.summary())


def test_groups_make_another_report():
    made = report()
    posterior = xr.Dataset({"z": (("chain", "draw"), np.zeros((1, 3)))})
    new = made.with_groups(xr.DataTree.from_dict({"posterior": posterior}))
    assert "posterior" not in made.to_datatree().children
    assert new.to_datatree()["posterior"].dataset.identical(posterior)
    pd.testing.assert_frame_equal(new.summary(), made.summary())
    for name in ("entropy_sum", "sites", "latents", "history"):
        with pytest.raises(ValueError, match=f"not the report's own for `tree`; got \\['{name}'"):
            made.with_groups(xr.DataTree.from_dict({name: posterior}))


def test_sites_know_the_dimensions_of_a_data_point():
    """Of all elements within the data plate; not where a mask hides some, or outside of it."""
    inner = Plate("inner", -2, 5, 5)
    sites = [
        replace(in_plates("x", "decoder", DATA, inner), num_elements=60),
        replace(in_plates("y", "decoder", DATA), num_elements=12, num_observed=np.array(8)),
        replace(in_plates("w", "prior"), num_elements=4),
    ]
    assert report_of([trace(sites)]).sites()["num_dims"].tolist() == [20, 0, 0]


@REPORTS
def test_print_has_every_number_of_the_summary(make):
    made = make()
    lines = str(made).splitlines()
    for label, row in made.summary().iterrows():
        (line,) = [line for line in lines if line.startswith(f"{label} ")]
        assert line.removeprefix(label).split() == [f"{value:.4f}" for value in row]
    assert f"relative gap  {100 * made.relative_gap:.3f} %" in lines
    assert lines[0] == f"Entropy report · numpy {np.__version__}"
    assert lines[1].endswith(f"4 draws each, {made.units}")
    latents = made.latents()
    counts = f"{latents['active'].sum()} active, {latents['collapsed'].sum()} collapsed of 2"
    assert (f"latents       {counts}" in lines) == (len(latents) == 2)


def test_compare_puts_means_side_by_side():
    one, two = report(), report_of([trace([in_plates("y", "decoder", DATA)])])
    table = compare({"one": one, "two": two})
    assert list(table.columns) == ["one", "two"]
    for name, made in (("one", one), ("two", two)):
        summary, latents = made.summary()["mean"], made.latents()
        assert table[name].dropna().to_dict() == {
            **summary,
            "relative gap (%)": 100 * made.relative_gap,
            "active latents": latents["active"].sum(),
            "collapsed latents": latents["collapsed"].sum(),
        }
    assert np.isnan(table.loc["residual of y", "one"])


def test_a_damaged_file_is_refused_with_one_error(tmp_path):
    path = tmp_path / "report.nc"
    report().save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for length in (10, 500, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="an entropy report for `path`"):
            EntropyReport.load(path)
    refused = 0
    for _ in range(20):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        # Where the damage is in a number, the file is still a report.
        try:
            EntropyReport.load(path)
        except ValueError as error:
            refused += "an entropy report" in str(error)
    assert refused > 5
