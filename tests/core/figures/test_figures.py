"""What the figures of a report show: its history and its latents, and no state left behind."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from entropy_core.figures.panels import BLUE, PALETTE, VERMILION
from entropy_core.figures.sites import plot_entropies, plot_residuals
from entropy_core.figures.training import plot_active, plot_history, plot_latents
from entropy_core.traces.records import Plate
from entropy_core.training.history import History
from tests.core.records import report_of, site, trace

KINDS = ["history", "active", "latents", "entropies", "residuals"]
CONVERGING = 1 + 200 * np.exp(-np.arange(8.0))
DELTA = 0.4189


@pytest.fixture(autouse=True)
def _no_display():
    mpl.use("agg")
    yield
    plt.close("all")


@pytest.fixture(name="report", scope="module")
def _report(train_report):
    return train_report(CONVERGING)


def panel(collection, name):
    return collection.get_target(None, {"panel": name})


def curves(axes):
    """The lines over the data, without those across the panel, from first drawn to last."""
    return [line for line in axes.lines if line.get_transform() == axes.transData]


def bars(axes):
    """The height and colour of each bar, from left to right."""
    boxes = [(bar.get_paths()[0].get_extents(), bar) for bar in axes.collections]
    boxes.sort(key=lambda pair: pair[0].x0)
    heights = [box.y1 if box.y1 > 0 else box.y0 for box, _ in boxes]
    return heights, [mpl.colors.to_hex(bar.get_facecolor()[0]).upper() for _, bar in boxes]


def boxes(axes):
    """The rectangles from first drawn to last, each with its colour."""
    return [
        (area.get_paths()[0].get_extents(), mpl.colors.to_hex(area.get_facecolor()[0]).upper())
        for area in axes.collections
    ]


def residuals(report):
    summary = report.summary()["mean"]
    return [*summary[summary.index.str.startswith("residual")].tolist(), summary["gap"]]


def legend(collection):
    (found,) = collection.get_viz("figure").legends
    return [text.get_text() for text in found.get_texts()]


def test_history_shows_elbo_and_entropy_sum(report):
    collection = plot_history(report)
    history = report.to_datatree()["history"].dataset
    elbo, entropy_sum = curves(panel(collection, "values"))
    for line, name in ((elbo, "elbo"), (entropy_sum, "entropy_sum")):
        np.testing.assert_array_equal(line.get_xdata(), history["epoch"])
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    assert elbo.get_linestyle() != entropy_sum.get_linestyle()
    assert legend(collection) == ["ELBO", "entropy sum"]
    assert panel(collection, "values").get_ylabel() == "nats per data point"


def test_history_shows_the_held_out_elbo_where_there_is_one(report):
    history = report.to_datatree()["history"].dataset
    held_out = history["elbo"] - 3.0
    validated = report.with_history(history.assign(validation_elbo=held_out))
    collection = plot_history(validated)
    *_, line = curves(panel(collection, "values"))
    np.testing.assert_array_equal(line.get_ydata(), held_out)
    assert legend(collection) == ["ELBO", "entropy sum", "held-out ELBO"]
    low, high = panel(collection, "values").get_ylim()
    assert low <= held_out.values[-1] <= high


def test_history_shows_gap_of_last_elbo_on_log_axis(report):
    axes = panel(plot_history(report), "gap")
    history = report.to_datatree()["history"].dataset
    (line,) = curves(axes)
    gap = history["elbo"] - history["entropy_sum"]
    np.testing.assert_allclose(10 ** line.get_ydata(), 100 * np.abs(gap / history["elbo"][-1]))
    texts = [float(label.get_text()) for label in axes.get_yticklabels()]
    np.testing.assert_allclose(10 ** axes.get_yticks(), texts)
    assert axes.get_xlabel() == "epoch"


def test_history_names_the_last_gap_and_its_side(report):
    history = report.to_datatree()["history"].dataset
    elbo, entropy_sum = history["elbo"].values[-1], history["entropy_sum"].values[-1]
    for moved, side in ((entropy_sum - 0.5, "below"), (entropy_sum + 0.5, "above")):
        other = history["elbo"].copy()
        other[-1] = moved
        collection = plot_history(report.with_history(history.assign(elbo=other)))
        title = panel(collection, "values").get_title()
        assert title == f"The ELBO is {50 / abs(moved):.2g} % {side} the entropy sum"
    assert elbo != entropy_sum


def test_epochs_are_whole(train_report):
    for misfits in ([3.0], [3.0, 2.0, 1.0], CONVERGING):
        axes = panel(plot_history(train_report(misfits)), "gap")
        texts = [label.get_text() for label in axes.get_xticklabels()]
        assert texts == [str(int(tick)) for tick in axes.get_xticks()]
        assert 1 <= len(texts) <= 8


@pytest.mark.parametrize(
    "misfits",
    [
        pytest.param(CONVERGING, id="decades"),
        pytest.param([30.0, 30.1, 30.0], id="nearly constant"),
        pytest.param([30.0], id="one row"),
    ],
)
def test_log_axis_has_two_ticks_in_view(train_report, misfits):
    axes = panel(plot_history(train_report(misfits)), "gap")
    low, high = axes.get_ylim()
    assert np.sum((axes.get_yticks() >= low) & (axes.get_yticks() <= high)) >= 2


def test_zero_gap_has_a_place(make_report, train_report):
    no_gap = make_report()["gap"] + 30.0
    (line,) = curves(panel(plot_history(train_report([30.0, no_gap])), "gap"))
    assert np.isfinite(line.get_ydata()).all()


def test_bad_start_is_out_of_view_and_the_end_is_not(train_report):
    report = train_report([1e6, 1e5, *CONVERGING])
    low, high = panel(plot_history(report), "values").get_ylim()
    assert low > -1e3
    assert low < report["elbo"] < high
    assert low < report["entropy_sum"] < high


def test_late_fall_is_in_view(train_report):
    report = train_report([*[1.0] * 8, 1e4])
    low, high = panel(plot_history(report), "values").get_ylim()
    assert low < report["elbo"] < report["entropy_sum"] < high


def test_panels_share_the_epochs(report):
    collection = plot_history(report)
    assert panel(collection, "values").get_xlim() == panel(collection, "gap").get_xlim()


@pytest.mark.parametrize("num_latents", [1, 2, 30, 31, 100])
def test_each_latent_has_a_bar(make_report, num_latents):
    entropy = np.random.default_rng(0).normal(0.5, 1.0, num_latents)
    collection = plot_latents(make_report(entropy))
    heights, colours = bars(panel(collection, "latents"))
    expected = np.sort(entropy)[::-1]
    np.testing.assert_allclose(heights, expected)
    collapsed = expected > 1.0  # Damm et al. 2023, Sec. 5: one nat for a standard normal prior
    assert colours == [VERMILION if c else BLUE for c in collapsed]
    title = panel(collection, "latents").get_title()
    assert title == f"{collapsed.sum()} of {num_latents} latents collapsed"


def test_latents_are_named_where_there_is_room(make_report):
    axes = panel(plot_latents(make_report([0.1, 0.3, 0.2])), "latents")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z[1]", "z[2]", "z[0]"]
    axes = panel(plot_latents(make_report(np.zeros(100))), "latents")
    assert len(axes.get_xticklabels()) < 20


def test_lines_are_those_of_each_latents_own_prior(make_report):
    prior = np.array([1.0, 2.0, 3.0])
    collection = plot_latents(make_report([0.0, 2.5, 1.0], prior))
    lines = curves(panel(collection, "latents"))
    for line, values in zip(lines, (prior[[1, 2, 0]], prior[[1, 2, 0]] - DELTA), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.repeat(values, 2))
        np.testing.assert_allclose(line.get_xdata(), [-0.5, 0.5, 0.5, 1.5, 1.5, 2.5])
    assert legend(collection) == [
        "collapsed",
        "not collapsed",
        "prior entropy",
        "collapse threshold (δ = 0.419)",
    ]


def test_active_shows_both_counts(make_report):
    history = History(unit="step")
    for step, entropy in enumerate([(1.3, 1.2, 0.1), (1.3, 0.2, 0.1), (0.3, 0.2, 0.1)]):
        history.add(10 * step, np.nan, make_report(entropy))
    collection = plot_active(make_report().with_history(history.to_dataset()))
    axes = panel(collection, "active")
    active, collapsed = curves(axes)
    np.testing.assert_array_equal(active.get_xdata(), [0, 10, 20])
    np.testing.assert_array_equal(active.get_ydata(), [0, 0, 0])
    np.testing.assert_array_equal(collapsed.get_ydata(), [2, 1, 0])
    assert legend(collection) == ["active", "collapsed"]
    assert (axes.get_xlabel(), axes.get_title()) == ("step", "0 of 3 latents active in the end")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2", "3"]


def test_active_needs_a_history_of_latents(report, make_report, train_report):
    match = "a report with a history of latents"
    with pytest.raises(ValueError, match=match):
        plot_active(train_report([1.0], encoder_entropy=[]))
    old = report.to_datatree()["history"].to_dataset().drop_vars("active_latents")
    with pytest.raises(ValueError, match=match):
        plot_active(make_report().with_history(old))
    with pytest.raises(ValueError, match="with the history of training"):
        plot_active(make_report())


def test_entropies_stack_to_the_elbo_and_the_entropy_sum(report):
    collection = plot_entropies(report)
    axes, sites = panel(collection, "entropies"), report.sites()
    found = boxes(axes)
    signed = [*sites["term"], *(sites["entropy"] * [1, -1, -1])]
    np.testing.assert_allclose([box.height for box, _ in found], np.abs(signed))
    assert [color for _, color in found] == [*PALETTE[:3]] * 2
    for (box, _), value in zip(found, signed, strict=True):
        assert box.y0 >= -1e-9 if value > 0 else box.y1 <= 1e-9
    for side in (found[:3], found[3:]):
        # Without holes or overlap: the ends are the sums of what is above and what is below zero.
        heights = sum(box.height for box, _ in side)
        ends = [box.y0 for box, _ in side] + [box.y1 for box, _ in side]
        assert heights == pytest.approx(np.ptp([*ends, 0.0]))
    elbo, entropy_sum = curves(axes)
    np.testing.assert_allclose(elbo.get_ydata(), report["elbo"])
    np.testing.assert_allclose(entropy_sum.get_ydata(), report["entropy_sum"])
    assert legend(collection) == ["encoder z", "prior z", "decoder x", "sum"]


def test_small_ones_of_many_sites_are_one():
    plates = (Plate("data", -1, 1, 1),)
    sizes = np.arange(1.0, 11.0)
    many = [site(f"x{n:.0f}", "decoder", np.full(1, n), np.full(1, -n), plates) for n in sizes]
    report = report_of([trace(many)])
    collection = plot_entropies(report)
    names = legend(collection)
    assert names == [*(f"decoder x{n}" for n in range(5, 11)), "4 other sites", "sum"]
    found = boxes(panel(collection, "entropies"))
    np.testing.assert_allclose([box.height for box, _ in found], [5, 6, 7, 8, 9, 10, 10] * 2)


def test_residuals_have_two_standard_errors_and_add_up(report):
    axes, summary = panel(plot_residuals(report), "residuals"), report.summary()
    found = boxes(axes)
    np.testing.assert_allclose(
        [box.x0 if abs(box.x0) > abs(box.x1) else box.x1 for box, _ in found], residuals(report)
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["prior z", "decoder x", "gap"]
    whiskers = [np.ptp(line.get_xdata()) for line in curves(axes)]
    errors = summary["mcse"][["residual of z", "residual of x", "gap"]]
    np.testing.assert_allclose(whiskers, 4 * errors, atol=1e-9)
    low, high = axes.get_xlim()
    ends = [x for line in curves(axes) for x in line.get_xdata()]
    assert low < min(0.0, *ends) < max(0.0, *ends) < high


def test_residuals_outside_the_plate_are_each_data_points_share():
    plate = Plate("data", -1, 4, 4)
    sites = [
        site("w", "prior", np.ones(()), np.ones(())),
        site("x", "decoder", np.ones(4), np.ones(4), [plate]),
    ]
    report = report_of([trace(sites)])
    found = [box.x1 for box, _ in boxes(panel(plot_residuals(report), "residuals"))]
    np.testing.assert_allclose(found, [2 / 4, 2, 2.5])


def test_residuals_of_one_draw_have_no_errors(make_report):
    axes = panel(plot_residuals(make_report(num_particles=1)), "residuals")
    assert not curves(axes)
    assert axes.get_xlabel() == "residual in nats per data point"


def test_draws_on_a_given_figure(report):
    for plot in (plot_history, plot_active, plot_latents, plot_entropies, plot_residuals):
        figure = Figure(layout="constrained")
        assert plot(report, figure=figure).get_viz("figure") is figure
    assert not plt.get_fignums()


@pytest.mark.parametrize("kind", KINDS)
def test_report_plots_and_saves(report, tmp_path, kind):
    path = tmp_path / "figure.png"
    report.plot(kind=kind).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_plotly_draws_the_same(report, kind):
    pytest.importorskip("arviz_plots.backend.plotly", exc_type=ImportError)
    figure = report.plot(kind=kind, backend="plotly").get_viz("figure")
    history = report.to_datatree()["history"]
    if kind in ("history", "active"):
        column = history[{"history": "elbo", "active": "active_latents"}[kind]]
        np.testing.assert_array_equal(figure.data[0].y, column.values)
    elif kind == "latents":
        heights = [trace.y[0] for trace in figure.data if trace.type == "bar"]
        np.testing.assert_allclose(heights, [1.35, 0.2, -0.5])
    else:
        lines = [np.ptp(trace.x) for trace in figure.data if trace.fill == "tonexty"]
        wanted = [0.7] * 6 if kind == "entropies" else np.abs(residuals(report))
        np.testing.assert_allclose(lines, wanted)
    assert figure.layout.showlegend or kind == "residuals"


def test_refuses_report_without_history(make_report):
    with pytest.raises(ValueError, match="expected a report with the history of training for"):
        plot_history(make_report())


def test_refuses_report_without_latents(make_report):
    with pytest.raises(ValueError, match="expected a report with rows for latents for `report`"):
        plot_latents(make_report([]))


def test_refuses_unknown_backend_and_kind(make_report, unchecked):
    with pytest.raises(ValueError, match=r"expected one of \['matplotlib', 'plotly'\]"):
        plot_latents(make_report(), backend="svg")
    with pytest.raises(ValueError, match="for `kind`; got 'sites'"):
        make_report().plot(kind="sites")


def test_missing_package_names_the_extra(make_report, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_plots", None)
    with pytest.raises(ImportError) as caught:
        plot_latents(make_report())
    assert any("elbo-entropy[plots]" in note for note in caught.value.__notes__)
