"""Repeated estimates: their means, how far they spread, and the figure of both."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from entropy_core.figures.spread import FLOOR, plot_spread, spread


@pytest.fixture(name="by_size")
def _by_size(make_report):
    """Reports with given ELBOs; the entropy sum is the same in each."""
    rng = np.random.default_rng(0)
    return {
        size: [make_report(misfit=30.0 + rng.normal() / size) for _ in range(5)]
        for size in (100, 1, 10)
    }


@pytest.fixture(autouse=True)
def _no_display():
    mpl.use("agg")
    yield
    plt.close("all")


def test_means_and_standard_deviations_over_runs(by_size):
    table = spread(by_size)
    assert table["size"].values.tolist() == [1, 10, 100]
    assert table.attrs["units"] == "nats per data point"
    for name in ("elbo", "entropy_sum"):
        for size, reports in by_size.items():
            runs = [report[name] for report in reports]
            found = table[name].sel(size=size)
            assert found.sel(estimate="mean") == pytest.approx(np.mean(runs))
            assert found.sel(estimate="std") == pytest.approx(np.std(runs, ddof=1), abs=1e-12)


def test_figure_shows_both_on_logarithmic_axes(by_size):
    collection, table = plot_spread(by_size), spread(by_size)
    values, below = (collection.get_target(None, {"panel": p}) for p in ("values", "spread"))
    for axes in (values, below):
        np.testing.assert_allclose(axes.get_xticks(), [0, 1, 2])
    assert [label.get_text() for label in below.get_xticklabels()] == ["1", "10", "100"]
    means = [line.get_ydata() for line in values.lines]
    np.testing.assert_allclose(means[0], table["elbo"].sel(estimate="mean"))
    np.testing.assert_allclose(means[1], table["entropy_sum"].sel(estimate="mean"))
    elbo, entropy_sum = (10 ** line.get_ydata() for line in below.lines)
    np.testing.assert_allclose(elbo, table["elbo"].sel(estimate="std"))
    # No spread has no logarithm: it is at the bottom.
    np.testing.assert_allclose(entropy_sum, FLOOR * elbo.max())
    low, high = below.get_ylim()
    assert low < np.log10(FLOOR * elbo.max()) < np.log10(elbo.max()) < high
    assert values.get_title() == "Estimates of 5 runs"


def test_figure_has_a_place_for_runs_that_agree(make_report):
    collection = plot_spread({10: [make_report(), make_report()], 20: [make_report()] * 3})
    axes = collection.get_target(None, {"panel": "spread"})
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)
    title = collection.get_target(None, {"panel": "values"}).get_title()
    assert title == "Estimates of 2 to 3 runs"


def test_plotly_draws_the_same(by_size):
    pytest.importorskip("arviz_plots.backend.plotly", exc_type=ImportError)
    figure = plot_spread(by_size, backend="plotly").get_viz("figure")
    means = spread(by_size)["elbo"].sel(estimate="mean")
    assert any(np.array_equal(trace.y, means) for trace in figure.data if trace.mode == "lines")


@pytest.mark.usefixtures("unchecked")
def test_refuses_what_has_no_spread(make_report):
    report = make_report()
    for reports, match in (
        ({}, "at least one size for `reports_by_size`; got none"),
        ({10: [report]}, "at least two reports of size 10 for `reports_by_size`; got 1"),
        ({0: [report, report]}, "positive sizes for `reports_by_size`; got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            plot_spread(reports)
