"""Figures of a report, drawn with arviz-plots for whichever of its backends is asked for."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.report import EntropyReport

# Blue, vermilion and grey stay apart for colour-blind eyes, on white and on black (Okabe & Ito).
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8A8A8A"
MAX_NAMED_LATENTS = 30

# What the backends' common interface leaves to each of them: the room for titles and legend.
FIGURE: dict[str, dict[str, Any]] = {
    "matplotlib": {"layout": "constrained"},
    "plotly": {"vertical_spacing": 0.08},
}
LEGEND: dict[str, dict[str, Any]] = {
    "matplotlib": {"loc": "outside lower center", "ncols": 2, "frameon": False},
    "plotly": {
        "legend_orientation": "h",
        "legend_x": 0.5,
        "legend_xanchor": "center",
        "legend_y": -0.2,
    },
}


def plot_history(report: EntropyReport, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """ELBO and entropy sum over training, and below them the gap (Damm et al. 2023, Fig. 1).

    The gap is `|F - H_sum| / |F_last|` in per cent, with the last recorded ELBO `F_last`, on a
    logarithmic axis. Values of early training that lie far from the rest are out of view.

    Args:
        report: A report with the history of training.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plots `values` and `gap`.

    Raises:
        ValueError: If the report has no history, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    tree = report.to_datatree()
    if "history" not in tree.children:
        raise ValueError(expected("a report with the history of training", "report", repr(report)))
    history = tree["history"].dataset
    epochs, elbo, entropy_sum = (history[name].values for name in ("epoch", "elbo", "entropy_sum"))
    plot, collection = _collection(history, ["values", "gap"], (7.0, 6.0), backend, figure)

    values = collection.get_target(None, {"panel": "values"})
    lines: dict[str, dict[str, Any]] = {
        "ELBO": {"color": BLUE, "width": 2},
        "entropy sum": {"color": VERMILION, "width": 2, "linestyle": "C1"},
    }
    for y, style in zip((elbo, entropy_sum), lines.values(), strict=True):
        _line_with_end(plot, epochs, y, values, **style)
    plot.ylim(_limits(np.concatenate([elbo, entropy_sum]), (elbo[-1], entropy_sum[-1])), values)
    plot.ylabel(report.units, values)

    gap = collection.get_target(None, {"panel": "gap"})
    percent = 100 * np.abs(elbo - entropy_sum) / abs(elbo[-1])
    # No function of all backends sets a log scale, so it is the ticks that are logarithmic. A gap
    # of zero, which only rounding tells from a small one, is at the bottom of the figure.
    log_percent = np.log10(np.maximum(percent, 1e-12))
    _line_with_end(plot, epochs, log_percent, gap, color=GREY, width=2)
    ticks, limits = _log_axis(log_percent)
    plot.yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks], gap)
    plot.ylim(limits, gap)
    plot.ylabel("|gap| in % of\nthe last ELBO", gap)
    plot.xlabel("epoch", gap)
    plot.title(f"ELBO and entropy sum, {100 * report.relative_gap:.2g} % apart", values)

    _legend(plot, collection, lines)
    return collection


def plot_latents(report: EntropyReport, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """A bar for the mean encoder entropy of each latent, beside the entropy of its prior.

    A latent is collapsed where `H[q(z_h|x)] > H[p(z_h)] - delta` (Damm et al. 2023, Eq. 24).

    Args:
        report: A report with latents.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `latents`.

    Raises:
        ValueError: If no latent of the report has entropies, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    latents = report.latents().sort_values("encoder_entropy", ascending=False)
    if latents.empty:
        raise ValueError(expected("a report with rows for latents", "report", repr(report)))
    tree = report.to_datatree()
    delta, num_latents = tree.attrs["entropy_delta"], len(latents)
    plot, collection = _collection(
        tree["latents"].dataset, ["latents"], (7.0, 4.2), backend, figure
    )
    target = collection.get_target(None, {"panel": "latents"})

    entropy = latents["encoder_entropy"].to_numpy()
    prior = latents["prior_entropy"].to_numpy()
    collapsed = latents["collapsed"].to_numpy()
    # Many bars touch: gaps of less than a pixel would look like a pattern.
    named = num_latents <= MAX_NAMED_LATENTS
    half = 0.4 if named else 0.5
    bars = {"collapsed": VERMILION, "not collapsed": BLUE}
    for h in range(num_latents):
        plot.hist(
            entropy[[h]],
            np.array([h - half]),
            np.array([h + half]),
            target,
            color=bars["collapsed" if collapsed[h] else "not collapsed"],
        )
    plot.hline(0.0, target, color=GREY, width=0.8)
    # Each latent has its own prior, so the lines are steps: two points for each latent.
    edges = (np.arange(num_latents)[:, None] + [-0.5, 0.5]).ravel()
    lines = {
        "prior entropy": {"color": "B1", "width": 1.5},
        f"collapse threshold (δ = {delta:.3g})": {"color": "B1", "width": 1.5, "linestyle": "C1"},
    }
    for y, style in zip((prior, prior - delta), lines.values(), strict=True):
        plot.line(edges, np.repeat(y, 2), target, **style)

    if named:
        rotation = 90 if num_latents > 12 else 0
        plot.xticks(np.arange(num_latents), list(latents.index), target, rotation=rotation)
    plot.xlim((-0.7, num_latents - 0.3), target)
    plot.xlabel("latent dimensions in order of encoder entropy", target)
    plot.ylabel(f"encoder entropy\n({report.units})", target)
    plot.title(f"{collapsed.sum()} of {num_latents} latents collapsed", target)
    _legend(plot, collection, {k: {"color": c, "width": 8} for k, c in bars.items()} | lines)
    return collection


def _collection(
    data: xr.Dataset,
    panels: Sequence[str],
    size: tuple[float, float],
    backend: str,
    figure: Any,
) -> tuple[ModuleType, Any]:
    # The module of the backend, and a collection of panels below each other.
    if backend not in FIGURE:
        raise ValueError(expected(f"one of {sorted(FIGURE)}", "backend", repr(backend)))
    try:
        from arviz_plots import PlotCollection

        plot = import_module(f"arviz_plots.backend.{backend}")
    except ImportError as error:
        needs = "elbo-entropy[plots]" if backend == "matplotlib" else f"arviz-plots[{backend}]"
        error.add_note(f"The figures need: pip install '{needs}'")
        raise
    rows = len(panels)
    if figure is None:
        figure, targets = plot.create_plotting_grid(
            rows,
            rows,
            figsize=(100 * size[0], 100 * size[1]),
            figsize_units="dots",
            squeeze=False,
            sharex="col",
            **FIGURE[backend],
        )
    else:
        targets = figure.subplots(rows, squeeze=False, sharex="col")
    viz = xr.Dataset(
        {
            "figure": np.array(figure, dtype=object),
            "plot": ("panel", targets[:, 0]),
            "row_index": ("panel", np.arange(rows)),
            "col_index": ("panel", np.zeros(rows, int)),
        },
        coords={"panel": list(panels)},
    )
    return plot, PlotCollection(data, xr.DataTree(viz), backend=backend)


def _line_with_end(
    plot: ModuleType, x: NDArray, y: NDArray, target: Any, *, color: str, **style: Any
) -> None:
    # The dot marks where training ended, and shows a history of one row at all.
    plot.line(x, y, target, color=color, **style)
    plot.scatter(x[-1:], y[-1:], target, color=color)


def _limits(values: NDArray, always: Sequence[float]) -> tuple[float, float]:
    # Tukey's far fences: a bad start would otherwise press the rest of training into one line.
    low, high = np.percentile(values, [25, 75])
    fences = low - 3 * (high - low), high + 3 * (high - low)
    seen = np.concatenate([values[(values >= fences[0]) & (values <= fences[1])], always])
    margin = 0.05 * np.ptp(seen) or 0.5
    return seen.min() - margin, seen.max() + margin


def _log_axis(log_values: NDArray) -> tuple[NDArray, tuple[float, float]]:
    # At most six decades as ticks, or 1, 2 and 5 of each where there are less than two decades;
    # the limits are wide enough to hold two of them whatever the values.
    low, high = log_values.min(), log_values.max()
    step = int((high - low) // 6) + 1
    decades = 10.0 ** np.arange(np.floor(low) - 1, np.ceil(high) + 2, step)
    ticks = decades if high - low >= 2 else np.outer(decades, [1, 2, 5]).ravel()
    middle, half = (low + high) / 2, max(0.55 * (high - low), 0.4)
    return ticks, (middle - half, middle + half)


def _legend(plot: ModuleType, collection: Any, entries: dict[str, dict[str, Any]]) -> None:
    plot.legend(
        collection,
        list(entries.values()),
        list(entries),
        update_visuals=False,
        **LEGEND[collection.backend],
    )
